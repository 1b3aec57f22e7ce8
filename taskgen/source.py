"""`TaskSource`: anything with `ask` and `tell`. A generator, a curriculum and a saved task set all are one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from taskgen.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What an agent got on one task."""

    spec: TaskSpec
    returns: tuple[float, ...]
    """Undiscounted return of each episode of the trial, in order."""


@runtime_checkable
class TaskSource(Protocol):
    """Where tasks come from. Written by whoever generates tasks; driven by the training loop and by `taskgen generate`.

    `ask(4)` gives the same four tasks as four times `ask(1)`: tasks come from the source's own random stream, never
    from how many are asked for at once.
    """

    feedback: bool
    """Whether `tell` does anything. The loop computes no results for a source that ignores them."""

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` valid tasks."""
        ...

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Results of tasks asked before; partial results are fine."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        ...
