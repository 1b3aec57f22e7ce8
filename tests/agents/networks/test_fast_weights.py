import math

import pytest
import torch

from agents.networks import kernels
from agents.networks.fast_weights import (
    FastWeights,
    FastWeightsConfig,
    _forward,
    _Layer,
    _Sequence,
    means_and_evidence,
)


def test_what_was_read_is_a_mean_and_its_evidence():
    """Of values 3 stored 2 times: 3 / (1 + 2) and log(1 + 2), added to the stream; then what the perceptron adds."""
    layer = _Layer(FastWeightsConfig(width=2, heads=1, key_width=1, value_width=1, perceptron_width=3))
    with torch.no_grad():
        layer.merge.weight.copy_(torch.eye(2))
        layer.merge.bias.zero_()
        layer.perceptron[3].weight.zero_()
        layer.perceptron[3].bias.copy_(torch.tensor([0.5, -0.25]))
    found = layer._finish(torch.tensor([[10.0, 20.0]]), torch.tensor([[[3.0, 2.0]]]))
    torch.testing.assert_close(found, torch.tensor([[10 + 1 + 0.5, 20 + math.log(3) - 0.25]]))


def test_a_step_stores_a_value_under_its_key_beside_what_has_decayed():
    layer = _Layer(FastWeightsConfig(width=2, heads=1, key_width=2, value_width=1))
    with torch.no_grad():
        layer.decay.fill_(math.log(3.0))  # sigmoid: three quarters are kept
        layer.project.weight.zero_()
        layer.project.bias.copy_(torch.tensor([0.0, 0.0, math.log(3.0), 0.0, 5.0]))  # query, key, value
    _, matrix = layer.step(torch.zeros(1, 2), torch.tensor([[[[4.0, 8.0], [0.0, 1.0]]]]))
    # keys 3/4 and 1/4, value 5 and the count 1
    torch.testing.assert_close(matrix[0, 0], torch.tensor([[3 + 3.75, 6 + 0.75], [1.25, 0.75 + 0.25]]))
    assert _Layer(FastWeightsConfig(heads=3)).decay.tolist() == [8.0, 4.0, 0.0]
    assert _Layer(FastWeightsConfig(heads=1)).decay.tolist() == [8.0]


def test_queries_and_keys_begin_sharper_than_values():
    torch.manual_seed(0)
    plain = _Layer(FastWeightsConfig(sharpness=1.0))
    torch.manual_seed(0)
    sharp = _Layer(FastWeightsConfig(sharpness=3.0))
    torch.testing.assert_close(sharp.project.weight[:128], 3.0 * plain.project.weight[:128])
    torch.testing.assert_close(sharp.project.weight[128:], plain.project.weight[128:])


SIZES = [(16, 100, 4, 16, 16), (1, 1, 1, 1, 1), (3, 7, 2, 5, 3), (2, 9, 3, 33, 20), (4, 5, 1, 16, 17)]
"""Rows, steps, heads, keys, values: of tabular tasks, the least, less than a vector, and no whole vectors."""


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_kernel_and_its_gradients_are_those_of_double_precision(monkeypatch, sizes, restarts):
    rows, steps, heads, keys, values = sizes
    torch.manual_seed(steps)
    layer = _Layer(FastWeightsConfig(width=4, heads=heads, key_width=keys, value_width=values))
    parts, matrix = 2 * torch.randn(steps, rows, sum(layer.sizes)), torch.rand(rows, *layer.shape)
    restart = torch.rand(steps, rows) < 0.2 if restarts else None
    slope = torch.randn(steps, rows, heads, values + 1)
    with torch.no_grad():
        layer.decay.uniform_(0, 4)

    def found(way, kind):
        monkeypatch.setenv(kernels.VARIABLE, way)
        layer.to(kind)
        wanted = [parts.to(kind).requires_grad_(), matrix.to(kind).requires_grad_(), layer.decay]
        if way == "compiled":
            out = _Sequence.apply(kernels.kernels_for(*wanted), layer, restart, *wanted)
        else:
            out = means_and_evidence(layer.read(*wanted, restart))
        return out.detach(), *torch.autograd.grad(out, wanted, slope.to(kind))

    for one, other in zip(found("compiled", torch.float32), found("torch", torch.float64), strict=True):
        scale = other.abs().max().clamp(min=1)
        torch.testing.assert_close(one, other.float(), rtol=0, atol=float(5e-6 * scale))


def test_a_step_by_the_kernel_is_one_of_a_sequence_to_the_bit(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    torch.manual_seed(0)
    network = FastWeights(FastWeightsConfig(width=8, key_width=5, value_width=3), input_size=4)
    layer, stream, matrix = network.layers[0], torch.randn(6, 3, 8), torch.rand(3, 4, 5, 4)
    parts = layer.project(layer.norm(stream)).detach()
    whole = _Sequence.apply(kernels.kernels_for(parts), layer, None, parts, matrix, layer.decay)
    state = matrix
    for t in range(6):
        after = torch.empty_like(state)
        one = _forward(kernels.kernels_for(parts), parts[t : t + 1], state, None, layer.decay.sigmoid(), after)
        assert torch.equal(one[0], whole[t])
        state = after
    with torch.no_grad():
        found = layer.step(stream[0], matrix)
        monkeypatch.setenv(kernels.VARIABLE, "torch")
        torch.testing.assert_close(found, layer.step(stream[0], matrix))


def test_gradients_of_gradients_are_by_torch(monkeypatch):
    torch.manual_seed(0)
    network = FastWeights(FastWeightsConfig(width=4, heads=2, key_width=3, value_width=2), input_size=2)
    inputs = torch.randn(4, 3, 2, requires_grad=True)

    def second():
        restart = torch.tensor([[True, False, False, True]]).expand(3, 4).t()
        (slope,) = torch.autograd.grad(network.sequence(inputs, restart).square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [inputs, *network.parameters()], allow_unused=True)

    found = {}
    for way in ("compiled", "torch"):
        monkeypatch.setenv(kernels.VARIABLE, way)
        found[way] = second()
    for one, other in zip(found["compiled"], found["torch"], strict=True):
        assert one is other is None or torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def test_what_the_kernel_cannot_do_is_left_to_torch(monkeypatch):
    network = FastWeights(FastWeightsConfig(width=4), input_size=2)
    monkeypatch.setattr(kernels.Kernels, "call", None)  # nothing may ask it
    inputs = torch.randn(4, 3, 2)
    with pytest.raises(RuntimeError):
        network.sequence(inputs, None, (inputs[0], *(torch.zeros(2, *layer.shape) for layer in network.layers)))
    monkeypatch.setenv(kernels.VARIABLE, "compiled")
    with pytest.raises(TypeError, match="NoneType"):
        network.sequence(inputs)
    assert network.double().sequence(inputs.double()).dtype == torch.float64
