"""CMA-ME: emitters that search the knobs by CMA-ES, ranked by what they add to an archive of elites.

    x_i ~ N(m, sigma^2 C),  i = 1 ... lambda
    ranked: new cells first, by score; then improved ones, by improvement; parents are those that got a place
    no parent: the search begins anew at an elite drawn evenly

CMA-ES itself is pyribs': `ribs.emitters.opt.CMAEvolutionStrategy`. Its random numbers come of a generator that is set
at the beginning of every generation, so that what it drew is drawn again after a stop, to the bit; its mean, step size,
paths and covariance are written down. pyribs' archives and emitters are not used: they hold vectors, not tasks, draw
parents from a stream that they keep to themselves, and have no state but by pickling. DEAP's CMA-ES draws from NumPy's
global generator.

Reference: Fontaine, Togelius, Nikolaidis and Hoover 2020, "Covariance Matrix Adaptation for the Rapid Illumination of
Behavior Space", section 3 (improvement emitter).

Differences from the paper: there are as many searches at a time as rounds have children for; points beyond the knobs'
ends are moved to the ends; what is no task, or was not told when its generation ends, counts as without a place.

Axes: D numbers of the knobs, L = lambda children of a generation.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from plugins.curricula.cells import Cells
from plugins.curricula.emitters import ATTEMPTS, Child, Verdict, elite
from plugins.curricula.knobs import Floats, Knobs
from registry.config import Config
from registry.errors import CheckpointError, TaskError, UserError
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec
from taskgen.streams import child

_VECTORS, _MATRICES = ("mean", "pc", "ps"), ("cov", "eigenbasis", "invsqrt")
_Ranks = list[tuple[int, float]]


class _Standing(Config):
    """A search as a checkpoint holds it."""

    base: str = Field(description="The elite that it began at, as JSON text.")
    generation: int = Field(ge=0, description="Generations so far, over all its beginnings.")
    given: int = Field(ge=0, description="Points of the generation that were asked for.")
    verdicts: _Ranks = Field(description="[L] status and value of each point so far.")
    numbers: dict[str, float] = Field(description="Step size, evaluations, evaluation of the last decomposition.")
    vectors: dict[str, list[float]] = Field(description="[D] each.")
    matrices: dict[str, list[list[float]]] = Field(description="[D, D] each.")


class _Stored(Config):
    searches: list[_Standing] = Field(description="In the order in which they began.")
    begun: int = Field(ge=0, description="Beginnings of searches so far.")


class Search:
    """One emitter: CMA-ES from a point on."""

    def __init__(self, base: TaskSpec, number: int, emitter: "CmaMe") -> None:
        self.base, self.number, self._emitter = base, number, emitter
        self.generation = -1
        self.luck = np.random.Generator(np.random.PCG64())
        self.strategy = emitter.strategy(self.luck)
        self.strategy.reset(emitter.knobs.points([base])[0])
        self.begin()

    def begin(self) -> None:
        """The next generation."""
        self.generation += 1
        self.given = 0
        self.verdicts: _Ranks = [(0, 0.0)] * self._emitter.size
        self.draw()

    def draw(self) -> None:
        """The points [L, D] of the generation: a function of where the search stands."""
        self.luck.bit_generator.state = np.random.PCG64(self._emitter.stream(self.number, self.generation)).state
        self.points: Floats = self.strategy.ask()

    def close(self) -> bool:
        """Learn from the generation; whether the search is over."""
        ranks = np.array(self.verdicts, dtype=np.float64)  # [L, 2]
        order = np.lexsort((-ranks[:, 1], -ranks[:, 0]))
        parents = int((ranks[:, 0] > 0).sum())
        self.strategy.tell(order, ranks, parents)
        return not parents or bool(self.strategy.check_stop(ranks[order]))


class CmaMe:
    """An `Emitter`. Raises `UserError` where pyribs is not installed."""

    def __init__(
        self, family: TaskFamily[Any], knobs: Knobs, seed: np.random.SeedSequence, *, size: int, step: float
    ) -> None:
        self._strategies = _strategies()
        self._family, self.knobs, self._seed, self.size, self._step = family, knobs, seed, size, step
        self._searches: list[Search] = []
        self._begun = 0

    def ask(self, elites: Cells) -> Child:
        """The next child. Raises `TaskError` where too many points in a row are what is no task."""
        last = ""
        for _ in range(ATTEMPTS):
            place = next((i for i, search in enumerate(self._searches) if search.given < self.size), None)
            if place is None:
                place = len(self._searches)
                self._searches.append(Search(self._elite(elites), place, self))
            search = self._searches[place]
            row, search.given = search.given, search.given + 1
            try:
                spec = self.knobs.place(search.base, np.clip(search.points[row], 0.0, 1.0))
                return Child(spec, search.base, place * self.size + row)
            except TaskError as error:
                last = str(error)
        raise TaskError(f"quality-diversity: {ATTEMPTS} impossible points in a row. The last: {last}")

    def tell(self, verdicts: Sequence[Verdict], elites: Cells) -> None:
        """Searches of which all points were asked for learn from them."""
        for verdict in verdicts:
            place, row = divmod(verdict.number, self.size)
            self._searches[place].verdicts[row] = (verdict.status, verdict.value)
        for search in self._searches:
            if search.given == self.size:
                if search.close():
                    search.base = self._elite(elites)
                    search.strategy.reset(self.knobs.points([search.base])[0])
                search.begin()

    def parents(self) -> list[TaskSpec]:
        """Where the searches began."""
        return [search.base for search in self._searches]

    def strategy(self, luck: np.random.Generator) -> Any:
        """CMA-ES over the knobs, which draws from `luck`."""
        kind = self._strategies.CMAEvolutionStrategy
        return kind(sigma0=self._step, solution_dim=len(self.knobs.labels), batch_size=self.size, seed=luck)

    def stream(self, search: int, generation: int) -> np.random.SeedSequence:
        """Of the points of a generation."""
        return child(self._seed, "generation", search, generation)

    def state_dict(self) -> dict[str, Any]:
        """Where every search stands."""
        return {"begun": self._begun, "searches": [_written(search) for search in self._searches]}

    def load_state_dict(self, state: Any) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for what does not fit or is no task of the family."""
        try:
            stored = _Stored.model_validate(state)
            self._searches = [self._read(number, one) for number, one in enumerate(stored.searches)]
        except (TaskError, ValidationError, KeyError, ValueError) as error:
            raise CheckpointError(f"state of cma-me: {error}") from None
        self._begun = stored.begun

    def _elite(self, elites: Cells) -> TaskSpec:
        self._begun += 1
        return elite(elites, self._seed, self._begun - 1)

    def _read(self, number: int, stored: _Standing) -> Search:
        base = TaskSpec.from_json(stored.base)
        self._family.check(base)
        search, size = Search(base, number, self), len(self.knobs.labels)
        if len(stored.verdicts) != self.size or stored.given > self.size:
            raise ValueError(f"{len(stored.verdicts)} verdicts, {stored.given} given, of {self.size} points")
        strategy = search.strategy
        for name in _VECTORS:
            setattr(strategy, name, np.array(stored.vectors[name]).reshape(size))
        for name in _MATRICES:
            setattr(strategy.cov, name, np.array(stored.matrices[name]).reshape(size, size))
        values = strategy.cov.eigenvalues = np.array(stored.vectors["eigenvalues"]).reshape(size)
        strategy.cov.condition_number = values.max() / values.min()
        strategy.sigma, strategy.current_eval = stored.numbers["sigma"], int(stored.numbers["evaluations"])
        strategy.cov.updated_eval = int(stored.numbers["decomposed"])
        search.generation, search.given, search.verdicts = stored.generation, stored.given, list(stored.verdicts)
        search.draw()
        return search


def _written(search: Search) -> dict[str, Any]:
    strategy, cov = search.strategy, search.strategy.cov
    numbers = {"sigma": strategy.sigma, "evaluations": strategy.current_eval, "decomposed": cov.updated_eval}
    vectors = {name: getattr(strategy, name) for name in _VECTORS} | {"eigenvalues": cov.eigenvalues}
    return {
        "base": search.base.to_json(),
        "generation": search.generation,
        "given": search.given,
        "verdicts": [list(verdict) for verdict in search.verdicts],
        "numbers": {name: float(value) for name, value in numbers.items()},
        "vectors": {name: vector.tolist() for name, vector in vectors.items()},
        "matrices": {name: getattr(cov, name).tolist() for name in _MATRICES},
    }


def _strategies() -> Any:
    """pyribs' evolution strategies. Raises `UserError` where it is not installed."""
    try:
        return import_module("ribs.emitters.opt")
    except ImportError:
        raise UserError("cma-me needs pyribs, which is not installed: pip install 'taskgen-metarl[qd]'") from None
