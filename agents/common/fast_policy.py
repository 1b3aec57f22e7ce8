"""A policy whose weights differ from task to task: a multilayer perceptron as a function of flat parameters.

Axes: B tasks, N samples of a task, P parameters, O observation, A width of an encoded action.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import torch
from jaxtyping import Float
from torch import Tensor

from agents.common.distributions import (
    ActionBox,
    Categorical,
    DiagonalGaussian,
    Mixed,
    MultiCategorical,
    action_size,
)
from taskgen.spaces import numbers_and_choices

ROWS = 2048
"""Samples that go through the layers at once: more fall out of the cache, fewer are lost in overhead (measured by
`benchmarks/inner_loop.py`)."""

_LAST = 0.01
"""Factor of the first weights of a policy's last layer, so that it begins near the middle of what it may do."""

Activation = Literal["tanh", "relu"]
FastDistribution: TypeAlias = Categorical | DiagonalGaussian | MultiCategorical | Mixed
_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class FastMLP:
    """Layers of sizes `sizes`, input first. All its weights are one vector [P], or a row [B, P] for each of B tasks."""

    def __init__(self, sizes: Sequence[int], activation: Activation) -> None:
        self._shapes = list(pairwise(sizes))
        self._activation = _ACTIVATIONS[activation]
        self._parts = [size for before, after in self._shapes for size in (before * after, after)]
        self.size = sum(self._parts)

    def initial(self, generator: torch.Generator, last: float = 1.0) -> Float[Tensor, "P"]:
        """Weights uniform in +-sqrt(6 / (fan in + fan out)), those of the last layer times `last`; biases zero.

        Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", 4.2.
        """
        parts: list[Tensor] = []
        for before, after in self._shapes:
            reach = math.sqrt(6 / (before + after))
            draw = torch.rand(before * after, generator=generator, device=generator.device)
            parts += [(2 * draw - 1) * reach, torch.zeros(after, device=generator.device)]
        parts[-2] = parts[-2] * last
        return torch.cat(parts)

    def reach(self, last: float = 1.0) -> Float[Tensor, "P"]:
        """The largest size of first weights as `initial` draws them."""
        parts: list[Tensor] = []
        for layer, (before, after) in enumerate(self._shapes, start=1):
            size = math.sqrt(6 / (before + after)) * (last if layer == len(self._shapes) else 1.0)
            parts += [torch.full((before * after,), size), torch.zeros(after)]
        return torch.cat(parts)

    def __call__(self, parameters: Float[Tensor, "B P"], inputs: Float[Tensor, "B N I"]) -> Float[Tensor, "B N A"]:
        """The outputs of each task's network for its own inputs, by batched matrix products over groups of tasks."""
        group = max(1, ROWS // max(1, inputs.shape[1]))
        if len(inputs) <= group:
            return self._forward(parameters, inputs)
        pairs = zip(parameters.split(group), inputs.split(group), strict=True)
        return torch.cat([self._forward(some, theirs) for some, theirs in pairs])

    def _forward(self, parameters: Float[Tensor, "B P"], inputs: Float[Tensor, "B N I"]) -> Float[Tensor, "B N A"]:
        parts = parameters.split(self._parts, dim=-1)
        values = inputs
        for layer, (before, after) in enumerate(self._shapes):
            weight, bias = parts[2 * layer].view(-1, before, after), parts[2 * layer + 1]
            values = torch.baddbmm(bias[:, None], values, weight)
            if layer + 1 < len(self._shapes):
                values = self._activation(values)
        return values


class FastPolicy:
    """Action distributions of B tasks, each from its own row of parameters [B, P].

    Continuous actions are Gaussian in units of half the range of the action space, so that a new policy covers it
    whatever its size. The standard deviation does not depend on the observation, and is never below `least_std`.
    """

    def __init__(
        self,
        observation_size: int,
        action_space: gym.Space[Any],
        hidden: Sequence[int],
        activation: Activation,
        *,
        std: float,
        least_std: float,
        device: torch.device,
    ) -> None:
        numbers, self._counts = numbers_and_choices(action_space)
        self._single = isinstance(action_space, gym.spaces.Discrete)
        self._network = FastMLP([observation_size, *hidden, action_size(action_space)], activation)
        self._width = 0 if numbers is None else numbers.shape[0]
        self._first_std, self._least = std, least_std
        self._reach = self._network.reach(last=_LAST).to(device)
        self._box = None if numbers is None else ActionBox(numbers).to(device)
        self.size = self._network.size + self._width
        self.continuous = self._width > 0

    def initial(self, generator: torch.Generator) -> Float[Tensor, "P"]:
        """Parameters of a policy near the middle of the action space, or near uniform."""
        spread = torch.full((self._width,), math.log(self._first_std), device=generator.device)
        return torch.cat([self._network.initial(generator, last=_LAST), spread])

    def initial_rows(self, generator: torch.Generator, rows: int) -> Float[Tensor, "B P"]:
        """As many policies as `initial` gives one, each drawn for itself."""
        draw = torch.rand(rows, self._network.size, generator=generator, device=generator.device)
        spread = torch.full((rows, self._width), math.log(self._first_std), device=generator.device)
        return torch.cat([(2 * draw - 1) * self._reach, spread], dim=1)

    def __call__(self, parameters: Float[Tensor, "B P"], observation: Float[Tensor, "B N O"]) -> FastDistribution:
        """The distribution of each task at each of its observations, [B, N]."""
        network, spread = parameters.split([self._network.size, self._width], dim=-1)
        output = self._network(network, observation)
        if self._single:
            return Categorical(output)
        if self._box is None:
            return MultiCategorical(output, self._counts)
        mean, logits = output.tensor_split([self._width], dim=-1)
        log_std = (self.std(spread) * self._box.half_range).log()[:, None]
        numbers = DiagonalGaussian(self._box.from_unit(mean), log_std)
        return Mixed(numbers, MultiCategorical(logits, self._counts)) if self._counts else numbers

    def std(self, parameters: Float[Tensor, "B P"]) -> Float[Tensor, "B A"]:
        """Standard deviations in units of half the range, sqrt(e^2s + least^2): smooth, so that it can rise again."""
        spread = parameters[:, parameters.shape[1] - self._width :]
        return ((2 * spread).exp() + self._least**2).sqrt()
