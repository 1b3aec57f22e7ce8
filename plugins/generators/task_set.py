"""A saved task set as a source: its tasks over and over, in file order or shuffled anew for every pass."""

from typing import Any

import numpy as np
from pydantic import Field

from plugins.generators.given import Given
from registry.config import Config
from registry.errors import ConfigError
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec
from taskgen.streams import child
from taskgen.taskset import read_tasks


class TaskSetConfig(Config):
    """Settings of `TaskSetSource`."""

    path: str = Field(default="", description="Task file to draw from, JSON lines as `taskgen generate` writes them.")
    shuffle: bool = Field(default=True, description="Whether every pass over the file has an order of its own.")


class TaskSetSource(Given):
    """A `TaskSource` over the tasks of a file. Pass p is the whole file in an order drawn from the stream of pass p."""

    name = "task-set"
    changed = "the task file has changed since the checkpoint: restore it, or begin a new run"

    def __init__(self, config: TaskSetConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        if not config.path:
            raise ConfigError(["path = '': name the task file to draw from, such as path=tasks.jsonl"], "task-set")
        specs = read_tasks(config.path)
        if not specs:
            raise ConfigError([f"path = {config.path!r}: the file holds no tasks"], "task-set")
        super().__init__(specs, family, config.path)
        self._shuffle = config.shuffle
        self._seed = seed
        self._pass = -1
        self._order = np.arange(len(specs))

    def _task(self, position: int) -> TaskSpec:
        number, offset = divmod(position, len(self._specs))
        if not self._shuffle:
            return self._specs[offset]
        if number != self._pass:
            bits = np.random.PCG64(child(self._seed, "pass", number))
            self._pass, self._order = number, np.random.Generator(bits).permutation(len(self._specs))
        return self._specs[int(self._order[offset])]
