"""Frozen lake against Gymnasium's, and against values worked out by hand."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import registry
from plugins.families.frozen_lake import MAPS
from registry.errors import TaskError
from taskgen.build import build_family
from taskgen.interaction.build import problem_of
from taskgen.interaction.collect import collect
from taskgen.testing import check_family

LEFT, DOWN, RIGHT, UP = range(4)


def returns(player, family, specs, episodes):
    """[episodes, tasks] of a reference player."""
    problem = problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu"))
    agent = registry.catalogue().get("agents", player).build({}, problem=problem)
    return collect(agent, family.batch(len(specs)), specs, plan=agent.plan(episodes)).episode_returns()


def _play(context, actions, **settings):
    family = build_family("frozen-lake", settings)
    batch = family.batch(1)
    batch.set_tasks([family.spec(context)])
    batch.reset()
    return [batch.step(torch.tensor([action])) for action in actions]


@pytest.mark.parametrize(("size", "name"), [(4, "FrozenLake-v1"), (8, "FrozenLake8x8-v1")])
def test_moves_and_ends_are_gymnasiums(size, name):
    """Every cell and action of the map without slipping."""
    table = gym.make(name, is_slippery=False).unwrapped.P
    family = build_family("frozen-lake", {"size": size})
    ends = np.asarray(MAPS[size]).flatten() == 1
    batch = family.batch(size**2)
    batch.set_tasks([family.spec({"holes": MAPS[size], "slipperiness": 0.0})] * size**2)
    for action in range(4):
        batch.reset()
        batch.position = batch.position._replace(state=torch.arange(size**2))
        outcome = batch.step(torch.full((size**2,), action))
        cell = (outcome.observation * torch.tensor([size, 1.0])).sum(1)
        for start in range(size**2):
            if not ends[start] and start != size**2 - 1:
                _, after, reward, terminated = table[start][action][0]
                found = (int(cell[start]), float(outcome.reward[start]), bool(outcome.terminated[start]))
                assert found == (after, reward, terminated)


def test_a_move_slips_to_either_side_alike():
    family = build_family("frozen-lake", {"size": 3})
    batch = family.batch(6000)
    batch.set_tasks([family.spec({"slipperiness": 0.5}, seed=seed) for seed in range(6000)])
    batch.reset()
    batch.position = batch.position._replace(state=torch.full((6000,), 4))  # the middle
    where = batch.step(torch.full((6000,), RIGHT)).observation.to(torch.int64)
    shares = torch.bincount(where[:, 0] * 3 + where[:, 1], minlength=9) / 6000
    assert shares.tolist() == pytest.approx([0, 0.25, 0, 0, 0, 0.5, 0, 0.25, 0], abs=0.02)


def test_the_optimum_of_two_cells_by_hand():
    """2 x 2 cells without holes: from the start right or down, then the other; a slip sideways costs a step or two."""
    family = build_family("frozen-lake", {"size": 2, "horizon": 2})
    assert family.optimal_return(family.spec({"slipperiness": 0.0})) == 1.0
    # Right goes right with 1 - s, up (stays) with s / 2, down with s / 2; from either cell on, the goal with 1 - s.
    assert family.optimal_return(family.spec({"slipperiness": 0.4})) == pytest.approx((0.6 + 0.2) * 0.6)


@pytest.mark.parametrize(("size", "name", "steps"), [(4, "FrozenLake-v1", 100), (8, "FrozenLake8x8-v1", 200)])
def test_the_optimum_is_that_of_gymnasiums_tables(size, name, steps):
    table, value = gym.make(name).unwrapped.P, np.zeros(size**2)
    for _ in range(steps):
        value = np.array(
            [
                max(
                    sum(p * (r + (not end) * value[after]) for p, after, r, end in ways)
                    for ways in table[cell].values()
                )
                for cell in table
            ]
        )
    family = build_family("frozen-lake", {"size": size, "horizon": steps})
    assert family.optimal_return(family.spec({"holes": MAPS[size]})) == pytest.approx(value[0])


def test_the_oracle_scores_the_optimum():
    family = build_family("frozen-lake")
    specs = [family.spec({"holes": MAPS[4]}, seed=seed) for seed in range(400)]
    scored = returns("frozen-lake-oracle", family, specs, 4).mean()
    assert scored == pytest.approx(family.optimal_return(specs[0]), abs=0.035)  # three standard errors


@pytest.mark.parametrize("observation", ["coordinates", "one-hot"])
def test_the_oracle_never_fails_where_nothing_slips(observation):
    family = build_family("frozen-lake", {"size": 8, "observation": observation})
    specs = [family.spec({"holes": MAPS[8], "slipperiness": 0.0}, seed=seed) for seed in range(4)]
    assert returns("frozen-lake-oracle", family, specs, 2).min() == 1.0


@pytest.mark.parametrize(
    ("holes", "message"),
    [
        ([[1, 0], [0, 0]], "the start is a hole"),
        ([[0, 0], [0, 1]], "the goal is a hole"),
        ([[0, 1], [1, 0]], "holes cut the goal off"),
    ],
)
def test_maps_without_a_way_are_refused(holes, message):
    with pytest.raises(TaskError, match=message):
        build_family("frozen-lake", {"size": 2}).spec({"holes": holes})


def test_pictures_and_text_show_the_map():
    family = build_family("frozen-lake", {"size": 2})
    spec = family.spec({"holes": [[0, 1], [0, 0]]})
    assert family.text(spec) == "S H\n. G"
    assert family.render(spec)[4, 20].tolist() == [70, 110, 190]


def test_one_hot_conforms_too():
    check_family(build_family("frozen-lake", {"size": 8, "observation": "one-hot"}))
