"""Beliefs: divergences and bounds by hand; what is decoded from which belief; the past and the future both count."""

import copy
import dataclasses
import math

import pytest
import torch

from agents.common import belief
from agents.common.belief import (
    BeliefConfig,
    BeliefEncoder,
    BeliefModel,
    TrialDecoder,
    certainty,
    drawn,
    evidence_terms,
    gaussian_kl,
)
from agents.common.encoding import StepEncoder
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.agent import CollectionPlan
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect


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


def test_squared_errors_by_hand():
    """Heads that add up what they read: one latent, one action and two coordinates."""
    decoder = TrialDecoder(1, 2, 1, (8,), states=True)
    decoder.reward = _Sum(1)
    decoder.state = _Sum(2)
    steps = {
        "observation": torch.tensor([[[10.0, 20.0]], [[30.0, 40.0]]]),
        "action": torch.tensor([[[1.0]], [[2.0]]]),
        "reward": torch.tensor([[5.0], [-1.0]]),
        "next_observation": torch.tensor([[[3.0, 4.0]], [[5.0, 6.0]]]),
    }
    found = decoder.errors(torch.tensor([[[0.0]], [[0.5]]]), steps)
    # latent + action + next observation, less the reward: 0 + 1 + 7 - 5 and 0 + 2 + 11 + 1; then with 0.5
    assert found["reward"].tolist() == [[[9.0], [196.0]], [[12.25], [210.25]]]
    # latent + observation + action, less each next coordinate: 31 - 3, 31 - 4; 72 - 5, 72 - 6
    assert found["state"][0].tolist() == [[28.0**2 + 27.0**2], [67.0**2 + 66.0**2]]
    assert found["state"][1].tolist() == [[28.5**2 + 27.5**2], [67.5**2 + 66.5**2]]


class _Sum(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs):
        return inputs.sum(-1, keepdim=True).expand(*inputs.shape[:-1], self.outputs)


def _model(**settings):
    """Of trials of two episodes of three steps, that are put in as trials of four."""
    family = build_family("grid-navigation", {"horizon": 3})
    problem = problem_of(family, episodes=2, seed=1, device=torch.device("cpu"))
    config = BeliefConfig(encoder_width=4, decoder_hidden=(4,), latent=2, encoder_updates=1, **settings)
    encode = StepEncoder(problem.observation_space, problem.action_space)
    model = BeliefModel(config, problem, encode, torch.Generator().manual_seed(0))
    specs = [family.spec(seed=seed) for seed in range(5)]
    random = build_agent(Part(name="random"), problem)
    rollout = collect(random, family.batch(5), specs, plan=CollectionPlan(1, 2)).rollout
    columns = {name: getattr(rollout, name) for name in ("observation", "action", "reward", "next_observation")}
    flags = ("terminated", "truncated", "episode_start", "trial_start", "episode_index", "valid")
    columns |= {name: getattr(rollout, name) for name in flags}
    return model, dataclasses.replace(rollout, **{name: column[:4] for name, column in columns.items()})


def test_trials_are_kept_as_long_as_they_may_get():
    model, rollout = _model()
    model.keep(rollout)
    kept = model._trials.draw(5, torch.Generator().manual_seed(0))
    assert kept["reward"].shape == (5, 6)
    assert kept["valid"].sum(1).tolist() == [4] * 5


@pytest.mark.parametrize("states", [False, True])
def test_the_bound_is_the_weighted_sum_of_its_terms(states):
    model, rollout = _model(kl_weight=0.25, decode_states=states)
    model.keep(rollout)
    found = model.learn()
    state = found.get("losses/belief_state", 0.0)
    assert (state > 0) == states
    expected = found["losses/belief_reward"] + 0.25 * found["losses/belief_kl"] + state
    assert found["losses/negative_elbo"] == pytest.approx(expected, rel=1e-5)
    assert 0.25 * found["losses/belief_kl"] > 1e-4 * expected


def test_the_beliefs_of_all_steps_that_were_played_are_judged(monkeypatch):
    model, rollout = _model(beliefs=200, encoder_trials=3)
    model.keep(rollout)
    judged = []

    def spy(beliefs, decoder, steps, valid, which, noise):
        judged.append(which)
        return evidence_terms(beliefs, decoder, steps, valid, which, noise)

    monkeypatch.setattr(belief, "evidence_terms", spy)
    model.learn()
    assert judged[0].shape == (200, 3)
    shares = torch.bincount(judged[0].flatten()) / 600
    assert len(shares) == 4
    assert (shares - 0.25).abs().max() < 4 * (0.1875 / 600) ** 0.5


def test_a_state_that_says_not_yet_whose_beliefs_are_judged_goes_on_with_those_of_valid_steps():
    (model, rollout), (other, _) = _model(), _model()
    model.load_state_dict(other.state_dict())  # of before the first trials
    model.keep(rollout)
    state = copy.deepcopy(model.state_dict())
    del state["trials"]["columns"]["judged"]
    other.load_state_dict(state)
    for going in (model, other):
        going.keep(rollout)
    assert model.learn() == other.learn()


def test_certainty_is_that_of_the_first_step_and_of_the_last_that_was_played():
    _, rollout = _model()
    log_std = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 8.0], [16.0, 32.0]]).log()  # [4 steps, 2 dimensions]
    beliefs = torch.cat([torch.full((4, 5, 2), 9.0), log_std[:, None].expand(4, 5, 2)], -1)
    valid = torch.ones(4, 5, dtype=torch.bool)
    valid[3, 1:] = False
    found = certainty(dataclasses.replace(rollout, record={"belief": beliefs}, valid=valid))
    ends = (0.5 * (16**2 + 32**2 + 160) - math.log(16 * 32), 0.5 * (4**2 + 8**2 + 160) - math.log(4 * 8))
    kl = (ends[0] + 4 * ends[1]) / 5
    assert found == pytest.approx({"belief/first_std": 1.0, "belief/last_std": (24 + 4 * 6) / 5, "belief/kl": kl})
