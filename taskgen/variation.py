"""Variations: distributions of knob values that are data, written as JSON or TOML.

    gravity = { kind = "uniform", low = 5.0, high = 15.0 }
    mass = { kind = "product", of = ["original", { kind = "log-uniform", low = 0.5, high = 2.0 }] }
    friction = 0.8

A plain number is a constant and "original" is the knob's default, so `1.1 * Original()` in Python and
`{"kind": "product", "of": [1.1, "original"]}` in a file are one and the same. Every variation maps independent uniforms
to values by its quantile function: a value depends on its own uniforms only, never on how many are drawn at once.
"""

from abc import ABC, abstractmethod
from functools import reduce
from operator import add, mul, sub
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_serializer, model_validator

from registry.config import Config

Floats = NDArray[np.float64]
_FLAT_TAIL = 1e-290  # below this probability mass a truncated normal has no accurate quantiles left


class Distribution(Config, ABC):
    """Base of every variation: a distribution over numbers with bounded support."""

    @property
    def uniforms(self) -> int:
        """How many uniforms one value takes."""
        return 1

    @abstractmethod
    def quantile(self, u: Floats, original: float) -> Floats:
        """Values [...] float64 for uniforms `u` [..., uniforms] in [0, 1); `original` is the knob's default."""

    @abstractmethod
    def support(self, original: float) -> tuple[float, float]:
        """Lowest and highest value that can come out."""

    @abstractmethod
    def integral(self, original: float) -> bool:
        """Whether only integers come out."""

    def __add__(self, other: "Distribution | float") -> "Sum":
        return Sum(of=(_node(self), _node(other)))

    def __radd__(self, other: float) -> "Sum":
        return Sum(of=(_node(other), _node(self)))

    def __sub__(self, other: "Distribution | float") -> "Difference":
        return Difference(of=(_node(self), _node(other)))

    def __rsub__(self, other: float) -> "Difference":
        return Difference(of=(_node(other), _node(self)))

    def __mul__(self, other: "Distribution | float") -> "Product":
        return Product(of=(_node(self), _node(other)))

    def __rmul__(self, other: float) -> "Product":
        return Product(of=(_node(other), _node(self)))


class Constant(Distribution):
    """Always the same value; a plain number in a file."""

    kind: Literal["constant"] = "constant"
    value: float = Field(description="The value.")

    @property
    def uniforms(self) -> int:
        return 0

    def quantile(self, u: Floats, original: float) -> Floats:
        return np.full(u.shape[:-1], self.value)

    def support(self, original: float) -> tuple[float, float]:
        return self.value, self.value

    def integral(self, original: float) -> bool:
        return self.value.is_integer()

    @model_serializer
    def _short(self) -> float:
        return self.value


class Original(Distribution):
    """The knob's own default; the word "original" in a file."""

    kind: Literal["original"] = "original"

    @property
    def uniforms(self) -> int:
        return 0

    def quantile(self, u: Floats, original: float) -> Floats:
        return np.full(u.shape[:-1], float(original))

    def support(self, original: float) -> tuple[float, float]:
        return original, original

    def integral(self, original: float) -> bool:
        return float(original).is_integer()

    @model_serializer
    def _short(self) -> str:
        return "original"


class _Range(Distribution):
    """A distribution over the reals from `low` to `high`."""

    low: float = Field(description="Lowest value.")
    high: float = Field(description="Highest value.")

    @model_validator(mode="after")
    def _ordered(self) -> "_Range":
        if self.low > self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}")
        return self

    def support(self, original: float) -> tuple[float, float]:
        return self.low, self.high

    def integral(self, original: float) -> bool:
        return self.low == self.high and self.low.is_integer()


class Uniform(_Range):
    """Uniform from `low` to `high`."""

    kind: Literal["uniform"] = "uniform"

    def quantile(self, u: Floats, original: float) -> Floats:
        return np.clip(self.low * (1.0 - u[..., 0]) + self.high * u[..., 0], self.low, self.high)


class LogUniform(_Range):
    """The logarithm is uniform from log `low` to log `high`; `low` is above 0."""

    kind: Literal["log-uniform"] = "log-uniform"

    @model_validator(mode="after")
    def _positive(self) -> "LogUniform":
        if self.low <= 0.0:
            raise ValueError(f"low = {self.low:g}: a log-uniform variation needs low > 0")
        return self

    def quantile(self, u: Floats, original: float) -> Floats:
        low, high = np.log(self.low), np.log(self.high)
        return np.clip(np.exp(low * (1.0 - u[..., 0]) + high * u[..., 0]), self.low, self.high)


