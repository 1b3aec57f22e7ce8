"""`Grid`: a grid over measures of tasks. `Cells`: the levels of an archive of elites, one a cell, the best there was.

Reference: Mouret and Clune 2015, "Illuminating search spaces by mapping elites", section 3.

Axes: M measures, R results.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plugins.curricula.levels import Floats, Levels, Places
from registry.errors import CheckpointError, ConfigError, suggest
from taskgen.family import Measured, TaskFamily
from taskgen.spec import TaskSpec

MOST = 100_000
"""Cells of a grid at most."""


class Grid:
    """So many `cells` along each of `measures`, the family's or means of its knobs, by name; none: all of the family's.

    What lies beyond the ends of a measure counts into its outermost cell. Raises `ConfigError` for names that are
    neither, for a family without measures where none are named, and for more cells than `MOST`.
    """

    def __init__(self, measures: Sequence[str], cells: int, family: TaskFamily[Any], where: str) -> None:
        self._family, self.cells = family, cells
        own = family.measures if isinstance(family, Measured) else {}
        known = {**_knob_measures(family), **own}
        names = list(measures or own)
        problems = [f"measures: unknown {name!r}. {suggest(name, known)}" for name in names if name not in known]
        problems += [f"measures: {name!r} is named twice" for name in dict.fromkeys(names) if names.count(name) > 1]
        if not names:
            problems.append(
                f"{family.name} has no measures of its own: name `measures`, of {', '.join(known) or 'none'}"
            )
        elif cells ** len(names) > MOST:
            problems.append(f"cells = {cells} along each of {len(names)} measures are more than {MOST:,}: take fewer")
        if problems:
            raise ConfigError(problems, where)
        self.measures: Mapping[str, tuple[float, float]] = {name: known[name] for name in names}
        self.low, self.high = np.array(list(self.measures.values()), dtype=np.float64).T
        """[M] where the first cell begins and the last one ends."""

    def __len__(self) -> int:
        return self.cells ** len(self.measures)

    def place(self, context: Mapping[str, Any]) -> tuple[int, ...]:
        """[M] the cell of a task with the complete `context`, its number along each measure."""
        own: dict[str, float] = {}
        if isinstance(self._family, Measured):
            own = dict(zip(self._family.measures, self._family.measure(context).tolist(), strict=True))
        figures = np.array([own[name] if name in own else _mean(context[name]) for name in self.measures])
        parts = np.floor((figures - self.low) / (self.high - self.low) * self.cells)
        return tuple(parts.clip(0, self.cells - 1).astype(int).tolist())


class Cells(Levels):
    """At most one level for every cell of `grid`: a new one takes the place of one whose score is lower."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(len(grid))
        self.grid = grid
        self.cells: list[tuple[int, ...]] = []
        """Of each level, in the order of `specs`."""
        self._taken: dict[tuple[int, ...], int] = {}

    def at(self, cell: tuple[int, ...]) -> int:
        """The place of the level in `cell`, -1 where it is empty."""
        return self._taken.get(cell, -1)

    def offer(
        self, specs: Sequence[TaskSpec], time: int, *, score: Floats, result: Floats, best: Floats, generation: Places
    ) -> Places:
        """[R] the places that new levels got, -1 for those that did not; of those for one cell the best, the first."""
        places = np.full(len(specs), -1, dtype=np.int64)
        for number in np.argsort(-score, kind="stable").tolist():
            cell = self.grid.place(specs[number].context)
            place = self._taken.setdefault(cell, len(self))
            if place == len(self):
                self.cells.append(cell)
            elif score[number] <= self["score"][place]:
                continue
            self._put(place, specs[number], specs[number].id)
            self._columns["score"][place] = score[number]
            places[number] = place
        self._begin(places, time, score=score, result=result, best=best, generation=generation)
        return places

    def load_state_dict(self, state: object, family: TaskFamily[Any]) -> None:
        """As that of levels; also for two levels of one cell."""
        super().load_state_dict(state, family)
        self.cells = [self.grid.place(spec.context) for spec in self.specs]
        self._taken = {cell: place for place, cell in enumerate(self.cells)}
        if len(self._taken) < len(self.cells):
            raise CheckpointError("state of levels: two of them are in one cell of the grid")


def _knob_measures(family: TaskFamily[Any]) -> dict[str, tuple[float, float]]:
    """Every knob whose numbers can differ, as a measure: from where to where it varies, or else may be."""
    found: dict[str, tuple[float, float]] = {}
    for name, knob in family.context_space.knobs.items():
        low, high = (knob.low, knob.high) if knob.vary is None else knob.vary.support(knob.default)
        if low < high:
            found[name] = (float(low), float(high))
    return found


def _mean(value: Any) -> float:
    return math.fsum(numbers := np.ravel(value).tolist()) / len(numbers)
