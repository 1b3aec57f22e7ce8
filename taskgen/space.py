"""Context spaces: the knobs of a task family, each with bounds, default, unit and a line of help."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from registry.errors import TaskError, brief, suggest
from taskgen.spec import JsonValue
from taskgen.variation import Variation


def readable(value: object) -> str:
    """A value of a context for people: four digits of every number, whole numbers whole."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        items = cast(Mapping[str, object], value).items()
        return "{" + ", ".join(f"{name}: {readable(item)}" for name, item in items) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(readable, cast(Sequence[object], value))) + "]"
    return str(value)


@dataclass(frozen=True, slots=True)
class Knob:
    """One free parameter of a task: a number, or an array of numbers of fixed shape, with finite bounds."""

    low: float
    high: float
    default: float
    help: str
    unit: str = ""
    shape: tuple[int, ...] = ()
    integer: bool = False
    vary: Variation | None = None
    """The distribution tasks are drawn from when nothing else is said; None keeps the default."""
    ordered: bool = False
    """Whether the values along the last axis ascend, such as the two ends of a range; the family refuses others."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.default <= self.high):
            raise ValueError(f"a knob needs finite low <= default <= high, not {self.low}, {self.default}, {self.high}")

    def check(self, name: str, value: object) -> JsonValue:
        """`value` as plain JSON of the knob's shape and type. Raises `TaskError` with the place, value and range."""
        return self._check(name, value, self.shape)

    def default_value(self) -> JsonValue:
        """The default, repeated to the knob's shape."""
        value: Any = int(self.default) if self.integer else float(self.default)
        for size in reversed(self.shape):
            value = (value,) * size
        return value

    def _check(self, name: str, value: object, shape: tuple[int, ...]) -> JsonValue:
        if shape:
            if (
                not isinstance(value, (tuple, Sequence))
                or isinstance(value, str)
                or len(cast(Sequence[Any], value)) != shape[0]
            ):
                raise TaskError(f"{name} = {brief(cast(object, value))}: expected a list of {shape[0]} values")
            items = cast(Sequence[Any], value)
            if len(shape) == 1 and self._all_right(items):
                return tuple(items) if self.integer or 0.0 not in items else tuple(item + 0.0 for item in items)
            return tuple(self._check(f"{name}[{i}]", item, shape[1:]) for i, item in enumerate(items))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TaskError(f"{name} = {brief(value)}: expected {'an integer' if self.integer else 'a number'}")
        if self.integer and isinstance(value, float) and not value.is_integer():
            raise TaskError(f"{name} = {brief(value)}: expected an integer")
        if not self.low <= value <= self.high:
            unit = f" {self.unit}" if self.unit else ""
            raise TaskError(f"{name} = {brief(value)}: allowed range is {self.low:g} to {self.high:g}{unit}")
        return int(value) if self.integer else float(value) + 0.0  # no -0.0: equal tasks have equal ids

    def _all_right(self, items: Sequence[Any]) -> bool:
        """Whether all `items` are of the knob's type and within its bounds, at a fraction of a look at each."""
        alike = set(map(type, items)) == {int if self.integer else float}
        finite = alike and (self.integer or math.isfinite(sum(items)))
        return finite and self.low <= min(items) and max(items) <= self.high


@dataclass(frozen=True, slots=True)
class ContextSpace:
    """All knobs of a family by name."""

    knobs: Mapping[str, Knob] = field(default_factory=dict[str, Knob])

    def complete(self, context: Mapping[str, object]) -> dict[str, JsonValue]:
        """`context` checked, with defaults filled in. Raises `TaskError` naming the knob and the nearest known one."""
        for name in context:
            if name not in self.knobs:
                raise TaskError(f"unknown context knob {name!r}. {suggest(name, self.knobs)}")
        return {
            name: knob.check(name, context[name]) if name in context else knob.default_value()
            for name, knob in self.knobs.items()
        }

    def scaled(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[D] every number of the complete `context`, in order, from 0 at its knob's lowest to 1 at its highest value.

        0 where a knob has one value.
        """
        parts = [
            (np.asarray(context[name], dtype=np.float64).ravel() - knob.low) / ((knob.high - knob.low) or 1.0)
            for name, knob in self.knobs.items()
        ]
        return np.concatenate([np.zeros(0), *parts])
