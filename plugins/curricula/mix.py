"""Mix: tasks of several sources in fixed shares.

    [source]
    name = "mix"
    weights = { easy = 0.8, hard = 0.2 }
    sources.easy = { name = "domain-randomization", vary = { force = 10.0 } }
    sources.hard = "domain-randomization"

The shares are exact: after n tasks each source has given its weight times n, up to a task.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from plugins.curricula.shares import Shares, weight_problems
from registry.config import Config, Part
from registry.errors import ConfigError
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec


class MixConfig(Config):
    """Settings of `Mix`."""

    sources: dict[str, Part] = Field(
        default={}, description="The sources, by names of your choice.", json_schema_extra={"kind": SOURCES}
    )
    weights: dict[str, float] = Field(default={}, description="Share of each source; they sum to 1.")


class Mix(Wrapper):
    """A `Curriculum`. Raises `ConfigError` for weights that do not sum to 1 or name no source."""

    def __init__(self, config: MixConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        problems = weight_problems(config.weights, config.sources, "weights")
        problems += [f"weights: none for source {name!r}" for name in config.sources if name not in config.weights]
        if problems:
            raise ConfigError(problems, "mix")
        super().__init__(config.sources, family=family, seed=seed, feedback=False)
        self._weights: Mapping[str, float] = config.weights
        self._shares = Shares(tuple(config.sources))

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks."""
        return self._give_by_turns([self._shares.turn(self._weights) for _ in range(n)])

    def state_dict(self) -> dict[str, Any]:
        """What each source is owed, beside the sources."""
        return {**super().state_dict(), "shares": self._shares.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for another mix."""
        super().load_state_dict(state)
        self._shares.load_state_dict(state.get("shares"))
