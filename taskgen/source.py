"""`TaskSource`: anything with `ask` and `tell`. A generator, a curriculum and a saved task set all are one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from taskgen.record import Record
from taskgen.spec import TaskSpec
from taskgen.split import Side

RESOLUTION = 2**17
"""Returns are told apart where they differ by more than this part of themselves: less is rounding of the same sums."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What an agent got on one task."""

    spec: TaskSpec
    returns: tuple[float, ...]
    """Undiscounted return of each episode of the trial, in order, in the reward that the task pays."""
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    """The scores that the source asked for (`Curriculum.scores`), by name."""
    family_returns: tuple[float, ...] = ()
    """The returns in the family's own reward, where tasks of the batch have replaced it; empty: they are `returns`."""


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


@runtime_checkable
class Curriculum(TaskSource, Protocol):
    """A source that wraps sources and decides by results what to train on next.

    What it decides changes in `tell` alone, so that `ask(4)` stays four times `ask(1)`; time, for a curriculum, is the
    number of `tell`s. `taskgen.curriculum.Wrapper` is a base to write one on.
    """

    scores: Collection[str]
    """Names of `taskgen.interaction.score.SCORES` that every result is to carry."""

    def learns_from(self, specs: Sequence[TaskSpec]) -> list[bool]:
        """For each of the tasks just asked: is the agent to learn from it (true), or is it only to be scored?"""
        ...

    def metrics(self) -> dict[str, float]:
        """What the curriculum does, for the trackers: names begin with "tasks/"."""
        ...

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        """Tasks worth a look, by what they are ("hardest", "most replayed"), for the report."""
        ...


@dataclass(frozen=True, slots=True)
class Length:
    """How long the trials of the tasks last asked are to be; None: as long as they are anyway."""

    episodes: int | None = None
    """Episodes of a trial."""
    horizon: int | None = None
    """Steps after which an episode is cut, where the family's own horizon is longer."""


@runtime_checkable
class Paced(Protocol):
    """A source that also decides how long trials are, as curricula over the horizon do. Like all they decide, it
    changes in `tell` alone."""

    length: Length
    """Of the trials of the tasks that `ask` gives now."""
    lengths: Collection[Length]
    """Every one that may come; none for a source that leaves the length alone."""


@runtime_checkable
class Sparing(Protocol):
    """A source whose tasks are not all learned from, so that agents can plan how their learning rates fall."""

    def updates(self, rounds: int, tasks: int) -> int:
        """Of so many rounds of so many tasks, how many the agent is expected to learn from."""
        ...


@runtime_checkable
class Traceable(Protocol):
    """A source that remembers where tasks came from, for the run's archive."""

    def lineage(self, spec: TaskSpec) -> Sequence[Record]:
        """The task's ancestors, parents before children, then the task itself; nothing of a task that is forgotten."""
        ...


@dataclass(frozen=True, slots=True)
class Elites:
    """What an archive of elites holds: of every cell of a grid over measures at most one task, with its score."""

    measures: Mapping[str, tuple[float, float]]
    """Where the grid begins and ends, by name."""
    cells: int
    """Along each measure."""
    places: Sequence[tuple[int, ...]]
    """Those cells that hold a task: their number along each measure, from 0."""
    scores: Sequence[float]
    """What the task of each is worth."""


@runtime_checkable
class Illuminating(Protocol):
    """A source that keeps archives of elites, for the report to draw."""

    def elites(self) -> Mapping[str, Elites]:
        """By title."""
        ...


@runtime_checkable
class Sided(Protocol):
    """A source that knows whether its tasks keep to one side of the family's split."""

    @property
    def side(self) -> Side | None:
        """The side that all its tasks are on; None where they are on both, or the family has no split."""
        ...


def side_of(source: TaskSource) -> Side | None:
    """The side of the family's split that all tasks of `source` are known to be on; None: both, or not known."""
    return source.side if isinstance(source, Sided) else None
