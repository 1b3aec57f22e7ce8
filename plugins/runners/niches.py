"""Niches: tasks paired with an agent each, with all that is known about them; and candidates for new ones."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from deap import base

from plugins.runners.transfer import REMEMBERED
from plugins.runners.work import State
from taskgen import lineage
from taskgen.record import Record
from taskgen.spec import TaskSpec

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false


class Novelty(base.Fitness):
    """DEAP's fitness of a candidate: its novelty, the more the fitter, then what decides between those as novel.

    Both must be finite, as NaN beats everything.
    """

    weights = (1.0, 1.0)


@dataclass(slots=True)
class Candidate:
    """A task that may become a niche; what DEAP calls an individual."""

    spec: TaskSpec
    parent: int
    """Number of the niche that it was made from."""
    agent: State
    """Of an agent of its own, as new."""
    score: float = math.nan
    """Of the agent it would begin with."""
    fitness: Novelty = field(default_factory=Novelty)
    vector: list[float] = field(default_factory=list[float])
    """What its novelty was measured by."""


@dataclass(slots=True)
class Niche:
    """A task and its agent."""

    number: int
    """From 0, in order of creation."""
    spec: TaskSpec
    agent: State
    parent: int | None = None
    created: int = 0
    """Iteration."""
    generation: int = 0
    novelty: float = 0.0
    """When it was admitted."""
    vector: list[float] = field(default_factory=list[float])
    """What novelty is measured by: features of the task, or how agents rank on it."""
    fresh: bool = True
    """Whether it met the minimal criterion with every agent there had ever been."""
    history: list[float] = field(default_factory=list[float])
    """The last self-evaluations."""
    best: float | None = None
    solved: int | None = None
    """Iteration."""
    retired: int | None = None
    """Iteration."""
    reason: str = ""
    """Why it was retired."""
    failed: bool = False
    """Whether it was retired because something went wrong."""
    transfers: dict[str, int] = field(default_factory=dict[str, int])
    """Agents taken over, by the number of the niche they came from."""

    @property
    def score(self) -> float:
        """Its last self-evaluation, NaN before the first."""
        return self.history[-1] if self.history else math.nan

    @property
    def active(self) -> bool:
        """Whether its agent still learns."""
        return self.retired is None

    def judge(self, score: float, iteration: int, solved_from: float) -> None:
        """Its agent was evaluated on its own task."""
        self.history = [*self.history, score][-REMEMBERED:]
        self.best = score if self.best is None else max(self.best, score)
        if self.solved is None and score >= solved_from:
            self.solved = iteration

    def retire(self, iteration: int, reason: str, *, failed: bool = False) -> None:
        """Its agent learns no more."""
        self.retired, self.reason, self.failed = iteration, reason, failed

    def state_dict(self) -> dict[str, Any]:
        """Plain data and the agent's state."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in ("spec", "agent")}
        return {**fields, "spec": self.spec.to_json(), "agent": self.agent}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """What `state_dict` gave."""
        return cls(**{**state, "spec": TaskSpec.from_json(state["spec"])})


class SolveTime(base.Fitness):
    """DEAP's fitness in the hall of fame: iterations until a task was solved, the more the higher."""

    weights = (1.0,)


@dataclass(slots=True)
class Solved:
    """An entry of the hall of fame."""

    number: int
    fitness: SolveTime = field(compare=False)

    @classmethod
    def of(cls, niche: Niche) -> Self:
        """The entry of a niche that is solved."""
        assert niche.solved is not None
        return cls(niche.number, SolveTime((niche.solved - niche.created,)))


def identity(spec: TaskSpec) -> str:
    """The same for tasks of one family, context and reward, whatever their seeds."""
    return replace(spec, seed=0).id


def records(niches: Iterable[Niche], generator: str, version: str) -> list[Record]:
    """The niches as records of an archive, in order of creation; the names of scores are those of `taskgen.lineage`."""
    niches = list(niches)
    ids = [niche.spec.id for niche in niches]
    found: list[Record] = []
    for niche in niches:
        scores: dict[str, float | None] = {
            lineage.CREATED: niche.created,
            lineage.RETIRED: niche.retired,
            lineage.FAILED: 1 if niche.failed else None,
            lineage.SOLVED: niche.solved,
            lineage.SCORE: niche.history[-1] if niche.history else None,
            lineage.BEST: niche.best,
            lineage.NOVELTY: niche.novelty,
            lineage.FRESH: int(niche.fresh),
            **{f"{lineage.TRANSFERS}{ids[int(source)]}": count for source, count in niche.transfers.items()},
        }
        parents = () if niche.parent is None else (ids[niche.parent],)
        known = {name: float(value) for name, value in scores.items() if value is not None}
        found.append(Record(niche.spec, generator, version, parents, niche.generation, "train", known))
    return found
