"""Random mazes: the literature's, one by hand, solvable ones, and refusals."""

import numpy as np
import pytest

from plugins.families.maze import path_length
from plugins.generators.random_mazes import RandomMazes, RandomMazesConfig
from registry.errors import ConfigError, TaskError
from taskgen.build import build_family
from tests.plugins.families.test_maze import maze


def test_random_mazes_are_the_literatures():
    family = maze(solvable=False)
    source = RandomMazes(RandomMazesConfig(), family=family, seed=np.random.SeedSequence(0))
    specs = source.ask(3000)
    walls = np.array([spec.context["walls"] for spec in specs])
    # k thrown with replacement on 169 cells cover 169 (1 - (168 / 169)^k)
    expected = np.mean([169 * (1 - (168 / 169) ** k) for k in range(61)])
    assert walls.sum((1, 2)).mean() == pytest.approx(expected, abs=1.0)  # 3 standard errors
    assert walls.sum((1, 2)).max() <= 60
    assert walls.mean(0).min() > 0.5 * walls.mean()  # no cell is spared
    for name in ("start", "goal"):
        cells = np.array([spec.context[name] for spec in specs])
        assert np.abs(cells.mean(0) - 6).max() < 0.3
    assert len({spec.context["direction"] for spec in specs}) == 4
    unsolvable = [path_length(spec.context["walls"], spec.context["start"], spec.context["goal"]) for spec in specs]
    assert 0.005 < np.mean([length is None for length in unsolvable]) < 0.1


def test_a_random_maze_by_hand():
    """3 of 1 to 4 walls fall on the cells 0, 4 and 6 of 3 x 3; 1 2 3 5 7 8 stay open."""
    config = RandomMazesConfig(least_walls=1, most_walls=4)
    source = RandomMazes(config, family=maze(size=3, solvable=False), seed=np.random.SeedSequence(0))
    spec = source._maze(np.array([0.5, 0.5, 0.65, 0.8, 0.05, 0.5, 0.7, 0.99]), 7)
    assert spec.context["walls"] == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert spec.context["start"] == (1, 2)  # open cell 3 of 6, counted from 0
    assert spec.context["goal"] == (2, 1)  # cell 3 of the 5 others, which is open cell 4
    assert (spec.context["direction"], spec.seed) == (3, 7)
    before = source._maze(np.array([0.5, 0.5, 0.5, 0.8, 0.05, 0.5, 0.7, 0.99]), 7)
    assert before.context["goal"] == (1, 0)  # cell 2 of the others lies before the start


def test_two_open_cells_are_a_maze_and_one_is_none():
    config = RandomMazesConfig(least_walls=2, most_walls=3, extent=2)
    source = RandomMazes(config, family=maze(size=2), seed=np.random.SeedSequence(0))
    spec = source._maze(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.5]), 0)
    assert (spec.context["start"], spec.context["goal"]) == ((1, 0), (1, 1))
    with pytest.raises(TaskError, match="3 walls leave no two open cells"):
        source._maze(np.array([0.9, 0.0, 0.0, 0.0, 0.0, 0.25, 0.5]), 0)


def test_random_mazes_of_a_solvable_family_are_solvable():
    source = RandomMazes(
        RandomMazesConfig(least_walls=25, most_walls=25, extent=5),
        family=maze(size=6),
        seed=np.random.SeedSequence(0),
    )
    for spec in source.ask(50):
        context = spec.context
        assert path_length(context["walls"], context["start"], context["goal"])
        assert np.array(context["walls"])[5].all()
        assert np.array(context["walls"])[:, 5].all()


@pytest.mark.parametrize(
    ("settings", "family", "message"),
    [
        ({"least_walls": 3, "most_walls": 2}, maze(), "least_walls = 3 is above"),
        ({"extent": 14}, maze(), "extent = 14"),
        ({}, build_family("bandit"), "not of builtin/bandit"),
    ],
)
def test_random_mazes_refuse(settings, family, message):
    with pytest.raises(ConfigError, match=message):
        RandomMazes(RandomMazesConfig(**settings), family=family, seed=np.random.SeedSequence(0))
