"""Fast weights: a matrix-valued hidden state that stores key-value pairs by outer products.

    S_t = decay * S_{t-1} + softmax(k_t) [v_t, 1]^T        read: softmax(q_t) S_t

This is linear attention (Katharopoulos et al. 2020, "Transformers are RNNs", section 3.3), the fast weight programmer
of Schmidhuber (1992) and Schlag et al. (2021, "Linear transformers are secretly fast weight programmers"), with one
learned decay per head (Sun et al. 2023, "Retentive network", section 2.1). The constant 1 beside the value counts how
much was stored under a key, so a read gives both a mean, num / (1 + den), and its evidence, log(1 + den). As a
recurrence it costs the same at every step; over a whole sequence it is a few batched matrix products.

Every layer: layer norm, fast weights, residual; layer norm, two-layer perceptron, residual. The first layer sees the
previous and the current input together, which ties (s, a) to the reward and the next state that follow.

Axes: T time, B batch, H heads, K key width, V value width.
"""

from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from agents.networks.base import Memory, RecurrentNetwork, with_previous
from agents.networks.kernels import Kernels, gradients, kernels_for, left_to_torch
from registry.config import Config


class FastWeightsConfig(Config):
    """Settings of `FastWeights`."""

    width: int = Field(64, ge=1, description="Width of the residual stream and of the output.")
    layers: int = Field(2, ge=1, description="Layers: one recalls, several compute with what was recalled.")
    heads: int = Field(4, ge=1, description="Fast weight matrices per layer, with decays spread from long to short.")
    key_width: int = Field(16, ge=1, description="Keys per head.")
    value_width: int = Field(16, ge=1, description="Values per head.")
    perceptron_width: int = Field(128, ge=1, description="Hidden width of the perceptrons.")
    sharpness: float = Field(3.0, gt=0, description="Initial scale of query and key weights: larger is more selective.")


