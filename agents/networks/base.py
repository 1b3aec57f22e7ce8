"""The contract of recurrent networks: one map in two forms, step by step and over whole sequences."""

from abc import ABC, abstractmethod
from typing import TypeAlias

from torch import Tensor, nn

Memory: TypeAlias = tuple[Tensor, ...]
"""Hidden state: tensors [B, ...]."""


class RecurrentNetwork(nn.Module, ABC):
    """Built as `Network(config, input_size=...)`. `step` and `sequence` agree to rounding."""

    output_size: int

    @abstractmethod
    def initial(self, batch: int) -> Memory:
        """Hidden state at the start of `batch` sequences, on the parameters' device."""

    @abstractmethod
    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[B, I], memory -> [B, O], memory."""

    @abstractmethod
    def sequence(self, inputs: Tensor, restart: Tensor | None = None) -> Tensor:
        """[T, B, I] -> [T, B, O] from the initial state, which returns wherever `restart` [T, B] is true."""
