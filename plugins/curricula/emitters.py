"""`Emitter`: who makes children of an archive of elites. `Mutation`: by editing elites drawn evenly, as in MAP-Elites.

References: Mouret and Clune 2015, "Illuminating search spaces by mapping elites", section 3; the word is that of
Fontaine et al. 2020, "Covariance Matrix Adaptation for the Rapid Illumination of Behavior Space", section 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from plugins.curricula.cells import Cells
from plugins.curricula.knobs import Floats, Knobs
from registry.errors import CheckpointError, TaskError
from taskgen.family import Mutable, TaskFamily, mutated
from taskgen.spec import TaskSpec
from taskgen.split import Side
from taskgen.streams import child, uniforms

ATTEMPTS = 1000
"""Impossible tasks in a row before giving up."""


@dataclass(frozen=True, slots=True)
class Child:
    """A task that asks for a place among the elites."""

    spec: TaskSpec
    parent: TaskSpec
    """The elite that it came of."""
    number: int
    """What its emitter knows it by."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a child that was played."""

    number: int
    status: int
    """2: its cell was empty; 1: better than the elite of its cell; 0: no place for it."""
    value: float
    """Its score where the cell was empty, else by how much it is more than the elite's."""


class Emitter(Protocol):
    """What it gives changes in `tell` alone, so that children do not depend on how many are asked for at once."""

    def ask(self, elites: Cells) -> Child:
        """The next child of `elites`, of which there is one at least."""
        ...

    def tell(self, verdicts: Sequence[Verdict], elites: Cells) -> None:
        """What became of children of the round; `elites` already hold those that got a place."""
        ...

    def parents(self) -> list[TaskSpec]:
        """Elites that there may yet be children of, whether or not they are still in their cells."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as JSON values."""
        ...

    def load_state_dict(self, state: Any) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        ...


class Mutation:
    """An `Emitter`: so many `edits` of an elite by the family's `mutate`; without one, a Gaussian step of `knobs`.

    A step has the standard deviation `step`, of a knob's range. Raises `TaskError` where too many steps in a row lead
    to what is no task, or no other task is on `side` of the family's split.
    """

    def __init__(
        self,
        family: TaskFamily[Any],
        knobs: Callable[[], Knobs],
        seed: np.random.SeedSequence,
        *,
        side: Side | None,
        edits: int,
        step: float,
    ) -> None:
        self._family, self._seed = family, seed
        self._side: Side | None = side
        self._edits, self._step = edits, step
        self._knobs = None if isinstance(family, Mutable) else knobs()
        self._made = 0

    def ask(self, elites: Cells) -> Child:
        """The next child."""
        number, self._made = self._made, self._made + 1
        parent = elite(elites, self._seed, number)
        rng = np.random.Generator(np.random.PCG64(child(self._seed, "edit", number)))
        return Child(self._edited(parent, rng) if self._knobs is None else self._moved(parent, rng), parent, number)

    def tell(self, verdicts: Sequence[Verdict], elites: Cells) -> None:
        """Nothing: all elites are as good parents."""

    def parents(self) -> list[TaskSpec]:
        """Those that are in their cells alone."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """How many children there were."""
        return {"made": self._made}

    def load_state_dict(self, state: Any) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        made = state.get("made") if isinstance(state, dict) else None
        if not isinstance(made, int) or isinstance(made, bool) or made < 0:
            raise CheckpointError(f"state of an emitter: made = {made!r}, expected an integer >= 0")
        self._made = made

    def _edited(self, spec: TaskSpec, rng: np.random.Generator) -> TaskSpec:
        for _ in range(self._edits):
            spec = self._family.moved(spec, mutated(self._family, dict(spec.context), rng, self._side))
        return spec

    def _moved(self, spec: TaskSpec, rng: np.random.Generator) -> TaskSpec:
        assert self._knobs is not None
        here: Floats = self._knobs.points([spec])[0]
        last = ""
        for _ in range(ATTEMPTS):
            try:
                return self._knobs.place(spec, np.clip(here + self._step * rng.standard_normal(len(here)), 0.0, 1.0))
            except TaskError as error:
                last = str(error)
        raise TaskError(f"quality-diversity: {ATTEMPTS} impossible steps in a row. The last: {last}")


def elite(elites: Cells, seed: np.random.SeedSequence, number: int) -> TaskSpec:
    """The elite that draw `number` gives, all of them alike."""
    luck = float(uniforms(seed, "parent", number, 1)[0])
    return elites.specs[int(luck * len(elites))]
