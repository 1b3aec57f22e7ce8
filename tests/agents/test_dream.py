"""DREAM: what exploration is paid, who learns from whom, and that a judge never shows the task."""

import copy
from dataclasses import fields, replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.dream import DREAM, DREAMConfig, at_last, distances, exploration_rewards
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import Step, judged
from taskgen.interaction.build import build_agent, problem_of, refuse_unadapted
from taskgen.interaction.collect import collect

SMALL = {"latent": 3, "hidden": (16,), "width": 16, "batch": 8, "warm_up": 0, "epsilon_steps": 0, "epsilon": 0.5}


ACTIONS = {"bus": {}, "sign-plane": {}, "point-navigation": {"goals": "half-circle", "reward": "sparse", "horizon": 10}}
"""Families whose actions are numbers, or of a box, with settings."""
of_any_actions = pytest.mark.parametrize("family", ACTIONS)


def _agent(episodes=3, family="bus", **settings):
    torch.manual_seed(0)
    family = build_family(family, {"horizon": 6, **ACTIONS[family]})
    problem = problem_of(family, episodes=episodes, seed=1, device=torch.device("cpu"))
    return DREAM(DREAMConfig(**{**SMALL, **settings}), problem), family


def _trial(agent, family, episodes=3):
    if family.name == "builtin/bus":
        contexts = [{"permutation": number} for number in range(6)]
    else:
        contexts = [{"angle": number / 2} for number in range(6)]
    specs = [family.spec(context, seed=number) for number, context in enumerate(contexts)]
    return collect(agent, family.batch(6), specs, plan=agent.plan(episodes))


def test_exploration_is_paid_for_coming_nearer_by_hand():
    target = torch.tensor([[1.0, 2.0]])
    contents = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 3.0]]])
    distance = distances(target, contents)
    assert distance[:, 0].tolist() == [5.0, 4.0, 1.0]
    assert exploration_rewards(distance, 0.25)[:, 0].tolist() == [0.75, 2.75]


@of_any_actions
def test_what_exploration_is_paid_telescopes(family):
    """Over an episode: the first distance less the last, less what its steps cost."""
    agent, family = _agent(family=family)
    rollout = _trial(agent, family).rounds[0]
    lengths = rollout.valid.sum(0)
    assert len(set(lengths.tolist())) > 1 or family.name != "builtin/bus"
    with torch.no_grad():
        contents = agent._networks.decoder.head(agent._networks.decoder.sequence(agent._seen(rollout)))
        distance = distances(agent._networks.encoder(rollout.descriptor), contents)
    paid = (exploration_rewards(distance, 0.1) * rollout.valid).sum(0)
    last = distance.gather(0, lengths[None])[0]
    torch.testing.assert_close(paid, distance[0] - last - 0.1 * lengths)
    torch.testing.assert_close(at_last(contents, lengths)[1], contents[lengths[1], 1])


@of_any_actions
def test_a_judge_shows_no_descriptor(family):
    agent, family = _agent(family=family)
    assert agent.needs_descriptor
    player = judged(agent)
    assert not player.needs_descriptor
    assert agent.needs_descriptor
    trial = _trial(player, family)
    assert all(rollout.descriptor is None for rollout in trial.rounds)
    shown = trial.rounds[0].steps
    step = Step(*(value if value is None else value[0] for value in (getattr(shown, f.name) for f in fields(Step))))
    player.act(player.begin_trial(6), step)
    with pytest.raises(UserError, match="never where it is judged"):
        player.act(player.begin_trial(6), replace(step, descriptor=torch.zeros(6, 16)))
    with pytest.raises(UserError, match="shown the task descriptor in training"):
        agent.act(agent.begin_trial(6), step)


@of_any_actions
def test_what_is_judged_does_not_depend_on_the_encoder(family):
    agent, family = _agent(family=family)
    one = _trial(judged(agent), family).rollout.action
    with torch.no_grad():
        for parameter in agent._networks.encoder.parameters():
            parameter.add_(1.0)
    assert torch.equal(one, _trial(judged(agent), family).rollout.action)


