"""Which tasks of a list are the same, and the luck of each play: what repeats a task says more of it, not of others.

A source of few tasks gives them over and over. They are judged as the tasks they are: each is played as often as it was
given, every time with other luck, and counts once, by its mean.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.statistics import basis
from taskgen.build import task_key
from taskgen.spec import TaskSpec
from taskgen.streams import integer_seed


class Plays(NamedTuple):
    """A list of tasks as it is played."""

    specs: Sequence[TaskSpec]
    """[plays] the list."""
    tasks: tuple[TaskSpec, ...]
    """The distinct ones, N, in the order in which they come first."""
    place: NDArray[np.int64]
    """[plays] which of the distinct tasks each is."""
    seeds: tuple[int, ...]
    """[plays] of the environment's noise."""

    def summary(self) -> dict[str, Any]:
        """Numbers of distinct tasks and of plays, a hash of both, what intervals of one run are over: JSON values."""
        order = "".join([f"{self.tasks[place].id}/{seed} " for place, seed in zip(self.place, self.seeds, strict=True)])
        return {
            "tasks": len(self.tasks),
            "plays": len(self.place),
            "content": hashlib.sha256(order.encode()).hexdigest(),
            "interval": basis(1, len(self.tasks)),
        }

    def averaged(self, returns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns [K, plays] as the means of each task, [K, N]."""
        times = np.bincount(self.place, minlength=len(self.tasks))
        return np.stack([np.bincount(self.place, row, len(self.tasks)) / times for row in returns])

    def halves(self, returns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """As `averaged`, of every other play of each task and of the rest, [K, N] both; None unless all repeat."""
        if np.bincount(self.place, minlength=len(self.tasks)).min() < 2:
            return None
        times = np.zeros(len(self.tasks), dtype=np.int64)
        second = np.empty(len(self.place), dtype=bool)
        for play, place in enumerate(self.place):
            second[play] = times[place] % 2
            times[place] += 1
        first, other = (self._replace(place=self.place[part]).averaged(returns[:, part]) for part in (~second, second))
        return first, other


def counted(tasks: int, plays: int, kind: str = "") -> str:
    """How many tasks of a kind there are and how often they are played, for a reader."""
    noun = f"{tasks:,} {kind}{' ' * bool(kind)}task{'s' * (tasks != 1)}"
    return noun if plays == tasks else f"{noun}, played {plays:,} times in all with fresh luck"


def plays(specs: Sequence[TaskSpec]) -> Plays:
    """How `specs` are played: a function of the list alone, so that all players meet the same tasks with the same luck.

    A play has the task's own seed, or where an earlier one had that, one of the task's stream "luck".
    """
    tasks: dict[str, int] = {}
    distinct: list[TaskSpec] = []
    place = np.empty(len(specs), dtype=np.int64)
    seeds: list[int] = []
    met: set[int] = set()
    for number, spec in enumerate(specs):
        key = task_key(spec)
        if key not in tasks:
            tasks[key] = len(distinct)
            distinct.append(spec)
        place[number] = tasks[key]
        seeds.append(integer_seed(spec.seed, "luck", spec.id, number) if spec.seed in met else spec.seed)
        met.add(spec.seed)
    return Plays(specs, tuple(distinct), place, tuple(seeds))
