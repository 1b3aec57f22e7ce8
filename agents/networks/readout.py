"""What is read off the features of a network: a few numbers by linear layers, side by side."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.networks.kernels import Kernels, gradients, kernels_for, left_to_torch


def readout(features: Tensor, *layers: nn.Linear) -> tuple[Tensor, ...]:
    """[..., F] -> [..., A] of each of `layers`. By a kernel, where there is one and F is whole vectors of it."""
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    kernels = kernels_for(features, *parameters)
    if kernels is None or (width := features.shape[-1]) % kernels.lanes or not _fit(width, parameters):
        return tuple(layer(features) for layer in layers)
    if torch.is_grad_enabled():
        return _Readout.apply(kernels, features, *parameters)
    return _read(kernels, features, parameters)


def _fit(width: int, parameters: list[Tensor]) -> bool:
    """Whether weights [A, width] and biases [A] are as a kernel reads them; what is not is left to torch."""
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        if weight.shape != (*bias.shape, width) or not (weight.is_contiguous() and bias.is_contiguous()):
            return False
    return True


def _read(kernels: Kernels, features: Tensor, parameters: list[Tensor]) -> tuple[Tensor, ...]:
    features, size, found = features.contiguous(), features.shape[-1], list[Tensor]()
    rows = features.numel() // size
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        out = features.new_empty(*features.shape[:-1], len(weight))
        room = features.new_empty((size + rows) * kernels.padded(len(weight)))
        kernels.call("narrow_forward", rows, size, len(weight), features, weight, bias, room, out)
        found.append(out)
    return tuple(found)


def _by_torch(features: Tensor, *parameters: Tensor) -> list[Tensor]:
    return [functional.linear(features, *pair) for pair in zip(parameters[::2], parameters[1::2], strict=True)]


class _Readout(torch.autograd.Function):
    """The outputs of all layers; gradients of gradients by torch."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, features: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.kernels = kernels
        ctx.save_for_backward(features, *parameters)
        return _read(kernels, features, list(parameters))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        features, *parameters = inputs = ctx.saved_tensors
        pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
        if left_to_torch(slopes):
            return None, *gradients(_by_torch, inputs, ctx.needs_input_grad[1:], slopes)
        given, found = features.contiguous(), [torch.zeros_like(tensor) for tensor in parameters]
        of_features, size = torch.zeros_like(given), features.shape[-1]
        for (weight, _), slope, of_weight, of_bias in zip(pairs, slopes, found[::2], found[1::2], strict=True):
            sizes = (given.numel() // size, size, len(weight))
            ctx.kernels.call(
                "narrow_backward", *sizes, given, weight, slope.contiguous(), of_features, of_weight, of_bias
            )
        return None, of_features, *found
