"""What RL^2 computes, on hand-made trials."""

import dataclasses
import math

import pytest
import torch

from agents.common.distributions import Categorical
from agents.common.encoding import StepEncoder
from agents.rl2 import LOSSES, RL2
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect


def _agent(episodes=3, family="tabular-mdp", family_settings=None, updates=10, **settings):
    tasks = build_family(family, family_settings)
    problem = problem_of(tasks, episodes=episodes, seed=1, device=torch.device("cpu"), updates=updates)
    part = Part.model_validate({"name": "rl2", "network": {"name": "gru", "hidden_size": 8}, **settings})
    agent = build_agent(part, problem)
    assert isinstance(agent, RL2)
    return agent, tasks


def _trial(agent, tasks, trials=4, episodes=3):
    specs = [tasks.spec(seed=seed) for seed in range(trials)]
    return collect(agent, tasks.batch(trials), specs, plan=agent.plan(episodes))


def test_inputs_are_observation_previous_action_reward_and_boundaries():
    agent, tasks = _agent(family_settings={"states": 3, "actions": 2, "horizon": 2})
    rollout = _trial(agent, tasks).rollout
    inputs = StepEncoder(tasks.observation_space, tasks.action_space)(rollout.steps)
    assert inputs.shape == (6, 4, 3 + 2 + 3)
    assert inputs[0, :, 3:].tolist() == [[0, 0, 0, 0, 1]] * 4  # nothing before the trial, whose start is flagged
    torch.testing.assert_close(inputs[1:, :, :3], rollout.observation[1:])
    torch.testing.assert_close(inputs[1:, :, 3:5], torch.nn.functional.one_hot(rollout.action[:-1], 2).float())
    torch.testing.assert_close(inputs[1:, :, 5], rollout.reward[:-1])
    assert inputs[:, 0, 6].tolist() == [0, 0, 1, 0, 1, 0]  # episodes of two steps; the trial's start has its own flag
    assert inputs[:, 0, 7].tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("network", ["gru", "lstm", "fast-weights"])
@pytest.mark.parametrize("memory", ["trial", "episode"])
@pytest.mark.parametrize("gradient_steps", [0, 1, 7, 100])
@pytest.mark.parametrize("hidden", [(), (16,)])
def test_learn_sees_the_policy_that_acted(hidden, gradient_steps, memory, network):
    settings = {"gradient_steps": gradient_steps, "memory": memory, "network": {"name": network}, "hidden": hidden}
    agent, tasks = _agent(**settings)
    metrics = agent.learn(_trial(agent, tasks))
    fresh, _ = _agent(epochs=1, minibatches=1, **settings)
    first = fresh.learn(_trial(fresh, tasks))
    assert abs(first["losses/approx_kl"]) < 1e-10  # before the first step the policy is the one that collected
    assert metrics["losses/approx_kl"] > 1e-8


def test_memory_crosses_the_cuts_and_gradients_do_not():
    agent, _ = _agent(gradient_steps=4)
    network = agent._model.network
    inputs = torch.randn(10, 3, agent._encoder.size)
    ends = torch.tensor([10, 10, 3])
    valid = torch.arange(10)[:, None] < ends
    pieces, memory = agent._pieces({"inputs": inputs, "valid": valid})
    assert pieces["inputs"].shape[:2] == (4, 7)  # pieces 0-3, 4-7 and 8-9 of two trials; the third ends in its first
    assert pieces["valid"].sum() == valid.sum()
    network.sequence(pieces["inputs"], memory=memory)[pieces["valid"]].square().sum().backward()
    found = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    hidden, total = network.initial(3), 0.0
    for t, row in enumerate(inputs):
        hidden = tuple(part.detach() for part in hidden) if t % 4 == 0 else hidden
        output, hidden = network.step(row, hidden)
        total = total + output[valid[t]].square().sum()
    total.backward()
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_inputs_are_normalised_but_for_the_flags():
    settings = {"epochs": 1, "minibatches": 1, "reward_prediction": 0.1, "hidden": (8,)}
    agent, tasks = _agent(family="point-navigation", normalize=True, **settings)
    trial = _trial(agent, tasks)
    assert agent.learn(trial)["losses/approx_kl"] < 1e-10  # acted and learned from by the statistics of before
    encoded = agent._encoder(trial.rollout.steps)[trial.rollout.valid]
    read = agent._model.inputs(encoded)
    assert torch.equal(read[:, -2:], encoded[:, -2:])
    torch.testing.assert_close(read[:, :-2].mean(0), torch.zeros(5), atol=1e-3, rtol=0.0)
    assert (read[:, :2].std(0) - 1).abs().max() < 0.1
    other, _ = _agent(family="point-navigation", normalize=True, **settings)
    other.load_state_dict(agent.state_dict())
    assert torch.equal(other._model.inputs(encoded), read)


def test_what_values_are_shifted_by():
    returns = torch.tensor([[1.0, 3.0], [5.0, 100.0]])
    valid = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert _agent(value_centre="step")[0]._centre(returns, valid).tolist() == [[2.0], [5.0]]
    assert _agent(value_centre="trial")[0]._centre(returns, valid).tolist() == [[3.0]]


