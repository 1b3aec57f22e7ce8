"""How long a run trains: by iterations, by environment steps or by the clock, and how much of that is spent."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from registry.config import apply_overrides

BUDGETS = ("iterations", "steps", "minutes")
"""Settings of `training` of which exactly one says when it ends."""
ITERATIONS = 1000
"""Where none does."""
BY_CLOCK = (
    "trained by the clock (training.minutes): no function of its configuration, since another time or machine trains "
    "more or less"
)
"""What has to be said of such a run."""


class Budget(Protocol):
    """What says when training ends; exactly one of these is not None."""

    iterations: int | None
    steps: int | None
    minutes: float | None


def overridden(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`apply_overrides`, where a budget among `overrides` takes the place of the one that `data` has.

    Raises `ConfigError` with every malformed override.
    """
    overrides = list(overrides)
    named = {override.removeprefix("~").partition("=")[0].strip() for override in overrides}
    training = data.get("training")
    if isinstance(training, Mapping) and any(f"training.{budget}" in named for budget in BUDGETS):
        kept = {key: training[key] for key in training if key not in BUDGETS or f"training.{key}" in named}
        data = {**data, "training": kept}
    return apply_overrides(data, overrides)


def spent(training: Budget, iterations: int, steps: int, seconds: float) -> float:
    """The share of the budget that so many iterations have spent; at 1 training is over.

    Seconds are those of iterations: evaluations count no more here than they do among the steps.
    """
    if training.steps is not None:
        return steps / training.steps
    if training.minutes is not None:
        return seconds / (60.0 * training.minutes)
    return iterations / (training.iterations or ITERATIONS)


def expected(iterations: int, share: float) -> int:
    """Iterations of a whole run, going by the `share` of its budget that so many have spent."""
    return iterations if share >= 1 else max(iterations + 1, round(iterations / share) if share else 0)
