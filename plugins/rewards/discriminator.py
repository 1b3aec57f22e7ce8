"""Discriminators D(z|s) of skills z by the state s, and what they pay: `r_z(s) = log D(z|s) - log p(z)`, p uniform.

D is a multi-layer perceptron with rectified units over chosen, shifted and scaled features of the next observation.
It is computed in double precision and rounded once at the end: so a slot is paid the same to the last bit whatever
stands beside it in the batch, and on another machine up to the last bit of single precision.

Sources: Eysenbach et al. 2019, "Diversity is All You Need", section 3.2; Gupta et al. 2018, "Unsupervised
Meta-Learning for Reinforcement Learning", section 4.2 (any D, a random one too, makes a task of every z).

Axes: B slots, U networks, F features, K skills.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor
from torch.nn import functional

from registry.errors import TaskError

Layer = tuple[Tensor, Tensor]
"""Weight and bias, float64; of U networks [U, out, in] and [U, out]."""


@dataclass(frozen=True)
class Features:
    """From observations to what a discriminator sees: entries `chosen` (all when empty), shifted and scaled."""

    space: gym.Space[Any]
    chosen: tuple[int, ...]
    shift: Tensor
    """[F] or scalar, float64."""
    scale: Tensor
    """[F] or scalar, float64; features are divided by it."""

    def __call__(self, observation: Tensor) -> Tensor:
        """[B, F] float64 of observations [B, ...]."""
        if isinstance(self.space, gym.spaces.Discrete):
            flat = functional.one_hot(observation.long(), int(self.space.n)).to(torch.float64)
        else:
            flat = observation.flatten(1).to(torch.float64)
        if self.chosen:
            flat = flat[:, list(self.chosen)]
        return (flat - self.shift) / self.scale


def count_features(space: gym.Space[Any], chosen: Sequence[int], family: str) -> int:
    """How many features there are. Raises `TaskError` for other spaces than Box and Discrete, and indices beyond it."""
    if isinstance(space, gym.spaces.Discrete):
        size = int(space.n)
    elif isinstance(space, gym.spaces.Box):
        size = math.prod(space.shape)
    else:
        raise TaskError(f"{family} has the observation space {space}; a discriminator needs Box or Discrete")
    for index in chosen:
        if not 0 <= index < size:
            raise TaskError(f"features: {index} is no entry of an observation of {family}; allowed are 0 to {size - 1}")
    return len(chosen) or size


class Discriminators:
    """One network for each of U kinds of slots. `network` [B] says which slot has which; `skill` [B] is its z."""

    def __init__(self, layers: Sequence[Layer], network: Tensor, skill: Tensor) -> None:
        self.skills = layers[-1][0].shape[1]
        self._skill = skill
        # Slots are innermost in memory, which is twice as fast: [out, in] for one network, [in, out, B] for many.
        if layers[0][0].shape[0] == 1:
            self._layers = [(weight[0], bias[0][:, None]) for weight, bias in layers]
        else:
            chosen = [(weight[network], bias[network]) for weight, bias in layers]
            self._layers = [(weight.permute(2, 1, 0).contiguous(), bias.T.contiguous()) for weight, bias in chosen]

    def reward(self, features: Tensor) -> Tensor:
        """[B] float32 of features [B, F] float64."""
        logits = perceptron(self._layers, features.T.contiguous())
        chosen = logits.gather(0, self._skill[None])[0]
        return (chosen - logits.logsumexp(0) + math.log(self.skills)).to(torch.float32)

    def descriptor(self) -> Tensor:
        """[B, K] the skill, one-hot."""
        return functional.one_hot(self._skill, self.skills).to(torch.float32)


def perceptron(layers: Sequence[Layer], features: Tensor) -> Tensor:
    """[K, B] outputs for features [F, B]: of one network, layers [out, in] and [out, 1], or of B, [in, out, B] and
    [out, B]."""
    hidden = features
    for number, (weight, bias) in enumerate(layers):
        if number:
            hidden = hidden.relu_()
        if weight.ndim == 2:
            hidden = torch.addmm(bias, weight, hidden)
            continue
        output = bias.clone()
        for row, values in zip(weight, hidden, strict=True):
            output.addcmul_(row, values)
        hidden = output
    return hidden
