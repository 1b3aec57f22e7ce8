"""`Wrapper`: what curricula and filters share, a source around other sources."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np

from registry.config import Part
from registry.errors import CheckpointError, UserError
from taskgen.borders import asked, told
from taskgen.build import build_source
from taskgen.family import TaskFamily
from taskgen.record import Record
from taskgen.source import (
    Curriculum,
    Elites,
    Illuminating,
    Length,
    Paced,
    Sparing,
    TaskResult,
    TaskSource,
    Traceable,
    side_of,
)
from taskgen.spec import TaskSpec
from taskgen.split import Side, common_side
from taskgen.streams import child

_REMEMBERED = 100_000
"""Tasks of which it is remembered whose they are, until they are told."""


class Wrapper:
    """A `Curriculum` over the sources `parts`, by name; by itself it decides nothing and hands everything on.

    A subclass gives `ask`, and overrides what it decides. Every task is told to the source that it came from, if that
    source wants feedback: a subclass says which one with `_origin`.
    """

    def __init__(
        self, parts: Mapping[str, Part], *, family: TaskFamily[Any], seed: np.random.SeedSequence, feedback: bool = True
    ) -> None:
        self.sources: dict[str, TaskSource] = {
            name: build_source(part, family, child(seed, name)) for name, part in parts.items()
        }
        self.feedback = feedback or any(source.feedback for source in self.sources.values())
        self.scores: Collection[str] = frozenset(name for inner in self._curricula().values() for name in inner.scores)

        self._given: dict[str, str] = {}
        """Name of the source, by task, of the tasks that were not told yet."""
        if len(self._paced()) > 1:
            raise UserError(
                f"{type(self).__name__}: more than one of the sources {', '.join(self.sources)} decides how long "
                "trials are, and all trials of an iteration are of one length: let one source around them decide"
            )

    @property
    def length(self) -> Length:
        """As the source says that decides it."""
        return next((source.length for source in self._paced()), Length())

    @property
    def lengths(self) -> Collection[Length]:
        """Every length that may come; none where no source decides it."""
        return next((source.lengths for source in self._paced()), ())

    @property
    def side(self) -> Side | None:
        """The side of the family's split that all sources keep to, and so does what is made of their tasks."""
        return common_side(side_of(source) for source in self.sources.values())

    def _paced(self) -> list[Paced]:
        return [source for source in self.sources.values() if isinstance(source, Paced) and source.lengths]

    def _curricula(self) -> dict[str, Curriculum]:
        return {name: source for name, source in self.sources.items() if isinstance(source, Curriculum)}

    def _give(self, name: str, n: int) -> list[TaskSpec]:
        """The next `n` tasks of the source `name`, which will be told what comes of them."""
        specs = asked(self.sources[name], n)
        if len(self.sources) > 1 and any(source.feedback for source in self.sources.values()):
            self._given.update((spec.id, name) for spec in specs)
            for spec_id in list(self._given)[:-_REMEMBERED]:
                del self._given[spec_id]
        return specs

    def _give_by_turns(self, turns: Sequence[str]) -> list[TaskSpec]:
        """One task for each of the names `turns`, in this order."""
        drawn = {name: iter(self._give(name, turns.count(name))) for name in dict.fromkeys(turns)}
        return [next(drawn[name]) for name in turns]

    def _origin(self, spec: TaskSpec) -> str | None:
        """Name of the source that gave `spec`; None where it came from none of them."""
        return next(iter(self.sources)) if len(self.sources) == 1 else self._given.get(spec.id)

    def _by_origin(self, specs: Sequence[TaskSpec]) -> dict[str, list[int]]:
        """Positions in `specs` by the name of the source they came from."""
        found: dict[str, list[int]] = {}
        for position, spec in enumerate(specs):
            name = self._origin(spec)
            if name is not None:
                found.setdefault(name, []).append(position)
        return found

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Every result to the source of its task; every source that wants feedback is told, if only of nothing."""
        origins = self._by_origin([result.spec for result in results])
        for name, source in self.sources.items():
            if source.feedback:
                told(source, [results[position] for position in origins.get(name, ())])
        for result in results:
            self._given.pop(result.spec.id, None)

    def learns_from(self, specs: Sequence[TaskSpec]) -> list[bool]:
        """As the sources say; true where one is no curriculum."""
        learns = [True] * len(specs)
        for name, positions in self._by_origin(specs).items():
            source = self.sources[name]
            if isinstance(source, Curriculum):
                answers = source.learns_from([specs[position] for position in positions])
                for position, answer in zip(positions, answers, strict=True):
                    learns[position] = answer
        return learns

    def metrics(self) -> dict[str, float]:
        """What the sources report; where there are several, each under its name."""
        return {
            f"tasks/{name}/{metric.removeprefix('tasks/')}" if len(self.sources) > 1 else metric: value
            for name, inner in self._curricula().items()
            for metric, value in inner.metrics().items()
        }

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        """What the sources find worth a look; where there are several, each under its name."""
        return {
            f"{name}: {title}" if len(self.sources) > 1 else title: specs
            for name, inner in self._curricula().items()
            for title, specs in inner.highlights().items()
        }

    def elites(self) -> Mapping[str, Elites]:
        """The archives that the sources keep; where there are several sources, each under its name."""
        return {
            f"{name}: {title}" if len(self.sources) > 1 else title: archive
            for name, inner in self.sources.items()
            if isinstance(inner, Illuminating)
            for title, archive in inner.elites().items()
        }

    def updates(self, rounds: int, tasks: int) -> int:
        """As the source says that has most rounds learned from."""
        sources = self.sources.values()
        return max(source.updates(rounds, tasks) if isinstance(source, Sparing) else rounds for source in sources)

    def lineage(self, spec: TaskSpec) -> Sequence[Record]:
        """Where the task came from, by the first of the sources that remembers it."""
        traces = (source.lineage(spec) for source in self.sources.values() if isinstance(source, Traceable))
        return next((trace for trace in traces if trace), ())

    def state_dict(self) -> dict[str, Any]:
        """Where the sources stand, and whose the tasks are that were not told yet; a subclass adds its own."""
        sources = {name: source.state_dict() for name, source in self.sources.items()}
        return {"sources": sources, "given": dict(self._given)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` where it holds other sources."""
        inner = cast("dict[str, dict[str, Any]]", state.get("sources"))
        if not isinstance(inner, dict) or set(inner) != set(self.sources):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CheckpointError(f"state of {type(self).__name__}: expected the sources {sorted(self.sources)}")
        for name, source in self.sources.items():
            source.load_state_dict(inner[name])
        self._given = dict(state["given"])