def test_an_empty_descriptor_is_refused_by_name():
    family = build_family("bus")
    problem = problem_of(family, episodes=2, seed=1, device=torch.device("cpu"))
    with pytest.raises(UserError, match="builtin/bus has an empty task descriptor: dream"):
        DREAM(DREAMConfig(), replace(problem, descriptor_size=0))


def test_actions_of_other_kinds_are_refused_by_name():
    problem = problem_of(build_family("bus"), episodes=2, seed=1, device=torch.device("cpu"))
    with pytest.raises(UserError, match="builtin/bus has the action space .*; dream needs a Box with finite bounds"):
        build_agent(Part(name="dream"), replace(problem, action_space=gym.spaces.Box(-np.inf, np.inf, (2,))))


def test_trials_of_exploration_alone_are_refused():
    agent, _ = _agent()
    with pytest.raises(UserError, match="training.episodes = 1: the agent explores for 1 episode of a trial"):
        refuse_unadapted(agent, 1, "training.episodes")
    refuse_unadapted(agent, 2, "training.episodes")


def _gradients(agent, loss):
    agent._optimizer.zero_grad()
    loss.backward()
    parts = ("exploit", "explore", "encoder", "decoder")
    return {name for name in parts if any(p.grad is not None for p in getattr(agent._networks, name).parameters())}


def _batch(agent, family):
    agent._remember(_trial(agent, family))
    drawn = agent._trials.draw(4, agent.generator)
    return {name: column if name == "descriptor" else column.transpose(0, 1) for name, column in drawn.items()}


def test_who_learns_from_what():
    agent, family = _agent()
    batch = _batch(agent, family)
    encoded, memory = agent._networks.encoder(batch["descriptor"]), agent._networks.decoder.sequence(batch["seen"])
    contents = agent._networks.decoder.head(memory)
    assert _gradients(agent, agent._exploit_loss(batch, encoded)) == {"exploit", "encoder"}
    reward = exploration_rewards(distances(encoded, contents).detach(), 0.1)
    assert _gradients(agent, agent._explore_loss(batch, memory.detach(), reward)) == {"explore"}


def test_of_continuous_actions_the_critics_alone_teach_the_encoder():
    agent, family = _agent(family="sign-plane")
    batch = _batch(agent, family)
    encoded = agent._networks.encoder(batch["descriptor"])
    agent.generator.manual_seed(0)
    assert _gradients(agent, agent._exploit_loss(batch, encoded)) == {"exploit", "encoder"}
    wanted = [p.grad.clone() for p in agent._networks.encoder.parameters()]
    agent._networks.exploit.model.policy_loss = lambda *_: (torch.zeros(()), torch.zeros(()))
    agent.generator.manual_seed(0)
    _gradients(agent, agent._exploit_loss(batch, agent._networks.encoder(batch["descriptor"])))
    for before, after in zip(wanted, agent._networks.encoder.parameters(), strict=True):
        torch.testing.assert_close(before, after.grad)


def test_it_learns_and_goes_on_identically_with_continuous_actions():
    agent, family = _agent(family="sign-plane", updates_per_step=0.2)
    figures = agent.learn(_trial(agent, family))
    assert figures["charts/updates"] > 0
    assert all(np.isfinite(value) for value in figures.values())
    other, _ = _agent(family="sign-plane", updates_per_step=0.2)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    assert agent.learn(_trial(agent, family)) == other.learn(_trial(other, family))


@of_any_actions
def test_every_part_learns_and_only_the_encoder_minds_the_bottleneck(family):
    settings = {"family": family, "updates_per_step": 0.5, "learning_rate": 1e-2}
    agent, family = _agent(bottleneck=0.0, bottleneck_weight=1e3, **settings)
    before = copy.deepcopy(agent._networks.state_dict())
    agent.learn(_trial(agent, family))
    after = agent._networks.state_dict()
    assert all(
        not torch.equal(before[name], after[name]) for name in before if "weight" in name and "older" not in name
    )
    told = agent._trials.draw(100, agent.generator)["descriptor"]
    with torch.no_grad():
        narrow = agent._networks.encoder(told).square().sum(-1).mean()
    wide, _ = _agent(bottleneck=1e6, **settings)
    wide.learn(_trial(wide, family))
    with torch.no_grad():
        assert narrow < 0.5 * wide._networks.encoder(told).square().sum(-1).mean()


