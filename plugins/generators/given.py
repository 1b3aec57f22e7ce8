"""`Given`: what generators share that hand out tasks somebody made before."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from registry.errors import CheckpointError
from taskgen.family import TaskFamily, same_structure
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.split import common_side


class Given(ABC):
    """A `TaskSource` over `specs`: the task at position p of its stream is a function of p alone."""

    feedback = False
    name: ClassVar[str]
    """What errors call the source."""
    changed: ClassVar[str]
    """What to say, and to do, when a checkpoint was made with other tasks."""

    def __init__(self, specs: Sequence[TaskSpec], family: TaskFamily[Any], source: str) -> None:
        same_structure(specs, family, source)
        self._specs = specs
        split = family.split
        self.side = None if split is None else common_side(split.side(spec.context) for spec in specs)
        """The side of the family's split that all tasks are on; None: both, or there is no split."""
        self._content = hashlib.sha256("".join(spec.id for spec in specs).encode()).hexdigest()
        self._position = 0

    @abstractmethod
    def _task(self, position: int) -> TaskSpec:
        """The task at `position`."""

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks."""
        first, self._position = self._position, self._position + n
        return [self._task(position) for position in range(first, first + n)]

    def tell(self, results: Sequence[TaskResult]) -> None:  # noqa: B027
        """Ignored: the tasks are given."""

    def state_dict(self) -> dict[str, Any]:
        """The number of tasks given so far, and the hash of those there are."""
        return {"position": self._position, "content": self._content}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` when there are other tasks now than there were then."""
        position = state.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or position < 0:
            raise CheckpointError(f"state of {self.name}: position = {position!r}, expected an integer >= 0")
        if state.get("content") != self._content:
            raise CheckpointError(self.changed)
        self._position = position
