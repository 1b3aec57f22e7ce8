"""What the players of points in the plane share: ways to a goal when each coordinate moves at most so far a step."""

import torch
from torch import Tensor

from registry.errors import UserError


def told(descriptor: Tensor | None, player: str) -> Tensor:
    """The descriptor [B, D]. Raises `UserError` where there is none."""
    if descriptor is None:
        raise UserError(f"{player} needs the task's descriptor: collect with a batch that gives one")
    return descriptor


def nearest(goal: Tensor, position: Tensor, speed: float, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """[B, 2] action within `bounds`, lowest and highest, a move of `speed` times itself, that ends nearest to `goal`.

    Each coordinate goes by itself as fast as it can. Repeated, no walk is nearer to the goal at any time.
    """
    low, high = bounds
    return torch.minimum(torch.maximum((goal - position) / speed, low), high)


def straight(goal: Tensor, position: Tensor, speed: float) -> Tensor:
    """[B, 2] action in [-1, 1]^2, a move of `speed` times itself, straight to `goal` and not beyond it."""
    way = (goal - position) / speed
    return way / way.abs().amax(1, keepdim=True).clamp(min=1.0)