def test_the_first_standard_deviation_is_set():
    agent, _ = _agent(family="point-navigation", std=0.25)
    policy, _ = agent._model.heads(torch.zeros(1, 7), torch.zeros(1, 8))
    assert policy.log_std.exp().tolist() == pytest.approx([0.25 * 0.1] * 2)  # of actions up to 0.1


@pytest.mark.parametrize(("updates", "expected"), [(2, [1.0, 0.55, 0.1]), (0, [1.0, 1.0, 1.0])])
def test_the_learning_rate_falls_where_an_end_is_planned(updates, expected):
    agent, tasks = _agent(updates=updates, learning_rate=1.0, final_learning_rate=0.1)
    rates = [agent.learn(_trial(agent, tasks))["charts/learning_rate"] for _ in range(3)]
    assert rates == expected


def test_advantages_run_through_episode_ends():
    """With a reward in the last step only, discount and trace 1, every earlier step shares in it, across episodes."""
    agent, tasks = _agent(discount=1.0, trace=1.0)
    trial = _trial(agent, tasks)
    reward = torch.zeros_like(trial.rollout.reward)
    reward[-1, 0] = 1.0
    record = {**trial.rollout.record, "value": torch.zeros_like(reward)}
    advantage, _ = agent._advantages(dataclasses.replace(trial.rollout, reward=reward, record=record))
    assert (advantage[:, 0] == advantage[0, 0]).all()
    assert (advantage[:, 0] > advantage[:, 1]).all()


def test_steps_after_the_end_do_not_count():
    agent, tasks = _agent()
    trial = _trial(agent, tasks)
    valid = trial.rollout.valid.clone()
    valid[20:, 1] = False
    reward = trial.rollout.reward.clone()
    reward[20:, 1] = 1e6
    cut = dataclasses.replace(trial.rollout, valid=valid)
    noisy = dataclasses.replace(cut, reward=reward)
    one, other = agent._advantages(cut), _agent()[0]._advantages(noisy)
    torch.testing.assert_close(one[0][:20], other[0][:20])
    torch.testing.assert_close(one[1][:20], other[1][:20])


def test_value_targets_are_centred_by_time_and_scaled():
    agent, tasks = _agent()
    _, target = agent._advantages(_trial(agent, tasks, trials=64).rollout)
    assert target.mean(1).abs().max() < 1e-5
    assert abs(target.square().mean() - 1) < 1e-3


def test_trials_of_another_length_begin_from_what_they_earned():
    """Constant reward 1, discount 1: t steps before the end t are still to come, the first time a trial is as long."""
    agent, tasks = _agent(discount=1.0, episodes=3)
    for episodes in (1, 2):
        trial = _trial(agent, tasks, episodes=episodes)
        agent._look_ahead(dataclasses.replace(trial.rollout, reward=torch.ones_like(trial.rollout.reward)), episodes)
        steps = 10 * episodes
        assert agent._value_mean[:steps, 0].tolist() == list(range(steps, 0, -1))
        assert (agent._value_mean[steps:] == 0).all()
    before = agent._value_mean.clone()
    agent._look_ahead(trial.rollout, 2)  # as long as before: nothing is new
    assert (agent._value_mean == before).all()
    assert agent.state_dict()["episodes"] == 2


def test_schedules_fall_to_their_end():
    agent, tasks = _agent(learning_rate=1e-3, final_learning_rate=1e-4)
    rates = [agent.learn(_trial(agent, tasks))["charts/learning_rate"] for _ in range(11)]
    assert rates[0] == 1e-3
    assert rates[5] == pytest.approx(5.5e-4)
    assert rates[10] == 1e-4


def test_unknown_network_is_named():
    with pytest.raises(UserError, match="Did you mean 'gru'"):
        _agent(network="grue")


def test_a_small_learning_rate_is_what_was_asked():
    agent, tasks = _agent(updates=2, learning_rate=1e-5)
    assert [agent.learn(_trial(agent, tasks))["charts/learning_rate"] for _ in range(3)] == [1e-5] * 3


def _by_hand(agent, tasks):
    """Two steps of two trials, the second one's last not played; rewards 1 and 3, 2; values 2 and 4, 3.

    They are 0.5 and 1, 1 in units of 2 above 1 at the first step and 2 at the second.
    """
    agent._value_mean = torch.tensor([[1.0], [2.0]])
    agent._value_scale = torch.tensor(2.0)
    rollout = _trial(agent, tasks, trials=2).rollout
    return dataclasses.replace(
        rollout,
        reward=torch.tensor([[1.0, 2.0], [3.0, 100.0]]),
        valid=torch.tensor([[True, True], [True, False]]),
        record={"value": torch.tensor([[0.5, 1.0], [1.0, 7.0]])},
    )


