"""Designs by hand, and the batched world in which they are made."""

import numpy as np
import pytest
import torch

from registry.errors import ConfigError
from taskgen.build import build_family
from taskgen.engines.design import DesignConfig, DesignFamily, Drawing, KnobDesign, figures_of
from taskgen.testing import check_batch

POINT = build_family("point-navigation")
CARTPOLE = build_family("cartpole")


def maze(**settings):
    return build_family("maze", {"size": 3, "view": 3, "horizon": 20, **settings})


def made(family, actions, seed=0, **config):
    """The context that `actions` make, and everything that the teacher saw."""
    drawing = Drawing(DesignFamily(DesignConfig(**config), family))
    seen = [drawing.begin(seed)]
    for number, action in enumerate(actions, 1):
        observation, complete = drawing.place(np.asarray(action))
        seen.append(observation)
        assert complete == (number == len(actions))
    return drawing.context(), np.array(seen)


def test_a_maze_by_hand():
    """The goal on the agent goes to the next cell; walls on what is there, also on walls, change nothing."""
    context, seen = made(maze(), [8, 8, 8, 0, 0, 7], placements=6, noise=2)
    assert context == {
        "walls": [[0, 0, 0], [0, 0, 0], [0, 1, 0]],  # the goal went from cell 8 to cell 0
        "start": (2, 2),
        "direction": context["direction"],
        "goal": (0, 0),
    }
    walls, start, goal, facing, share, noise = np.split(seen, [9, 18, 27, 31, 32], axis=1)
    assert walls.sum(1).tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert start.argmax(1).tolist() == [0, 8, 8, 8, 8, 8, 8]
    assert goal.sum(1).tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert (facing.argmax(1) == context["direction"]).all()
    assert share[:, 0].tolist() == pytest.approx([number / 6 for number in range(7)])
    assert (noise == noise[0]).all()
    assert len(set(noise[0].tolist())) == 2


def test_the_noise_decides_the_direction():
    directions = {made(maze(), [0, 8], seed=seed, placements=2)[0]["direction"] for seed in range(30)}
    assert directions == {0, 1, 2, 3}


def test_figures_of_mazes():
    family = maze(solvable=False)
    opened, _ = made(family, [0, 2, 1], placements=3)
    closed, _ = made(family, [0, 2, 1, 4, 7], placements=5)
    assert figures_of(family, opened) == {"walls": 1.0, "unsolvable": 0.0, "shortest_path": 4}
    assert figures_of(family, closed) == {"walls": 3.0, "unsolvable": 1.0}


def test_the_usual_number_of_walls_is_a_share_of_the_cells():
    assert build_family("maze").design(0).placements == 52
    assert build_family("maze", {"size": 7}).design(0).placements == 2 + 14


def test_numbers_of_knobs_one_at_a_time():
    """MAML's goals lie in [-0.5, 0.5]^2 and the teacher's in the same square."""
    context, seen = made(POINT, [[-1.0], [0.5]], noise=0)
    assert context == {"goal": [-0.5, 0.25]}
    assert seen.tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0.5], [0, 0.75, 1, 1, 1]]
    assert made(POINT, [[9.0], [-9.0]])[0] == {"goal": [0.5, -0.5]}
    assert figures_of(POINT, context) == {"goal": -0.125}


def test_knobs_by_name():
    knob = CARTPOLE.context_space.knobs["cart_mass"]
    assert knob.vary is None
    assert made(CARTPOLE, [[-1.0]], knobs=("cart_mass",))[0] == {"cart_mass": knob.low}
    assert made(CARTPOLE, [[1.0]], knobs=("cart_mass",))[0] == {"cart_mass": knob.high}


def test_integers_have_equal_parts_of_the_range():
    design = KnobDesign(maze(), ("direction", "goal"))
    contexts = [design.context(torch.tensor([share, share, 1 - share])) for share in (0.0, 0.26, 0.5, 0.74, 1.0)]
    assert [context["direction"] for context in contexts] == [0, 1, 2, 2, 3]
    assert [context["goal"] for context in contexts] == [[0, 2], [0, 2], [1, 1], [2, 0], [2, 0]]


@pytest.mark.parametrize(("family", "config"), [(maze(), {"placements": 7}), (POINT, {"noise": 0})])
def test_the_making_of_tasks_is_a_family(family, config):
    """Among other things a design does not depend on the others that are made beside it."""
    designs = DesignFamily(DesignConfig(**config), family)
    check_batch(designs, [designs.spec(seed=seed) for seed in (1, 2, 3)])


@pytest.mark.parametrize("family", [maze(), POINT])
def test_designs_are_the_same_however_many_are_made_at_once(family):
    designs = DesignFamily(DesignConfig(), family)
    actions = torch.stack([torch.as_tensor(designs.action_space.sample()) for _ in range(8 * designs.horizon)])
    actions = actions.view(designs.horizon, 8, *actions.shape[1:])

    def contexts(slots):
        batch = designs.batch(len(slots))
        batch.set_tasks([designs.spec()] * len(slots))
        batch.reset(seeds=slots)
        for row in actions:
            batch.step(row[slots])
        return designs.contexts(batch)

    together = contexts(list(range(8)))
    assert together == [context for slot in range(8) for context in contexts([slot])]
    assert together == contexts([0, 1]) + contexts([2, 3]) + contexts([4, 5, 6, 7])


def test_what_does_not_fit_is_named():
    for family, config, problem in (
        (maze(), {"placements": 1}, "agent and goal take two"),
        (maze(), {"knobs": ("walls",)}, "maze has placements of its own"),
        (POINT, {"placements": 3}, r"placements = 3: .* of which 2"),
        (POINT, {"knobs": ("gaol",)}, "no knob 'gaol'. Did you mean 'goal'"),
        (build_family("tabular-mdp"), {}, "varies none by itself, .* Known: concentration"),
    ):
        with pytest.raises(ConfigError, match=problem):
            DesignFamily(DesignConfig(**config), family)


def test_the_ends_of_a_range_are_set_in_order() -> None:
    """By hand: the second end spans what is above the first; of integers each has the same part."""
    design = KnobDesign(build_family("terrain-walker", {"stairs": True}), ("pit_gap", "stair_steps"))
    context = design.context(torch.tensor([0.5, 0.5, 0.5, 0.5]))
    assert context == {"pit_gap": [5.0, 7.5], "stair_steps": [5, 7]}
    assert design.context(torch.tensor([1.0, 0.0, 1.0, 0.0])) == {"pit_gap": [10.0, 10.0], "stair_steps": [9, 9]}
    assert design.context(torch.tensor([0.0, 1.0, 0.0, 1.0])) == {"pit_gap": [0.0, 10.0], "stair_steps": [1, 9]}


@pytest.mark.parametrize("name", ["terrain-walker", "bandit", "half-cheetah", "cartpole", "point-navigation"])
def test_every_design_of_a_family_without_placements_of_its_own_is_a_task(name: str) -> None:
    family = build_family(name, {"stairs": True} if name == "terrain-walker" else {})
    design = KnobDesign(family)
    shares = torch.rand(60, design.placements, generator=torch.Generator().manual_seed(0))
    for row in shares:
        family.spec(design.context(row))
