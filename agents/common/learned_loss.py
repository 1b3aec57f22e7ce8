"""A loss that is a network: it reads what an agent has lived through and what its policy makes of that.

    context = dense(mean over time of temporal convolutions over all that is remembered)
    loss = mean over the steps of the last round of dense(step, context)

Reference: Houthooft et al. 2018, "Evolved Policy Gradients", section 3.3; sizes of the temporal convolutions: its
released code.

Axes: B lives, each with loss weights of its own, Q of them; E episodes side by side, L remembered steps of each, oldest
first, of which the last T are the last round; C width of a step.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

KERNELS, STRIDES = (6, 4), (5, 2)
"""Steps that each temporal convolution sees, and by how many it moves on; its last window ends at the newest step."""


class LossNetwork:
    """The network as a function of flat weights."""

    def __init__(self, width: int, channels: tuple[int, int], context: int, hidden: int) -> None:
        first, second = channels
        self._shapes = [
            (KERNELS[0] * width, first),
            (KERNELS[1] * first, second),
            (second, context),
            (width + context, hidden),
            (hidden, 1),
        ]
        self._parts = [size for before, after in self._shapes for size in (before * after, after)]
        self.size = sum(self._parts)
        """Q."""

    def initial(self, generator: torch.Generator) -> Float[Tensor, "Q"]:
        """Weights uniform in +-sqrt(6 / (fan in + fan out)), as those of policies; biases zero."""
        parts: list[Tensor] = []
        for before, after in self._shapes:
            draw = torch.rand(before * after, generator=generator, device=generator.device)
            parts += [(2 * draw - 1) * math.sqrt(6 / (before + after)), torch.zeros(after, device=generator.device)]
        return torch.cat(parts)

    def __call__(
        self, weights: Float[Tensor, "B Q"], steps: Float[Tensor, "B E L C"], weight: Float[Tensor, "B E T"]
    ) -> Float[Tensor, "B"]:
        """Each life's loss by its own weights; `weight` is 0 where an episode was over."""
        layers = weights.split(self._parts, dim=-1)
        lives, episodes = steps.shape[:2]
        values = steps.flatten(0, 1)
        for number, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)):
            length = values.shape[1]
            lacking = kernel - length if length < kernel else (kernel - length) % stride  # windows end at the newest
            windows = functional.pad(values, (0, 0, lacking, 0)).unfold(1, kernel, stride).transpose(2, 3)
            flat = windows.reshape(lives, -1, self._shapes[number][0])
            values = self._layer(layers, number, flat).tanh().reshape(lives * episodes, -1, self._shapes[number][1])
        context = self._layer(layers, 2, values.reshape(lives, -1, values.shape[-1]).mean(1, keepdim=True)).tanh()
        recent = steps[:, :, steps.shape[2] - weight.shape[2] :].flatten(1, 2)
        told = torch.cat([recent, context.expand(-1, recent.shape[1], -1)], dim=-1)
        each = self._layer(layers, 4, self._layer(layers, 3, told).tanh())[..., 0]
        flat = weight.flatten(1)
        return (each * flat).sum(1) / flat.sum(1)

    def _layer(self, layers: tuple[Tensor, ...], number: int, inputs: Tensor) -> Tensor:
        """[B, N, after] of inputs [B, N, before]."""
        before, after = self._shapes[number]
        weight, bias = layers[2 * number].view(-1, before, after), layers[2 * number + 1]
        return torch.baddbmm(bias[:, None], inputs, weight)
