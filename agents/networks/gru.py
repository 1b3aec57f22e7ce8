"""Gated recurrent unit (Cho et al. 2014), the memory of RL^2."""

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.networks.base import Memory, RecurrentNetwork, cleared
from agents.networks.kernels import Kernels, gradients, kernels_for, left_to_torch
from registry.config import Config


class GRUConfig(Config):
    """Settings of `GRU`."""

    hidden_size: int = Field(64, ge=1, description="Width of the hidden state (RL^2: 256).")


class GRU(RecurrentNetwork):
    """One layer; the output is the hidden state [B, H]."""

    def __init__(self, config: GRUConfig, *, input_size: int) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        self.gru = nn.GRU(input_size, config.hidden_size)
        self._shapes = [weight.shape for weight in self.gru.all_weights[0]]

    def initial(self, batch: int) -> Memory:
        """Zeros [B, H]."""
        return (self.gru.all_weights[0][1].new_zeros(batch, self.output_size),)

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One cell update."""
        weights = self.gru.all_weights[0]
        if kernels := self._kernels(inputs[None], memory[0], None, weights):
            hidden = _computed(kernels, inputs[None], memory[0], None, weights)[0]
        else:
            hidden = torch.gru_cell(inputs, memory[0], *weights)
        return hidden, (hidden,)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """By a kernel; without one by torch's, or cell by cell where the state restarts on the way."""
        (hidden,) = memory or self.initial(inputs.shape[1])
        weights = self.gru.all_weights[0]
        if kernels := self._kernels(inputs, hidden, restart, weights):
            return _computed(kernels, inputs, hidden, restart, weights)
        if restart is None:
            return self.gru(inputs, hidden[None])[0]
        return _cell_by_cell(inputs, hidden, restart, weights)

    def _kernels(
        self, inputs: Tensor, hidden: Tensor, restart: Tensor | None, weights: Sequence[Tensor]
    ) -> Kernels | None:
        """`kernels_for` this; what is of the wrong shape is left to torch, which says so."""
        fits = inputs.ndim == 3 and inputs.shape[2] == self.gru.input_size
        fits = fits and hidden.shape == (inputs.shape[1], self.output_size)
        if restart is not None:
            fits = fits and restart.shape == inputs.shape[:2] and restart.dtype == torch.bool and restart.is_cpu
        for weight, shape in zip(weights, self._shapes, strict=True):
            fits = fits and weight.shape == shape and weight.is_contiguous()
        return kernels_for(inputs, hidden, *weights) if fits else None


def _cell_by_cell(inputs: Tensor, hidden: Tensor, restart: Tensor | None, weights: Sequence[Tensor]) -> Tensor:
    outputs: list[Tensor] = []
    for t, row in enumerate(inputs):
        if restart is not None:
            (hidden,) = cleared((hidden,), restart[t])
        hidden = torch.gru_cell(row, hidden, *weights)
        outputs.append(hidden)
    return torch.stack(outputs)


def _computed(
    kernels: Kernels, inputs: Tensor, hidden: Tensor, restart: Tensor | None, weights: Sequence[Tensor]
) -> Tensor:
    """[T, B, H] hidden states from `hidden` [B, H]."""
    if torch.is_grad_enabled():
        return _Sequence.apply(kernels, restart, inputs, hidden, *weights)
    return _forward(kernels, inputs, hidden, restart, weights)[0]


def _forward(
    kernels: Kernels,
    inputs: Tensor,
    hidden: Tensor,
    restart: Tensor | None,
    weights: Sequence[Tensor],
    *,
    gates: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The states after every step and before it, both [T, B, H]; of the latter no more than the kernel needs."""
    (steps, rows, width), size = inputs.shape, hidden.shape[1]
    if restart is None:  # what a step leaves is what the next one begins with
        both = inputs.new_empty(steps + 1, rows, size)
        before, after = both[:-1], both[1:]
    else:
        before, after = inputs.new_empty(steps, rows, size), inputs.new_empty(steps, rows, size)
    room = inputs.new_empty(kernels.padded(size) * (3 * (size + width) + 4))
    sizes, given = (steps, rows, width, size), (inputs.contiguous(), hidden.contiguous())
    restart = None if restart is None else restart.contiguous()
    kernels.call("gru_forward", *sizes, *given, restart, *weights, room, before, after, gates)
    return after, before


class _Sequence(torch.autograd.Function):
    """The states, and their gradients by one call; gradients of gradients cell by cell."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, restart: Tensor | None, inputs: Tensor, hidden: Tensor, *weights: Tensor
    ) -> Tensor:
        gates = inputs.new_empty(*inputs.shape[:2], 4, kernels.padded(hidden.shape[1]))
        after, before = _forward(kernels, inputs, hidden, restart, weights, gates=gates)
        ctx.kernels = kernels
        ctx.save_for_backward(restart, inputs, hidden, *weights, before, gates)
        return after

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        restart, inputs, hidden, *weights, before, gates = ctx.saved_tensors
        if left_to_torch(slopes):
            given = (inputs, hidden, *weights)
            found = gradients(lambda x, h, *w: _cell_by_cell(x, h, restart, w), given, ctx.needs_input_grad[2:], slopes)
            return None, None, *found
        kernels: Kernels = ctx.kernels
        (steps, rows, width), (_, size), wide = inputs.shape, hidden.shape, gates.shape[3]
        of_inputs = ctx.needs_input_grad[2]
        sums = inputs.new_empty(steps if of_inputs else 1, rows, 4, wide)
        room = inputs.new_empty(wide * (4 + 3 * (wide + size + width)))
        of_weights, of_hidden = [torch.empty_like(weight) for weight in weights], inputs.new_empty(rows, wide)
        restart = None if restart is None else restart.contiguous()
        given = (inputs.contiguous(), restart, weights[1], before, gates, slopes[0].contiguous())
        apart = rows * 4 * wide if of_inputs else 0
        sizes = (steps, rows, width, size)
        kernels.call("gru_backward", *sizes, *given, room, sums, apart, *of_weights, of_hidden)
        slope = None
        if of_inputs:  # by n, then by r and z
            parts = sums[..., :size].flatten(0, 1)
            slope = parts[:, 0] @ weights[0][2 * size :] + parts[:, 1:3].flatten(1) @ weights[0][: 2 * size]
            slope = slope.view(steps, rows, width)
        return None, None, slope, of_hidden[:, :size], *of_weights