class TruncatedNormal(_Range):
    """Normal with `mean` and `std`, conditioned on lying from `low` to `high`."""

    kind: Literal["truncated-normal"] = "truncated-normal"
    mean: float = Field(description="Mean before truncation.")
    std: float = Field(gt=0.0, description="Standard deviation before truncation.")

    @model_validator(mode="after")
    def _has_mass(self) -> "TruncatedNormal":
        if self.low < self.high and self._tails()[1] - self._tails()[0] < _FLAT_TAIL:
            raise ValueError(f"{self.low:g} to {self.high:g} lies too far from mean = {self.mean:g} (std {self.std:g})")
        return self

    def _tails(self) -> tuple[float, float, float]:
        """Probabilities below both ends, and the sign that mirrors the interval to where they are accurate."""
        from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]

        ends = (self.low - self.mean) / self.std, (self.high - self.mean) / self.std
        sign = -1.0 if ends[0] > 0.0 else 1.0
        below = sorted(float(ndtr(sign * end)) for end in ends)
        return below[0], below[1], sign

    def quantile(self, u: Floats, original: float) -> Floats:
        from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]

        low, high, sign = self._tails()
        share = u[..., 0] if sign > 0.0 else 1.0 - u[..., 0]
        values = self.mean + sign * self.std * ndtri(low * (1.0 - share) + high * share)
        return np.clip(values, self.low, self.high)


class Choice(Distribution):
    """One of `values`, equally likely unless `weights` says otherwise."""

    kind: Literal["choice"] = "choice"
    values: tuple[float, ...] = Field(min_length=1, description="The values to choose from.")
    weights: tuple[Annotated[float, Field(ge=0.0)], ...] = Field(
        default=(), description="Relative frequency of each value; empty for equal ones."
    )

    @model_validator(mode="after")
    def _weighted(self) -> "Choice":
        if self.weights and len(self.weights) != len(self.values):
            raise ValueError(f"{len(self.weights)} weights for {len(self.values)} values")
        if self.weights and not (0.0 < sum(self.weights) < float("inf")):
            raise ValueError("the weights must have a positive, finite sum")
        return self

    def _possible(self) -> list[float]:
        return [value for value, weight in zip(self.values, self.weights, strict=True) if weight > 0.0]

    def quantile(self, u: Floats, original: float) -> Floats:
        cumulative = np.cumsum(self.weights or np.ones(len(self.values)))
        index = np.searchsorted(cumulative / cumulative[-1], u[..., 0], side="right")
        return np.asarray(self.values, dtype=np.float64)[index]

    def support(self, original: float) -> tuple[float, float]:
        possible = self._possible() if self.weights else self.values
        return min(possible), max(possible)

    def integral(self, original: float) -> bool:
        return all(value.is_integer() for value in self.values)


class IntegerRange(Distribution):
    """The integers from `low` to `high`, both included, equally likely."""

    kind: Literal["integer-range"] = "integer-range"
    low: int = Field(ge=-(2**52), le=2**52, description="Lowest integer.")
    high: int = Field(ge=-(2**52), le=2**52, description="Highest integer, included.")

    @model_validator(mode="after")
    def _ordered(self) -> "IntegerRange":
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self

    def quantile(self, u: Floats, original: float) -> Floats:
        values = np.floor(self.low + u[..., 0] * (self.high - self.low + 1))
        return np.minimum(values, float(self.high))

    def support(self, original: float) -> tuple[float, float]:
        return float(self.low), float(self.high)

    def integral(self, original: float) -> bool:
        return True


class _Arithmetic(Distribution):
    """A combination of independent parts, each with its own uniforms."""

    of: tuple["Variation", ...] = Field(min_length=1, description="The parts: variations, numbers or 'original'.")

    @property
    def uniforms(self) -> int:
        return sum(part.uniforms for part in self.of)

    def integral(self, original: float) -> bool:
        return all(part.integral(original) for part in self.of)

    def _values(self, u: Floats, original: float) -> list[Floats]:
        ends = np.cumsum([part.uniforms for part in self.of])
        return [
            part.quantile(u[..., end - part.uniforms : end], original) for part, end in zip(self.of, ends, strict=True)
        ]


class Sum(_Arithmetic):
    """The sum of its parts."""

    kind: Literal["sum"] = "sum"

    def quantile(self, u: Floats, original: float) -> Floats:
        return reduce(add, self._values(u, original))

    def support(self, original: float) -> tuple[float, float]:
        parts = [part.support(original) for part in self.of]
        return reduce(add, (low for low, _ in parts)), reduce(add, (high for _, high in parts))


