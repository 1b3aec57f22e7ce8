"""The actor-critic that acts on beliefs: values, targets and losses by hand."""

import math

import pytest
import torch

from agents.common import trial_actor_critic
from agents.common.distributions import Categorical
from agents.common.losses import PPO_LOSSES
from agents.common.trial_actor_critic import ActorCriticConfig, TrialActorCritic
from taskgen.build import build_family
from taskgen.interaction.agent import Rollout
from taskgen.interaction.build import problem_of

VALID = torch.tensor([[True, True], [True, False]])
REWARD = torch.tensor([[1.0, 2.0], [3.0, 100.0]])


def _parts(updates=4, **settings):
    family = build_family("grid-navigation", {"horizon": 2})
    problem = problem_of(family, episodes=3, seed=1, device=torch.device("cpu"), updates=updates)
    return TrialActorCritic(ActorCriticConfig(**settings), problem, 3, torch.Generator().manual_seed(0))


def _rollout(valid=VALID, value=((0.5, 1.0), (1.0, 7.0))):
    """Two steps of two trials."""
    record = {"value": torch.tensor(value), "log_prob": torch.zeros(2, 2)}
    zeros = torch.zeros(2, 2, dtype=torch.int64)
    flags = zeros.bool()
    return Rollout(zeros, zeros, zeros, flags, flags, zeros, flags, flags, zeros, valid, record)


def test_values_and_advantages_by_hand():
    """Values in units of 2 above 1 at the first step and 2 at the second: 2 and 4; 3, the last step was not played."""
    parts = _parts(discount=0.5, trace=1.0)
    assert parts._value_mean.shape == (6, 1)
    parts._value_mean[:2, 0] = torch.tensor([1.0, 2.0])
    parts._value_scale = torch.tensor(2.0)
    value, advantage = parts.estimates(_rollout(), REWARD)
    assert value.tolist() == [[2.0, 3.0], [4.0, 0.0]]
    # returns: 3 and 1 + .5 * 3 = 2.5; 2, since the trial does not go on
    assert advantage.tolist() == [[0.5, -1.0], [-1.0, 0.0]]
    # one step ahead: 1 + .5 * 4 - 2
    assert parts.estimates(_rollout(), REWARD, 0.0)[1].tolist() == [[1.0, -1.0], [-1.0, 0.0]]
    parts._updates_done = 1
    advantage, target = parts._advantages(_rollout(), REWARD)
    # 0.5, -1, -1: mean -0.5, variance (1 + .25 + .25) / 3
    torch.testing.assert_close(advantage[VALID], torch.tensor([1.0, -0.5, -0.5]) / 0.5**0.5)
    # returns 2.5, 2 at the first step: mean 2.25; 3 at the second; variance about these (2 * .25^2) / 3
    scale = 0.9 * 2.0 + 0.1 * ((2 * 0.0625 / 3) ** 0.5 + 1e-6)
    first, second = 0.9 * 1.0 + 0.1 * 2.25, 0.9 * 2.0 + 0.1 * 3.0
    torch.testing.assert_close(target[VALID], torch.tensor([2.5 - first, 2.0 - first, 3.0 - second]) / scale)


def test_a_step_that_no_trial_played_keeps_its_mean():
    """Only the first step was played, for rewards of 1 and 2: its mean moves from 3 by a tenth towards 1.5."""
    parts = _parts()
    parts._value_mean[:, 0] = torch.tensor([3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    parts._updates_done = 1
    parts._advantages(_rollout(torch.tensor([[True, True], [False, False]])), REWARD)
    assert parts._value_mean[:, 0].tolist() == pytest.approx([2.85, 4.0, 5.0, 6.0, 7.0, 8.0])


def test_what_hardly_differs_is_not_blown_up():
    """Advantages and returns of 0 and 4e-8: they spread by 2e-8, to which 1e-8 and 1e-6 are added."""
    rollout = _rollout(torch.ones(2, 2, dtype=torch.bool), ((0.0, 0.0), (0.0, 0.0)))
    advantage, target = _parts(discount=0.0)._advantages(rollout, torch.tensor([[0.0, 4e-8]] * 2))
    assert advantage.flatten().tolist() == pytest.approx([-2 / 3, 2 / 3] * 2, rel=1e-4)
    assert target.flatten().tolist() == pytest.approx([-2 / 102, 2 / 102] * 2, rel=1e-4)


def test_losses_by_hand():
    """Actions of probability 0.8 and 0.2 that were played with 0.5 and 0.25; the critic says 3 where it was 1 and 4."""
    parts = _parts(clip=0.2)
    policy = Categorical(torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log())
    parts.networks.forward = lambda inputs: (policy, torch.tensor([3.0, 3.0]))
    steps = {
        "inputs": torch.zeros(2, 3),
        "action": torch.tensor([0, 1]),
        "log_prob": torch.tensor([0.5, 0.25]).log(),
        "advantage": torch.tensor([1.0, -1.0]),
        "target": torch.tensor([1.0, 4.0]),
        "weight": torch.ones(2),
    }
    found = dict(zip(PPO_LOSSES, parts._losses(steps).tolist(), strict=True))
    assert found == pytest.approx(
        {
            "losses/policy_loss": -(1.2 - 0.8) / 2,  # ratios 1.6, which is clipped, and 0.8
            "losses/value_loss": (4 + 1) / 2,
            "losses/entropy": -(0.8 * math.log(0.8) + 0.2 * math.log(0.2)),
            "losses/approx_kl": (1.6 - 1 - math.log(1.6) + 0.8 - 1 - math.log(0.8)) / 2,
        },
        rel=1e-5,
    )


def test_the_entropy_bonus_is_taken_off_and_falls(monkeypatch):
    parts = _parts(updates=4, entropy=0.5)
    parts._updates_done = 1  # three quarters are left
    assert parts.left == 0.75
    parts._losses = lambda steps: torch.tensor([3.0, 5.0, 2.0, 7.0])
    descended = []
    monkeypatch.setattr(
        trial_actor_critic, "descend", lambda *given, **_: descended.append(given[3](torch.arange(2))) or {}
    )
    parts.learn(_rollout(), torch.zeros(2, 2, 3), REWARD)
    assert descended == [(3.0 + 5.0 - 0.5 * 0.75 * 2.0, dict(zip(PPO_LOSSES, (3.0, 5.0, 2.0, 7.0), strict=True)))]
    assert parts.left == 0.5


def test_minibatches_are_of_all_steps_once_an_epoch():
    parts = _parts(epochs=2, minibatches=3)
    batches = list(parts._minibatches(7))
    assert [len(batch) for batch in batches] == [3, 2, 2, 3, 2, 2]
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(7))
    assert [len(batch) for batch in parts._minibatches(2)] == [1, 1, 1, 1]
