"""`Knobs`: some numbers of a family's contexts as points of the unit cube. `Placed`: sources whose tasks they place."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from logging import getLogger
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from registry.config import Config, Part
from registry.errors import CheckpointError, ConfigError, TaskError, suggest
from taskgen.borders import asked
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.space import Knob
from taskgen.spec import TaskSpec, freeze
from taskgen.split import Side
from taskgen.streams import uniforms

Floats = NDArray[np.float64]
_log = getLogger(__name__)
_SHOWN = 8  # numbers whose means are reported; more would drown the rest


class Range(Config):
    """From `low` to `high`, both included."""

    low: float | None = Field(None, description="Lowest value.")
    high: float | None = Field(None, description="Highest value.")

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low is None and self.high is None:
            raise ValueError("a range needs low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}")
        return self

    def holds(self, values: ArrayLike) -> bool:
        """Whether all of `values` lie inside; an end that is left out is open."""
        numbers = np.asarray(values, dtype=np.float64)
        above = self.low is None or bool((numbers >= self.low).all())
        return above and (self.high is None or bool((numbers <= self.high).all()))

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"


class Knobs:
    """Knobs as a point [D] of the unit cube, 0 at the low and 1 at the high end; array knobs number by number.

    An end that is left out, or a range that is None, is that of the knob's own variation. Without `ranges` these are
    the knobs that vary by default, but for arrays of integers, whose numbers are rarely free of each other: that some
    are left out is said. Points stay on `side` of the family's split, where it has one. Raises `ConfigError` where
    nothing is left.
    """

    def __init__(
        self, ranges: Mapping[str, Range | None], family: TaskFamily[Any], where: str, side: Side | None = None
    ) -> None:
        self._family, self._side = family, side
        reaches = _reaches(ranges, family, where)
        free = [name for name, knob in family.context_space.knobs.items() if knob.vary is not None]
        if left := [name for name in free if not ranges and name not in reaches]:
            _remark(
                f"{where}: sets {', '.join(reaches)} alone; {', '.join(left)} vary too and stay as the source draws "
                "them. Name the knobs that it is to set in `ranges`"
            )
        self._knobs: dict[str, Knob] = {name: family.context_space.knobs[name] for name in reaches}
        self._sizes = [int(np.prod(knob.shape)) for knob in self._knobs.values()]
        ends = np.array([reaches[name] for name, size in zip(reaches, self._sizes, strict=True) for _ in range(size)])
        self.low, self.high = ends.T
        """[D] what 0 and 1 stand for."""
        self.names = [name for name, size in zip(self._knobs, self._sizes, strict=True) for _ in range(size)]
        """[D] the knob of every number."""
        self.labels = [
            f"{name}_{number}" if self._knobs[name].shape else name
            for name, size in zip(self._knobs, self._sizes, strict=True)
            for number in range(size)
        ]

    def points(self, specs: Sequence[TaskSpec]) -> Floats:
        """[N, D] where the tasks lie."""
        columns = [np.array([spec.context[name] for spec in specs], dtype=np.float64) for name in self._knobs]
        values = np.concatenate([column.reshape(len(specs), -1) for column in columns], axis=1)
        return (values - self.low) / (self.high - self.low)

    def default(self) -> Floats:
        """[D] where the family's defaults lie, inside the cube."""
        return np.clip(self.points([self._family.spec()])[0], 0.0, 1.0)

    def place(self, spec: TaskSpec, point: Floats) -> TaskSpec:
        """The complete task `spec` moved to `point`, with its reward; integers are rounded.

        Raises `TaskError` where the family has no such task.
        """
        values = np.clip(self.low * (1.0 - point) + self.high * point, self.low, self.high) + 0.0  # no -0.0
        numbers: list[Any] = values.tolist()
        moved: dict[str, Any] = {}
        start = 0
        for (name, knob), size in zip(self._knobs.items(), self._sizes, strict=True):
            part = numbers[start : start + size]
            part = [round(number) for number in part] if knob.integer else part
            moved[name] = freeze(np.reshape(part, knob.shape).tolist(), name) if knob.shape else part[0]
            start += size
        placed = self._family.moved(spec, {**spec.context, **moved})
        split = self._family.split
        if split is not None and self._side is not None and split.side(placed.context) != self._side:
            raise TaskError(f"{split.knob} = {placed.context[split.knob]} is not a {self._side} task ({split})")
        return placed


class PlacedConfig(Config):
    """Settings that all curricula over the knobs have."""

    source: Part = Field(
        Part(name="domain-randomization"),
        description="Where tasks come from, before their knobs are set.",
        json_schema_extra={"kind": SOURCES},
    )
    ranges: dict[str, Range] = Field(
        default={},
        description="The knobs that are set, with their limits; none: those that vary by default, over their reach.",
    )
    attempts: int = Field(1000, ge=1, description="Impossible tasks in a row before giving up.")


