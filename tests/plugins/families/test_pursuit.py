"""Pursuit: what is seen, what the best player earns, and what is refused."""

import itertools

import numpy as np
import pytest
import torch

from plugins.families.pursuit import Chase
from registry.errors import ConfigError, TaskError
from taskgen.build import build_family, build_source
from taskgen.testing import check_family
from tests.agents.reference.test_grid_players import returns

STAY, UP, RIGHT, DOWN, LEFT = range(5)
ALONE = {"predators": 1, "together": 1}
STILL = {"prey_speed": 0.0, "sight": 4}
NO_WALLS = ((0,) * 5,) * 5


def walls(*cells):
    """Of 5 x 5 cells, a wall at each (x, y)."""
    return tuple(tuple(int((x, y) in cells) for y in range(5)) for x in range(5))


def begun(family, **context):
    batch = family.batch(1)
    batch.set_tasks([family.spec(context)])
    return batch, batch.reset()[0].tolist()


@pytest.mark.parametrize("settings", [ALONE, {"size": 4, "predators": 3, "together": 2, "horizon": 9}])
def test_other_numbers_of_predators_keep_the_contract_too(settings):
    check_family(build_family("pursuit", settings))


# ------------------------------------------------------------------------------------------------ the world
def test_what_is_seen_by_hand():
    """Ours at (0, 0), the prey at (2, 0), the partner at (4, 4), a wall above us."""
    family = build_family("pursuit")
    scene = {"walls": walls((0, 1)), "den": 10}
    assert begun(family, **scene, sight=2)[1] == [0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 0, 0]
    assert begun(family, **scene, sight=1)[1] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert begun(family, **scene, sight=4)[1] == [0, 0, 0, 1, 0, 0, 1, 2, 0, 1, 4, 4]


def test_walls_and_the_edge_hold_back():
    batch, _ = begun(build_family("pursuit", ALONE), walls=walls((0, 1)), den=24, **STILL)
    places = [batch.step(torch.tensor([move])).observation[0, :2].tolist() for move in (UP, LEFT, RIGHT, UP, DOWN)]
    assert places == [[0, 0], [0, 0], [1, 0], [1, 1], [1, 0]]


def test_a_catch_takes_as_many_as_are_said_and_ends_the_episode():
    """The prey stays at (2, 0); we are beside it after one step, a partner who always chases after five."""
    for together, last in ((1, 1), (2, 5)):
        family = build_family("pursuit", {"together": together})
        batch, _ = begun(family, walls=NO_WALLS, den=10, skill=1.0, **STILL)
        steps = [batch.step(torch.tensor([RIGHT if number == 0 else STAY])) for number in range(last)]
        assert [bool(one.terminated) for one in steps] == [False] * (last - 1) + [True]
        assert [round(float(one.reward), 4) for one in steps] == [-0.05] * (last - 1) + [1.0]


def test_the_prey_flees_from_whom_it_sees_to_where_the_nearest_is_farthest():
    """From (2, 0), of those two steps away, up: to the right is as far, and comes later in the order."""
    family = build_family("pursuit", ALONE)
    batch, _ = begun(family, walls=NO_WALLS, den=10, prey_speed=1.0, prey_sight=2, sight=4)
    seen = batch.step(torch.tensor([STAY])).observation[0]
    assert seen[6:].tolist() == [1, 2, 1]
    batch, _ = begun(family, walls=walls((2, 1)), den=10, prey_speed=1.0, prey_sight=2, sight=4)
    assert batch.step(torch.tensor([STAY])).observation[0, 6:].tolist() == [1, 3, 0]


# ------------------------------------------------------------------------------------------------ the best player
@pytest.mark.parametrize(("den", "steps"), [(2, 1), (24, 7), (20, 3)])
def test_of_a_prey_that_stays_the_chaser_is_the_best_player(den, steps):
    """It is caught from beside, so d - 1 steps, of which all but the last cost 1 / 20."""
    family = build_family("pursuit", ALONE)
    spec = family.spec({"den": den, "walls": NO_WALLS, **STILL})
    assert family.optimal_return(spec) == pytest.approx(1 - (steps - 1) / 20, abs=1e-9)
    assert float(returns("pursuit-chaser", family, [spec])) == pytest.approx(1 - (steps - 1) / 20, abs=1e-6)


def test_a_wall_makes_the_way_longer():
    """From (0, 0) to beside (4, 0) in three steps, or nine over the row above a wall."""
    family = build_family("pursuit", ALONE)
    spec = family.spec({"den": 20, "walls": walls((2, 0), (2, 1), (2, 2)), **STILL})
    assert family.optimal_return(spec) == pytest.approx(1 - 8 / 20, abs=1e-9)
    assert float(returns("pursuit-chaser", family, [spec])) == pytest.approx(1 - 8 / 20, abs=1e-6)


