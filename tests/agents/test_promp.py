"""ProMP's outer loop on played trials: the same gradient as MAML's at first, then clip and penalty."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from agents.common.divergence import kl_divergence
from agents.common.gradient import counted
from agents.promp import next_penalty
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

TASKS = 3


def _agent(name="promp", episodes=8, **settings):
    family = build_family("point-navigation", {"horizon": 6})
    problem = problem_of(family, episodes=episodes, seed=1, device=torch.device("cpu"), updates=10)
    part = {"name": name, "hidden": (5,), "trajectories": 4, **settings}
    return build_agent(Part.model_validate(part), problem), family


def _trial(agent, family, episodes=8):
    specs = [family.spec({"goal": [0.3, 0.1 * task]}, seed=task) for task in range(TASKS)]
    plan = agent.plan(episodes)
    return collect(agent, family.batch(TASKS * plan.slots), specs, plan=plan)


def _played(agent, trial):
    """Rounds, and the distributions and log-probabilities they were played with."""
    rounds = [agent.experience(rollout, TASKS) for rollout in trial.rounds]
    with torch.no_grad():
        played = [agent.replayed(*pair) for pair in zip(agent.adapted(agent.parameters, rounds), rounds, strict=True)]
    return rounds, played


@pytest.mark.parametrize("episodes", [4, 8, 12])
def test_the_first_gradient_is_that_of_maml(episodes):
    agent, family = _agent(episodes=episodes, epochs=1, inner_rate=1.0)
    other, _ = _agent("maml", episodes=episodes, inner_rate=1.0)
    assert torch.equal(agent.parameters, other.parameters)
    trial = _trial(agent, family, episodes)
    rounds, played = _played(other, trial)
    start = other.parameters.clone().requires_grad_()
    loss, _ = other._objective(other.adapted(start, rounds, differentiable=True), rounds, counted(played))
    (expected,) = torch.autograd.grad(loss, start)
    agent.learn(trial)
    torch.testing.assert_close(agent._start.grad, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


def test_tasks_count_the_same_however_long_their_episodes_last():
    """Task 0 plays 6 steps of each of 4 episodes, task 1 one step of one, task 2 two of two."""
    agent, family = _agent()
    rounds, played = _played(agent, _trial(agent, family))
    weight = torch.zeros_like(rounds[0].weight)
    weight[0], weight[1, :1, 0], weight[2, :2, :2] = 1, 1, 1
    advantage = torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand_as(weight)
    rounds = [replace(data, weight=weight, advantage=advantage) for data in rounds]
    with torch.no_grad():
        chain = agent.adapted(agent.parameters, rounds)
        played = [agent.replayed(*pair) for pair in zip(chain, rounds, strict=True)]
    loss, _, moved = agent._objective(agent.parameters, rounds, played)
    assert loss.item() == pytest.approx(-(1 + 2 + 3) / 3)  # over all steps it would be -(24 + 2 + 12) / 29
    assert moved.item() == pytest.approx(0, abs=1e-6)
    _, _, moved = agent._objective(agent.parameters + 0.1, rounds, played)
    new, _ = agent.replayed((agent.parameters + 0.1).expand(TASKS, -1), rounds[0])
    each, rows = kl_divergence(played[0][0], new), weight.flatten(1) > 0
    assert moved.item() == pytest.approx(sum(each[i][rows[i]].mean().item() for i in range(TASKS)) / TASKS)


def test_two_epochs_are_those_of_the_paper_written_out():
    settings = {"epochs": 2, "learning_rate": 0.05, "clip": 0.05, "penalty": 0.3, "inner_rate": 0.5, "inner_norm": 1e9}
    agent, family = _agent(**settings)
    trial = _trial(agent, family)
    (before, after), played = _played(agent, trial)
    (old, old_log_prob), (_, old_log_prob_after) = played
    start = agent.parameters.clone().requires_grad_()
    adam = torch.optim.Adam([start], lr=0.05)
    for _ in range(2):
        everybody = start.expand(TASKS, -1)
        new, log_prob = agent.replayed(everybody, before)
        surrogate = ((log_prob - old_log_prob).exp() * before.advantage.flatten(1)).mean(1).sum()
        (slope,) = torch.autograd.grad(surrogate, everybody, create_graph=True)
        _, log_prob = agent.replayed(everybody + 0.5 * slope, after)
        ratio, advantage = (log_prob - old_log_prob_after).exp(), after.advantage.flatten(1)
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.95, 1.05) * advantage).mean()
        adam.zero_grad()
        (0.3 * kl_divergence(old, new).mean() - gain).backward()
        adam.step()
    agent.learn(trial)
    torch.testing.assert_close(agent.parameters, start.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("episodes", [4, 8])
@pytest.mark.parametrize(("ratio", "advantage", "loss"), [(2.0, 1.0, -1.3), (2.0, -1.0, 2.0), (0.5, -1.0, 0.7)])
def test_what_is_beyond_the_clip_gives_no_gradient(episodes, ratio, advantage, loss):
    agent, family = _agent(episodes=episodes, clip=0.3)
    rounds, played = _played(agent, _trial(agent, family, episodes))
    rounds[-1] = replace(rounds[-1], advantage=torch.full_like(rounds[-1].advantage, advantage))
    played[-1] = (played[-1][0], played[-1][1] - math.log(ratio))
    start = agent.parameters.clone().requires_grad_()
    found, divergence, moved = agent._objective(start, rounds, played, differentiable=True)
    assert found.item() == pytest.approx(loss, abs=1e-5)
    assert (divergence.item(), moved.item()) == pytest.approx((0.0, 0.0), abs=1e-6)
    (gradient,) = torch.autograd.grad(found, start)
    assert (gradient.abs().max() > 1e-4) == (loss == 2.0)


def test_the_penalised_divergence_is_that_before_adaptation():
    agent, family = _agent(least_std=0.0, inner_rate=1.0)
    rounds, played = _played(agent, _trial(agent, family))
    start = agent.parameters.clone()
    start[-2:] += math.log(2)  # twice the standard deviation of both coordinates
    _, divergence, moved = agent._objective(start, rounds, played)
    assert moved.item() == pytest.approx(2 * (math.log(2) + 1 / 8 - 1 / 2), rel=1e-5)
    assert abs(divergence.item() - moved.item()) > 1e-3


def test_the_penalty_holds_the_start_back():
    moved = []
    for penalty in (0.0, 1.0, 100.0):
        agent, family = _agent(penalty=penalty, epochs=20, learning_rate=0.01)
        metrics = agent.learn(_trial(agent, family))
        moved.append(metrics["losses/kl_before_adaptation"])
        assert metrics["charts/penalty"] == penalty
    assert moved[0] > 1.2 * moved[1] > 0
    assert moved[1] > 1.2 * moved[2] > 0


def test_an_update_is_several_steps_on_one_trial():
    losses = []
    for epochs in (1, 5, 20):
        agent, family = _agent(epochs=epochs, learning_rate=0.01)
        before = agent.parameters.clone()
        metrics = agent.learn(_trial(agent, family))
        assert metrics["losses/kl"] > 0
        assert not torch.equal(agent.parameters, before)
        losses.append(metrics["losses/policy_loss"])
    assert 0 > losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize(("divergence", "expected"), [(0.016, 2.0), (0.014, 1.0), (0.007, 1.0), (0.006, 0.5)])
def test_the_adaptive_penalty_doubles_and_halves(divergence, expected):
    assert next_penalty(1.0, divergence, 0.01) == expected


def test_adam_and_the_adaptive_penalty_are_restored():
    agent, family = _agent(adaptive=True, penalty=1.0, divergence=1e-9)
    trial = _trial(agent, family)
    assert agent.learn(trial)["charts/penalty"] == 2.0
    fresh, _ = _agent(adaptive=True, penalty=1.0, divergence=1e-9)
    fresh.load_state_dict(copy.deepcopy(agent.state_dict()))
    forgetful, _ = _agent(adaptive=True, penalty=1.0, divergence=1e-9)
    forgetful.load_state_dict(copy.deepcopy(agent.state_dict()) | {"optimizer": forgetful._optimizer.state_dict()})
    assert agent.learn(trial) == fresh.learn(trial) != forgetful.learn(trial)
    assert torch.equal(agent.parameters, fresh.parameters)
    assert not torch.equal(agent.parameters, forgetful.parameters)
    assert fresh.state_dict()["penalty"] == 4.0


def test_the_gradient_s_norm_is_the_mean_over_the_steps_of_an_update():
    agent, family = _agent(epochs=3, learning_rate=1e-9)  # so that all three steps have the same gradient
    metrics = agent.learn(_trial(agent, family))
    norm = agent._start.grad.norm().item()
    assert norm > 1e-3
    assert metrics["losses/gradient_norm"] == pytest.approx(norm, rel=1e-3)