class Placed(Wrapper, ABC):
    """A `Curriculum` that sets knobs of its source's tasks.

    Candidate i is the source's task i, moved to a point chosen by row i of the curriculum's own uniforms; those that
    the family has no task for are passed over.
    """

    def __init__(
        self, config: PlacedConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence, extra: int
    ) -> None:
        """`extra` uniforms are used for every task beside one for every number that is set."""
        super().__init__({"source": config.source}, family=family, seed=seed)
        self._place = f"{type(self).__name__} over {family.name}"
        self.knobs = Knobs(config.ranges, family, self._place, self.side)
        self._seed = seed
        self._attempts = config.attempts
        self._columns = len(self.knobs.labels) + extra
        self._position = 0
        self._means: dict[str, float] = {}

    @abstractmethod
    def _choose(self, uniform: Floats) -> Floats:
        """A point [D] of the unit cube, from uniforms [D + extra] in [0, 1)."""

    def _given_out(self, spec: TaskSpec, uniform: Floats) -> None:
        """`spec` was placed by the choice that `uniform` stands for."""

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks. Raises `TaskError` when too many points in a row are impossible."""
        kept: list[TaskSpec] = []
        refused = 0
        while (wanted := n - len(kept)) > 0:
            first = self._position * self._columns
            rows = uniforms(self._seed, "points", first, wanted * self._columns).reshape(wanted, self._columns)
            self._position += wanted
            for spec, uniform in zip(asked(self.sources["source"], wanted), rows, strict=True):
                try:
                    placed = self.knobs.place(spec, self._choose(uniform))
                except TaskError as error:
                    if (refused := refused + 1) == self._attempts:
                        raise TaskError(
                            f"{self._place}: {refused} impossible tasks in a row. The last: {error}"
                        ) from None
                    continue
                refused = 0
                self._given_out(placed, uniform)
                kept.append(placed)
        return kept

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Keep what the knobs were in the mean."""
        super().tell(results)
        if results and len(self.knobs.labels) <= _SHOWN:
            means = self.knobs.points([result.spec for result in results]).mean(axis=0)
            values = self.knobs.low + means * (self.knobs.high - self.knobs.low)
            self._means = dict(zip(self.knobs.labels, values.tolist(), strict=True))

    def metrics(self) -> dict[str, float]:
        """Means of the knobs over the tasks of the last iteration."""
        return {**super().metrics(), **{f"tasks/mean_{name}": value for name, value in self._means.items()}}

    def state_dict(self) -> dict[str, Any]:
        """The number of candidates so far, beside the source."""
        return {**super().state_dict(), "position": self._position, "means": dict(self._means)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        position = state.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or position < 0:
            raise CheckpointError(f"state of {self._place}: position = {position!r}, expected an integer >= 0")
        super().load_state_dict(state)
        self._position, self._means = position, dict(state["means"])


@cache
def _remark(text: str) -> None:
    """Once: a source is built several times before a run."""
    _log.warning(text)


def performance(result: TaskResult) -> float:
    """Mean return of an episode in the reward that its task pays: comparable between trials of any length."""
    return sum(result.returns) / len(result.returns)


def _reaches(ranges: Mapping[str, Range | None], family: TaskFamily[Any], where: str) -> dict[str, tuple[float, float]]:
    """Ends of every knob that is set, in the family's order. Raises `ConfigError` with every problem."""
    knobs = family.context_space.knobs
    problems = [
        f"ranges: unknown context knob {name!r}. {suggest(name, knobs)}" for name in ranges if name not in knobs
    ]
    found: dict[str, tuple[float, float]] = {}
    for name, knob in knobs.items():
        own = (knob.low, knob.high) if knob.vary is None else knob.vary.support(knob.default)
        if name in ranges:
            wanted = ranges[name]
            low, high = (None, None) if wanted is None else (wanted.low, wanted.high)
            ends = (own[0] if low is None else low, own[1] if high is None else high)
            if not knob.low <= ends[0] < ends[1] <= knob.high:
                problems.append(
                    f"ranges.{name}: {ends[0]:g} to {ends[1]:g}; allowed are two different values from {knob.low:g} to "
                    f"{knob.high:g}"
                )
            found[name] = ends
        elif not ranges and knob.vary is not None and own[0] < own[1] and not (knob.integer and knob.shape):
            found[name] = own
    if not found and not problems:
        problems = [f"ranges: no knob of {family.name} varies by itself; name some of {', '.join(knobs)}"]
    if problems:
        raise ConfigError(problems, where)
    return found
