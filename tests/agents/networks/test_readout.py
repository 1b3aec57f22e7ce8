"""A readout is its linear layers, forwards and backwards, by whatever way."""

import pytest
import torch
from torch import nn

from agents.networks import kernels
from agents.networks.readout import readout


def _found(features, layers, slopes):
    features = features.clone().requires_grad_()
    outputs = readout(features, *layers)
    wanted = [features, *(parameter for layer in layers for parameter in layer.parameters())]
    return *(output.detach() for output in outputs), *torch.autograd.grad(outputs, wanted, slopes)


@pytest.mark.parametrize(("shape", "widths"), [((10, 125, 64), (5, 1)), ((1, 16), (40,)), ((7, 32), (3, 1, 16))])
def test_outputs_and_gradients_are_those_of_double_precision(monkeypatch, shape, widths):
    torch.manual_seed(len(shape))
    layers, features = [nn.Linear(shape[-1], width) for width in widths], torch.randn(shape)
    slopes = [torch.randn(*shape[:-1], width) for width in widths]
    found = {}
    for way in ("compiled", "torch"):
        monkeypatch.setenv(kernels.VARIABLE, way)
        found[way] = _found(features, layers, slopes)
    exact = _found(features.double(), [layer.double() for layer in layers], [slope.double() for slope in slopes])
    for one, other, right in zip(found["compiled"], found["torch"], exact, strict=True):
        scale = float(2e-6 * right.abs().max().clamp(min=1))
        torch.testing.assert_close(one, right.float(), rtol=0, atol=scale)
        torch.testing.assert_close(other, right.float(), rtol=0, atol=scale)


def test_by_hand(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    layer = nn.Linear(64, 2)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[1, 3], layer.bias[0], layer.bias[1] = 2.0, 5.0, -1.0
        features = torch.zeros(3, 64)
        features[2, 3] = 4.0
        (found,) = readout(features, layer)
    assert found.tolist() == [[5.0, -1.0], [5.0, -1.0], [5.0, 7.0]]


def test_a_row_is_the_same_alone_to_the_bit(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    layer, features = nn.Linear(64, 5), torch.randn(13, 64)
    (whole,) = readout(features, layer)
    assert all(torch.equal(readout(features[n : n + 1], layer)[0][0], whole[n]) for n in range(13))


def test_gradients_of_gradients_and_odd_widths_are_torch_s(monkeypatch):
    layer, features = nn.Linear(64, 2), torch.randn(3, 64, requires_grad=True)
    found = {}
    for way in ("compiled", "torch"):
        monkeypatch.setenv(kernels.VARIABLE, way)
        (slope,) = torch.autograd.grad(readout(features, layer)[0].square().sum(), features, create_graph=True)
        found[way] = torch.autograd.grad(slope.square().sum(), [features, layer.weight])
    torch.testing.assert_close(found["compiled"], found["torch"])
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    monkeypatch.setattr(kernels.Kernels, "call", None)  # nothing may ask it
    assert readout(torch.zeros(2, 7), nn.Linear(7, 3))[0].shape == (2, 3)
    with pytest.raises(RuntimeError):
        readout(torch.zeros(2, 32), layer)
