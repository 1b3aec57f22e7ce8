"""A causal transformer over the steps of a trial, with the keys and values of past steps in its memory.

Vaswani et al. 2017, "Attention is all you need", section 3.2; layer norm before each part, and as a setting gates in
place of residual sums, those of GTrXL without the ReLU before them (Parisotto et al. 2020, "Stabilizing transformers
for reinforcement learning", sections 3.2 and 3.3). Positions are rotary (Su et al. 2021, "RoFormer", section 3.2):
attention sees distances alone.
The first layer sees the previous and the current input together, as that of fast weights, which ties (s, a) to the
reward and the next state that follow.

Step by step the memory grows to `window` - 1 past steps and then forgets the oldest; over a sequence the same is a
band of the attention mask. Attention is `torch.nn.functional.scaled_dot_product_attention`, which has no second
derivative on CPUs: agents that differentiate through an update of this network cannot use it (rl2 does not).

Axes: T time, B batch, L remembered steps, H heads, K width of a head.
"""

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.networks.base import Memory, RecurrentNetwork, with_previous
from agents.networks.cache import ages, attend, extended, seen_by_sequence, seen_by_step
from registry.config import Config


class TransformerConfig(Config):
    """Settings of `Transformer`."""

    width: int = Field(64, ge=1, description="Width of the residual stream and of the output.")
    layers: int = Field(2, ge=1, description="Layers of attention.")
    heads: int = Field(4, ge=1, description="Heads per layer.")
    head_width: int = Field(16, ge=2, multiple_of=2, description="Width of a head's keys and values; even.")
    perceptron_width: int = Field(128, ge=1, description="Hidden width of the perceptrons.")
    gates: Literal["none", "gru"] = Field("none", description="Residual sums, or GTrXL's gates in their place.")
    window: int = Field(256, ge=1, description="Steps that attention reaches back, the present one included.")
    truncate: bool = Field(default=False, description="Allow trials longer than the window, which forget their start.")


class Transformer(RecurrentNetwork):
    """Memory: the previous input [B, I], how many steps are remembered [B], then keys and values [B, L, H, K] a layer.

    L grows with the steps taken, to `window` - 1; of each row the last entries are its own, as many as it remembers.
    """

    def __init__(self, config: TransformerConfig, *, input_size: int) -> None:
        super().__init__()
        self.output_size = config.width
        self.input_size = input_size
        self.window = config.window
        self.covers = None if config.truncate else config.window
        self.embedding = nn.Linear(2 * input_size, config.width)
        self.stack = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    @property
    def layers(self) -> list["_Layer"]:
        """The layers from first to last."""
        return [cast(_Layer, layer) for layer in self.stack]

    def initial(self, batch: int) -> Memory:
        """Nothing is remembered."""
        zeros = self.norm.weight.new_zeros
        caches = [zeros(batch, 0, *layer.heads) for layer in self.layers for _ in range(2)]
        return (zeros(batch, self.input_size), zeros(batch), *caches)

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Attend from the present step to those remembered."""
        previous, known, *caches = memory
        length = caches[0].shape[1]
        position, seen = -ages(length, inputs.device), seen_by_step(length, known)
        stream = self.embedding(torch.cat([previous, inputs], -1))[:, None]
        for i, layer in enumerate(self.layers):
            query, *new = layer.project(stream)
            (keys, caches[2 * i]), (values, caches[2 * i + 1]) = (
                extended(caches[2 * i + part], entry, self.window) for part, entry in enumerate(new)
            )
            stream = layer.finish(stream, attend(query, rotated(keys, position), values, seen))
        known = (known + 1).clamp(max=self.window - 1)
        return self.norm(stream[:, 0]), (inputs, known, *caches)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """The parallel form."""
        first, known, *caches = memory or self.initial(inputs.shape[1])
        steps, length = len(inputs), caches[0].shape[1]
        seen = seen_by_sequence(steps, length, self.window, known, restart)
        position = torch.arange(-length, steps, device=inputs.device)
        stream = self.embedding(with_previous(inputs, first, restart)).transpose(0, 1)
        for i, layer in enumerate(self.layers):
            query, key, value = layer.project(stream)
            keys, values = torch.cat([caches[2 * i], key], 1), torch.cat([caches[2 * i + 1], value], 1)
            query, keys = rotated(query, position[length:]), rotated(keys, position)
            stream = layer.finish(stream, attend(query, keys, values, seen))
        return self.norm(stream).transpose(0, 1)


def rotated(x: Tensor, position: Tensor) -> Tensor:
    """[B, T, H, K] with pairs of entries turned by angles in proportion to `position` [T], fast to slow."""
    half = x.shape[-1] // 2
    rate = 10_000.0 ** (-torch.arange(half, device=x.device) / half)
    angle = (position[:, None] * rate)[:, None]
    sine, cosine = angle.sin(), angle.cos()
    first, second = x.split(half, -1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)


class _Layer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = (config.heads, config.head_width)
        self.norm = nn.LayerNorm(config.width)
        self.projection = nn.Linear(config.width, 3 * config.heads * config.head_width)
        self.merge = nn.Linear(config.heads * config.head_width, config.width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.perceptron_width),
            nn.ReLU(),
            nn.Linear(config.perceptron_width, config.width),
        )
        gated = config.gates == "gru"
        self.gates = nn.ModuleList(Gate(config.width) if gated else _Sum() for _ in range(2))

    def project(self, stream: Tensor) -> tuple[Tensor, ...]:
        """[B, T, D] -> queries, keys, values [B, T, H, K]."""
        return tuple(part.unflatten(-1, self.heads) for part in self.projection(self.norm(stream)).chunk(3, -1))

    def finish(self, stream: Tensor, read: Tensor) -> Tensor:
        """[B, T, D] with what was read, and what the perceptron makes of it."""
        stream = self.gates[0](stream, self.merge(read.flatten(-2)))
        return self.gates[1](stream, self.perceptron(stream))


class Gate(nn.Module):
    """GTrXL's gate of the kind of a GRU: how much of `y` [..., D] goes into the stream `x` [..., D] (section 3.3).

    r = sigmoid(W_r y + U_r x), z = sigmoid(W_z y + U_z x - b), h = tanh(W_h y + U_h (r x)), (1 - z) x + z h; b = 2
    begins with the stream passing through.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_new = nn.Linear(width, 3 * width, bias=False)
        self.of_stream = nn.Linear(width, 2 * width, bias=False)
        self.of_reset = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.full((width,), 2.0))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """[..., D]."""
        new = self.of_new(y).chunk(3, -1)
        reset, update = (part + new[i] for i, part in enumerate(self.of_stream(x).chunk(2, -1)))
        update = torch.sigmoid(update - self.bias)
        candidate = torch.tanh(new[2] + self.of_reset(torch.sigmoid(reset) * x))
        return torch.lerp(x, candidate, update)


class _Sum(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y
