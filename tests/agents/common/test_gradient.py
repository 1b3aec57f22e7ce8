"""What agents that adapt by gradient share, on losses whose slope is known."""

import pytest
import torch

from agents.common import gradient
from agents.common.gradient import GradientAgent, GradientConfig, counted
from agents.common.inner_loop import Experience
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.build import problem_of

SETTINGS = {"hidden": (4,), "trajectories": 3, "inner_rate": 0.5, "later_rate": 0.25}


class Adapting(GradientAgent[GradientConfig]):
    """Does not learn."""

    def learn(self, trial):
        return {}


def _agent(family="point-navigation", **settings):
    problem = problem_of(build_family(family), episodes=6, seed=1, device=torch.device("cpu"))
    return Adapting(GradientConfig(**{**SETTINGS, **settings}), problem)


def _data(tasks=2):
    blank = torch.zeros(tasks, 1, 1)
    return Experience(observation=blank, action=blank, advantage=blank, weight=blank)


def test_rounds_after_a_step_count_or_the_only_one():
    assert counted("abc") == ["b", "c"]
    assert counted("ab") == ["b"]
    assert counted("a") == ["a"]


def test_rounds_of_episodes_side_by_side():
    agent = _agent()
    plan = agent.plan(6)
    assert (list(range(plan.rounds)), plan.episodes_per_round, plan.side_by_side) == ([0, 1], 3, True)
    assert (agent.plan(2).rounds, agent.plan(2).episodes_per_round) == (1, 2)
    with pytest.raises(UserError, match=r"7 episodes .* rounds of 3 .* ask for 6 or 9"):
        agent.plan(7)


def test_steps_are_as_long_as_set(monkeypatch):
    """Slopes of 2: the first step goes by 0.5 * 2, later ones by 0.25 * 2."""
    agent = _agent(inner_norm=1e9)
    monkeypatch.setattr(
        gradient, "policy_gradient_loss", lambda policy, parameters, data, credit: 2 * parameters.sum(1)
    )
    start = torch.zeros_like(agent.parameters)
    chain = agent.adapted(start, [_data()] * 4)
    assert [parameters.mean().item() for parameters in chain] == pytest.approx([0.0, -1.0, -1.5, -2.0])
    fast = agent.begin_trial(2)
    counts = []
    for _ in range(3):
        counts.append(fast.steps.tolist())
        fast = agent.inner_step(fast, _data())
    assert counts == [[[0], [0]], [[1], [1]], [[2], [2]]]


def test_the_standard_deviation_that_tasks_start_from():
    agent = _agent(std=0.4, least_std=0.3)
    assert agent.policy.continuous
    assert agent.policy_std == pytest.approx(0.5)  # sqrt(0.4^2 + 0.3^2)
    numbers = _agent("grid-navigation")
    assert not numbers.policy.continuous
    assert numbers.policy_std == 0.0


def test_a_state_of_another_shape_is_refused():
    agent = _agent()
    agent.load_state_dict(_agent(std=2.0).state_dict())
    assert agent.policy_std == pytest.approx((4 + 0.04) ** 0.5)
    with pytest.raises(ValueError, match="parameters for a policy of"):
        agent.load_state_dict(_agent(hidden=(5,)).state_dict())
