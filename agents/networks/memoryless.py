"""No memory: a perceptron of the present input, the control that says what memory bought."""

from pydantic import Field
from torch import Tensor, nn

from agents.networks.base import Memory, RecurrentNetwork
from agents.networks.mlp import mlp
from registry.config import Config, Width


class MemorylessConfig(Config):
    """Settings of `Memoryless`."""

    hidden: tuple[Width, ...] = Field((64, 64), min_length=1, description="Widths of the layers.")


class Memoryless(RecurrentNetwork):
    """The output [B, H] depends on the present input alone, which still holds the previous action and reward."""

    covers = 1

    def __init__(self, config: MemorylessConfig, *, input_size: int) -> None:
        super().__init__()
        self.output_size = config.hidden[-1]
        self.layers = mlp((input_size, *config.hidden), nn.Tanh)

    def initial(self, batch: int) -> Memory:
        """Nothing."""
        return ()

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[B, I] -> [B, H]."""
        return self.layers(inputs), memory

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """[T, B, I] -> [T, B, H], each step by itself."""
        return self.layers(inputs)
