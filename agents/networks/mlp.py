"""Feed-forward networks: one, or several of the same shape side by side."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers from `sizes[0]` over hidden sizes to `sizes[-1]`, `activation` after each, also the last."""
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(sizes):
        layers += [nn.Linear(narrow, wide), activation()]
    return nn.Sequential(*layers)


class Ensemble(nn.Module):
    """C networks with ReLU and linear outputs, run as batched matrix products: one call for all, not C.

    Each is drawn as `nn.Linear` draws its layers. `sizes` are those of input, hidden layers and output.
    """

    def __init__(self, copies: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(inputs)
            self.weights.append(nn.Parameter(torch.empty(copies, inputs, outputs).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(copies, 1, outputs).uniform_(-bound, bound)))

    def forward(self, inputs: Tensor, *, frozen: bool = False) -> Tensor:
        """[N, I] -> [C, N, O]; with `frozen` gradients reach the inputs, not the weights."""
        value = inputs.expand(len(self.weights[0]), *inputs.shape)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if frozen:
                weight, bias = weight.detach(), bias.detach()  # noqa: PLW2901
            value = torch.baddbmm(bias, value.relu() if layer else value, weight)
        return value
