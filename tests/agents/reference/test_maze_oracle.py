"""The maze oracle walks the shortest way: its returns against the formula and against every way there is."""

import itertools

import numpy as np
import pytest
import torch

from agents.evaluation.play import play
from agents.reference.maze_oracle import distances, pose_after
from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family, build_source
from taskgen.interaction.build import build_agent, problem_of
from taskgen.streams import seed_sequence

STEPS = {  # fewest actions, turns counted, found by a plain search in the tests of the family
    "sixteen-rooms": 26,
    "sixteen-rooms-fewer-doors": 28,
    "labyrinth": 113,
    "labyrinth-2": 113,
    "labyrinth-flipped": 113,
    "maze": 54,
    "maze-2": 73,
    "maze-3": 54,
}


def returns(family, specs, episodes=1):
    problem = problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu"))
    return play(build_agent(Part(name="maze-oracle"), problem), family, specs, episodes)


def test_named_mazes():
    family = build_family("maze")
    part = Part.model_validate({"name": "named-mazes", "names": list(STEPS)})
    specs = build_source(part, family, seed_sequence(0, "test")).ask(len(STEPS))
    expected = [1 - 0.9 * steps / 250 for steps in STEPS.values()]
    assert returns(family, specs, episodes=2) == pytest.approx(np.array([expected, expected]), abs=1e-6)


def test_no_way_is_shorter():
    family = build_family("maze", {"size": 3, "horizon": 7, "time_penalty": 0.5})
    specs = build_source(Part(name="random-mazes", most_walls=4), family, seed_sequence(0, "test")).ask(12)
    ways = torch.tensor(list(itertools.product(range(3), repeat=7)))
    best = []
    for spec in specs:
        batch = family.batch(len(ways))
        batch.set_tasks([spec] * len(ways))
        batch.reset()
        going, total = torch.ones(len(ways), dtype=torch.bool), torch.zeros(len(ways))
        for action in ways.T:
            outcome = batch.step(action)
            total += outcome.reward * going
            going &= ~outcome.terminated
        best.append(float(total.max()))
    assert returns(family, specs)[0] == pytest.approx(best, abs=1e-6)
    assert len(set(best)) > 3


def test_a_goal_out_of_reach_is_no_trouble():
    family = build_family("maze", {"size": 3, "horizon": 9, "solvable": False})
    walls = [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert returns(family, [family.spec({"walls": walls}), family.spec()]).tolist() == [[0.0, pytest.approx(0.5)]]
    after = pose_after(torch.tensor([walls]) > 0)
    goal = torch.zeros(1, 36, dtype=torch.bool)
    goal[0, 4 * 8 : 4 * 8 + 4] = True
    assert distances(after, goal)[0].view(9, 4)[0].tolist() == [torch.inf] * 4


def test_it_needs_to_be_told():
    family = build_family("maze", {"size": 3})
    agent = build_agent(Part(name="maze-oracle"), problem_of(family, episodes=1, seed=0, device=torch.device("cpu")))
    agent.needs_descriptor = False
    with pytest.raises(UserError, match="descriptor"):
        play(agent, family, [family.spec()], 1)
