"""Evolution strategies: ranks, gradient, Adam and decays by hand."""

import math

import pytest
import torch

from agents.common.evolution import adam, centred_ranks, decayed, no_moments, search_gradient


def test_ranks_by_hand():
    column = torch.tensor([[3.0], [-1.0], [10.0], [0.0], [4.0]])
    assert centred_ranks(column).flatten().tolist() == [0.0, -0.5, 0.5, -0.25, 0.25]


def test_ties_share_the_mean_of_their_ranks():
    columns = torch.tensor([[1.0, 7.0], [2.0, 7.0], [1.0, 7.0], [0.0, 7.0], [2.0, 7.0]])
    assert centred_ranks(columns).T.tolist() == [[-0.125, 0.375, -0.125, -0.5, 0.375], [0.0] * 5]


def test_what_differs_by_rounding_is_a_tie():
    parts = torch.full((20,), -0.1)
    sums = torch.stack([parts.sum(), parts[:7].sum() + parts[7:].sum(), sum(parts), torch.tensor(-2.0)])
    assert len(set(sums.tolist())) > 1
    assert centred_ranks(sums[:, None]).flatten().tolist() == [0.0] * 4
    assert centred_ranks(torch.tensor([[2.0], [2.0001], [-1.0]])).flatten().tolist() == [0.0, 0.5, -0.5]
    assert centred_ranks(torch.zeros(3, 1)).flatten().tolist() == [0.0] * 3
    far = torch.tensor([[-1e9], [2.0], [1.0], [2.0]])  # one that is far away leaves the others told apart
    assert centred_ranks(far).flatten().tolist() == pytest.approx([-0.5, 1 / 3, -1 / 6, 1 / 3])


def test_what_is_not_finite_is_worst():
    column = torch.tensor([[math.nan], [-100.0], [math.inf], [5.0], [-math.inf]])
    assert centred_ranks(column).flatten().tolist() == [-0.25, 0.25, -0.25, 0.5, -0.25]


def test_gradient_of_a_quadratic_in_closed_form():
    """Along eps a quadratic rises by 2 sigma eps.grad F, whatever its curvature: g = 2/n sum eps (eps . grad F)."""
    generator = torch.Generator().manual_seed(0)
    centre, start = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    curvature = torch.randn(7, 7, generator=generator, dtype=torch.float64)
    curvature = curvature @ curvature.T
    noise, std = torch.randn(50, 7, generator=generator, dtype=torch.float64), 0.3

    def value(points):
        away = points - centre
        return -0.5 * (away @ curvature * away).sum(1)

    returns = value(torch.cat([start + std * noise, start - std * noise]))
    slope = -(curvature @ (start - centre))
    torch.testing.assert_close(search_gradient(returns, noise, std), 2 * (noise.T @ (noise @ slope)) / 50)
    axes = math.sqrt(7) * torch.linalg.qr(noise[:7]).Q  # orthogonal perturbations: exactly twice the gradient
    returns = value(torch.cat([start + std * axes, start - std * axes]))
    torch.testing.assert_close(search_gradient(returns, axes, std), 2 * slope)


def test_the_gradient_of_two_pairs_by_hand():
    """F = -(x - 1)^2 - 3 (y + 2)^2 at (0, 0), sigma 0.5, along x and along y: twice its slope (2, -12)."""
    noise, std = math.sqrt(2) * torch.eye(2, dtype=torch.float64), 0.5
    points = torch.cat([std * noise, -std * noise])
    returns = -((points[:, 0] - 1) ** 2) - 3 * (points[:, 1] + 2) ** 2
    torch.testing.assert_close(search_gradient(returns, noise, std), torch.tensor([4.0, -24.0], dtype=torch.float64))


def test_two_steps_of_adam_by_hand():
    slopes = torch.tensor([[2.0, -0.5], [1.0, 0.5]], dtype=torch.float64)
    start = torch.zeros(2, dtype=torch.float64)
    step, moments = adam(slopes[0], no_moments(start), 1, 0.1)
    torch.testing.assert_close(step, torch.tensor([0.1, -0.1], dtype=torch.float64))
    step, moments = adam(slopes[1], moments, 2, 0.1)
    mean = torch.tensor([0.9 * 0.2 + 0.1, 0.0 - 0.045 + 0.05], dtype=torch.float64) / (1 - 0.81)
    spread = torch.tensor([0.999 * 0.004 + 0.001, 0.999 * 0.00025 + 0.00025], dtype=torch.float64) / (1 - 0.999**2)
    torch.testing.assert_close(step, 0.1 * mean / spread.sqrt())
    torch.testing.assert_close(moments[0], mean * (1 - 0.81))


def test_what_decays_stops_at_its_least_and_never_rises():
    assert decayed(0.1, 0.5, 0.01) == pytest.approx(0.05)
    assert decayed(0.015, 0.5, 0.01) == 0.01
    assert decayed(0.005, 0.5, 0.01) == 0.005
