"""What SAC computes, on hand-made transitions."""

import copy
import dataclasses

import gymnasium as gym
import pytest
import torch

from agents.evaluation.play import evaluate
from agents.sac import SAC, SACConfig
from agents.testing import check_agent
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import Relabels, Step, judged
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

SMALL = {"hidden": [16], "batch": 8, "capacity": 200, "warm_up": 0, "updates_per_step": 0.1}


def _agent(**settings):
    tasks = build_family("point-navigation", {"goals": "half-circle", "horizon": 5})
    problem = problem_of(tasks, episodes=2, seed=1, device=torch.device("cpu"))
    agent = build_agent(Part.model_validate({"name": "sac", **SMALL, **settings}), problem)
    assert isinstance(agent, SAC)
    return agent, tasks


def _trial(agent, tasks, trials=4):
    specs = [tasks.spec({"angle": 0.1 * seed}, seed=seed) for seed in range(trials)]
    return collect(agent, tasks.batch(trials), specs, plan=agent.plan(2))


def _batch(n=6):
    ended = torch.zeros(n, dtype=torch.bool)
    ended[0] = True
    return {
        "observation": torch.rand(n, 2),
        "action": 0.2 * torch.rand(n, 2) - 0.1,
        "reward": torch.arange(float(n)),
        "next_observation": torch.rand(n, 2),
        "terminated": ended,
        "descriptor": torch.rand(n, 2),
    }


def _parameters(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_targets_bootstrap_all_but_terminated_transitions():
    agent, _ = _agent(discount=0.5, temperature=0.2)
    agent._model.targets.forward = lambda inputs: torch.stack([torch.full((6, 1), 8.0), torch.full((6, 1), 6.0)])
    batch = _batch()
    inputs = agent._inputs(batch["next_observation"], batch["descriptor"])
    generator = torch.Generator()
    generator.set_state(agent.generator.get_state())
    _, log_prob = agent._model.actor(inputs).sample_with_log_prob(generator)
    expected = batch["reward"] + 0.5 * (6.0 - 0.2 * log_prob)  # the smaller critic
    expected[0] = batch["reward"][0]
    torch.testing.assert_close(agent._targets(batch), expected.detach())


def test_truncated_steps_are_remembered_as_going_on_and_invalid_ones_not_at_all():
    agent, tasks = _agent()
    rollout = _trial(agent, tasks).rollout
    assert rollout.truncated[4].all()
    valid = rollout.valid.clone()
    valid[5:, 2] = False
    agent._remember(dataclasses.replace(rollout, valid=valid))
    held = agent._replay.state_dict()["columns"]
    assert len(agent._replay) == 10 * 4 - 5
    assert not held["terminated"].any()
    torch.testing.assert_close(held["next_observation"][0, 16:20], rollout.next_observation[4])
    torch.testing.assert_close(held["action"][0, :20].view(5, 4, 2), rollout.action[:5])  # in order of time
    torch.testing.assert_close(held["descriptor"][0, :4], rollout.descriptor)


def test_target_critics_are_averages():
    agent, _ = _agent(averaging=0.25)
    before = _parameters(agent._model.targets)
    agent._update(_batch())
    for old, new, critic in zip(
        before, _parameters(agent._model.targets), _parameters(agent._model.critics), strict=True
    ):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * critic)
    assert any(not torch.equal(old, new) for old, new in zip(before, _parameters(agent._model.targets), strict=True))


