"""What a recurrent meta-learner reads at each step, as one vector."""

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor
from torch.nn import functional

from agents.common.distributions import action_size
from registry.errors import UserError
from taskgen.interaction.agent import Step


def observation_size(space: gym.Space[Any]) -> int:
    """Width of an encoded observation. Raises `UserError` for spaces other than Box and Discrete."""
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gym.spaces.Box):
        return int(torch.Size(space.shape).numel())
    raise UserError(f"observation space {space} is not supported: use Box or Discrete")


class StepEncoder:
    """Encodes `Step` as RL^2 does: (s_t, a_{t-1}, r_{t-1}, d_{t-1}), and the trial's start.

    Reference: Duan et al. 2016, section 2.2.
    """

    FLAGS = 2
    """Entries at the end, 0 or 1: an episode starts, the trial starts."""

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self._observation_space = observation_space
        self._action_space = action_space
        self.observation_size = observation_size(observation_space)
        self.action_size = action_size(action_space)
        self.size = self.observation_size + self.action_size + 1 + self.FLAGS

    def observation(self, observation: Tensor) -> Tensor:
        """[..., O] float32."""
        if isinstance(self._observation_space, gym.spaces.Discrete):
            return functional.one_hot(observation, self.observation_size).to(torch.float32)
        lead = observation.ndim - len(self._observation_space.shape or ())
        return observation.flatten(lead).to(torch.float32)

    def action(self, action: Tensor) -> Tensor:
        """[..., A] float32."""
        if isinstance(self._action_space, gym.spaces.Discrete):
            return functional.one_hot(action, self.action_size).to(torch.float32)
        return action.to(torch.float32)

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
