"""What PPO computes, on hand-made rollouts."""

import dataclasses
import math

import pytest
import torch

from agents.common.distributions import Categorical
from agents.common.losses import PPO_LOSSES
from agents.ppo import PPO
from agents.testing import check_agent
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

HORIZON = 4


def _agent(family="grid-navigation", updates=10, **settings):
    tasks = build_family(family, {"horizon": HORIZON})
    problem = problem_of(tasks, episodes=2, seed=1, device=torch.device("cpu"), updates=updates)
    agent = build_agent(Part.model_validate({"name": "ppo", "hidden": [8], **settings}), problem)
    assert isinstance(agent, PPO)
    return agent, tasks


def _trial(agent, tasks, trials=4):
    specs = [tasks.spec(seed=seed) for seed in range(trials)]
    return collect(agent, tasks.batch(trials), specs, plan=agent.plan(2))


def _returns(agent, rollout):
    """Unnormalised returns [T, B]."""
    _, target = agent._advantages(rollout)
    return target * agent._value_scale + agent._value_mean


def _values(agent, values):
    """Let the critic say `values[t]` of the observation whose first coordinate is t."""
    agent._model.value = lambda inputs: torch.tensor(values)[inputs[..., 0].long()]


def _hand_made(agent, tasks, **changes):
    """One trial of two episodes of two steps; rewards 1, 2, 3, 4; observations 0, 1, 3, 4, true last ones 2 and 5."""
    rollout = _trial(agent, tasks, trials=1).rollout
    column = {name: getattr(rollout, name)[:4] for name in ("action", "valid", "trial_start")}
    times = torch.tensor([0.0, 1.0, 3.0, 4.0])
    false = torch.zeros(4, 1, dtype=torch.bool)
    built = dataclasses.replace(
        rollout,
        **column,
        observation=times[:, None, None].expand(4, 1, 2),
        next_observation=torch.tensor([1.0, 2.0, 4.0, 5.0])[:, None, None].expand(4, 1, 2),
        reward=torch.tensor([[1.0], [2.0], [3.0], [4.0]]),
        terminated=false,
        truncated=torch.tensor([[False], [True], [False], [True]]),
        episode_start=torch.tensor([[True], [False], [True], [False]]),
        episode_index=torch.tensor([[0], [0], [1], [1]]),
        record={"log_prob": torch.zeros(4, 1), "value": agent._model.value(times[:, None, None].expand(4, 1, 2))},
    )
    return dataclasses.replace(built, **changes)


def test_a_truncated_episode_is_bootstrapped_from_its_true_last_observation():
    agent, tasks = _agent(discount=0.5, trace=1.0)
    _values(agent, [0.0, 0.0, 10.0, 0.0, 0.0, 20.0])
    # 2 + .5 * 10 = 7, 1 + .5 * 7 = 4.5;  4 + .5 * 20 = 14, 3 + .5 * 14 = 10
    torch.testing.assert_close(_returns(agent, _hand_made(agent, tasks))[:, 0], torch.tensor([4.5, 7.0, 10.0, 14.0]))


def test_a_terminated_episode_is_not():
    agent, tasks = _agent(discount=0.5, trace=1.0)
    _values(agent, [0.0, 0.0, 10.0, 0.0, 0.0, 20.0])
    both = torch.tensor([[False], [True], [False], [False]])  # the goal was reached in the very last step
    last = torch.tensor([[False], [True], [False], [True]])
    rollout = _hand_made(agent, tasks, terminated=last, truncated=both)
    torch.testing.assert_close(_returns(agent, rollout)[:, 0], torch.tensor([2.0, 2.0, 5.0, 4.0]))


def test_advantages_stop_at_episode_ends():
    agent, tasks = _agent(discount=1.0, trace=1.0)
    rollout = _trial(agent, tasks).rollout
    late = torch.zeros_like(rollout.reward)
    late[-1] = 100.0
    plain = _returns(agent, rollout)
    changed = _returns(_agent(discount=1.0, trace=1.0)[0], dataclasses.replace(rollout, reward=rollout.reward + late))
    torch.testing.assert_close(changed[:HORIZON], plain[:HORIZON], atol=1e-3, rtol=1e-3)
    assert (changed[HORIZON:] > plain[HORIZON:] + 90).all()


def test_steps_after_the_end_do_not_count():
    plain, tasks = _agent()
    noisy, _ = _agent()
    trial = _trial(plain, tasks)
    _trial(noisy, tasks)  # the same draws
    valid = trial.rollout.valid.clone()
    valid[HORIZON:, 1] = False
    reward = trial.rollout.reward.clone()
    reward[HORIZON:, 1] = 1e6
    cut = dataclasses.replace(trial.rollout, valid=valid)
    one = plain.learn(dataclasses.replace(trial, rounds=[cut]))
    other = noisy.learn(dataclasses.replace(trial, rounds=[dataclasses.replace(cut, reward=reward)]))
    assert one == other


def test_learn_sees_the_policy_that_acted():
    for context in ("descriptor", "none", "one-hot"):
        agent, tasks = _agent(context=context, epochs=1, minibatches=1)
        assert abs(agent.learn(_trial(agent, tasks))["losses/approx_kl"]) < 1e-10
        assert agent.learn(_trial(agent, tasks))["losses/approx_kl"] < 1e-10  # also once tasks have numbers