def test_each_loss_moves_its_own_network():
    agent, _ = _agent(learning_rate=1e-2)
    critics = _parameters(agent._model.critics)
    agent._policy_optimizer.step = lambda: None
    agent._update(_batch())
    moved = _parameters(agent._model.critics)
    assert any(not torch.equal(a, b) for a, b in zip(critics, moved, strict=True))
    actor = _parameters(agent._model.actor)
    del agent._policy_optimizer.step
    agent._critic_optimizer.step = lambda: None
    agent._update(_batch())
    assert all(torch.equal(a, b) for a, b in zip(moved, _parameters(agent._model.critics), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(actor, _parameters(agent._model.actor), strict=True))


def test_temperature_rises_while_the_policy_is_less_random_than_asked():
    eager, _ = _agent(target_entropy=5.0, learning_rate=0.1)
    eager._update(_batch())
    assert eager._model.log_temperature > 0
    calm, _ = _agent(target_entropy=-50.0, learning_rate=0.1)
    calm._update(_batch())
    assert calm._model.log_temperature < 0
    fixed, _ = _agent(temperature=0.1, target_entropy=5.0, learning_rate=0.1)
    fixed._update(_batch())
    torch.testing.assert_close(fixed._model.log_temperature.exp(), torch.tensor(0.1))


def test_warm_up_draws_uniformly_and_owes_no_updates():
    agent, tasks = _agent(warm_up=60, updates_per_step=0.5)
    first, second = _trial(agent, tasks), _trial(agent, tasks)
    assert first.rollout.action.abs().max() <= 0.1
    assert 0.04 < first.rollout.action.abs().mean() < 0.06
    assert agent.learn(first)["charts/updates"] == 0
    assert agent.learn(second)["charts/updates"] == 10  # 40 + 40 - 60 steps
    assert agent.learn(_trial(agent, tasks))["charts/updates"] == 20


def _judged_action(agent, observation, descriptor):
    """What is played in one step of every task when the agent is judged."""
    n = len(observation)
    flag, player = torch.ones(n, dtype=torch.bool), judged(agent)
    step = Step(observation, torch.zeros(n, 2), torch.zeros(n), flag, flag, torch.zeros(n).long(), descriptor)
    return player.act(player.begin_trial(n), step)[0].value


@pytest.mark.parametrize("warm_up", [0, 10_000])
def test_it_is_judged_by_its_mean_action(warm_up):
    agent, _ = _agent(warm_up=warm_up)
    observation, descriptor = torch.rand(6, 2), torch.rand(6, 2)
    before = agent.state_dict()["generator"]
    found = _judged_action(agent, observation, descriptor)
    mean, _ = agent._model.actor.head(agent._model.actor.body(agent._inputs(observation, descriptor))).chunk(2, -1)
    torch.testing.assert_close(found, 0.1 * mean.tanh())  # actions span [-0.1, 0.1]
    assert torch.equal(agent.state_dict()["generator"], before)


def test_or_by_one_that_is_drawn():
    agent, _ = _agent(judged="sampled", warm_up=10_000)
    observation, descriptor = torch.rand(2000, 2), torch.rand(1, 2).expand(2000, -1)
    observation = observation[:1].expand(2000, -1)
    before = agent.state_dict()["generator"]
    found = _judged_action(agent, observation, descriptor)
    assert torch.equal(agent.state_dict()["generator"], before)  # judging leaves the agent as it is
    policy = agent._model.actor(agent._inputs(observation, descriptor))
    drawn = 0.1 * policy.sample(torch.Generator().manual_seed(0))
    assert found.std(0).tolist() == pytest.approx(drawn.std(0).tolist(), rel=0.1)
    assert len(found.unique(dim=0)) > 1900


def test_evaluations_say_which_action_was_played():
    agent, tasks = _agent()
    specs = [tasks.spec({"angle": 0.1 * seed}, seed=seed) for seed in range(4)]
    summaries, did = evaluate({"sac": agent}, tasks, specs, 2)
    assert summaries["sac"].get("judged") == "mean"
    again = evaluate({"sac": agent}, tasks, specs, 2)[1]
    assert did["sac"].returns.tolist() == again["sac"].returns.tolist()


def test_parts_of_updates_are_carried_over():
    agent, tasks = _agent(updates_per_step=0.0325)
    assert [agent.learn(_trial(agent, tasks))["charts/updates"] for _ in range(5)] == [1, 1, 1, 2, 1]  # 1.3 each


def test_rewards_can_be_given_anew_when_drawn():
    agent, _ = _agent(discount=0.0)
    assert isinstance(agent, Relabels)
    batch = _batch()
    torch.testing.assert_close(agent._targets(batch), batch["reward"])
    agent.reward_of = lambda observation, action, following, descriptor: (following - observation)[:, 0] + action[:, 1]
    expected = (batch["next_observation"] - batch["observation"])[:, 0] + batch["action"][:, 1]
    torch.testing.assert_close(agent._targets(batch), expected)


def test_goes_on_identically_after_its_memory_has_wrapped():
    one, tasks = _agent(capacity=50)
    one.learn(_trial(one, tasks))
    one.learn(_trial(one, tasks))
    other, _ = _agent(capacity=50)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert one.learn(_trial(one, tasks)) == other.learn(_trial(other, tasks))
    assert torch.equal(_trial(one, tasks).rollout.action, _trial(other, tasks).rollout.action)


def test_unbounded_actions_are_refused():
    tasks = build_family("point-navigation")
    problem = problem_of(tasks, episodes=1, seed=0, device=torch.device("cpu"))
    for space in (gym.spaces.Box(-1, float("inf"), (2,)), gym.spaces.Discrete(3)):
        with pytest.raises(UserError, match="finite bounds"):
            SAC(SACConfig(), dataclasses.replace(problem, action_space=space))


@pytest.mark.parametrize("context", ["descriptor", "none", "one-hot"])
def test_follows_the_protocol_while_it_learns(context):
    settings = {**SMALL, "context": context}
    check_agent("sac", settings, family="point-navigation", family_settings={"goals": "half-circle", "horizon": 6})


def test_the_temperature_s_slope_is_the_surplus_of_entropy():
    agent, _ = _agent(target_entropy=-1.5)
    agent._policy_optimizer.step = lambda: None
    entropy = agent._update(_batch())["losses/entropy"]
    torch.testing.assert_close(agent._model.log_temperature.grad, entropy + 1.5 * 2)  # two action dimensions
