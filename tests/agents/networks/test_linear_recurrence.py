import math

import pytest
import torch

from agents.networks.linear_recurrence import LinearRecurrenceConfig, _Layer, scan


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 16, 21])
def test_scan_is_the_recurrence(steps):
    torch.manual_seed(steps)
    keep, add = torch.rand(steps, 2, 3, dtype=torch.float64), torch.randn(steps, 2, 3, dtype=torch.float64)
    state = torch.randn(2, 3, dtype=torch.float64)
    found = scan(keep, add, state)
    for t in range(steps):
        state = keep[t] * state + add[t]
        torch.testing.assert_close(found[t], state)


def test_scan_by_hand():
    keep, add = torch.tensor([0.5, 0.0, 0.25]).view(3, 1, 1), torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    # 0.5 * 8 + 1 = 5; a restart forgets it: 2; 0.25 * 2 + 3 = 3.5
    assert scan(keep, add, torch.tensor([[8.0]])).flatten().tolist() == [5.0, 2.0, 3.5]


def test_scan_of_thousands_of_steps_stays_finite():
    keep, add = torch.full((5000, 1, 1), 1e-3), torch.full((5000, 1, 1), 1.0)
    found = scan(keep.requires_grad_(), add, torch.zeros(1, 1))
    assert found[-1].item() == pytest.approx(1 / (1 - 1e-3), rel=1e-5)
    (slope,) = torch.autograd.grad(found.sum(), keep)
    assert torch.isfinite(slope).all()


def test_gates_and_output_by_hand():
    """The gate's bias alone, 0 to -5: of the state a half to sigmoid(5) is kept, and the rest of a candidate comes."""
    layer = _Layer(LinearRecurrenceConfig(width=2, state_width=2, perceptron_width=3))
    with torch.no_grad():
        layer.project.weight.zero_()
        layer.project.bias[2:] = torch.tensor([4.0, -8.0])
        layer.merge.weight.copy_(torch.eye(2))
        layer.merge.bias.zero_()
        layer.perceptron[3].weight.zero_()
        layer.perceptron[3].bias.copy_(torch.tensor([0.5, -0.25]))
    stream = torch.tensor([10.0, 20.0])
    keep, add = layer.gates(stream)
    last = 1 / (1 + math.exp(-5.0))
    torch.testing.assert_close(keep, torch.tensor([0.5, last]))
    torch.testing.assert_close(add, torch.tensor([0.5 * 4, (1 - last) * -8]))
    # silu(x) = x sigmoid(x), of 0 and 2
    expected = torch.tensor([10.0 + 0.5, 20.0 + 2 / (1 + math.exp(-2.0)) - 0.25])
    torch.testing.assert_close(layer.finish(stream, torch.tensor([0.0, 2.0])), expected)
