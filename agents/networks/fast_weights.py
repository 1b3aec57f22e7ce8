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

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from agents.networks.base import Memory, RecurrentNetwork
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
        """The parallel form."""
        first, *matrices = memory or self.initial(inputs.shape[1])
        previous = torch.cat([first[None], inputs[:-1]]).transpose(0, 1)
        inputs = inputs.transpose(0, 1)
        same = None
        if restart is not None:
            previous = previous * ~restart.t()[..., None]
            segment = functional.pad(restart.t().cumsum(1), (1, 0))  # the memory belongs before the first input
            same = (segment[:, 1:, None] == segment[:, None, :])[:, None]
        stream = self.embedding(torch.cat([previous, inputs], -1))
        for layer, matrix in zip(self.layers, matrices, strict=True):
            stream = layer.sequence(stream, matrix, same)
        return self.norm(stream).transpose(0, 1)


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
        query, key, value = self._project(stream)
        matrix = matrix * torch.sigmoid(self.decay)[:, None, None] + key[..., :, None] * value[..., None, :]
        return self._finish(stream, (query[..., None, :] @ matrix)[..., 0, :]), matrix

    def sequence(self, stream: Tensor, matrix: Tensor, same: Tensor | None) -> Tensor:
        """[B, T, D], [B, H, K, V + 1] -> [B, T, D]; `same` [B, 1, T, 1 + T]: whether t reads the matrix and inputs."""
        query, key, value = (part.transpose(1, 2) for part in self._project(stream))
        time = torch.arange(stream.shape[1], device=stream.device)
        age = (time[:, None] - time).clamp(min=0)
        rate = functional.logsigmoid(self.decay)[:, None, None]
        weight = (query @ key.mT) * (rate * age).exp().tril()
        held = query * (rate * (time[:, None] + 1)).exp()
        if same is not None:
            weight, held = weight * same[..., 1:], held * same[..., :1]
        return self._finish(stream, (weight @ value + held @ matrix).transpose(1, 2))

    def _project(self, stream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = (self.shape[0], -1)
        parts = self.project(self.norm(stream)).split(self.sizes, -1)
        query, key, value = (part.unflatten(-1, heads) for part in parts)
        return query.softmax(-1), key.softmax(-1), functional.pad(value, (0, 1), value=1.0)

    def _finish(self, stream: Tensor, read: Tensor) -> Tensor:
        evidence = read[..., -1:]
        read = torch.cat([read[..., :-1] / (1 + evidence), torch.log1p(evidence)], -1)
        stream = stream + self.merge(read.flatten(-2))
        return stream + self.perceptron(stream)
