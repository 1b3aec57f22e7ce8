"""`Lineage`: from which levels edited ones descend, also when their ancestors are long evicted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from registry.errors import CheckpointError, TaskError
from taskgen.family import TaskFamily
from taskgen.record import Record
from taskgen.spec import TaskSpec


@dataclass(frozen=True, slots=True)
class Descent:
    """A level and the one that it was edited from."""

    spec: TaskSpec
    parent: str | None
    """Id; None for a level that was not edited."""
    generation: int


class Lineage:
    """All edited levels and their ancestors, by id."""

    def __init__(self) -> None:
        self._descents: dict[str, Descent] = {}

    def __len__(self) -> int:
        return len(self._descents)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._descents

    def generation(self, id_: str) -> int:
        """Edits between the level and one that was not edited; 0 also for one that is not here."""
        descent = self._descents.get(id_)
        return 0 if descent is None else descent.generation

    def add(self, id_: str, child: TaskSpec, parent_id: str, parent: TaskSpec) -> None:
        """`child` was edited from `parent`. A level that is here already keeps its descent."""
        if id_ not in self._descents:
            origin = self._descents.setdefault(parent_id, Descent(parent, None, 0))
            self._descents[id_] = Descent(child, parent_id, origin.generation + 1)

    def of(self, spec: TaskSpec) -> list[Descent]:
        """The level after its ancestors, oldest first; nothing for one that was neither edited nor edited from."""
        line: list[Descent] = []
        id_: str | None = spec.id
        while id_ is not None and id_ in self._descents:
            line.append(self._descents[id_])
            id_ = line[-1].parent
        return line[::-1]

    def records(self, own: Record, editor: str) -> list[Record]:
        """`own`, of a level that is here or that no edit made, after those of its ancestors; edits are the `editor`'s.

        What the first of them came from is what `own` says.
        """
        line = self.of(own.spec)
        if not line:
            return [own]
        parents = [() if one.parent is None else (one.parent,) for one in line]
        makers = [editor if above else own.generator for above in parents]
        ancestors = [
            Record(one.spec, maker, "", above, one.generation, None, {})
            for one, maker, above in zip(line[:-1], makers, parents, strict=False)
        ]
        return [*ancestors, replace(own, generator=makers[-1], parents=parents[-1], generation=line[-1].generation)]

    def prune(self, living: Iterable[str]) -> None:
        """Forget all but the levels with these ids and their ancestors."""
        kept: set[str] = set()
        for one in living:
            id_: str | None = one
            while id_ is not None and id_ in self._descents and id_ not in kept:
                kept.add(id_)
                id_ = self._descents[id_].parent
        self._descents = {id_: descent for id_, descent in self._descents.items() if id_ in kept}

    def state_dict(self) -> dict[str, Any]:
        """Levels as JSON text, each with its parent's id; parents come before children."""
        return {"descents": [[one.spec.to_json(), one.parent] for one in self._descents.values()]}

    def load_state_dict(self, state: Mapping[str, Any], family: TaskFamily[Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for tasks not of `family` and for missing parents."""
        self._descents = {}
        try:
            for text, parent in cast("list[tuple[str, str | None]]", state["descents"]):
                spec = TaskSpec.from_json(text)
                family.check(spec)
                generation = 0 if parent is None else self._descents[parent].generation + 1
                self._descents[spec.id] = Descent(spec, parent, generation)
        except (TaskError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"state of lineage: {error}") from None
