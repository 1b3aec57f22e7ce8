"""Feed-forward networks: one, or several of the same shape side by side."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers from `sizes[0]` over hidden sizes to `sizes[-1]`, `activation` after each, also the last."""
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(sizes):
        layers += [nn.Linear(narrow, wide), activation()]
    return nn.Sequential(*layers)


class Ensemble(nn.Module):
    """C networks with ReLU and linear outputs: on a GPU one call for all, on a CPU, where that is slower, one for each.

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
        layers = list(zip(self.weights, self.biases, strict=True))
        if frozen:
            layers = [(weight.detach(), bias.detach()) for weight, bias in layers]
        if inputs.is_cuda:
            return _forward(torch.baddbmm, inputs.expand(len(layers[0][0]), *inputs.shape), layers)
        copies = zip(*(zip(weight.unbind(), bias.unbind(), strict=True) for weight, bias in layers), strict=True)
        return torch.stack([_forward(torch.addmm, inputs, copy) for copy in copies])


def _forward(product: Callable[..., Tensor], value: Tensor, layers: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Through linear layers (weight, bias) with a ReLU between them."""
    for layer, (weight, bias) in enumerate(layers):
        value = product(bias, value.relu_() if layer else value, weight)
    return value
