"""Quality-diversity: an archive of tasks that differ by measures, in every cell the one most worth learning from.

    grid over measures of tasks, such as walls and length of the shortest path; a cell holds the task of highest score
    loop:  a round of children: of elites, by mutation (MAP-Elites) or CMA-ES (CMA-ME); scored, not learned from;
               a child takes its cell where that is empty or its score is higher
           a round of elites drawn evenly from the cells: scored anew, and learned from          with probability p

So what is trained on spans what tasks there are, however rare a kind is where they are drawn at random, with the score
as what makes one of a kind better than another.

References: Mouret and Clune 2015, "Illuminating search spaces by mapping elites", section 3 (MAP-Elites); Fontaine et
al. 2020, "Covariance Matrix Adaptation for the Rapid Illumination of Behavior Space" (CMA-ME); as a curriculum of
environments: Bhatt et al. 2022, "Deep Surrogate Assisted Generation of Environments" (without the surrogate).

Differences from the papers: the score depends on an agent that learns, so that of an elite is what it was at its last
play, and may fall. Where the source keeps to one side of the family's split, so do the children. A child has its
parent's seed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from plugins.curricula.cells import Cells, Grid
from plugins.curricula.cma_me import CmaMe
from plugins.curricula.emitters import Child, Emitter, Mutation, Verdict
from plugins.curricula.knobs import Floats, Knobs, Range
from plugins.curricula.levels import Places
from plugins.curricula.lineage import Lineage
from plugins.curricula.replay import Round, Rounds, RoundsConfig
from registry.config import Config
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.family import Mutable, TaskFamily
from taskgen.record import Record
from taskgen.source import Elites, TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import child, uniforms

_NAME = "builtin/quality-diversity"
_PRUNED = 64  # rounds after which ancestors of no elite are forgotten


class QualityDiversityConfig(RoundsConfig):
    """Settings of `QualityDiversity`."""

    replay: float = Field(0.5, ge=0, le=1, description="p: probability that a round is one of elites.")
    measures: tuple[str, ...] = Field(
        (),
        description="What the grid spans: measures of the family, or knobs by their mean; none: all of the family's.",
    )
    cells: int = Field(10, ge=1, le=1000, description="Cells along each measure.")
    initial: int = Field(100, ge=1, description="Tasks of the source that are scored before there are children.")
    emitter: Literal["mutation", "cma-me"] = Field(
        "mutation",
        description="Who makes children: mutation, by the family's own or else Gaussian steps of its knobs; or CMA-ES.",
    )
    edits: int = Field(1, ge=1, le=1000, description="Mutations between a child and its parent, by the family's own.")
    ranges: dict[str, Range] = Field(
        default={},
        description="The knobs that steps and CMA-ES move, with limits; none: those that vary, over their reach.",
    )
    step: float = Field(
        0.1, gt=0, le=1, description="Standard deviation of a step, and of CMA-ES to begin with, of a knob's range."
    )
    generation: int = Field(36, ge=2, description="Children from which a search of CMA-ES learns at once.")


class _Stored(Config):
    scored: int = Field(ge=0, description="Tasks of the source that were told.")
    children: list[tuple[str, str, int]] = Field(description="Children asked, their parents, their numbers.")


class QualityDiversity(Rounds):
    """A `Curriculum`; the agent learns from elites alone.

    Raises `ConfigError` for measures and knobs that the family does not have, `UserError` for CMA-ME without pyribs.
    """

    robust = True

    def __init__(
        self, config: QualityDiversityConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence
    ) -> None:
        where = f"quality-diversity over {family.name}"
        _refuse_ignored(config, family, where)
        elites = Cells(Grid(config.measures, config.cells, family, where))
        super().__init__(config, elites, family=family, seed=seed)
        self._elites, self._config = elites, config
        luck = child(seed, "emitter")

        def knobs() -> Knobs:
            return Knobs(config.ranges, family, where, self.side)

        self._emitter: Emitter = (
            CmaMe(family, knobs(), luck, size=config.generation, step=config.step)
            if config.emitter == "cma-me"
            else Mutation(family, knobs, luck, side=self.side, edits=config.edits, step=config.step)
        )
        self._scored = 0
        self._children: list[Child] = []  # until the round is told
        self._lineage = Lineage()

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` tasks of the round: new ones, elites or children."""
        if self._round != "edit":
            return super().ask(n)
        children = [self._emitter.ask(self._elites) for _ in range(n)]
        self._children += children
        return [one.spec for one in children]

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Score tasks, keep the best of each cell, choose what the next round is."""
        before = self._scores(results) if self._round == "edit" else []
        self._scored += len(results) if self._round == "new" else 0
        super().tell(results)
        if results:
            self._emitter.tell(before, self._elites)
            self._children = []

    def updates(self, rounds: int, tasks: int) -> int:
        """Of so many rounds of so many tasks, how many the agent is expected to learn from."""
        return round(max(0, rounds - math.ceil(self._config.initial / tasks)) * self._config.replay)

    def metrics(self) -> dict[str, float]:
        """Those of replay, where the buffer is all cells, and the sum of the elites' scores."""
        total = {"tasks/quality_diversity": float(self._elites["score"].sum())} if len(self._elites) else {}
        return {**super().metrics(), **total}

    def elites(self) -> Mapping[str, Elites]:
        """The archive."""
        grid, title = self._elites.grid, f"elites by {self._worth}"
        own = Elites(grid.measures, grid.cells, tuple(self._elites.cells), tuple(self._elites["score"].tolist()))
        return {**super().elites(), title: own}

    def lineage(self, spec: TaskSpec) -> list[Record]:
        """An elite with what is known of it, after its ancestors; nothing for what is none."""
        return [record for own in super().lineage(spec) for record in self._lineage.records(own, _NAME)]

    def state_dict(self) -> dict[str, Any]:
        """That of rounds, the emitter's, the children asked and the lineage."""
        children = [[one.spec.to_json(), one.parent.to_json(), one.number] for one in self._children]
        own = {"scored": self._scored, "children": children}
        return {
            **super().state_dict(),
            "archive": own,
            "emitter": self._emitter.state_dict(),
            "lineage": self._lineage.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for what does not fit."""
        super().load_state_dict(state)
        try:
            stored = _Stored.model_validate(state.get("archive"))
            self._children = [
                Child(self._read(own), self._read(above), number) for own, above, number in stored.children
            ]
            self._lineage.load_state_dict(state["lineage"], self._family)
        except (TaskError, ValidationError, KeyError) as error:
            raise CheckpointError(f"state of quality-diversity: {error}") from None
        self._scored = stored.scored
        self._emitter.load_state_dict(state.get("emitter"))

    def _read(self, text: str) -> TaskSpec:
        spec = TaskSpec.from_json(text)
        self._family.check(spec)
        return spec

    def _scores(self, results: Sequence[TaskResult]) -> list[Verdict]:
        """What becomes of the children of the round, by what the archive is before they are told."""
        waiting: dict[str, list[int]] = {}
        for one in self._children:
            waiting.setdefault(one.spec.id, []).append(one.number)
        scores, _, _ = self._values(results, self._levels.find([result.spec for result in results]))
        found: list[Verdict] = []
        for result, score in zip(results, scores.tolist(), strict=True):
            numbers = waiting.get(result.spec.id)
            if numbers:
                place = self._elites.at(self._elites.grid.place(result.spec.context))
                gain = score if place < 0 else score - float(self._elites["score"][place])
                found.append(Verdict(numbers.pop(0), 2 if place < 0 else int(gain > 0), gain))
        return found

    def _generations(self, specs: Sequence[TaskSpec]) -> Places:
        """[R] one more than the parent's."""
        above = {one.spec.id: self._lineage.generation(one.parent.id) + 1 for one in self._children}
        return np.array([above.get(spec.id, 0) for spec in specs], dtype=np.int64)

    def _keep(self, places: Places) -> None:
        """Children that got a place have a lineage from now on."""
        parents = {one.spec.id: one.parent for one in self._children}
        for place in places.tolist():
            spec, id_ = self._levels.specs[place], self._levels.ids[place]
            if id_ in parents and id_ != parents[id_].id:
                self._lineage.add(id_, spec, parents[id_].id, parents[id_])
        if self._rounds % _PRUNED == 0:
            self._lineage.prune([*self._levels.ids, *(spec.id for spec in self._emitter.parents())])

    def _draw(self) -> Floats:
        """[N] all cells alike."""
        return np.full(len(self._levels), 1.0 / len(self._levels))

    def _next(self, places: Places) -> Round:
        """New tasks to begin with; then elites with the probability of replay, or children."""
        if self._scored < self._config.initial:
            return "new"
        luck = float(uniforms(self._seed, "round", self._rounds, 1)[0])
        return "replay" if luck < self._config.replay else "edit"


def _refuse_ignored(config: QualityDiversityConfig, family: TaskFamily[Any], where: str) -> None:
    """Raise `ConfigError` for settings of those who do not make the children here."""
    own = isinstance(family, Mutable)
    maker, ignored = (
        ("CMA-ES", ("edits",))
        if config.emitter == "cma-me"
        else ("the family's own mutation", ("ranges", "step", "generation"))
        if own
        else ("Gaussian steps of the knobs", ("edits", "generation"))
    )
    fields = type(config).model_fields
    said = [name for name in ignored if getattr(config, name) != fields[name].default]
    if said:
        raise ConfigError(
            [f"{name} changes nothing: children are made by {maker}; leave it out" for name in said], where
        )
