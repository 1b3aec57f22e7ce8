"""`Design`: how tasks of a family are made placement by placement; `taskgen.engines.design` makes them.

Axes: B designs, W numbers of a design under way, U uniforms that a design begins with, F features that a teacher sees.
"""

from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym

if TYPE_CHECKING:
    from torch import Tensor


class Design(Protocol):
    """How tasks of a family are made: pure functions of tensors, on any device."""

    placements: int
    """Placements that make a task."""
    action_space: gym.Space[Any]
    """Of one placement: Discrete, or a Box with one axis."""
    features: int
    """F, the width of what a teacher sees of a design under way."""
    uniforms: int
    """U, numbers in (0, 1) that decide what the teacher does not."""

    def blank(self, uniform: "Tensor") -> "Tensor":
        """Designs [B, W] float32 with nothing placed yet, from `uniform` [B, U]."""
        ...

    def place(self, design: "Tensor", turn: "Tensor", action: "Tensor") -> "Tensor":
        """`design` [B, W] after the placement `action` [B, ...], which is number `turn` [B] int64 of its design."""
        ...

    def observe(self, design: "Tensor") -> "Tensor":
        """[B, F] float32 in [0, 1]."""
        ...

    def context(self, design: "Tensor") -> dict[str, Any]:
        """The knobs of the task that a complete `design` [W] is. The family may yet refuse it."""
        ...
