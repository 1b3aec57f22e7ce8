"""The contract of recurrent networks: one map in two forms, step by step and over whole sequences."""

from abc import ABC, abstractmethod
from typing import TypeAlias

import torch
from torch import Tensor, nn

Memory: TypeAlias = tuple[Tensor, ...]
"""Hidden state: tensors [B, ...]."""


class RecurrentNetwork(nn.Module, ABC):
    """Built as `Network(config, input_size=...)`. `step` and `sequence` agree to rounding."""

    output_size: int

    @abstractmethod
    def initial(self, batch: int) -> Memory:
        """Hidden state at the start of `batch` sequences, on the parameters' device: zeros."""

    @abstractmethod
    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[B, I], memory -> [B, O], memory."""

    @abstractmethod
    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """[T, B, I] -> [T, B, O] from `memory`, by default the initial state, to which `restart` [T, B] returns."""

    @torch.no_grad()
    def memories(self, inputs: Tensor, every: int, restart: Tensor | None = None) -> Memory:
        """The hidden states before inputs 0, `every`, 2 `every`, ... of [T, B, I]: each part [N, B, ...]."""
        memory, kept = self.initial(inputs.shape[1]), list[Memory]()
        for t, row in enumerate(inputs):
            if t % every == 0:
                kept.append(memory)
            if restart is not None:
                memory = cleared(memory, restart[t])
            _, memory = self.step(row, memory)
        return tuple(torch.stack(part) for part in zip(*kept, strict=True))


def cleared(memory: Memory, where: Tensor) -> Memory:
    """`memory` with the initial state in the rows where the bool tensor [B] is true."""
    return tuple(part * ~where.view(-1, *(1,) * (part.ndim - 1)) for part in memory)
