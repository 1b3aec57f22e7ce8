"""The named mazes of the literature: ways by hand, and those that vary."""

import numpy as np
import pytest
import torch

from plugins.families.maze import path_length
from plugins.generators.named_mazes import NamedMazes, NamedMazesConfig, named_maze
from registry.errors import ConfigError
from taskgen.build import build_family
from tests.plugins.families.test_maze import fewest_steps, maze, started


@pytest.mark.parametrize(
    ("name", "path", "steps"),
    [
        ("sixteen-rooms", 20, 26),
        ("sixteen-rooms-fewer-doors", 22, 28),
        ("labyrinth", 96, 113),
        ("labyrinth-2", 96, 113),
        ("labyrinth-flipped", 96, 113),
        ("maze", 40, 54),
        ("maze-2", 56, 73),
        ("maze-3", 39, 54),
    ],
)
def test_fixed_named_mazes(name, path, steps):
    family = maze()
    spec = named_maze(name, family, np.random.SeedSequence(0))
    assert spec == named_maze(name, family, np.random.SeedSequence(1), variant=3)
    context = spec.context
    assert path_length(context["walls"], context["start"], context["goal"]) == path
    assert fewest_steps(context) == steps


@pytest.mark.parametrize("name", ["simple-crossing", "four-rooms", "small-corridor", "large-corridor", "perfect-maze"])
def test_random_named_mazes_vary_and_can_be_solved(name):
    family = maze(size=19)
    specs = [named_maze(name, family, np.random.SeedSequence(0), variant) for variant in range(40)]
    contexts = [spec.context for spec in specs]
    lengths = {path_length(context["walls"], context["start"], context["goal"]) for context in contexts}
    expected = {
        "simple-crossing": set(range(16, 64, 2)),
        "small-corridor": {6 + 2 * alley + 5 for alley in range(1, 6)},  # up, along, down
        "large-corridor": {9 + 2 * alley + 8 for alley in range(1, 9)},
    }
    assert None not in lengths
    assert len({spec.id for spec in specs}) > 8
    if name in expected:
        assert lengths <= expected[name]
        assert len(lengths) > 1


def test_a_perfect_maze_is_a_spanning_tree():
    context = named_maze("perfect-maze", maze(size=19), np.random.SeedSequence(0)).context
    opened = 1 - np.array(context["walls"])
    doors = (opened[1:] & opened[:-1]).sum() + (opened[:, 1:] & opened[:, :-1]).sum()
    assert opened.sum() == 199  # 100 rooms and 99 doors
    assert doors == 198  # of neighbouring open cells: a tree
    assert {0, 18} >= {*context["start"], *context["goal"]}


def test_a_smaller_maze_in_a_larger_family_is_the_same_task():
    small, large = maze(), maze(size=19)
    actions = torch.randint(0, 3, (250, 1), generator=torch.Generator().manual_seed(0))
    seen = []
    for family in (small, large):
        batch, first = started(named_maze("maze", family, np.random.SeedSequence(0)), family)
        seen.append([first, *(batch.step(action).observation for action in actions)])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_the_literatures_twelve():
    source = NamedMazes(NamedMazesConfig(), family=maze(size=19), seed=np.random.SeedSequence(0))
    first, second = source.ask(12), source.ask(12)
    assert len({spec.id for spec in first}) == 12
    assert [one.id == other.id for one, other in zip(first, second, strict=True)][:7] == [True] * 7
    one = named_maze("large-corridor", maze(size=19), np.random.SeedSequence(0))
    assert one in first
    thirteen = NamedMazes(NamedMazesConfig(), family=maze(), seed=np.random.SeedSequence(0))
    assert len({spec.id for spec in thirteen.ask(9)}) == 9  # what fits into 13 x 13


@pytest.mark.parametrize(
    ("settings", "family", "message"),
    [
        ({"names": ("labirinth",)}, maze(), "Did you mean 'labyrinth'"),
        ({"names": ("large-corridor",)}, maze(), "needs family.size=19"),
        ({}, maze(size=8), "no named maze fits"),
        ({}, build_family("bandit"), "not of builtin/bandit"),
    ],
)
def test_named_mazes_refuse(settings, family, message):
    with pytest.raises(ConfigError, match=message):
        NamedMazes(NamedMazesConfig(**settings), family=family, seed=np.random.SeedSequence(0))
