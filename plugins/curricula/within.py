"""Within: of a source's tasks those whose knobs, or features, lie in given ranges."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from plugins.curricula.filtered import FilterConfig, Filtered
from registry.config import Config
from registry.errors import ConfigError, suggest
from taskgen.family import Describable, TaskFamily
from taskgen.spec import TaskSpec


class Range(Config):
    """From `low` to `high`, both included; an end that is left out is open."""

    low: float | None = Field(None, description="Lowest value; left out: any.")
    high: float | None = Field(None, description="Highest value; left out: any.")

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low is None and self.high is None:
            raise ValueError("a range needs low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}")
        return self

    def holds(self, values: ArrayLike) -> bool:
        """Whether all of `values` lie inside."""
        numbers = np.asarray(values, dtype=np.float64)
        above = self.low is None or bool((numbers >= self.low).all())
        return above and (self.high is None or bool((numbers <= self.high).all()))

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"


class WithinConfig(FilterConfig):
    """Settings of `Within`."""

    knobs: dict[str, Range] = Field(default={}, description="Range of a knob; of an array, of each of its numbers.")
    descriptor: dict[str, Range] = Field(
        default={}, description="Range of a feature of the family's descriptor, by its number from 0."
    )


class Within(Filtered):
    """A `Curriculum`. Raises `ConfigError` for knobs and features that the family does not have."""

    def __init__(self, config: WithinConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, family=family, seed=seed)
        self._family = family
        self._knobs = config.knobs
        problems = [*_knob_problems(config.knobs, family), *_feature_problems(config.descriptor, family)]
        if problems:
            raise ConfigError(problems, f"within over {family.name}")
        self._features = {int(number): wanted for number, wanted in config.descriptor.items()}

    def _problem(self, spec: TaskSpec) -> str | None:
        for name, wanted in self._knobs.items():
            if not wanted.holds(spec.context[name]):  # type: ignore[arg-type]
                return f"{name} = {spec.context[name]!r}, wanted {wanted}"
        if self._features:
            assert isinstance(self._family, Describable)
            found = self._family.descriptor(spec.context)
            for number, wanted in self._features.items():
                if not wanted.holds(found[number]):
                    return f"descriptor[{number}] = {found[number]:g}, wanted {wanted}"
        return None


def _knob_problems(ranges: Mapping[str, Range], family: TaskFamily[Any]) -> list[str]:
    knobs = family.context_space.knobs
    problems = [f"unknown context knob {name!r}. {suggest(name, knobs)}" for name in ranges if name not in knobs]
    for name, wanted in ranges.items():
        if name in knobs:
            low, high = knobs[name].low, knobs[name].high
            if (wanted.low is not None and wanted.low > high) or (wanted.high is not None and wanted.high < low):
                problems.append(f"knobs.{name}: {wanted} is beyond the knob's own range, {low:g} to {high:g}")
    return problems


def _feature_problems(ranges: Mapping[str, Range], family: TaskFamily[Any]) -> list[str]:
    if not ranges:
        return []
    if not isinstance(family, Describable):
        return [f"descriptor: {family.name} describes its tasks by no features; give ranges of its knobs"]
    size = len(family.descriptor(family.spec().context))
    return [
        f"descriptor.{name}: no such feature; {family.name} has those numbered 0 to {size - 1}"
        for name in ranges
        if not (name.isdecimal() and int(name) < size)
    ]
