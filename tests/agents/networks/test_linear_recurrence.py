import pytest
import torch

from agents.networks.linear_recurrence import scan


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
