"""SNAIL: temporal convolutions gather what came shortly before, causal attention picks out what came long before.

    dense block of dilation d:  g_t = tanh(F [x_{t-d}, x_t]) * sigmoid(G [x_{t-d}, x_t]),  x_t <- [x_t, g_t]
    TC block for T steps:       dense blocks of dilations 1, 2, 4, ..., ceil(log2 T) of them
    attention block:            x_t <- [x_t, sum_s softmax_s(q_t k_s / sqrt(K)) v_s],  s <= t

Mishra, Rohaninejad, Chen and Abbeel 2018, "A simple neural attentive meta-learner", section 3 and figure 2; for bandits
and tabular MDPs two TC blocks of 32 filters and one attention block of 32 keys and values on top.

Step by step the memory holds the dense features of as many steps as the longest dilation reaches back, and the keys and
values of `window` - 1 steps. Attention is torch's, which has no second derivative on CPUs: agents that differentiate
through an update of this network cannot use it (rl2 does not).

Axes: T time, B batch, L remembered steps, C features.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from agents.networks.base import Memory, RecurrentNetwork
from agents.networks.cache import attend, extended, seen_by_sequence, seen_by_step
from registry.config import Config


class SNAILConfig(Config):
    """Settings of `SNAIL`."""

    filters: int = Field(32, ge=1, description="Width of the embedding and of each dense block (paper: 32).")
    blocks: int = Field(2, ge=1, description="TC blocks below the attention (paper: 2).")
    key_width: int = Field(32, ge=1, description="Width of keys and queries (paper: 32).")
    value_width: int = Field(32, ge=1, description="Width of values (paper: 32).")
    window: int = Field(
        256, ge=2, description="Steps that a TC block and the attention reach back, the present one included."
    )
    truncate: bool = Field(default=False, description="Allow trials longer than the window, which forget their start.")


class SNAIL(RecurrentNetwork):
    """Memory: how many steps are remembered [B], features [B, L, C], keys [B, L', 1, K] and values [B, L', 1, V]."""

    def __init__(self, config: SNAILConfig, *, input_size: int) -> None:
        super().__init__()
        self.window = config.window
        self.covers = None if config.truncate else config.window
        self.embedding = nn.Linear(input_size, config.filters)
        dilations = [2**i for i in range((config.window - 1).bit_length())] * config.blocks
        widths = [config.filters * (i + 1) for i in range(len(dilations))]
        self.stack = nn.ModuleList(
            _DenseBlock(width, config.filters, dilation) for width, dilation in zip(widths, dilations, strict=True)
        )
        self.features = config.filters * (len(dilations) + 1)
        self.reach = max(dilations)
        """Steps back of the longest dilation."""
        self.sizes = [config.key_width, config.key_width, config.value_width]
        self.project = nn.Linear(self.features, sum(self.sizes))
        self.output_size = self.features + config.value_width

    @property
    def field(self) -> int:
        """Inputs that an output depends on, the present one included."""
        return sum(block.dilation for block in self.blocks) + self.window

    @property
    def blocks(self) -> list["_DenseBlock"]:
        """The dense blocks from first to last."""
        return [cast(_DenseBlock, block) for block in self.stack]

    def initial(self, batch: int) -> Memory:
        """Nothing is remembered."""
        zeros = self.embedding.weight.new_zeros
        _, key_width, value_width = self.sizes
        return (
            zeros(batch),
            *(zeros(batch, 0, *shape) for shape in ((self.features,), (1, key_width), (1, value_width))),
        )

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[B, I] -> [B, C + V]."""
        known, past, keys, values = memory
        present = self.embedding(inputs)
        for block in self.blocks:
            width, back = present.shape[-1], block.dilation
            before = past[:, -back, :width] if back <= past.shape[1] else torch.zeros_like(present)
            present = block(before, present)
        query, *new = self._heads(present[:, None])
        seen = seen_by_step(keys.shape[1], known)
        (whole_keys, keys), (whole_values, values) = (
            extended(entries, entry, self.window) for entries, entry in zip((keys, values), new, strict=True)
        )
        read = attend(query, whole_keys, whole_values, seen)[:, 0, 0]
        _, past = extended(past, present[:, None], self.reach + 1)
        known = (known + 1).clamp(max=self.window - 1)
        return torch.cat([present, read], -1), (known, past, keys, values)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """The parallel form: [T, B, I] -> [T, B, C + V]."""
        known, past, keys, values = memory or self.initial(inputs.shape[1])
        past = functional.pad(past.transpose(0, 1), (0, 0, 0, 0, self.reach - past.shape[1], 0))
        segment = None if restart is None else functional.pad(restart.cumsum(0), (0, 0, self.reach, 0))
        steps, stream = len(inputs), self.embedding(inputs)
        for block in self.blocks:
            back = block.dilation
            before = torch.cat([past[self.reach - back :, :, : stream.shape[-1]], stream])[:steps]
            if segment is not None:
                before = before * (segment[self.reach :] == segment[self.reach - back : -back])[..., None]
            stream = block(before, stream)
        query, key, value = self._heads(stream.transpose(0, 1))
        seen = seen_by_sequence(steps, keys.shape[1], self.window, known, restart)
        read = attend(query, torch.cat([keys, key], 1), torch.cat([values, value], 1), seen)
        return torch.cat([stream, read[:, :, 0].transpose(0, 1)], -1)

    def _heads(self, stream: Tensor) -> list[Tensor]:
        """[B, T, C] -> query, key, value [B, T, 1, K or V]."""
        return [part[:, :, None] for part in self.project(stream).split(self.sizes, -1)]


class _DenseBlock(nn.Module):
    def __init__(self, width: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.convolution = nn.Linear(2 * width, 2 * filters)

    def forward(self, before: Tensor, present: Tensor) -> Tensor:
        """[..., C] of `dilation` steps ago and of now -> [..., C + F]."""
        tanh, gate = self.convolution(torch.cat([before, present], -1)).chunk(2, -1)
        return torch.cat([present, torch.tanh(tanh) * torch.sigmoid(gate)], -1)
