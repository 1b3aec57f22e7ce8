"""`Wrapper`: what curricula and filters share, a source around other sources."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np

from registry.config import Part
from registry.errors import CheckpointError
from taskgen.build import build_source
from taskgen.family import TaskFamily
from taskgen.source import Curriculum, TaskResult, TaskSource
from taskgen.spec import TaskSpec
from taskgen.streams import child


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
        self.scores: Collection[str] = frozenset(name for inner in self._curricula() for name in inner.scores)

    def _curricula(self) -> list[Curriculum]:
        return [source for source in self.sources.values() if isinstance(source, Curriculum)]

    def _origin(self, spec: TaskSpec) -> str | None:
        """Name of the source that gave `spec`; None where it came from none of them."""
        return next(iter(self.sources))

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
                source.tell([results[position] for position in origins.get(name, ())])

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
        """What the sources report."""
        return {name: value for inner in self._curricula() for name, value in inner.metrics().items()}

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        """What the sources find worth a look."""
        return {name: specs for inner in self._curricula() for name, specs in inner.highlights().items()}

    def state_dict(self) -> dict[str, Any]:
        """Where the sources stand; a subclass adds its own."""
        return {"sources": {name: source.state_dict() for name, source in self.sources.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` where it holds other sources."""
        inner = cast("dict[str, dict[str, Any]]", state.get("sources"))
        if not isinstance(inner, dict) or set(inner) != set(self.sources):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise CheckpointError(f"state of {type(self).__name__}: expected the sources {sorted(self.sources)}")
        for name, source in self.sources.items():
            source.load_state_dict(inner[name])
