"""ACCEL: robust PLR that edits what was just replayed, so that levels grow as hard as the agent can learn from.

After every round of replays comes a round of their children: levels that the family's `mutate` makes of the four
easiest, in equal shares. Children are scored without gradient, like new tasks, and ask for a place in the buffer.

Reference: Parker-Holder et al. 2022, "Evolving Curricula with Regret-Based Environment Design", section 3 and algorithm
1; the choice of parents is the released code's, "easy": return less score, the four highest, which is what it says it
does (its sorting order gives it the four lowest). Published settings are listed in `plugins.curricula.plr`: 5 edits for
mazes, which is one mutation of the family `maze`; 3 for walkers.

Where the source keeps to one side of the family's split, so do the children: no training task becomes a test task.

Differences from the paper: there is a round of edits after every round of replays; a child keeps its parent's seed
unless `reseed` is on. See also `plugins.curricula.replay`.

Axes: N levels of the buffer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from plugins.curricula.levels import Places
from plugins.curricula.lineage import Lineage
from plugins.curricula.replay import Replay, ReplayConfig, Round
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.family import Mutable, TaskFamily, mutated
from taskgen.record import Record
from taskgen.spec import TaskSpec
from taskgen.streams import child

_PRUNED = 64  # rounds after which ancestors of no living level are forgotten


class AccelConfig(ReplayConfig):
    """Settings of `Accel`."""

    edits: int = Field(1, ge=1, le=1000, description="Mutations between a child and its parent.")
    parents: int = Field(
        4, ge=0, description="Levels of a round of replays that are edited, the easiest ones; 0: all of them."
    )
    reseed: bool = Field(
        default=False, description="Whether a child has a fresh seed, which in some families is all of a level's luck."
    )


class Accel(Replay):
    """A `Curriculum`; the agent learns from replays alone. Raises `ConfigError` for a family without `mutate`."""

    robust = True

    def __init__(self, config: AccelConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        if not isinstance(family, Mutable):
            problem = f"edits tasks, but {family.name} has no `mutate`; robust-plr does without"
            raise ConfigError([problem], "accel")
        super().__init__(config, family=family, seed=seed)
        self._config = config
        self._parents: list[TaskSpec] = []
        self._edited = 0
        self._children: list[tuple[TaskSpec, int]] = []  # with the parent's number, until the round is told
        self._lineage = Lineage()

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` tasks of the round; parents are edited by turns."""
        if self._round != "edit":
            return super().ask(n)
        return [self._child() for _ in range(n)]

    def lineage(self, spec: TaskSpec) -> list[Record]:
        """A level of the buffer with what is known of it, after its ancestors; nothing for what is not there."""
        return [record for own in super().lineage(spec) for record in self._lineage.records(own, "builtin/accel")]

    def state_dict(self) -> dict[str, Any]:
        """That of a replay curriculum, the parents of the round and the children asked, and the lineage."""
        own = {
            "parents": [spec.to_json() for spec in self._parents],
            "children": [[child.to_json(), number] for child, number in self._children],
            "edited": self._edited,
            "lineage": self._lineage.state_dict(),
        }
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for what does not fit."""
        super().load_state_dict(state)
        try:
            self._parents = [TaskSpec.from_json(text) for text in state["parents"]]
            self._children = [(TaskSpec.from_json(text), int(number)) for text, number in state["children"]]
            for spec in (*self._parents, *(spec for spec, _ in self._children)):
                self._family.check(spec)
            self._edited = int(state["edited"])
            self._lineage.load_state_dict(state["lineage"], self._family)
        except (TaskError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"state of Accel: parents, children, edited or lineage: {error}") from None
        numbers = {number for _, number in self._children} | ({0} if self._round == "edit" else set())
        if not numbers <= set(range(len(self._parents))):
            raise CheckpointError(f"state of Accel: {len(self._parents)} parents, but children of {sorted(numbers)}")

    @property
    def _replayed_rounds(self) -> float:
        replay = super()._replayed_rounds
        return replay / (1.0 + replay)

    def _child(self) -> TaskSpec:
        number = self._edited % len(self._parents)
        parent = self._parents[number]
        random = np.random.Generator(np.random.PCG64(child(self._seed, "edit", self._edited)))
        self._edited += 1
        spec = parent
        for _ in range(self._config.edits):
            context = mutated(self._family, dict(spec.context), random, self.side)
            spec = self._family.moved(spec, context)
        if self._config.reseed:
            spec = replace(spec, seed=int(random.integers(2**53)))
        self._children.append((spec, number))
        return spec

    def _generations(self, specs: Sequence[TaskSpec]) -> Places:
        """[R] one more than the parent's."""
        numbers = self._parent_numbers(specs)
        above = [self._lineage.generation(parent.id) + 1 for parent in self._parents]
        return np.array([0 if number is None else above[number] for number in numbers], dtype=np.int64)

    def _keep(self, places: Places) -> None:
        """Children that got a place have a lineage from now on."""
        levels, ids = self._levels, [parent.id for parent in self._parents]
        kept = [levels.specs[place] for place in places.tolist()]
        for place, spec, number in zip(places.tolist(), kept, self._parent_numbers(kept), strict=True):
            if number is not None:
                self._lineage.add(levels.ids[place], spec, ids[number], self._parents[number])
        if self._rounds % _PRUNED == 0:
            self._lineage.prune([*levels.ids, *ids])

    def _parent_numbers(self, specs: Sequence[TaskSpec]) -> list[int | None]:
        """Number of each child's parent, None for what is no child of the round; whatever object holds the child."""
        if not self._children:
            return [None] * len(specs)
        by_object = {id(spec): number for spec, number in self._children}
        if all(id(spec) in by_object for spec in specs):
            return [by_object[id(spec)] for spec in specs]
        by_id = {spec.id: number for spec, number in self._children}
        return [by_id.get(spec.id) for spec in specs]

    def _next(self, places: Places) -> Round:
        """After replays the easiest of them are edited: return less score, highest first."""
        self._children = []
        if self._told != "replay":
            return super()._next(places)
        ease = self._levels["result"][places] - self._levels["score"][places]
        order = places[np.argsort(-ease, kind="stable")][: self._config.parents or None]
        self._parents = [self._levels.specs[place] for place in order.tolist()]
        return "edit"
