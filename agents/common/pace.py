"""The updates that an off-policy agent makes for the environment steps it has seen."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from taskgen.interaction.agent import Metrics


class Pace:
    """No updates during the warm-up; then so many per step, where parts of an update are carried over."""

    def __init__(self, warm_up: int, updates_per_step: float) -> None:
        self._warm_up = warm_up
        self._updates_per_step = updates_per_step
        self._steps = 0
        self._owed = 0.0

    @property
    def warming_up(self) -> bool:
        """Whether the warm-up is not over yet."""
        return self._steps < self._warm_up

    def updates(self, steps: int) -> int:
        """Updates that are due now that `steps` further steps were seen."""
        after_warm_up = min(steps, max(0, self._steps + steps - self._warm_up))
        due, self._owed = divmod(self._owed + after_warm_up * self._updates_per_step, 1.0)
        self._steps += steps
        return int(due)

    def state_dict(self) -> dict[str, Any]:
        """Steps seen, and what is left of an update."""
        return {"steps": self._steps, "owed": self._owed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._steps, self._owed = state["steps"], state["owed"]


def make_updates(count: int, update: Callable[[], Mapping[str, Tensor]]) -> Metrics:
    """Call `update` so many times; the means of the figures it returns, scalars. One host sync, whatever `count`."""
    if not count:
        return {}
    sums: dict[str, Tensor] = {}
    for _ in range(count):
        sums = {name: sums.get(name, 0.0) + value.detach() for name, value in update().items()}
    means = (torch.stack(list(sums.values())) / count).tolist()
    return dict(zip(sums, means, strict=True))