def test_values_and_advantages_by_hand():
    agent, tasks = _agent(discount=0.5, trace=1.0)
    rollout = _by_hand(agent, tasks)
    value, advantage = agent.estimates(rollout)
    assert value.tolist() == [[2.0, 3.0], [4.0, 0.0]]
    # returns: 3 and 1 + .5 * 3 = 2.5; 2, since the trial does not go on
    assert advantage.tolist() == [[0.5, -1.0], [-1.0, 0.0]]
    agent._updates_done = 1
    advantage, target = agent._advantages(rollout)
    valid = rollout.valid
    # 0.5, -1, -1: mean -0.5, variance (1 + .25 + .25) / 3
    torch.testing.assert_close(advantage[valid], torch.tensor([1.0, -0.5, -0.5]) / 0.5**0.5)
    # returns 2.5, 2 at the first step: mean 2.25; 3 at the second; variance about these (2 * .25^2) / 3
    scale = 0.9 * 2.0 + 0.1 * ((2 * 0.0625 / 3) ** 0.5 + 1e-6)
    first, second = 0.9 * 1.0 + 0.1 * 2.25, 0.9 * 2.0 + 0.1 * 3.0
    torch.testing.assert_close(target[valid], torch.tensor([2.5 - first, 2.0 - first, 3.0 - second]) / scale)


def test_what_hardly_differs_is_not_blown_up():
    """Advantages and returns of 0 and 4e-8: they spread by 2e-8, to which 1e-8 and 1e-6 are added."""
    agent, tasks = _agent(discount=0.0)
    rollout = dataclasses.replace(
        _trial(agent, tasks, trials=2).rollout,
        reward=torch.tensor([[0.0, 4e-8]] * 2),
        valid=torch.ones(2, 2, dtype=torch.bool),
        record={"value": torch.zeros(2, 2)},
    )
    advantage, target = agent._advantages(rollout)
    assert advantage.flatten().tolist() == pytest.approx([-2 / 3, 2 / 3] * 2, rel=1e-4)
    assert target.flatten().tolist() == pytest.approx([-2 / 102, 2 / 102] * 2, rel=1e-4)


def test_losses_by_hand():
    """Actions of probability 0.8 and 0.2 that were played with 0.5 and 0.25; a third step was not played.

    The critic says 3 where it was 1 and 4; of rewards 2 and 4, the head predicts 1 + 3 for action 0 and 2 + 3 for 1.
    """
    agent, _ = _agent(clip=0.2, reward_prediction=0.1, family_settings={"states": 3, "actions": 2, "horizon": 2})
    probabilities = torch.tensor([0.8, 0.2]).expand(3, 1, 2)
    agent._model.network.sequence = lambda inputs, restart, memory: inputs
    agent._model.heads = lambda inputs, features: (Categorical(probabilities.log()), torch.full((3, 1), 3.0))
    agent._model.reward.forward = lambda features: torch.tensor([1.0, 2.0, 3.0]).expand(3, 1, 3)
    pieces = {
        "inputs": torch.zeros(3, 1, 1),
        "valid": torch.tensor([[True], [True], [False]]),
        "restart": torch.zeros(3, 1, dtype=torch.bool),
        "action": torch.tensor([[0], [1], [0]]),
        "log_prob": torch.tensor([[0.5], [0.25], [0.9]]).log(),
        "advantage": torch.tensor([[1.0], [-1.0], [50.0]]),
        "target": torch.tensor([[1.0], [4.0], [50.0]]),
        "reward": torch.tensor([[2.0], [4.0], [50.0]]),
    }
    found = dict(zip(LOSSES, agent._losses(pieces, ()).tolist(), strict=True))
    assert found == pytest.approx(
        {
            "losses/policy_loss": -(1.2 - 0.8) / 2,  # ratios 1.6, which is clipped, and 0.8
            "losses/value_loss": (4 + 1) / 2,
            "losses/entropy": -(0.8 * math.log(0.8) + 0.2 * math.log(0.2)),
            "losses/approx_kl": (1.6 - 1 - math.log(1.6) + 0.8 - 1 - math.log(0.8)) / 2,
            "losses/reward_prediction": (4 + 1) / 2,
        },
        rel=1e-5,
    )


@pytest.mark.parametrize(("reward_prediction", "added"), [(0.0, 0.0), (0.25, 0.25 * 8.0)])
def test_what_is_descended_by_hand(monkeypatch, reward_prediction, added):
    agent, tasks = _agent(updates=4, entropy=0.5, value_coefficient=0.1, reward_prediction=reward_prediction)
    trial = _trial(agent, tasks)
    agent._updates_done = 1  # three quarters are left
    parts = torch.tensor([3.0, 5.0, 2.0, 100.0, 8.0][: 5 if reward_prediction else 4])  # the divergence counts not
    agent._losses = lambda pieces, memory: parts
    descended = []
    monkeypatch.setattr(
        "agents.rl2.descend", lambda *given, **_: descended.append(given[3](torch.arange(2))[0].item()) or {}
    )
    agent.learn(trial)
    assert descended == [pytest.approx(3.0 + 0.1 * 5.0 - 0.5 * 0.75 * 2.0 + added)]
