"""Contextual agents: told the task they solve it, new tasks too; told a number or nothing they cannot."""

import numpy as np
import pytest
import torch

from agents.evaluation.play import play
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

HALF_CIRCLE = {"goals": "half-circle"}
OPTIMUM, AIMLESS = -3.9, -20.0
"""Return of going straight to a goal at distance 1, 0.1 per coordinate and step; of staying at the start."""


def _returns(agent, iterations, slots):
    """Mean return on 8 goals that were trained on and on 8 goals between them, PEARL's half circle, dense reward."""
    torch.set_num_threads(1)
    family = build_family("point-navigation", HALF_CIRCLE)
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"), updates=iterations)
    agent = build_agent(Part.model_validate(agent), problem)
    angles = np.linspace(0, np.pi, 17)
    known, new = ([family.spec({"angle": float(angle)}) for angle in some] for some in (angles[::2], angles[1::2]))
    batch = family.batch(slots)
    specs = [known[slot % len(known)] for slot in range(slots)]
    for _ in range(iterations):
        agent.learn(collect(agent, batch, specs, plan=agent.plan(1)))
    return [float(play(agent, family, goals * 20, 1).mean()) for goals in (known, new)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "iterations", "slots"),
    [
        ({"name": "ppo", "entropy": 0.0}, 80, 36),
        ({"name": "sac", "hidden": [64, 64], "batch": 64, "learning_rate": 1e-3, "warm_up": 500}, 40, 9),
    ],
    ids=["ppo", "sac"],
)
def test_told_the_goal_it_goes_there(agent, iterations, slots):
    known, new = _returns(agent, iterations, slots)
    assert known > OPTIMUM - 1
    assert new > OPTIMUM - 1


@pytest.mark.slow
def test_a_training_number_is_worth_nothing_on_a_new_goal():
    known, new = _returns({"name": "ppo", "entropy": 0.0, "context": "one-hot", "numbers": 9}, 80, 36)
    assert known > OPTIMUM - 1
    assert new < 3 * OPTIMUM


@pytest.mark.slow
def test_told_nothing_it_cannot_serve_all_goals():
    known, _ = _returns({"name": "ppo", "entropy": 0.0, "context": "none"}, 80, 36)
    assert known < AIMLESS + 5