@of_any_actions
def test_the_prediction_is_of_the_exploration_episode_alone(family):
    """What comes after its end, and later episodes, change nothing."""
    agent, family = _agent(family=family)
    player = judged(agent)
    trial = _trial(player, family)
    first = trial.rounds[0]
    carry = player.adapt(player.begin_trial(6), first)
    padded = replace(first, reward=torch.where(first.valid, first.reward, 9.0))
    assert torch.equal(player.adapt(player.begin_trial(6), padded).predicted, carry.predicted)
    assert torch.equal(player.adapt(carry, trial.rounds[1]).predicted, carry.predicted)
    other = replace(first, reward=first.reward + 1.0)
    assert not torch.equal(player.adapt(player.begin_trial(6), other).predicted, carry.predicted)


@of_any_actions
def test_acting_and_learning_see_the_same_exploration(family):
    agent, family = _agent(family=family, epsilon=0.0)
    player = judged(agent)
    rollout = _trial(player, family).rounds[0]
    memory = agent._networks.decoder.sequence(agent._seen(rollout))[:-1]
    hyper_states = torch.cat([rollout.observation, memory], -1)[rollout.valid]
    wanted = agent._networks.explore.act(hyper_states, 0.0, player.generator, judged=True)
    torch.testing.assert_close(wanted, rollout.action[rollout.valid])


def test_half_the_trials_of_training_are_told():
    agent, _ = _agent()
    told = agent.begin_trial(4000).told.float().mean()
    assert 0.46 < told < 0.54
    assert not judged(agent).begin_trial(100).told.any()


def test_encodings_begin_apart():
    agent, family = _agent()
    trial = _trial(agent, family)
    agent._remember(trial)
    with torch.no_grad():
        encoded = agent._networks.encoder(trial.rounds[0].descriptor)
    torch.testing.assert_close(encoded.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded.square().mean(), torch.tensor(1.0))
    agent._remember(trial)
    assert torch.equal(agent._networks.encoder(trial.rounds[0].descriptor), encoded)  # but once


def test_one_task_says_nothing_of_how_far_apart_tasks_are():
    agent, family = _agent()
    trial = _trial(agent, family)
    descriptor = trial.rounds[0].descriptor
    one = replace(trial.rounds[0], descriptor=descriptor[:1].expand_as(descriptor))
    before = {name: value.clone() for name, value in agent._networks.encoder.state_dict().items()}
    agent._remember(replace(trial, rounds=[one, *trial.rounds[1:]]))
    assert all(torch.equal(value, before[name]) for name, value in agent._networks.encoder.state_dict().items())
    agent._remember(trial)  # tasks that differ
    with torch.no_grad():
        assert float(agent._networks.encoder(descriptor).square().mean()) == pytest.approx(1.0, abs=1e-4)


def test_targets_by_hand():
    agent, _ = _agent(discount=0.5, n_step=2)
    reward, following = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[8.0], [16.0], [32.0]])
    goes_on = torch.tensor([[True], [True], [False]])
    ended = agent._target(reward, goes_on, goes_on, following)
    assert ended[:, 0].tolist() == [1 + 0.5 * 2 + 0.25 * 16, 2 + 0.5 * 4, 4]
    cut = agent._target(reward, goes_on, torch.ones_like(goes_on), following)
    assert cut[:, 0].tolist() == [6, 2 + 0.5 * 4 + 0.25 * 32, 4 + 0.5 * 32]


def test_exploration_ends_with_the_episode_and_exploitation_at_a_terminated_step_alone():
    agent, family = _agent()
    trial = _trial(agent, family)
    agent._remember(trial)
    rows = {name: column[0] for name, column in agent._trials._columns.items()}
    first = trial.rounds[0]
    over = first.terminated | first.truncated
    assert torch.equal(rows["goes_on"][:6].t()[: len(over)], first.valid & ~over)
    rest = torch.cat([rollout.terminated for rollout in trial.rounds[1:]])
    assert torch.equal(rows["terminated"][:6].t()[: len(rest)], rest)
