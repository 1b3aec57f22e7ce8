"""What a recurrent meta-learner reads at each step, as one vector."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agents.common.distributions import action_size
from registry.errors import UserError
from taskgen.interaction.agent import Step
from taskgen.spaces import leaves, numbers_and_choices, row_shape


def observation_size(space: gym.Space[Any]) -> int:
    """Width of an encoded observation. Raises `UserError` for spaces that `taskgen.spaces` does not read."""
    try:
        return sum(_width(leaf.space) for leaf in leaves(space))
    except ValueError as error:
        raise UserError(f"the observation space {space} is not supported: {error}") from None


class StepEncoder:
    """Encodes `Step` as RL^2 does: (s_t, a_{t-1}, r_{t-1}, d_{t-1}), and the trial's start.

    Observations become what `gymnasium.spaces.flatten` makes of them: choices one-hot, parts of a Dict or Tuple one
    after another. Bytes, such as those of images, are scaled from their bounds to 0 to 1 besides.

    Reference: Duan et al. 2016, section 2.2.
    """

    FLAGS = 2
    """Entries at the end, 0 or 1: an episode starts, the trial starts."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self._observation_space = observation_space
        self._action_space = action_space
        self.observation_size = observation_size(observation_space)
        self._leaves = leaves(observation_space)
        self._row = len(row_shape(observation_space))
        self._choices = numbers_and_choices(action_space)
        self.action_size = action_size(action_space)
        self.size = self.observation_size + self.action_size + 1 + self.FLAGS

    def observation(self, observation: Tensor) -> Tensor:
        """[..., O] float32."""
        flat = observation[..., None] if self._row == 0 else observation.flatten(observation.ndim - self._row)
        if len(self._leaves) == 1:
            return _encoded(self._leaves[0].space, flat)
        parts = flat.split([leaf.size for leaf in self._leaves], dim=-1)
        return torch.cat([_encoded(leaf.space, part) for leaf, part in zip(self._leaves, parts, strict=True)], dim=-1)

    def action(self, action: Tensor) -> Tensor:
        """[..., A] float32."""
        box, choices = self._choices
        if isinstance(self._action_space, gym.spaces.Discrete):
            return functional.one_hot(action, self.action_size).to(torch.float32)
        if not choices:
            return action.to(torch.float32)
        numbers = 0 if box is None else box.shape[0]
        chosen = action[..., numbers:].to(torch.int64).unbind(-1)
        codes = [functional.one_hot(one, count) for one, count in zip(chosen, choices, strict=True)]
        return torch.cat([action[..., :numbers], *codes], dim=-1).to(torch.float32)

    def __call__(self, step: Step) -> Tensor:
        """[..., size] float32; what came before the trial is zero."""
        inside = (~step.trial_start)[..., None].to(torch.float32)
        return torch.cat(
            [
                self.observation(step.observation),
                self.action(step.previous_action) * inside,
                step.previous_reward[..., None] * inside,
                step.episode_start[..., None] * inside,
                1 - inside,
            ],
            dim=-1,
        )


def _width(space: gym.Space[Any]) -> int:
    """Numbers that a space without parts is encoded in."""
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return int(space.nvec.sum())
    return int(np.prod(space.shape or ()))


def _encoded(space: gym.Space[Any], values: Tensor) -> Tensor:
    """[..., width] float32 of `values` [..., numbers] of a space without parts."""
    if isinstance(space, gym.spaces.Discrete):
        return functional.one_hot(values[..., 0].to(torch.int64) - int(space.start), int(space.n)).to(torch.float32)
    if isinstance(space, gym.spaces.MultiDiscrete):
        counts, starts = (cast("list[int]", numbers.flatten().tolist()) for numbers in (space.nvec, space.start))
        columns = zip(values.to(torch.int64).unbind(-1), counts, starts, strict=True)
        codes = [functional.one_hot(column - start, count) for column, count, start in columns]
        return torch.cat(codes, dim=-1).to(torch.float32)
    values = values.to(torch.float32)
    if space.dtype == np.uint8 and isinstance(space, gym.spaces.Box):
        low, high = float(space.low.min()), float(space.high.max())
        return (values - low) / max(high - low, 1.0)
    return values
