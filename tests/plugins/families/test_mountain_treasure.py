"""Mountain Treasure by hand."""

import math

import numpy as np
import pytest
import torch

from taskgen.build import build_family
from taskgen.testing import check_family


def episode(context, moves, settings=None):
    """Observations [T, 4] and rewards [T] of one task."""
    family = build_family("mountain-treasure", settings)
    batch = family.batch(1)
    batch.set_tasks([family.spec(context)])
    assert batch.reset().tolist() == [[0.0, -1.0, 0.0, 0.0]]
    outcomes = [batch.step(torch.tensor([move], dtype=torch.float32)) for move in moves]
    assert not any(outcome.terminated for outcome in outcomes)
    return torch.cat([outcome.observation for outcome in outcomes]), [float(outcome.reward) for outcome in outcomes]


@pytest.mark.parametrize("settings", [{}, {"mountain_radius": 0.3, "speed": 0.2}], ids=str)
def test_it_conforms(settings):
    check_family(build_family("mountain-treasure", settings))


def test_standing_still_costs_500():
    _, rewards = episode({}, [(0.0, 0.0)] * 100)
    assert sum(rewards) == -500


def test_climbing_costs_more_the_nearer_the_top_which_shows_the_treasure():
    seen, rewards = episode({"angle": math.pi}, [(0.0, 1.0)] * 11)
    assert rewards[:4] == [-5.0] * 4
    assert rewards[4:] == pytest.approx([-5.0, -5.1, -5.2, -5.3, -5.4, -5.5, -5.4], abs=1e-5)
    shown = seen[:, 2:].tolist()
    assert shown[8] == [0.0, 0.0]  # 0.1 from the top is not nearer than 0.1
    assert shown[9] == pytest.approx([-1.0, 0.0], abs=1e-6)
    assert shown[10] == [0.0, 0.0]


def test_the_treasure_is_paid_within_a_tenth():
    # treasure at (1, 0): along the bottom to the right, then up
    moves = [(1.0, 0.0)] * 10 + [(0.0, 1.0)] * 10
    _, rewards = episode({"angle": 0.0}, moves)
    assert rewards[0] == pytest.approx(-5 * math.hypot(0.1, 1.0), abs=1e-5)
    assert rewards[17] == pytest.approx(-5 * math.hypot(1.0, 0.2), abs=1e-5)
    assert rewards[18:] == [10.0, 10.0]


def test_positions_stay_inside_the_walls():
    seen, rewards = episode({}, [(-1.0, -1.0)] * 30)
    assert seen[-1].tolist() == [-1.5, -1.5, 0.0, 0.0]
    assert rewards[-1] == pytest.approx(-5 * math.hypot(1.5, 1.5), abs=1e-4)


def test_what_things_are_worth_is_part_of_the_task():
    context = {"angle": 1.5 * math.pi, "treasure": 3.0, "step_cost": 2.0, "height": 4.0}
    _, rewards = episode(context, [(0.0, 1.0)] * 10)
    assert rewards[0] == 3.0
    assert rewards[1] == -2.0
    assert rewards[9] == pytest.approx(-2.0 - 4.0 * 0.5, abs=1e-4)


def test_mutation_crosses_the_seam_of_the_circle():
    family = build_family("mountain-treasure")
    rng = np.random.Generator(np.random.PCG64(0))
    angles = [family.mutate(family.spec({"angle": 0.0}).context, rng)["angle"] for _ in range(20)]
    assert min(angles) < 1.0
    assert max(angles) > 2 * math.pi - 1.0
