"""Reptile on tasks whose answer is known, and on episodes."""

import pytest
import torch

from agents.common.inner_loop import gradient_step
from agents.reptile import moved
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

CENTRES = torch.tensor([[0.0, 3.0], [2.0, -1.0], [4.0, 1.0]])


def _quadratic(parameters):
    """Distance to each task's own centre, squared and halved."""
    return 0.5 * (parameters - CENTRES).square().sum(1)


def _adapted(start, steps):
    fast = start.expand(3, -1)
    for _ in range(steps):
        fast = gradient_step(_quadratic, fast, 0.1).detach()
    return fast


def test_quadratic_tasks_lead_to_the_mean_of_their_centres():
    start = torch.tensor([50.0, -50.0])
    for update in range(200):
        start = moved(start, _adapted(start, 5), 1 - update / 200)
    torch.testing.assert_close(start, CENTRES.mean(0), atol=1e-4, rtol=0)


def test_one_update_by_hand():
    # three steps towards c leave 0.9^3 of the way; half of that change is kept
    start = torch.tensor([10.0, 10.0])
    expected = start + 0.5 * (1 - 0.9**3) * (CENTRES.mean(0) - start)
    torch.testing.assert_close(moved(start, _adapted(start, 3), 0.5), expected)


def test_one_inner_step_is_joint_training():
    start = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = 0.5 * (start - CENTRES).square().sum(1).mean()
    (gradient,) = torch.autograd.grad(loss, start)
    torch.testing.assert_close(moved(start.detach(), _adapted(start.detach(), 1), 1.0), start.detach() - 0.1 * gradient)


@pytest.mark.parametrize(("updates", "expected"), [(2, [1.0, 0.5, 0.0]), (0, [1.0, 1.0, 1.0])])
def test_the_outer_rate_falls_where_an_end_is_planned(updates, expected):
    family = build_family("point-navigation", {"horizon": 3})
    problem = problem_of(family, episodes=2, seed=0, device=torch.device("cpu"), updates=updates)
    agent = build_agent(Part.model_validate({"name": "reptile", "hidden": [4], "trajectories": 2}), problem)
    plan = agent.plan(2)
    trial = collect(agent, family.batch(plan.slots), [family.spec(seed=0)], plan=plan)
    assert [agent.learn(trial)["charts/outer_rate"] for _ in range(3)] == expected


def test_distances_are_reported():
    """Of one task, half the way to where it led is gone."""
    family = build_family("point-navigation", {"horizon": 3})
    problem = problem_of(family, episodes=4, seed=0, device=torch.device("cpu"))
    part = Part.model_validate({"name": "reptile", "hidden": [4], "trajectories": 2, "outer_rate": 0.5})
    agent = build_agent(part, problem)
    plan = agent.plan(4)
    trial = collect(agent, family.batch(plan.slots), [family.spec(seed=0)], plan=plan)
    before, fast = agent.parameters, agent.begin_trial(1)
    for rollout in trial.rounds:
        fast = agent.adapt(fast, rollout)
    metrics = agent.learn(trial)
    distance = (fast.parameters[0] - before).norm().item()
    assert metrics["losses/inner_distance"] == pytest.approx(distance, rel=1e-4)
    assert metrics["losses/outer_distance"] == pytest.approx(0.5 * distance, rel=1e-4)
