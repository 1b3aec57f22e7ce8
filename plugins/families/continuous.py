"""What families of continuous control share: mutation of real-valued knobs, and a small canvas."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from taskgen.space import ContextSpace

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
GREY: Color = (190, 190, 190)
BLACK: Color = (40, 40, 40)
RED: Color = (200, 60, 50)
GREEN: Color = (60, 150, 70)
BLUE: Color = (60, 90, 180)
BROWN: Color = (170, 120, 80)

_SPREAD = 0.1
"""Standard deviation of a mutation, as a share of the knob's reach."""


def mutated(space: ContextSpace, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """`context` with Gaussian noise on every knob that varies, clipped to the knob's bounds.

    The noise has a tenth of the length of the knob's own variation.
    """
    child = dict(context)
    for name, knob in space.knobs.items():
        if knob.vary is not None:
            low, high = knob.vary.support(knob.default)
            value = np.asarray(context[name]) + rng.normal(0.0, _SPREAD * (high - low), knob.shape)
            child[name] = np.clip(value, knob.low, knob.high).tolist()
    return child


class Canvas:
    """An RGB frame of the square [-reach, reach]^2 around `centre`, y upwards."""

    def __init__(self, reach: float, centre: tuple[float, float] = (0.0, 0.0), size: int = 160) -> None:
        ticks = ((np.arange(size) + 0.5) / size * 2.0 - 1.0) * reach
        self._x, self._y = ticks[None, :] + centre[0], -ticks[:, None] + centre[1]
        self._pixel = 2.0 * reach / size
        self.frame = np.full((size, size, 3), 255, dtype=np.uint8)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """A filled disc, never smaller than two pixels."""
        radius = max(radius, 2.0 * self._pixel)
        self.frame[(self._x - x) ** 2 + (self._y - y) ** 2 <= radius**2] = color

    def ring(self, x: float, y: float, radius: float, color: Color) -> None:
        """A circle one pixel and a half wide."""
        distance = np.sqrt((self._x - x) ** 2 + (self._y - y) ** 2)
        self.frame[np.abs(distance - radius) <= 0.75 * self._pixel] = color

    def box(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """A filled rectangle around (x, y)."""
        self.frame[(np.abs(self._x - x) <= width / 2) & (np.abs(self._y - y) <= height / 2)] = color

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float, color: Color) -> None:
        """A segment with round ends, never thinner than a pixel and a half."""
        along = np.subtract(end, start)
        share = (self._x - start[0]) * along[0] + (self._y - start[1]) * along[1]
        share = np.clip(share / max(float(along @ along), 1e-12), 0.0, 1.0)
        distance = (self._x - start[0] - share * along[0]) ** 2 + (self._y - start[1] - share * along[1]) ** 2
        self.frame[distance <= max(width / 2, 0.75 * self._pixel) ** 2] = color