class Difference(_Arithmetic):
    """The first part less all others."""

    kind: Literal["difference"] = "difference"

    def quantile(self, u: Floats, original: float) -> Floats:
        return reduce(sub, self._values(u, original))

    def support(self, original: float) -> tuple[float, float]:
        (low, high), *rest = [part.support(original) for part in self.of]
        return reduce(sub, (most for _, most in rest), low), reduce(sub, (least for least, _ in rest), high)


class Product(_Arithmetic):
    """The product of its parts."""

    kind: Literal["product"] = "product"

    def quantile(self, u: Floats, original: float) -> Floats:
        return reduce(mul, self._values(u, original))

    def support(self, original: float) -> tuple[float, float]:
        low, high = 1.0, 1.0
        for least, most in (part.support(original) for part in self.of):
            corners = low * least, low * most, high * least, high * most
            low, high = min(corners), max(corners)
        return low, high


class Change(Config):
    """A knob's own variation with some of its settings replaced; a table without `kind` in a file."""

    kind: Literal["change"] = "change"
    low: float | None = Field(None, description="New lowest value.")
    high: float | None = Field(None, description="New highest value.")
    mean: float | None = Field(None, description="New mean before truncation.")
    std: float | None = Field(None, description="New standard deviation before truncation.")
    values: tuple[float, ...] | None = Field(None, description="New values to choose from.")
    weights: tuple[float, ...] | None = Field(None, description="New relative frequencies.")
    of: tuple["Variation", ...] | None = Field(None, description="New parts.")

    def apply(self, own: "Variation | None") -> Any:
        """The changed variation in plain values, yet to be checked. `own` is the knob's own variation."""
        settings: Any = None if own is None else own.model_dump()
        if not isinstance(settings, dict):  # none, a constant or the original: there is nothing to change
            settings = {}
        return {**cast(dict[str, Any], settings), **self.model_dump(exclude_none=True, exclude={"kind"})}


def _expand(value: Any) -> Any:
    """The long form of a plain number or of the word "original"."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"kind": "constant", "value": value}
    if isinstance(value, (bool, str)) and value != "original":
        raise ValueError("expected a number, 'original', or a table such as {kind = \"uniform\", low = 0, high = 1}")
    if isinstance(value, dict):  # pydantic no longer knows that the lists inside came from JSON, and wants tuples
        items = cast(dict[str, Any], value).items()
        return {key: tuple(cast(list[Any], item)) if isinstance(item, list) else item for key, item in items}
    return {"kind": "original"} if isinstance(value, str) else value


def _expand_change(value: Any) -> Any:
    """The same, and a table without `kind` as a change."""
    if isinstance(value, dict) and "kind" not in value:
        value = {"kind": "change", **cast(dict[str, Any], value)}
    return _expand(value)


_Kind = (
    Constant | Original | Uniform | LogUniform | TruncatedNormal | Choice | IntegerRange | Sum | Difference | Product
)
if TYPE_CHECKING:
    Variation = _Kind
    VariationOrChange = _Kind | Change
else:
    Variation = Annotated[_Kind, Field(discriminator="kind"), BeforeValidator(_expand)]
    """Any variation, as a field type: reads the long forms and the short ones."""
    VariationOrChange = Annotated[_Kind | Change, Field(discriminator="kind"), BeforeValidator(_expand_change)]
    """Any variation, or a change of the knob's own."""


def _node(value: "Distribution | float") -> "Variation":
    if isinstance(value, _Kind):
        return value
    if isinstance(value, Distribution):
        raise TypeError(f"{type(value).__name__} is not one of the variations")
    return Constant(value=value)


for _recursive in (Sum, Difference, Product, Change):
    _recursive.model_rebuild()


def reach_problem(
    name: str, variation: "Variation", original: float, bounds: tuple[float, float], *, integer: bool = False
) -> str | None:
    """Why `variation` does not fit a knob, naming knob, reach and allowed range; None when it fits."""
    low, high = variation.support(original)
    if not bounds[0] <= low <= high <= bounds[1]:
        return f"{name} would vary from {low:g} to {high:g}; allowed range is {bounds[0]:g} to {bounds[1]:g}"
    if integer and not variation.integral(original):
        return (
            f"{name} takes integers, but its {variation.kind} variation gives others; use an integer-range or a choice"
        )
    return None
