"""MAML's outer loop on played trials, and what MAML and Reptile share."""

import dataclasses
import json

import pytest
import torch

from agents.common.divergence import kl_divergence
from agents.common.gradient import counted
from agents.common.losses import weighted_mean
from agents.common.trust_region import Step
from agents.reports.film import film
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.cli import main
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from tests.agents.training.test_loop import Quiet, digest

TASKS = 3


def _agent(episodes=8, **settings):
    family = build_family("point-navigation", {"horizon": 6})
    problem = problem_of(family, episodes=episodes, seed=1, device=torch.device("cpu"), updates=10)
    part = {"name": "maml", "hidden": (5,), "trajectories": 4, **settings}
    return build_agent(Part.model_validate(part), problem), family


def _trial(agent, family, episodes=8):
    specs = [family.spec({"goal": [0.3, 0.1 * task]}, seed=task) for task in range(TASKS)]
    plan = agent.plan(episodes)
    return collect(agent, family.batch(TASKS * plan.slots), specs, plan=plan)


def test_rounds_of_episodes_side_by_side():
    agent, _ = _agent()
    plan = agent.plan(12)
    assert (plan.rounds, plan.episodes_per_round, plan.slots) == (3, 4, 4)
    assert (agent.plan(3).rounds, agent.plan(3).slots) == (1, 3)
    with pytest.raises(UserError, match=r"10 episodes .* rounds of 4 .* ask for 8 or 12"):
        agent.plan(10)


def test_learning_repeats_the_adaptation_that_was_played():
    agent, family = _agent(episodes=16)
    trial = _trial(agent, family, 16)
    carry = agent.begin_trial(TASKS)
    rounds = [agent.experience(rollout, TASKS) for rollout in trial.rounds]
    for parameters, rollout in zip(agent.adapted(agent.parameters, rounds), trial.rounds, strict=True):
        torch.testing.assert_close(parameters, carry.parameters)
        carry = agent.adapt(carry, rollout)
    assert carry.steps.tolist() == [[4]] * TASKS
    assert not torch.allclose(carry.parameters[0], carry.parameters[1])


