"""Gated recurrent unit (Cho et al. 2014), the memory of RL^2."""

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.networks.base import Memory, RecurrentNetwork, cleared
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

    def initial(self, batch: int) -> Memory:
        """Zeros [B, H]."""
        return (self.gru.all_weights[0][1].new_zeros(batch, self.output_size),)

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One cell update."""
        hidden = torch.gru_cell(inputs, memory[0], *self.gru.all_weights[0])
        return hidden, (hidden,)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """The fused kernel, or cell by cell where the state restarts on the way."""
        (hidden,) = memory or self.initial(inputs.shape[1])
        if restart is None:
            return self.gru(inputs, hidden[None])[0]
        outputs: list[Tensor] = []
        for row, cut in zip(inputs, restart, strict=True):
            hidden, _ = self.step(row, cleared((hidden,), cut))
            outputs.append(hidden)
        return torch.stack(outputs)
