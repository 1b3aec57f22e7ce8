"""Action distributions over the last axis of what a policy head puts out."""

import math
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import torch
from torch import Tensor, nn

from registry.errors import UserError


@runtime_checkable
class Distribution(Protocol):
    """A batch of independent action distributions with leading axes [...]."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """One action per row."""
        ...

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-probability or log-density."""
        ...

    def entropy(self) -> Tensor:
        """[...] entropy in nats."""
        ...


class Categorical:
    """Discrete actions from logits [..., A]."""

    def __init__(self, logits: Tensor) -> None:
        self.log_probabilities = logits.log_softmax(-1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """[...] int64. The smallest of exponentials with rates p is drawn with probability p."""
        waiting = torch.empty_like(self.log_probabilities).exponential_(generator=generator)
        return (self.log_probabilities - waiting.log()).argmax(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-probability of `action` [...]."""
        return self.log_probabilities.gather(-1, action[..., None])[..., 0]

    def entropy(self) -> Tensor:
        """[...] entropy."""
        return -(self.log_probabilities.exp() * self.log_probabilities).sum(-1)


class DiagonalGaussian:
    """Continuous actions from means [..., A] and log standard deviations [A]."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean = mean
        self.log_std = log_std

    def sample(self, generator: torch.Generator) -> Tensor:
        """[..., A] float32."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return self.mean + self.log_std.exp() * noise

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-density of `action` [..., A]."""
        scaled = (action - self.mean) * (-self.log_std).exp()
        return (-0.5 * scaled.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """[...] entropy."""
        one = (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()
        return one.expand(self.mean.shape[:-1])


class PolicyHead(nn.Module):
    """From features [..., F] to the action distribution of an action space, near-uniform or near-zero-mean at first."""

    def __init__(self, features: int, space: gym.Space[Any]) -> None:
        super().__init__()
        self.discrete = isinstance(space, gym.spaces.Discrete)
        self.linear = nn.Linear(features, action_size(space))
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.log_std = None if self.discrete else nn.Parameter(torch.zeros(action_size(space)))

    def forward(self, features: Tensor) -> Distribution:
        """The distribution for each row of `features`."""
        output = self.linear(features)
        return Categorical(output) if self.log_std is None else DiagonalGaussian(output, self.log_std)


def action_size(space: gym.Space[Any]) -> int:
    """Width of an encoded action: number of choices, or of dimensions. Raises `UserError` for other spaces."""
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return space.shape[0]
    raise UserError(f"action space {space} is not supported: use Discrete, or Box with one axis")