def test_slow_legs_by_hand():
    """One step is needed, and succeeds with probability 0.5: after k failures it pays 1 - k / H, after H of them -1."""
    family = build_family("pursuit", {**ALONE, "horizon": 4})
    spec = family.spec({"den": 2, "walls": NO_WALLS, "speed": 0.5, **STILL})
    expected = sum(0.5 ** (k + 1) * (1 - k / 4) for k in range(4)) - 0.5**4
    assert family.optimal_return(spec) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "context",
    [
        {"prey_speed": 0.6, "skill": 0.7, "speed": 0.8, "prey_sight": 1},
        {"prey_speed": 1.0, "skill": 0.0, "speed": 1.0, "prey_sight": 9, "walls": ((0, 0, 0), (0, 1, 0), (0, 0, 0))},
    ],
)
def test_the_best_return_is_that_of_all_that_can_happen(context):
    """Every state and action of a 3 x 3 grid stepped under every outcome of its draws, and solved from that."""
    horizon = 5
    family = build_family("pursuit", {"size": 3, "horizon": horizon})
    spec = family.spec({"den": 6, **context})
    chase = Chase(family.config, "cpu")
    outcomes, weights = [], []
    chances = {name: context[name] for name in ("speed", "skill", "prey_speed")}
    two = {name: [(0.5 * p, p), (p + 0.5 * (1 - p), 1 - p)] for name, p in chances.items()}
    any_of_five = [((move + 0.5) / 5, 0.2) for move in range(5)]
    drawn = [two["speed"], two["speed"], two["skill"], any_of_five, two["prey_speed"], any_of_five]
    for one in itertools.product(*drawn):
        if (weight := float(np.prod([chance for _, chance in one]))) > 0:
            outcomes.append([luck for luck, _ in one])
            weights.append(weight)
    cells = torch.arange(9)
    states = torch.cartesian_prod(cells, cells, cells)
    uniform = torch.tensor(outcomes, dtype=torch.float32).repeat(len(states), 1)
    rows = states.repeat_interleave(len(outcomes), 0)
    tables = {name: table.expand(len(rows), *table.shape[1:]) for name, table in chase.tables([spec]).items()}
    weight = torch.tensor(weights, dtype=torch.float64)
    laws = []
    for action in range(5):
        after, reward, ended = chase.step(tables, rows, torch.full((len(rows),), action), uniform)
        number = (after * torch.tensor([81, 9, 1])).sum(1)
        laws.append((number, reward.double(), ended))
    value = torch.zeros(len(states), dtype=torch.float64)
    for _ in range(horizon):
        paid = [reward + torch.where(ended, 0.0, value[number]) for number, reward, ended in laws]
        value = torch.stack([(one.view(-1, len(weight)) * weight).sum(1) for one in paid]).amax(0)
    begin = 0 * 81 + 8 * 9 + 6
    assert family.optimal_return(spec) == pytest.approx(float(value[begin]), abs=1e-5)
    assert -1.0 < float(value[begin]) < 1.0


def test_random_below_the_chaser_below_the_best():
    family = build_family("pursuit")
    specs = build_source("domain-randomization", family, 0).ask(8)
    best = np.mean([family.optimal_return(spec) for spec in specs])
    chaser, random = (float(returns(name, family, specs * 8, 4).mean()) for name in ("pursuit-chaser", "random"))
    assert random + 0.3 < chaser < best


# ------------------------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"den": 0}, r"den = 0 is where a predator begins; give none of \[0, 24\]"),
        ({"walls": walls((4, 0))}, r"the den is a wall; walls\[4\]\[0\] must be 0"),
        ({"walls": walls((0, 0))}, r"the start of a predator is a wall; walls\[0\]\[0\] must be 0"),
        ({"walls": walls((0, 1), (1, 0))}, "walls cut a predator off from den = 20"),
        ({"walls": walls((3, 4), (4, 3))}, "walls cut a predator off from den = 20"),
    ],
)
def test_what_cannot_be_played_is_refused(context, words):
    with pytest.raises(TaskError, match=words):
        build_family("pursuit").spec(context)


def test_worlds_that_nobody_can_solve_are_refused():
    with pytest.raises(ConfigError, match="size = 11 with predators = 2 has 1,771,561 states, allowed are 1,000,000"):
        build_family("pursuit", {"size": 11})
    with pytest.raises(ConfigError, match="together = 2: there are 1 predators"):
        build_family("pursuit", {"predators": 1})
    assert "skill" not in build_family("pursuit", ALONE).context_space.knobs


def test_a_picture_shows_walls_den_and_all():
    family = build_family("pursuit")
    picture = family.render(family.spec({"walls": walls((2, 2))}))
    colours = {
        tuple(picture[row * 16 + 8, column * 16 + 8]) for row, column in ((4, 0), (0, 4), (4, 4), (2, 2), (1, 1))
    }
    assert picture.shape == (80, 80, 3)
    assert len(colours) == 5
