"""Beliefs: divergences and bounds by hand; what is decoded from which belief; the past and the future both count."""

import math

import pytest
import torch

from agents.common.belief import BeliefEncoder, TrialDecoder, drawn, evidence_terms, gaussian_kl


def _belief(mean: float, std: float) -> torch.Tensor:
    return torch.tensor([mean, math.log(std)])


def test_kl_of_gaussians_by_hand():
    # the log of the ratio of deviations, then (0.25 + (1 - 3)^2) by 2 * 4, less a half
    found = gaussian_kl(_belief(1.0, 0.5), _belief(3.0, 2.0)).item()
    assert found == pytest.approx(math.log(4) + (0.25 + 4) / 8 - 0.5, abs=1e-6)
    assert gaussian_kl(_belief(0.3, 0.7), _belief(0.3, 0.7)).item() == pytest.approx(0, abs=1e-7)


def test_kl_is_torchs_and_adds_up_over_the_latent():
    torch.manual_seed(0)
    one, other = torch.randn(6, 8), torch.randn(6, 8)
    normal = [torch.distributions.Normal(x[:, :4], x[:, 4:].exp()) for x in (one, other)]
    expected = torch.distributions.kl_divergence(*normal).sum(-1)
    torch.testing.assert_close(gaussian_kl(one, other), expected)


def test_a_draw_moves_with_mean_and_deviation():
    assert drawn(_belief(2.0, 0.5), torch.tensor([-3.0])).item() == pytest.approx(0.5)


def _by_hand(which: list[list[int]]) -> dict[str, torch.Tensor]:
    """Two trials of three steps, the second one's last not played; a decoder that predicts the latent itself."""
    beliefs = torch.tensor([[[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [1.0, 0.0]], [[4.0, 0.0], [9.0, 0.0]]])
    decoder = TrialDecoder(1, 1, 1, (4,), states=False)
    decoder.errors = lambda latent, steps: {"reward": (latent[:, None, :, 0] - steps["reward"]).square()}  # type: ignore[method-assign]
    steps = {"reward": torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 7.0]])}
    valid = torch.tensor([[True, True], [True, True], [True, False]])
    chosen = torch.tensor(which)
    return evidence_terms(beliefs, decoder, steps, valid, chosen, torch.zeros(*chosen.shape, 1))


def test_terms_by_hand():
    found = _by_hand([[1, 0]])
    # trial 1 from its belief 2: ((2-1)^2 + (2-3)^2 + (2-5)^2) / 2 = 5.5; trial 2 from 1: ((1-0)^2 + (1-2)^2) / 2 = 1
    assert found["reward"].item() == pytest.approx((5.5 + 1.0) / 2)
    # trial 1: N(2, 1) from N(0, 1): 2; trial 2 at its first step: N(1, 1) from N(0, 1): 1/2
    assert found["kl"].item() == pytest.approx((2.0 + 0.5) / 2)


def test_terms_are_means_over_beliefs():
    # a second belief of each: trial 1 from 4: (9 + 1 + 1) / 2, 2 from N(2, 1); trial 2 from 1: 1, 0 from N(1, 1)
    found = _by_hand([[1, 0], [2, 1]])
    assert found["reward"].item() == pytest.approx((5.5 + 1.0 + 5.5 + 1.0) / 4)
    assert found["kl"].item() == pytest.approx((2.0 + 0.5 + 2.0 + 0.0) / 4)


def test_an_early_belief_is_taught_by_what_comes_later_and_by_what_came_before():
    torch.manual_seed(1)
    encoder, decoder = BeliefEncoder(3, 8, 2), TrialDecoder(2, 2, 1, (8,), states=True)
    steps = {
        "observation": torch.randn(5, 1, 2),
        "action": torch.randn(5, 1, 1),
        "reward": torch.randn(5, 1),
        "next_observation": torch.randn(5, 1, 2),
    }
    for changed in (0, 4):
        slopes = []
        for shift in (0.0, 1.0):
            reward = steps["reward"].clone()
            reward[changed] += shift
            inputs = torch.linspace(-1, 1, 15).view(5, 1, 3)
            terms = evidence_terms(
                encoder.sequence(inputs),
                decoder,
                {**steps, "reward": reward},
                torch.ones(5, 1, dtype=torch.bool),
                torch.tensor([[2]]),
                torch.zeros(1, 1, 2),
            )
            slopes.append(torch.autograd.grad(terms["reward"], encoder.posterior.weight)[0])
        assert not torch.allclose(*slopes)
        assert "state" in terms


def test_step_by_step_the_encoder_is_its_sequence():
    torch.manual_seed(2)
    encoder = BeliefEncoder(3, 8, 2)
    inputs, state, found = torch.randn(6, 4, 3), encoder.initial(4), []
    for row in inputs:
        belief, state = encoder.step(row, state)
        found.append(belief)
    torch.testing.assert_close(encoder.sequence(inputs), torch.stack(found))
