"""Rounds of episodes that are played side by side, as an actor-critic learns from them.

Axes: T time, B lives (tasks, or one), E episodes of a life side by side, O observation.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.common.encoding import StepEncoder
from agents.common.returns import lambda_returns
from registry.errors import UserError
from taskgen.interaction.agent import CollectionPlan, Rollout


class Played(NamedTuple):
    """A round as an actor-critic learns from it, lives first."""

    observation: Tensor
    """[B, T, E, O] encoded."""
    following: Tensor
    """[B, T, E, O] what the step led to, encoded."""
    action: Tensor
    """[B, T, E, ...]."""
    reward: Tensor
    """[B, T, E] in units of the scale given; 0 where an episode was over."""
    alive: Tensor
    """[B, T, E] 0 where the step terminated the episode, else 1."""
    weight: Tensor
    """[B, T, E] 1, or 0 where an episode was over."""


def abreast(episodes: int, most: int) -> CollectionPlan:
    """Rounds of `most` of the `episodes` side by side; fewer episodes than that are one round.

    Raises `UserError` for a number of episodes that is no multiple.
    """
    most = min(most, episodes)
    if episodes % most:
        raise UserError(
            f"{episodes} episodes do not divide into rounds of {most} side by side (agent.trajectories): "
            f"ask for {episodes - episodes % most} or {episodes - episodes % most + most}"
        )
    return CollectionPlan(episodes // most, most, side_by_side=True)


def played(rollout: Rollout, encoder: StepEncoder, lives: int, scale: Tensor) -> Played:
    """A round [T, B * E, ...] by life, with rewards in units of `scale`, a scalar."""
    weight = rollout.valid.to(torch.float32)
    columns = (
        encoder.observation(rollout.observation),
        encoder.observation(rollout.next_observation),
        rollout.action,
        rollout.reward * weight / scale,
        1 - rollout.terminated.to(torch.float32),
        weight,
    )
    return Played(*(_by_life(column, lives) for column in columns))


def returns_of(data: Played, following: Tensor, discount: Tensor | float, trace: Tensor | float) -> Tensor:
    """[B, T, E] lambda-returns from values `following` [B, T, E] of what the steps led to."""
    alive, weight = data.alive.transpose(0, 1), data.weight.transpose(0, 1)
    goes_on = torch.cat([weight[1:] > 0, torch.zeros_like(weight[:1], dtype=torch.bool)])
    columns = (data.reward.transpose(0, 1), following.transpose(0, 1) * alive)
    discount, trace = _time_first(discount), _time_first(trace)
    return lambda_returns(*columns, goes_on, discount, trace).transpose(0, 1)


def _time_first(each: Tensor | float) -> Tensor | float:
    """[B, T, E] -> [T, B, E]; scalars stay."""
    return each.transpose(0, 1) if isinstance(each, Tensor) and each.ndim else each


def _by_life(values: Tensor, lives: int) -> Tensor:
    """[T, B * E, ...] -> [B, T, E, ...]."""
    return values.unflatten(1, (lives, -1)).transpose(0, 1).contiguous()
