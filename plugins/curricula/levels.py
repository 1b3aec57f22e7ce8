"""`Levels`: the buffer of replay curricula, a fixed number of tasks with their scores; all bookkeeping in NumPy.

References: Jiang et al. 2021, "Prioritized Level Replay", sections 3.1-3.2 (prioritisation and staleness); Jiang et al.
2021, "Replay-Guided Adversarial Environment Design", algorithm 1 (eviction of the lowest score).

Axes: N levels, the first `len(levels)` of every array of `capacity` places; R results.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from registry.config import Config
from registry.errors import CheckpointError, TaskError
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Prioritisation = Literal["rank", "power"]

_COLUMNS: Mapping[str, type] = {
    "score": float,  # at the last play
    "result": float,  # mean return at the last play
    "best": float,  # largest return of an episode so far
    "played": int,  # time of the last play
    "replays": int,
    "generation": int,  # edits between the level and one that its source made
}


def replay_weights(
    score: Floats, age: Floats, prioritisation: Prioritisation, temperature: float, staleness: float
) -> Floats:
    """[N] probabilities (1 - rho) P_S + rho P_C of replaying each level.

    P_S is proportional to (1 / rank)^(1 / beta), rank 1 being the highest score and equal scores ranked in order, or
    to max(score, 0)^(1 / beta); P_C to `age`. Where all are zero, they are uniform.
    """
    if prioritisation == "rank":
        rank = np.empty(len(score))
        rank[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1)
        base = 1.0 / rank
    else:
        base = score.clip(min=0.0) / max(float(score.max()), 1e-300)
    return (1.0 - staleness) * _normalised(base ** (1.0 / temperature)) + staleness * _normalised(age)


def _normalised(weight: Floats) -> Floats:
    total = weight.sum()
    return weight / total if total > 0 else np.full(len(weight), 1.0 / len(weight))


class _Stored(Config):
    """Columns of levels as a checkpoint holds them, [N] each."""

    tasks: list[str] = Field([], description="Levels as JSON text.")
    score: list[float] = Field([], description="Score at the last play.")
    result: list[float] = Field([], description="Mean return at the last play.")
    best: list[float] = Field([], description="Largest return of an episode.")
    played: list[int] = Field([], description="Time of the last play.")
    replays: list[int] = Field([], description="Number of replays.")
    generation: list[int] = Field([], description="Edits away from a level of the source.")


class Levels:
    """At most `capacity` different levels. A level is known by its content, whatever object holds it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.specs: list[TaskSpec] = []
        self._columns = {name: np.zeros(capacity, dtype=kind) for name, kind in _COLUMNS.items()}
        self.ids: list[str] = []
        self._by_object: dict[int, int] = {}  # place by the id() of what `specs` holds
        self._by_seed: dict[int, dict[str, int]] = {}  # by seed, then by id: hashing content costs more than all else

    def __len__(self) -> int:
        return len(self.specs)

    def __getitem__(self, column: str) -> NDArray[Any]:
        """[N] a column, to be read or written."""
        return self._columns[column][: len(self)]

    def find(self, specs: Sequence[TaskSpec]) -> Places:
        """[R] the place of each level; -1 where it is not here."""
        places = self._by_object
        found = [places[key] if (key := id(spec)) in places else self._equal(spec) for spec in specs]
        return np.array(found, dtype=np.int64)

    def update(self, places: Places, time: int, *, score: Floats, result: Floats, best: Floats, replayed: bool) -> None:
        """Levels were played again; where one was played several times its score and result are the means."""
        unique, inverse, count = np.unique(places, return_inverse=True, return_counts=True)
        self._columns["score"][unique] = np.bincount(inverse, score) / count
        self._columns["result"][unique] = np.bincount(inverse, result) / count
        np.maximum.at(self._columns["best"], places, best)
        self._columns["played"][unique] = time
        self._columns["replays"][unique] += count * replayed

    def offer(
        self, specs: Sequence[TaskSpec], time: int, *, score: Floats, result: Floats, best: Floats, generation: Places
    ) -> Places:
        """[R] the places that new levels got, -1 for those that did not; of equal ones the first alone counts.

        While there is room all get one; then the best of them in turn replace the worst that are here, as long as
        their score is higher.
        """
        places = np.full(len(specs), -1, dtype=np.int64)
        worst = np.argsort(self["score"], kind="stable")
        lowest = self["score"][worst]
        evicted = 0
        for number in np.argsort(-score, kind="stable").tolist():
            full = len(self) == self.capacity
            if full and (evicted == len(worst) or score[number] <= lowest[evicted]):
                break
            spec, id_ = specs[number], specs[number].id
            if id_ not in self._by_seed.get(spec.seed, ()):
                places[number] = int(worst[evicted]) if full else len(self)
                self._put(int(places[number]), spec, id_)
                evicted += full
        self._begin(places, time, score=score, result=result, best=best, generation=generation)
        return places

    def _begin(self, places: Places, time: int, **new: Floats | Places) -> None:
        """What is known of the new levels that got `places`; -1 where one got none."""
        taken = places >= 0
        for name, values in new.items():
            self._columns[name][places[taken]] = values[taken]
        self._columns["played"][places[taken]] = time
        self._columns["replays"][places[taken]] = 0

    def state_dict(self) -> dict[str, Any]:
        """The levels as JSON text, and what is known of them."""
        return {"tasks": [spec.to_json() for spec in self.specs], **{name: self[name].tolist() for name in _COLUMNS}}

    def load_state_dict(self, state: object, family: TaskFamily[Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for what does not fit or is no task of `family`."""
        try:
            stored = _Stored.model_validate(state, strict=True)
            specs = [TaskSpec.from_json(text) for text in stored.tasks]
            for spec in specs:
                family.check(spec)
        except (TaskError, ValidationError) as error:
            raise CheckpointError(f"state of levels: {error}") from None
        columns = {name: getattr(stored, name) for name in _COLUMNS}
        if {len(values) for values in columns.values()} != {len(specs)} or len(specs) > self.capacity:
            raise CheckpointError(f"state of levels: expected columns of one length, at most {self.capacity}")
        ids = [spec.id for spec in specs]
        if len(set(ids)) < len(ids):
            raise CheckpointError("state of levels: a level is there twice")
        self.specs, self.ids, self._by_object, self._by_seed = [], [], {}, {}
        for place, (spec, id_) in enumerate(zip(specs, ids, strict=True)):
            self._put(place, spec, id_)
        for name, values in columns.items():
            self._columns[name][: len(self)] = values

    def _equal(self, spec: TaskSpec) -> int:
        """The place of a level of this content, or -1."""
        same_seed = self._by_seed.get(spec.seed)
        return same_seed.get(spec.id, -1) if same_seed else -1

    def _put(self, place: int, spec: TaskSpec, id_: str) -> None:
        if place == len(self.specs):
            self.specs.append(spec)
            self.ids.append(id_)
        else:
            old = self.specs[place]
            del self._by_object[id(old)], self._by_seed[old.seed][self.ids[place]]
            self.specs[place], self.ids[place] = spec, id_
        self._by_object[id(spec)] = place
        self._by_seed.setdefault(spec.seed, {})[id_] = place
