"""minGRU: a gated recurrence that is linear in its state, so that a whole sequence is computed by a parallel scan.

    h_t = (1 - z_t) h_{t-1} + z_t c_t,   z_t = sigmoid(W_z x_t),  c_t = W_c x_t

Feng et al. 2024, "Were RNNs all we needed?", section 3.1: a GRU whose gate and candidate no longer read the state. Of
the linear recurrences it was taken rather than LRU (Orvieto et al. 2023) because its gate depends on the input: it can
keep a cue and let noise pass, which a recurrence with fixed rates cannot; and its state is real, so that all dtypes and
transforms of `torch.func` work.

The scan doubles its reach log2(T) times (Hillis and Steele 1986, "Data parallel algorithms"), which multiplies gates of
at most 1 and so cannot overflow; a restart is a gate of 0. Every layer: layer norm, recurrence, residual; layer norm,
perceptron, residual. The first layer sees the previous and the current input together, as that of fast weights.

Axes: T time, B batch, H width of the state.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from agents.networks.base import Memory, RecurrentNetwork, with_previous
from registry.config import Config


class LinearRecurrenceConfig(Config):
    """Settings of `LinearRecurrence`."""

    width: int = Field(64, ge=1, description="Width of the residual stream and of the output.")
    layers: int = Field(2, ge=1, description="Layers, each with a state of its own.")
    state_width: int = Field(96, ge=1, description="Numbers that a layer remembers.")
    perceptron_width: int = Field(128, ge=1, description="Hidden width of the perceptrons.")


class LinearRecurrence(RecurrentNetwork):
    """Memory: the previous input [B, I], then a state [B, H] per layer."""

    def __init__(self, config: LinearRecurrenceConfig, *, input_size: int) -> None:
        super().__init__()
        self.output_size = config.width
        self.input_size = input_size
        self.embedding = nn.Linear(2 * input_size, config.width)
        self.stack = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    @property
    def layers(self) -> list["_Layer"]:
        """The layers from first to last."""
        return [cast(_Layer, layer) for layer in self.stack]

    def initial(self, batch: int) -> Memory:
        """Zeros."""
        zeros = self.norm.weight.new_zeros
        return (zeros(batch, self.input_size), *(zeros(batch, layer.state_width) for layer in self.layers))

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One recurrence of every layer."""
        previous, *states = memory
        stream = self.embedding(torch.cat([previous, inputs], -1))
        for i, layer in enumerate(self.layers):
            keep, add = layer.gates(stream)
            states[i] = keep * states[i] + add
            stream = layer.finish(stream, states[i])
        return self.norm(stream), (inputs, *states)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """The parallel form."""
        first, *states = memory or self.initial(inputs.shape[1])
        stream = self.embedding(with_previous(inputs, first, restart))
        for layer, state in zip(self.layers, states, strict=True):
            keep, add = layer.gates(stream)
            if restart is not None:
                keep = keep * ~restart[..., None]
            stream = layer.finish(stream, scan(keep, add, state))
        return self.norm(stream)


def scan(keep: Tensor, add: Tensor, initial: Tensor) -> Tensor:
    """[T, B, H] states h_t = keep_t h_{t-1} + add_t from h_{-1} = `initial` [B, H], in log2(T) rounds.

    After a round of reach d, row t holds what steps t - 2 d + 1 to t do together: the product of their `keep` and the
    state that they leave when they begin at zero.
    """
    add = torch.cat([(keep[0] * initial + add[0])[None], add[1:]])
    reach = 1
    while reach < len(add):
        add = torch.cat([add[:reach], torch.addcmul(add[reach:], keep[reach:], add[:-reach])])
        keep = torch.cat([keep[:reach], keep[reach:] * keep[:-reach]])
        reach *= 2
    return add


class _Layer(nn.Module):
    def __init__(self, config: LinearRecurrenceConfig) -> None:
        super().__init__()
        self.state_width = config.state_width
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, 2 * config.state_width)
        with torch.no_grad():  # from states that last a step or two to such that last hundreds
            self.project.bias[: config.state_width] = torch.linspace(0.0, -5.0, config.state_width)
        self.merge = nn.Linear(config.state_width, config.width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.perceptron_width),
            nn.ReLU(),
            nn.Linear(config.perceptron_width, config.width),
        )

    def gates(self, stream: Tensor) -> tuple[Tensor, Tensor]:
        """[..., D] -> what of the state is kept, and what is added to it, both [..., H]."""
        gate, candidate = self.project(self.norm(stream)).chunk(2, -1)
        return torch.sigmoid(-gate), torch.sigmoid(gate) * candidate

    def finish(self, stream: Tensor, state: Tensor) -> Tensor:
        """[..., D], [..., H] -> [..., D]."""
        stream = stream + self.merge(functional.silu(state))
        return stream + self.perceptron(stream)
