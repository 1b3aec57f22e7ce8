"""DREAM learns to look at the map of a city before it is anywhere near the best way of using it."""

import pytest
import torch

from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.agent import judged
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

CITIES = 24
WALK = 0.3
"""What walking to the goal earns; 0.8 by the right bus."""


@pytest.mark.slow
def test_exploration_visits_the_map_and_exploitation_makes_use_of_it():
    torch.set_num_threads(1)
    family = build_family("bus", {"variant": "map"})
    problem = problem_of(family, episodes=2, seed=100, device=torch.device("cpu"), updates=400)
    settings = {"batch": 64, "n_step": 3, "cost": 0.05, "learning_rate": 2e-3, "target_updates": 100}
    settings |= {"updates_per_step": 0.02, "epsilon_steps": 300_000}
    agent = build_agent(Part.model_validate({"name": "dream", **settings}), problem)
    batch, luck = family.batch(64), torch.Generator().manual_seed(100)
    for _ in range(400):
        cities = torch.randint(CITIES, (64,), generator=luck).tolist()
        seeds = torch.randint(2**50, (64,), generator=luck).tolist()
        specs = [family.spec({"permutation": city}, seed=seed) for city, seed in zip(cities, seeds, strict=True)]
        agent.learn(collect(agent, batch, specs, plan=agent.plan(2)))
    specs = [family.spec({"permutation": number % CITIES}, seed=number) for number in range(480)]
    player = judged(agent)
    trial = collect(player, family.batch(480), specs, plan=player.plan(2))
    explored = trial.rounds[0]
    read = (explored.next_observation[..., -CITIES:].any(-1) & explored.valid).any(0)
    assert read.float().mean() > 0.9
    assert trial.episode_returns()[1].mean() > WALK + 0.05