@pytest.mark.parametrize(("updates", "expected"), [(2, [1.0, 0.55, 0.1]), (0, [1.0, 1.0, 1.0])])
def test_the_learning_rate_falls_where_an_end_is_planned(updates, expected):
    agent, tasks = _agent(updates=updates, learning_rate=1.0, final_learning_rate=0.1)
    rates = [agent.learn(_trial(agent, tasks))["charts/learning_rate"] for _ in range(3)]
    assert rates == expected


@pytest.mark.parametrize("context", ["none", "one-hot"])
@pytest.mark.parametrize("family", ["grid-navigation", "point-navigation"])
def test_other_contexts_follow_the_protocol(family, context):
    check_agent("ppo", {"context": context}, family=family, family_settings={"horizon": 5})


def test_the_learning_rate_falls_in_a_straight_line_to_what_is_set():
    agent, tasks = _agent(updates=10, learning_rate=1e-3, final_learning_rate=5e-4)
    rates = [agent.learn(_trial(agent, tasks))["charts/learning_rate"] for _ in range(11)]
    assert rates == pytest.approx([1e-3 - 5e-5 * done for done in range(11)])


def test_a_small_learning_rate_is_what_was_asked():
    """The usual end, 6e-5, is above it: where no end is set it stays; where one is, it rises to it."""
    agent, tasks = _agent(updates=2, learning_rate=1e-5)
    assert [agent.learn(_trial(agent, tasks))["charts/learning_rate"] for _ in range(3)] == [1e-5] * 3
    agent, tasks = _agent(updates=2, learning_rate=1e-5, final_learning_rate=3e-5)
    assert [agent.learn(_trial(agent, tasks))["charts/learning_rate"] for _ in range(3)] == pytest.approx(
        [1e-5, 2e-5, 3e-5]
    )


def test_values_and_advantages_by_hand():
    """The critic says 1, 2, 3, 4 in units of 0.5 above 1, so 1.5, 2, 2.5, 3; 6 and 11 of the true last ones."""
    agent, tasks = _agent(discount=0.5, trace=1.0)
    _values(agent, [1.0, 2.0, 10.0, 3.0, 4.0, 20.0])
    agent._value_mean, agent._value_scale = torch.tensor(1.0), torch.tensor(0.5)
    agent._updates_done = 1
    rollout = _hand_made(agent, tasks)
    value, advantage = agent.estimates(rollout)
    torch.testing.assert_close(value[:, 0], torch.tensor([1.5, 2.0, 2.5, 3.0]))
    # returns: 2 + .5 * 6 = 5, 1 + .5 * 5 = 3.5;  4 + .5 * 11 = 9.5, 3 + .5 * 9.5 = 7.75
    torch.testing.assert_close(advantage[:, 0], torch.tensor([2.0, 3.0, 5.25, 6.5]))
    advantage, target = agent._advantages(rollout)
    # advantages: mean 4.1875, variance 12.671875 / 4; returns: mean 6.4375, variance 21.796875 / 4
    spread = (12.671875 / 4) ** 0.5
    torch.testing.assert_close(advantage[:, 0], torch.tensor([-2.1875, -1.1875, 1.0625, 2.3125]) / spread)
    mean, scale = 0.9 * 1.0 + 0.1 * 6.4375, 0.9 * 0.5 + 0.1 * (21.796875 / 4) ** 0.5
    torch.testing.assert_close(target[:, 0], (torch.tensor([3.5, 5.0, 7.75, 9.5]) - mean) / scale)


def test_what_hardly_differs_is_not_blown_up():
    """Advantages and returns of 0 and 4e-8: they spread by 2e-8, to which 1e-8 and 1e-6 are added."""
    agent, tasks = _agent(discount=0.0)
    _values(agent, [0.0] * 6)
    small = torch.tensor([[0.0], [4e-8], [0.0], [4e-8]])
    advantage, target = agent._advantages(_hand_made(agent, tasks, reward=small))
    assert advantage[:, 0].tolist() == pytest.approx([-2 / 3, 2 / 3] * 2, rel=1e-4)
    assert target[:, 0].tolist() == pytest.approx([-2 / 102, 2 / 102] * 2, rel=1e-4)


def test_losses_by_hand():
    """Actions of probability 0.8 and 0.2 that were played with 0.5 and 0.25; the critic says 3 where it was 1 and 4."""
    agent, _ = _agent(clip=0.2)
    agent._model.policy = lambda inputs: Categorical(torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log())
    agent._model.value = lambda inputs: torch.tensor([3.0, 3.0])
    steps = {
        "inputs": torch.zeros(2, 1),
        "action": torch.tensor([0, 1]),
        "log_prob": torch.tensor([0.5, 0.25]).log(),
        "advantage": torch.tensor([1.0, -1.0]),
        "target": torch.tensor([1.0, 4.0]),
        "weight": torch.ones(2),
    }
    found = dict(zip(PPO_LOSSES, agent._losses(steps).tolist(), strict=True))
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
    agent, tasks = _agent(updates=4, entropy=0.5)
    trial = _trial(agent, tasks)
    agent._updates_done = 1  # three quarters are left
    agent._losses = lambda steps: torch.tensor([3.0, 5.0, 2.0, 7.0])
    descended = []
    monkeypatch.setattr("agents.ppo.descend", lambda *given, **_: descended.append(given[3](torch.arange(2))) or {})
    agent.learn(trial)
    assert descended == [(3.0 + 5.0 - 0.5 * 0.75 * 2.0, dict(zip(PPO_LOSSES, (3.0, 5.0, 2.0, 7.0), strict=True)))]
