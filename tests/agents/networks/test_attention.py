"""SNAIL and the transformer: how far back they see, to the step; what is remembered of trials that are cut."""

import math

import pytest
import torch

from agents.networks.base import refuse_uncovered
from agents.networks.memoryless import Memoryless, MemorylessConfig
from agents.networks.snail import SNAIL, SNAILConfig, _DenseBlock
from agents.networks.transformer import Gate, Transformer, TransformerConfig, _Layer, rotated
from registry.errors import UserError


def _differs(network, steps: int, changed: int) -> torch.Tensor:
    """[T] whether the output of each step depends on the input of step `changed`."""
    network = network.double()
    inputs = torch.randn(steps, 1, 3, dtype=torch.float64)
    other = inputs.clone()
    other[changed] += 1.0
    return (network.sequence(inputs) - network.sequence(other)).abs().amax((1, 2)) > 1e-12


@pytest.mark.parametrize("window", [2, 4, 5, 8])
def test_snail_sees_exactly_its_field(window):
    torch.manual_seed(0)
    network = SNAIL(SNAILConfig(window=window, blocks=2, filters=4), input_size=3)
    dilations = 2 ** math.ceil(math.log2(window)) - 1  # 1 + 2 + 4 + ...
    assert network.field == 2 * dilations + window
    seen = _differs(network, network.field + 9, 4)
    assert not seen[:4].any()
    assert seen[4]
    assert seen[4 + network.field - 1]
    assert not seen[4 + network.field :].any()


def test_a_layer_of_the_transformer_sees_its_window_and_the_input_before():
    torch.manual_seed(0)
    network = Transformer(TransformerConfig(window=6, layers=1), input_size=3)
    seen = _differs(network, 20, 4)
    assert seen.tolist() == [4 <= t <= 4 + 6 for t in range(20)]


@pytest.mark.parametrize("kind", [SNAIL, Transformer])
def test_beyond_its_window_step_and_sequence_agree(kind):
    torch.manual_seed(1)
    config = SNAILConfig(window=5, truncate=True) if kind is SNAIL else TransformerConfig(window=5, truncate=True)
    network = kind(config, input_size=3)
    inputs = torch.randn(23, 4, 3)
    memory, outputs = network.initial(4), []
    for row in inputs:
        output, memory = network.step(row, memory)
        outputs.append(output)
    torch.testing.assert_close(network.sequence(inputs), torch.stack(outputs), rtol=1e-4, atol=1e-5)
    assert max(part.shape[1] for part in memory if part.ndim > 2) <= (8 if kind is SNAIL else 4)


def test_gated_transformer_is_one_map_in_two_forms():
    torch.manual_seed(2)
    network = Transformer(TransformerConfig(gates="gru"), input_size=3)
    inputs = torch.randn(7, 2, 3)
    memory, outputs = network.initial(2), []
    for row in inputs:
        output, memory = network.step(row, memory)
        outputs.append(output)
    torch.testing.assert_close(network.sequence(inputs), torch.stack(outputs), rtol=1e-4, atol=1e-5)


def test_gate_by_hand():
    gate = Gate(1)
    with torch.no_grad():
        gate.of_new.weight.copy_(torch.tensor([[0.5], [1.0], [2.0]]))  # of y, into reset, update, candidate
        gate.of_stream.weight.copy_(torch.tensor([[-1.0], [0.25]]))  # of x, into reset and update
        gate.of_reset.weight.fill_(3.0)
    x, y = 0.4, -0.6
    reset = 1 / (1 + math.exp(-(0.5 * y - 1.0 * x)))
    update = 1 / (1 + math.exp(-(1.0 * y + 0.25 * x - 2.0)))
    candidate = math.tanh(2.0 * y + 3.0 * reset * x)
    found = gate(torch.tensor([[x]]), torch.tensor([[y]])).item()
    assert found == pytest.approx((1 - update) * x + update * candidate, abs=1e-6)


def test_rotation_by_hand_and_products_depend_on_distances_alone():
    x = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    turned = rotated(x, torch.tensor([2.0])).flatten()
    torch.testing.assert_close(turned, torch.tensor([math.cos(2), math.sin(2)]))
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    products = [
        (rotated(query, torch.tensor([9.0 + far])) * rotated(key, torch.tensor([4.0 + far]))).sum() for far in (0, 5)
    ]
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-5)
    near = (rotated(query, torch.tensor([9.0])) * rotated(key, torch.tensor([8.0]))).sum()
    assert (near - products[0]).abs() > 1e-3


def test_trials_longer_than_the_window_are_refused():
    network = Transformer(TransformerConfig(window=20), input_size=3)
    refuse_uncovered(network, "transformer", episodes=2, horizon=10)
    with pytest.raises(UserError, match="remembers 20 steps, but a trial of 3 episodes of up to 10 steps has 30"):
        refuse_uncovered(network, "transformer", episodes=3, horizon=10)
    refuse_uncovered(
        Transformer(TransformerConfig(window=20, truncate=True), input_size=3), "x", episodes=3, horizon=10
    )


def test_later_pairs_turn_more_slowly():
    """The second of two pairs by 10,000 ** (-1/2) = 0.01 a step."""
    turned = rotated(torch.tensor([0.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 4), torch.tensor([3.0])).flatten()
    torch.testing.assert_close(turned, torch.tensor([0.0, math.cos(0.03), 0.0, math.sin(0.03)]))


def test_residual_sums_and_dense_blocks_by_hand():
    layer = _Layer(TransformerConfig(width=2, heads=1, head_width=2, perceptron_width=3))
    block = _DenseBlock(1, 1, 1)
    with torch.no_grad():
        layer.merge.weight.copy_(torch.eye(2))
        layer.merge.bias.zero_()
        layer.perceptron[3].weight.zero_()
        layer.perceptron[3].bias.copy_(torch.tensor([0.5, -0.25]))
        block.convolution.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -1.0]]))  # of before and now: filter, gate
        block.convolution.bias.zero_()
    found = layer.finish(torch.tensor([[[10.0, 20.0]]]), torch.tensor([[[[3.0, -4.0]]]]))
    torch.testing.assert_close(found, torch.tensor([[[13.5, 15.75]]]))
    # tanh(0.1 + 2 * 0.2) sigmoid(3 * 0.1 - 0.2)
    expected = torch.tensor([0.2, math.tanh(0.5) / (1 + math.exp(-0.1))])
    torch.testing.assert_close(block(torch.tensor([0.1]), torch.tensor([0.2])), expected)


def test_what_has_no_memory_is_not_refused():
    refuse_uncovered(Memoryless(MemorylessConfig(), input_size=3), "memoryless", episodes=3, horizon=10)
