"""An archive of evolved tasks as a source: what a POET run has made so far, in the order in which it was made.

Reference: Wang et al. 2019, "Paired Open-Ended Trailblazer (POET)": a run leaves a curriculum of tasks, each a small
step from one that could be mastered before it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from plugins.generators.given import Given
from registry.config import Config
from registry.errors import ConfigError, TaskError
from taskgen import lineage
from taskgen.archive import Archive
from taskgen.family import TaskFamily
from taskgen.record import Record
from taskgen.spec import TaskSpec
from taskgen.streams import child

_ARCHIVE = "archive.sqlite"


class PoetTasksConfig(Config):
    """Settings of `PoetTasks`."""

    path: str = Field("", description="Directory of a POET run, finished or not, or its archive.sqlite.")
    niches: Literal["solved", "active", "all"] = Field(
        "solved", description="Tasks that were solved; that agents learn on now; or all but those that failed."
    )
    pace: int = Field(
        0, ge=0, description="Tasks given before the next niche in order of creation joins in; 0: all from the start."
    )
    fresh_seeds: bool = Field(
        default=False, description="Whether every task has a seed of its own, such as another course of the same kind."
    )


class PoetTasks(Given):
    """A `TaskSource`: each task is one of the niches that have joined in, all equally likely.

    Task p is a function of the stream at position p; the archive is read once. Raises `ConfigError` for an archive
    without such niches.
    """

    name = "poet"
    changed = (
        "the archive of evolved tasks has changed since the checkpoint: restore it, or begin a new run. Of a "
        "POET run that goes on, copy archive.sqlite first and draw from the copy"
    )

    def __init__(self, config: PoetTasksConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(_niches(config), family, config.path)
        self.config = config
        self._seed = seed

    def _task(self, position: int) -> TaskSpec:
        there = len(self._specs)
        if self.config.pace:
            there = min(there, 1 + position // self.config.pace)
        pick, fresh = np.random.Generator(np.random.PCG64(child(self._seed, "niche")).advance(2 * position)).random(2)
        spec = self._specs[int(pick * there)]
        if not self.config.fresh_seeds:
            return spec
        return replace(spec, seed=int(fresh * 2.0**53))


def _niches(config: PoetTasksConfig) -> list[TaskSpec]:
    if not config.path:
        raise ConfigError(["path = '': name the directory of a POET run, such as path=runs/poet-cartpole-0"], "poet")
    path = Path(config.path)
    if not path.exists():
        raise TaskError(
            f"{path}: there is no such archive; name the directory of a POET run, as path=runs/poet-cartpole-0"
        )
    with Archive(path / _ARCHIVE if path.is_dir() else path) as archive:
        made = [record for record in archive.records() if lineage.CREATED in record.scores]
    found = [record.spec for record in made if _wanted(record, config.niches)]
    if not found:
        kind = "" if config.niches == "all" else f" ({config.niches})"
        raise ConfigError(
            [f"path = {config.path!r}: none of its {len(made)} evolved tasks will do{kind}; try niches=all"], "poet"
        )
    return found


def _wanted(record: Record, niches: str) -> bool:
    if niches == "solved":
        return lineage.SOLVED in record.scores
    return lineage.FAILED not in record.scores and (niches == "all" or lineage.RETIRED not in record.scores)
