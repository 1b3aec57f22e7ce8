"""Which settings a sweep tries: every combination of values, or a sample of values and ranges.

    agent.learning_rate=1e-3,2e-3      two values
    agent.discount=0.9..1.0            a range; between whole numbers of whole numbers, both ends among them
    agent.learning_rate=log:1e-4..1e-2 a range of which every factor is as likely

Latin hypercubes: McKay, Beckman, Conover, "A comparison of three methods for selecting values of input variables in the
analysis of output from a computer code", Technometrics 21, 1979, by `scipy.stats.qmc`.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.errors import UserError

Search: TypeAlias = Literal["random", "latin"]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"(log:)?({_NUMBER})\.\.({_NUMBER})")
_PAIRS = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True)
class Axis:
    """A setting and what it may be."""

    key: str
    values: tuple[str, ...] = ()
    """As overrides have them; empty where it is a range."""
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    logarithmic: bool = False

    @property
    def text(self) -> str:
        """As it is given."""
        number = "{:.0f}..{:.0f}" if self.whole else "{!r}..{!r}"
        span = "log:" * self.logarithmic + number.format(self.low, self.high)
        return f"{self.key}={','.join(self.values) or span}"

    def at(self, share: float) -> str:
        """The value at `share` of the way through the axis, from 0 up to but not at 1."""
        if self.values:
            return self.values[int(share * len(self.values))]
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        value = low * (high / low) ** share if self.logarithmic else low + (high - low) * share
        return str(round(min(max(value, self.low), self.high))) if self.whole else repr(float(f"{value:.6g}"))


def axes(words: Sequence[str]) -> tuple[list[str], list[Axis]]:
    """Overrides of one value, which all runs share, and the axes among `words`, `key=...` each.

    Of several that all runs share the last one counts. Raises `UserError` for words that say nothing, a varied key that
    is given twice, a range that is none, seeds.
    """
    fixed: list[str] = []
    found: list[Axis] = []
    for word in words:
        key, equals, text = word.partition("=")
        key, text = key.strip(), text.strip()
        if key == "seed":
            raise UserError(f"{word!r}: the seeds of a sweep are given by --seeds, such as --seeds 0-4")
        span = _RANGE.fullmatch(text)
        values = () if span else split(text)
        if equals and not all(values):
            raise UserError(f"{word!r}: a value is missing; expected key=a,b,c, or key=lo..hi with --samples")
        if span:
            found.append(_range(key, word, span))
        elif len(values) > 1:
            found.append(Axis(key, tuple(values)))
        else:
            fixed.append(word)
    keys = [word.partition("=")[0].strip() for word in words]
    if twice := [axis.key for axis in found if keys.count(axis.key) > 1]:
        raise UserError(f"{twice[0]} is given twice: give all its values in one word, key=a,b,c")
    return fixed, found


def split(text: str) -> list[str]:
    """The values between the commas of `text` that stand in no brackets and no quotes."""
    values, ends, quote = [""], [], ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in _PAIRS:
            ends.append(_PAIRS[sign])
        elif ends and sign == ends[-1]:
            ends.pop()
        if sign == "," and not ends and not quote:
            values.append("")
        else:
            values[-1] += sign
    return [value.strip() for value in values]


def _range(key: str, word: str, span: re.Match[str]) -> Axis:
    logarithmic, low, high = bool(span[1]), float(span[2]), float(span[3])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"{word!r}: a range leads from a lower to a higher number")
    if logarithmic and low <= 0:
        raise UserError(f"{word!r}: a range of factors begins above 0")
    whole = all(re.fullmatch(r"[+-]?\d+", end) for end in (span[2], span[3]))
    return Axis(key, (), low, high, whole, logarithmic)


def combinations(found: Sequence[Axis]) -> list[tuple[str, ...]]:
    """Overrides of every combination of values, the last axis fastest. Raises `UserError` for a range among them."""
    if spans := [axis.text for axis in found if not axis.values]:
        raise UserError(f"{', '.join(spans)} is a range, which is sampled: say how often with --samples")
    return [
        tuple(f"{axis.key}={value}" for axis, value in zip(found, values, strict=True))
        for values in itertools.product(*(axis.values for axis in found))
    ]


def sampled(found: Sequence[Axis], samples: int, search: Search, seed: int) -> list[tuple[str, ...]]:
    """Overrides of so many points of the `found` axes; the same ones for the same `seed`.

    Latin hypercube sampling cuts every axis into as many parts as there are samples and takes each part once.
    Raises `UserError` where there is nothing to sample.
    """
    if not found:
        raise UserError("--samples: nothing varies; give values or ranges, such as agent.learning_rate=log:1e-4..1e-2")
    points = _points(len(found), samples, search, seed)
    return [tuple(f"{axis.key}={axis.at(x)}" for axis, x in zip(found, row, strict=True)) for row in points.tolist()]


def _points(axes: int, samples: int, search: Search, seed: int) -> NDArray[np.float64]:
    """[samples, axes] in [0, 1)."""
    generator = np.random.default_rng(seed)
    if search == "random":
        return generator.random((samples, axes))
    from scipy.stats import qmc  # half a second to import

    return np.asarray(qmc.LatinHypercube(axes, rng=generator).random(samples), dtype=np.float64)


def numbers(text: str) -> list[int]:
    """Seeds as the command line has them: `0-4`, `0,3,7`, `0-2,8`. Raises `UserError` for other text or one twice."""
    seeds: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if ends is None or int(ends[2] or ends[1]) < int(ends[1]):
            raise UserError(f"--seeds {text!r}: expected numbers such as 0-4 or 0,3,7")
        seeds += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text!r}: a seed is there twice")
    return seeds
