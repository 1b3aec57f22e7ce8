"""A saved task set as a source: its tasks over and over, in file order or shuffled anew for every pass."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from registry.config import Config
from registry.errors import CheckpointError, ConfigError
from taskgen.family import TaskFamily, same_structure
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import child
from taskgen.taskset import read_tasks


class TaskSetConfig(Config):
    """Settings of `TaskSetSource`."""

    path: str = Field(default="", description="Task file to draw from, JSON lines as `taskgen generate` writes them.")
    shuffle: bool = Field(default=True, description="Whether every pass over the file has an order of its own.")


class TaskSetSource:
    """A `TaskSource` over the tasks of a file. Pass p is the whole file in an order drawn from the stream of pass p."""

    feedback = False

    def __init__(self, config: TaskSetConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        if not config.path:
            raise ConfigError(["path = '': name the task file to draw from, such as path=tasks.jsonl"], "task-set")
        self._specs = read_tasks(config.path)
        if not self._specs:
            raise ConfigError([f"path = {config.path!r}: the file holds no tasks"], "task-set")
        same_structure(self._specs, family)
        self._content = hashlib.sha256("".join(spec.id for spec in self._specs).encode()).hexdigest()
        self._shuffle = config.shuffle
        self._seed = seed
        self._position = 0
        self._pass = -1
        self._order = np.arange(len(self._specs))

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks."""
        return [self._specs[self._index(position)] for position in self._advance(n)]

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Ignored: the tasks are given."""

    def state_dict(self) -> dict[str, Any]:
        """The number of tasks given so far, and the hash of the file's content."""
        return {"position": self._position, "content": self._content}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` when the file holds other tasks than it did then."""
        position = state.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or position < 0:
            raise CheckpointError(f"state of task-set: position = {position!r}, expected an integer >= 0")
        if state.get("content") != self._content:
            raise CheckpointError("the task file has changed since the checkpoint: restore it, or begin a new run")
        self._position = position

    def _advance(self, n: int) -> range:
        positions = range(self._position, self._position + n)
        self._position += n
        return positions

    def _index(self, position: int) -> int:
        number, offset = divmod(position, len(self._specs))
        if not self._shuffle:
            return offset
        if number != self._pass:
            bits = np.random.PCG64(child(self._seed, "pass", number))
            self._pass, self._order = number, np.random.Generator(bits).permutation(len(self._specs))
        return int(self._order[offset])