def test_the_first_step_may_be_longer_than_later_ones():
    agent, family = _agent(inner_rate=0.4, later_rate=0.1)
    trial = _trial(agent, family)
    data = agent.experience(trial.rounds[0], TASKS)
    start = agent.begin_trial(TASKS)
    first = agent.inner_step(start, data).parameters - start.parameters
    later = agent.inner_step(start._replace(steps=start.steps + 1), data).parameters - start.parameters
    torch.testing.assert_close(first, 4 * later, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("episodes", [4, 8, 16])
@pytest.mark.parametrize("second_order", [True, False])
def test_curvature_is_the_hessian_of_the_divergence(episodes, second_order):
    agent, family = _agent(
        episodes=episodes, curvature_stride=1, damping=0.0, second_order=second_order, std=0.5, inner_rate=1.0
    )
    rounds = [agent.experience(rollout, TASKS) for rollout in _trial(agent, family, episodes).rounds]
    start = agent.parameters.clone().requires_grad_()
    chain = agent.adapted(start, rounds, differentiable=second_order)
    counting = counted(zip(chain, rounds, strict=True))
    assert len(counting) == max(1, episodes // 4 - 1)
    divergences = []
    for parameters, data in counting:
        new, _ = agent.replayed(parameters, data)
        with torch.no_grad():
            old, _ = agent.replayed(parameters, data)
        divergences.append(weighted_mean(kl_divergence(old, new), data.weight.flatten(1)))
    (slope,) = torch.autograd.grad(sum(divergences) / len(divergences), start, create_graph=True)
    vector = torch.randn(len(start), generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(slope @ vector, start, retain_graph=True)
    found = agent._curvature(chain, rounds)(vector)
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)


def test_an_update_stays_in_the_trust_region_and_improves():
    agent, family = _agent(divergence=0.02)
    before = agent.parameters
    metrics = agent.learn(_trial(agent, family))
    assert metrics["losses/step_accepted"] == 1.0
    assert 0 < metrics["losses/kl"] <= 0.02
    assert metrics["losses/policy_loss"] < 0
    assert not torch.equal(agent.parameters, before)


def _unequal(agent, family):
    """Rounds in which task 0 played 6 steps of each of 4 episodes, task 1 one step of one, task 2 two of two; the
    advantage of task i is i + 1 everywhere.
    """
    rounds = [agent.experience(rollout, TASKS) for rollout in _trial(agent, family).rounds]
    weight = torch.zeros_like(rounds[0].weight)
    weight[0], weight[1, :1, 0], weight[2, :2, :2] = 1, 1, 1
    advantage = torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand_as(weight)
    return [dataclasses.replace(data, weight=weight, advantage=advantage) for data in rounds]


def test_tasks_count_the_same_however_long_their_episodes_last():
    agent, family = _agent(curvature_stride=1, damping=0.0)
    rounds = _unequal(agent, family)
    chain = agent.adapted(agent.parameters, rounds)
    played = [agent.replayed(*pair) for pair in counted(zip(chain, rounds, strict=True))]
    loss, _ = agent._objective(chain, rounds, played)
    assert loss.item() == pytest.approx(-(1 + 2 + 3) / 3)  # over all steps it would be -(24 + 2 + 12) / 29
    moved = [parameters + 0.1 for parameters in chain]
    _, divergence = agent._objective(moved, rounds, played)
    ((old, _),) = played
    each = kl_divergence(old, agent.replayed(moved[1], rounds[1])[0])
    weight = rounds[1].weight.flatten(1)
    assert divergence.item() == pytest.approx(sum(each[i][weight[i] > 0].mean().item() for i in range(TASKS)) / TASKS)


def test_so_they_do_in_the_curvature():
    agent, family = _agent(curvature_stride=1)
    (_, data) = _unequal(agent, family)
    start = agent.parameters.expand(TASKS, -1).clone().requires_grad_()
    with torch.no_grad():
        old, _ = agent.replayed(start, data)
    each, weight = kl_divergence(old, agent.replayed(start, data)[0]), data.weight.flatten(1)
    mean = sum(each[i][weight[i] > 0].mean() for i in range(TASKS)) / TASKS
    (slope,) = torch.autograd.grad(mean, start, create_graph=True)
    vectors = torch.randn(start.shape, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(slope, start, vectors)
    torch.testing.assert_close(agent._fisher(start, data)(vectors), expected)


def test_parameters_are_kept_where_no_step_is_good(monkeypatch):
    agent, family = _agent()
    trial, before = _trial(agent, family), agent.parameters.clone()
    monkeypatch.setattr("agents.maml.conjugate_gradient", lambda product, target, steps: -target)  # uphill
    assert agent.learn(trial)["losses/step_accepted"] == 0.0
    assert torch.equal(agent.parameters, before)


def test_orders_differ():
    updated = []
    for second_order in (True, False):
        agent, family = _agent(second_order=second_order, inner_rate=2.0)
        agent.learn(_trial(agent, family))
        updated.append(agent.parameters)
    assert not torch.allclose(*updated, atol=1e-4)


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="parameters for a policy of"):
        _agent(hidden=(6,))[0].load_state_dict(_agent()[0].state_dict())


QUICK = (
    "family.horizon=5",
    "agent.hidden=[4]",
    "agent.trajectories=3",
    "training.iterations=4",
    "training.tasks=2",
    "training.episodes=6",
    "training.evaluate_every=2",
    "training.checkpoint_every=2",
    "evaluation.tasks=4",
    "evaluation.final_tasks=6",
    "evaluation.episodes=12",
    'evaluation.players=["random"]',
)


@pytest.fixture(scope="module", params=["maml", "promp", "reptile"])
def finished(request, tmp_path_factory):
    plan = load_experiment(f"{request.param}-navigation", QUICK)
    run = RunDirectory(tmp_path_factory.mktemp(request.param) / "whole")
    run.create(plan)
    assert train(plan, run, Quiet())
    return run


def test_stopped_and_resumed_is_identical(finished, tmp_path):
    plan = finished.open()
    run = RunDirectory(tmp_path / "cut")
    run.create(plan)
    for stop in (1, 3):
        assert not train(plan, run, Quiet(stop))
    assert train(plan, run, Quiet())
    assert digest(run) == digest(finished)


@pytest.mark.filterwarnings("error:constrained_layout not applied")
def test_a_run_shows_its_course_over_gradient_steps(finished, capsys, tmp_path):
    name = finished.open().config.agent.name.partition("/")[2]
    players = evaluate_run(finished)["sets"]["held-out"]["players"]
    assert "rounds" not in players["random"]
    returns, rounds = players[name]["returns"]["mean"], players[name]["rounds"]["mean"]
    assert [len(players["random"]["returns"]["mean"]), len(returns), len(rounds)] == [12, 12, 4]
    assert rounds[2] == pytest.approx(sum(returns[6:9]) / 3)
    assert json.loads((finished.path / "evaluation.json").read_text())["episodes"] == 12
    assert main(["evaluate", str(finished.path)]) == 0
    assert f"{name}, mean episode after 0, 1, ... steps of adaptation: {rounds[0]:.3f}, " in capsys.readouterr().out
    assert main(["report", str(finished.path), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "steps of adaptation" in page
    assert f"{name} plays 3 episodes side by side" in page
    assert "6 episodes on each, 2" in page  # in training
    assert "6 held-out tasks, 12 episodes on each." in page
    line = sum(players["random"]["returns"]["mean"][:6])
    assert f"Dashed lines: random {line:.4g}." in page  # of trials as long as in training


def test_a_film_shows_the_first_episode_of_every_round(finished):
    watched = film(build_family("point-navigation", {"horizon": 5}).spec(seed=3), str(finished.path), episodes=6)
    assert [moment.episode for moment in watched.moments if moment.step == 0] == [1, 2]
    assert [moment.step for moment in watched.moments if moment.ending] == [5, 5]


def test_the_length_of_a_step_by_hand(monkeypatch):
    """A direction d of ones where the curvature is 4: d' H d = 4 P, and a step of sqrt(2 * 0.02 / 4 P) d."""
    agent, family = _agent(divergence=0.02)
    trial = _trial(agent, family)
    size = len(agent.parameters)
    monkeypatch.setattr(agent, "_curvature", lambda chain, rounds: lambda vector: 4.0 * vector)
    monkeypatch.setattr("agents.maml.conjugate_gradient", lambda product, target, steps: torch.ones(size))
    searched = {}

    def search(evaluate, start, step, **limits):
        searched.update(limits, step=step)
        return Step(start, accepted=True, divergence=0.5, improvement=0.25)

    monkeypatch.setattr("agents.maml.line_search", search)
    metrics = agent.learn(trial)
    torch.testing.assert_close(searched["step"], torch.full((size,), (2 * 0.02 / (4 * size)) ** 0.5))
    assert searched["limit"] == 0.02
    assert metrics["losses/policy_loss"] == pytest.approx(searched["loss"] - 0.25)
    assert (metrics["losses/kl"], metrics["losses/step_accepted"]) == (0.5, 1.0)


def test_damping_is_added_to_the_curvature():
    products = []
    for damping in (0.0, 0.3):
        agent, family = _agent(damping=damping)
        rounds = [agent.experience(rollout, TASKS) for rollout in _trial(agent, family).rounds]
        chain = agent.adapted(agent.parameters.clone().requires_grad_(), rounds, differentiable=True)
        vector = torch.linspace(-1.0, 1.0, len(agent.parameters))
        products.append(agent._curvature(chain, rounds)(vector))
    torch.testing.assert_close(products[1] - products[0], 0.3 * vector, atol=1e-5, rtol=1e-4)
