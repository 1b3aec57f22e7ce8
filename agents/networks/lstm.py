"""Long short-term memory (Hochreiter and Schmidhuber 1997), the memory of Wang et al. 2016."""

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.networks.base import Memory, RecurrentNetwork, cleared
from registry.config import Config


class LSTMConfig(Config):
    """Settings of `LSTM`."""

    hidden_size: int = Field(48, ge=1, description="Width of hidden and cell state (Wang et al. 2016: 48).")


class LSTM(RecurrentNetwork):
    """One layer; the output is the hidden state [B, H]."""

    def __init__(self, config: LSTMConfig, *, input_size: int) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        self.lstm = nn.LSTM(input_size, config.hidden_size)

    def initial(self, batch: int) -> Memory:
        """Zeros [B, H] for hidden and cell state."""
        zeros = self.lstm.all_weights[0][1].new_zeros(batch, self.output_size)
        return (zeros, zeros)

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """One cell update."""
        hidden, cell = torch.lstm_cell(inputs, list(memory), *self.lstm.all_weights[0])
        return hidden, (hidden, cell)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """The fused kernel, or cell by cell where the state restarts on the way."""
        memory = memory or self.initial(inputs.shape[1])
        if restart is None:
            return self.lstm(inputs, (memory[0][None], memory[1][None]))[0]
        outputs: list[Tensor] = []
        for row, cut in zip(inputs, restart, strict=True):
            hidden, memory = self.step(row, cleared(memory, cut))
            outputs.append(hidden)
        return torch.stack(outputs)