class FastWeights(RecurrentNetwork):
    """Memory: the previous input [B, I], then one matrix [B, H, K, V + 1] per layer."""

    def __init__(self, config: FastWeightsConfig, *, input_size: int) -> None:
        super().__init__()
        self.output_size = config.width
        self.input_size = input_size
        self.embedding = nn.Sequential(
            nn.Linear(2 * input_size, config.perceptron_width),
            nn.ReLU(),
            nn.Linear(config.perceptron_width, config.width),
        )
        self.stack = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    @property
    def layers(self) -> list["_Layer"]:
        """The layers from first to last."""
        return [cast(_Layer, layer) for layer in self.stack]

    def initial(self, batch: int) -> Memory:
        """Zeros."""
        zeros = self.norm.weight.new_zeros
        return (zeros(batch, self.input_size), *(zeros(batch, *layer.shape) for layer in self.layers))

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One recurrence of every layer."""
        previous, *matrices = memory
        stream = self.embedding(torch.cat([previous, inputs], -1))
        for i, layer in enumerate(self.layers):
            stream, matrices[i] = layer.step(stream, matrices[i])
        return self.norm(stream), (inputs, *matrices)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """The parallel form, or by a kernel step by step."""
        first, *matrices = memory or self.initial(inputs.shape[1])
        stream = self.embedding(with_previous(inputs, first, restart))
        for layer, matrix in zip(self.layers, matrices, strict=True):
            stream = layer.sequence(stream, matrix, restart)
        return self.norm(stream)


class _Layer(nn.Module):
    def __init__(self, config: FastWeightsConfig) -> None:
        super().__init__()
        self.shape = (config.heads, config.key_width, config.value_width + 1)
        self.sizes = [config.heads * width for width in (config.key_width, config.key_width, config.value_width)]
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, sum(self.sizes))
        with torch.no_grad():
            self.project.weight[: 2 * self.sizes[0]] *= config.sharpness
        longest = 8.0  # sigmoid(8) = 0.9997 a step: thousands of steps; the shortest, sigmoid(0), one or two
        self.decay = nn.Parameter(
            torch.linspace(longest, 0.0, config.heads) if config.heads > 1 else torch.tensor([longest])
        )
        self.merge = nn.Linear(config.heads * (config.value_width + 1), config.width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.perceptron_width),
            nn.ReLU(),
            nn.Linear(config.perceptron_width, config.width),
        )

    def step(self, stream: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """[B, D], [B, H, K, V + 1] -> the same."""
        parts = self.project(self.norm(stream))
        if not torch.is_grad_enabled() and (kernels := self._kernels(parts[None], matrix, None)):
            after = torch.empty_like(matrix, memory_format=torch.contiguous_format)
            read = _forward(kernels, parts[None], matrix, None, torch.sigmoid(self.decay), after)[0]
            return self._merged(stream, read), after
        query, key, value = self._projected(parts)
        matrix = matrix * torch.sigmoid(self.decay)[:, None, None] + key[..., :, None] * value[..., None, :]
        return self._finish(stream, (query[..., None, :] @ matrix)[..., 0, :]), matrix

    def sequence(self, stream: Tensor, matrix: Tensor, restart: Tensor | None) -> Tensor:
        """[T, B, D], [B, H, K, V + 1] -> [T, B, D]; the matrix returns to zeros where `restart` [T, B] is true."""
        parts = self.project(self.norm(stream))
        if kernels := self._kernels(parts, matrix, restart):
            return self._merged(stream, _Sequence.apply(kernels, self, restart, parts, matrix, self.decay))
        return self._finish(stream, self.read(parts, matrix, self.decay, restart))

    def read(self, parts: Tensor, matrix: Tensor, decay: Tensor, restart: Tensor | None) -> Tensor:
        """[T, B, H, V + 1] what queries, keys and values [T, B, ...] make of the matrix, read at every step."""
        query, key, value = (part.permute(1, 2, 0, 3) for part in self._projected(parts))
        time = torch.arange(len(parts), device=parts.device)
        age = (time[:, None] - time).clamp(min=0)
        rate = functional.logsigmoid(decay)[:, None, None]
        weight = (query @ key.mT) * (rate * age).exp().tril()
        held = query * (rate * (time[:, None] + 1)).exp()
        if restart is not None:
            segment = functional.pad(restart.t().cumsum(1), (1, 0))  # the memory belongs before the first input
            same = (segment[:, 1:, None] == segment[:, None, :])[:, None]
            weight, held = weight * same[..., 1:], held * same[..., :1]
        return (weight @ value + held @ matrix).permute(2, 0, 1, 3)

    def _kernels(self, parts: Tensor, matrix: Tensor, restart: Tensor | None) -> Kernels | None:
        """`kernels_for` this; what is of the wrong shape is left to torch, which says so."""
        fits = parts.shape[2] == sum(self.sizes) and matrix.shape == (parts.shape[1], *self.shape)
        fits = fits and self.decay.shape == self.shape[:1]
        if restart is not None:
            fits = fits and restart.shape == parts.shape[:2] and restart.dtype == torch.bool and restart.is_cpu
        return kernels_for(parts, matrix, self.decay) if fits else None

    def _projected(self, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = (self.shape[0], -1)
        query, key, value = (part.unflatten(-1, heads) for part in parts.split(self.sizes, -1))
        return query.softmax(-1), key.softmax(-1), functional.pad(value, (0, 1), value=1.0)

    def _finish(self, stream: Tensor, read: Tensor) -> Tensor:
        return self._merged(stream, means_and_evidence(read))

    def _merged(self, stream: Tensor, read: Tensor) -> Tensor:
        stream = stream + self.merge(read.flatten(-2))
        return stream + self.perceptron(stream)


def means_and_evidence(read: Tensor) -> Tensor:
    """[..., V + 1] the mean of what was stored and how much it was, from sum and count."""
    evidence = read[..., -1:]
    return torch.cat([read[..., :-1] / (1 + evidence), torch.log1p(evidence)], -1)


def _forward(
    kernels: Kernels, parts: Tensor, matrix: Tensor, restart: Tensor | None, keep: Tensor, after: Tensor | None = None
) -> Tensor:
    """`means_and_evidence` [T, B, H, V + 1]; `after` [B, H, K, V + 1] becomes the matrix after the last step."""
    (steps, rows), (_, heads, keys, values) = parts.shape[:2], matrix.shape
    out = parts.new_empty(steps, rows, heads, values)
    room = parts.new_empty(keys * kernels.padded(values - 1) + 3 * kernels.padded(keys))
    given = (parts.contiguous(), matrix.contiguous(), None if restart is None else restart.contiguous(), keep)
    kernels.call("fast_weights_forward", steps, rows, heads, keys, values - 1, *given, room, out, after)
    return out


class _Sequence(torch.autograd.Function):
    """What is read, and gradients by one call; gradients of gradients by the parallel form."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        layer: _Layer,
        restart: Tensor | None,
        parts: Tensor,
        matrix: Tensor,
        decay: Tensor,
    ) -> Tensor:
        keep = torch.sigmoid(decay)
        out = _forward(kernels, parts, matrix, restart, keep)
        ctx.kernels, ctx.layer = kernels, layer
        ctx.save_for_backward(restart, parts, matrix, decay, keep, out)
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        restart, parts, matrix, decay, keep, out = ctx.saved_tensors
        if left_to_torch(slopes):
            found = gradients(
                lambda *given: means_and_evidence(ctx.layer.read(*given, restart)),
                (parts, matrix, decay),
                ctx.needs_input_grad[3:],
                slopes,
            )
            return None, None, None, *found
        kernels: Kernels = ctx.kernels
        (steps, rows), (_, heads, keys, values) = parts.shape[:2], matrix.shape
        high, wide = kernels.padded(keys), kernels.padded(values - 1)
        size = (steps + 2) * values * high + keys * wide + 2 * (steps + 1) * high + 2 * (wide + kernels.lanes)
        of_parts, of_matrix = parts.new_empty(parts.shape), matrix.new_empty(matrix.shape)
        of_keep, room = torch.zeros_like(keep), parts.new_empty(size)
        given = (parts.contiguous(), matrix.contiguous(), None if restart is None else restart.contiguous())
        given = (*given, keep, out, slopes[0].contiguous(), room, of_parts, of_matrix, of_keep)
        kernels.call("fast_weights_backward", steps, rows, heads, keys, values - 1, *given)
        return None, None, None, of_parts, of_matrix, of_keep * keep * (1 - keep)
