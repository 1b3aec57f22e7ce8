"""What the players of points in the plane share: ways to a goal when each coordinate moves at most so far a step."""

import gymnasium as gym
import torch
from torch import Tensor

from registry.errors import UserError
from taskgen.interaction.agent import Problem


def box_bounds(problem: Problem) -> tuple[Tensor, Tensor]:
    """Lowest and highest action, each [D] float32. Raises `UserError` unless actions are a box."""
    space = problem.action_space
    if not isinstance(space, gym.spaces.Box):
        raise UserError(
            f"{problem.family} has the action space {space}; this player needs continuous actions. "
            "See `taskgen list agents` for players of other families."
        )
    return torch.as_tensor(space.low, device=problem.device), torch.as_tensor(space.high, device=problem.device)


def told(descriptor: Tensor | None, player: str) -> Tensor:
    """The descriptor [B, D]. Raises `UserError` where there is none."""
    if descriptor is None:
        raise UserError(f"{player} needs the task's descriptor: collect with a batch that gives one")
    return descriptor


def nearest(goal: Tensor, position: Tensor, speed: float, problem: Problem) -> Tensor:
    """[B, 2] action in the box, a move of `speed` times itself, that ends nearest to `goal`.

    Each coordinate goes by itself as fast as it can. Repeated, no walk is nearer to the goal at any time.
    """
    low, high = box_bounds(problem)
    return torch.minimum(torch.maximum((goal - position) / speed, low), high)


def straight(goal: Tensor, position: Tensor, speed: float) -> Tensor:
    """[B, 2] action in [-1, 1]^2, a move of `speed` times itself, straight to `goal` and not beyond it."""
    way = (goal - position) / speed
    return way / way.abs().amax(1, keepdim=True).clamp(min=1.0)
