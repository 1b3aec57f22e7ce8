import math

import torch

from agents.networks.fast_weights import FastWeightsConfig, _Layer


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
