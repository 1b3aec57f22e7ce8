"""An episodic memory finds what was right again; with its gate at 0 the second sight is as the first one."""

import pytest
import torch

from agents.rl2 import RL2, RL2Config
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from taskgen.streams import seed_sequence

SITUATIONS, UPDATES, TRIALS = 4, 80, 96


def _right_at_second_sight(*, reinstate: bool) -> float:
    """Share of right choices at the first step of the second sight, after training."""
    torch.set_num_threads(1)
    family = build_family("re-seen-choice", {"situations": SITUATIONS})
    problem = problem_of(family, episodes=2 * SITUATIONS, seed=0, device=torch.device("cpu"), updates=UPDATES)
    network = Part.model_validate({"name": "episodic-lstm", "capacity": SITUATIONS, "reinstate": reinstate})
    config = RL2Config(network=network, discount=0.95, trace=0.9, learning_rate=4e-3, minibatches=2)
    agent, batch = RL2(config, problem), family.batch(TRIALS)
    source = build_source(Part(name="domain-randomization"), family, seed_sequence(0, "recall"))
    for _ in range(UPDATES):
        agent.learn(collect(agent, batch, source.ask(TRIALS), plan=agent.plan(problem.episodes)))
    rollout = collect(agent, family.batch(500), source.ask(500), plan=agent.plan(problem.episodes)).rollout
    first_steps = rollout.reward[::2]  # of two in each episode
    return float(first_steps[SITUATIONS:].mean())


@pytest.mark.slow
def test_a_choice_is_right_at_second_sight():
    assert _right_at_second_sight(reinstate=True) > 0.8


@pytest.mark.slow
def test_with_the_gate_at_zero_it_stays_at_chance():
    assert abs(_right_at_second_sight(reinstate=False) - 0.5) < 0.05
