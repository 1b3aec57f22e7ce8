"""Within: of a source's tasks those whose knobs, or features, lie in given ranges."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from plugins.curricula.filtered import FilterConfig, Filtered
from plugins.curricula.knobs import Range
from registry.errors import ConfigError, suggest
from taskgen.family import Describable, TaskFamily
from taskgen.spec import TaskSpec


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
