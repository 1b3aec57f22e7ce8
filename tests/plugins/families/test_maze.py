"""The maze family against hand-made mazes, and its generators: what the mazes are, and that all can be solved."""

from collections import deque

import numpy as np
import pytest
import torch

from plugins.families.maze import DIRECTIONS, Maze, MazeConfig, path_length
from plugins.families.maze import fewest_steps as steps_by_boards
from plugins.generators import random_mazes
from plugins.generators.named_mazes import NAMED_MAZES, NamedMazes, NamedMazesConfig, named_maze
from plugins.generators.random_mazes import RandomMazes, RandomMazesConfig
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.build import build_family
from taskgen.testing import check_family

LEFT, RIGHT, FORWARD = 0, 1, 2
TWELVE = [name for name in NAMED_MAZES if name != "labyrinth-flipped"]


def maze(**settings) -> Maze:
    return Maze(MazeConfig(**settings), name="builtin/maze")


def drawn(text: str, family: Maze, direction: int = 0):
    """A task from a picture: '#' wall, 'S' start, 'G' goal."""
    rows = text.split()
    where = {cell: (r, c) for r, row in enumerate(rows) for c, cell in enumerate(row)}
    walls = [[int(cell == "#") for cell in row] for row in rows]
    return family.spec({"walls": walls, "start": where["S"], "goal": where["G"], "direction": direction})


def started(spec, family):
    batch = family.batch(1)
    batch.set_tasks([spec])
    return batch, batch.reset()


def planes(observation, view):
    """Walls and goal [view, view], and the direction."""
    cells, direction = observation[0].split([2 * view**2, 4])
    return (*cells.view(2, view, view).int().tolist(), int(direction.argmax()))


def fewest_steps(context) -> int:
    """Breadth-first search over (row, column, direction), one pose at a time."""
    walls, first = context["walls"], (*context["start"], context["direction"])
    found, queue = {first: 0}, deque([first])
    while queue:
        row, column, facing = pose = queue.popleft()
        if (row, column) == tuple(context["goal"]):
            return found[pose]
        down, right = DIRECTIONS[facing]
        ahead = (row + down, column + right)
        inside = 0 <= ahead[0] < len(walls) and 0 <= ahead[1] < len(walls)
        poses = [(row, column, (facing + turn) % 4) for turn in (-1, 1)]
        if inside and not walls[ahead[0]][ahead[1]]:
            poses.append((*ahead, facing))
        for following in poses:
            if following not in found:
                found[following] = found[pose] + 1
                queue.append(following)
    raise AssertionError("no way")


@pytest.mark.parametrize("settings", [{"size": 5, "view": 3, "horizon": 20}, {"size": 4, "solvable": False}])
def test_it_is_a_family(settings):
    check_family(maze(**settings))


@pytest.mark.parametrize("direction", range(4))
def test_what_the_agent_sees_turns_with_it(direction):
    # a landmark ahead to the left of the agent, wherever it looks
    family = maze(size=5, view=3)
    walls = np.zeros((5, 5), dtype=int)
    ahead, side = np.array(DIRECTIONS[direction]), np.array(DIRECTIONS[(direction + 1) % 4])
    walls[tuple(np.array([2, 2]) + ahead - side)] = 1
    goal = (np.array([2, 2]) + 2 * ahead + side).tolist()
    _, seen = started(
        family.spec({"walls": walls.tolist(), "start": (2, 2), "direction": direction, "goal": goal}), family
    )
    assert planes(seen, 3) == ([[0, 0, 0], [1, 0, 0], [0, 0, 0]], [[0, 0, 1], [0, 0, 0], [0, 0, 0]], direction)


def test_outside_is_wall():
    family = maze(size=3, view=5)
    _, seen = started(drawn("..G ... ..S", family), family)
    walls, goal, _ = planes(seen, 5)  # facing right out of the corner at the bottom
    assert walls == [[1] * 5] * 4 + [[0, 0, 0, 1, 1]]
    assert goal == [[0] * 5] * 4 + [[1, 0, 0, 0, 0]]


def test_moves_walls_and_reward():
    family = maze(size=3, horizon=10, time_penalty=0.5)
    batch, _ = started(drawn("S#. ..G ...", family), family)
    rewards = []
    for action in (FORWARD, RIGHT, FORWARD, LEFT, FORWARD, FORWARD):  # the first bumps into the wall
        outcome = batch.step(torch.tensor([action]))
        rewards.append(float(outcome.reward))
    assert rewards[:-1] == [0.0] * 5
    assert rewards[-1] == pytest.approx(1 - 0.5 * 6 / 10)
    assert bool(outcome.terminated)
    assert not bool(outcome.truncated)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"walls": [[1, 0], [0, 0]]}, r"start = \[0, 0\] is a wall"),
        ({"walls": [[0, 0], [0, 1]]}, r"goal = \[1, 1\] is a wall"),
        ({"goal": (0, 0)}, "is the start"),
        ({"goal": (0, 2)}, r"goal\[1\] = 2: allowed range is 0 to 1"),
        ({"walls": [[0, 1], [1, 0]]}, "cut goal = .* off .* unsolvable"),
        ({"walls": [[0, 2], [1, 0]]}, r"walls\[0\]\[1\] = 2"),
        ({"direction": 4}, "direction = 4"),
    ],
)
def test_impossible_mazes_are_refused(context, message):
    with pytest.raises(TaskError, match=message):
        maze(size=2).spec(context)


def test_unsolvable_mazes_may_be_allowed():
    family = maze(size=2, solvable=False)
    spec = family.spec({"walls": [[0, 1], [1, 0]]})
    assert family.descriptor(spec.context).tolist() == [0.5, 0.0, 1.0, 0.0]
    with pytest.raises(ConfigError, match="view"):
        build_family("maze", {"view": 4})


def test_path_length_against_a_plain_search():
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(200):
        walls = (rng.random((6, 6)) < 0.35).astype(int)
        walls[0, 0] = walls[5, 5] = 0
        found, queue = {(0, 0): 0}, deque([(0, 0)])
        while queue:
            cell = queue.popleft()
            for down, right in DIRECTIONS:
                other = (cell[0] + down, cell[1] + right)
                if min(other) >= 0 and max(other) < 6 and not walls[other] and other not in found:
                    found[other] = found[cell] + 1
                    queue.append(other)
        lengths.append(path_length(walls.tolist(), (0, 0), (5, 5)))
        assert lengths[-1] == found.get((5, 5))
    assert None in lengths
    assert {10, 12} < set(lengths)


def test_mutation_makes_five_edits_at_most_and_reaches_everything():
    family = maze()
    rng = np.random.default_rng(0)
    context = family.spec().context
    changed = set()
    for _ in range(50):
        mutant = family.spec(family.mutate(context, rng)).context
        assert 0 <= int((np.array(mutant["walls"]) != np.array(context["walls"])).sum()) <= 5
        changed |= {name for name in context if mutant[name] != context[name]}
        context = mutant
    assert changed == {"walls", "start", "direction", "goal"}
    assert 10 < np.sum(context["walls"]) < 120


def test_descriptor_by_hand():
    family = maze(size=3)
    assert family.descriptor(drawn("S#G .#. ...", family).context).tolist() == pytest.approx([2 / 9, 6 / 4, 2 / 4, 1])


def test_pictures():
    family = maze(size=3)
    spec = drawn("S#. ..# ..G", family)
    picture = family.render(spec)
    middles = picture[6::12, 6::12].astype(int)
    assert middles.shape == (5, 5, 3)
    grey = middles.sum(-1) < 260
    assert np.pad(grey[1:-1, 1:-1], 1, constant_values=True).tolist() == grey.tolist()
    assert grey[1:-1, 1:-1].tolist() == [[False, True, False], [False, False, True], [False, False, False]]
    assert middles[1, 1].argmax() == 0
    assert middles[1, 1].max() > 2 * middles[1, 1].min()  # the agent is red
    assert middles[3, 3].argmax() == 1
    assert middles[3, 3].max() > 2 * middles[3, 3].min()  # the goal is green
    batch, _ = started(spec, family)
    first = family.frame(spec, batch.state(0))
    batch.step(torch.tensor([RIGHT]))
    second = family.frame(spec, batch.state(0))
    assert first.shape == second.shape == picture.shape
    assert (first != second).any()
    assert (first[12:24, 12:24] != second[12:24, 12:24]).any()  # the arrow has turned


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


def test_broken_states_are_refused():
    source = RandomMazes(RandomMazesConfig(), family=maze(), seed=np.random.SeedSequence(0))
    with pytest.raises(CheckpointError, match="position"):
        source.load_state_dict({"position": -1})


def test_attempts_count_invalid_mazes_in_a_row(monkeypatch):
    monkeypatch.setattr(random_mazes, "_ATTEMPTS", 3)
    source = RandomMazes(RandomMazesConfig(), family=maze(), seed=np.random.SeedSequence(0))
    fits = iter([0, 0, 1, 0, 0, 1, 0, 0, 0])

    def following():
        if not next(fits):
            raise TaskError("no such maze")
        return maze().spec()

    monkeypatch.setattr(source, "_next", following)
    assert len(source.ask(2)) == 2
    with pytest.raises(TaskError, match="3 mazes in a row were invalid; .* Last: no such maze"):
        source.ask(1)
    assert next(fits, None) is None


def test_hopeless_settings_end_in_an_error():
    config = RandomMazesConfig(least_walls=200, most_walls=200)
    source = RandomMazes(config, family=maze(size=3), seed=np.random.SeedSequence(0))
    with pytest.raises(TaskError, match="throw fewer walls"):
        source.ask(1)


def test_optimal_return_by_hand():
    """Facing up in the upper left corner of 3 x 3 cells, goal below: two turns and two steps, 4 of 20."""
    family = maze(size=3, horizon=20)
    context = {"start": [0, 0], "direction": 3, "goal": [2, 0]}
    assert family.optimal_return(family.spec(context)) == pytest.approx(1 - 0.9 * 4 / 20)
    short = maze(size=3, horizon=3)
    assert short.optimal_return(short.spec(context)) == 0.0
    walled = maze(size=3, horizon=20, solvable=False)
    cut_off = walled.spec({**context, "walls": [[0, 0, 0], [1, 1, 1], [0, 0, 0]]})
    assert walled.optimal_return(cut_off) == 0.0


def test_a_shortest_way_gets_the_optimal_return_and_solves():
    """The oracle on random mazes, and breadth-first search over poses, one at a time."""
    from registry.config import Part
    from taskgen.build import build_source
    from taskgen.interaction.build import build_agent, problem_of
    from taskgen.interaction.collect import collect
    from taskgen.interaction.score import score

    family = maze()
    specs = build_source(Part(name="random-mazes"), family, np.random.SeedSequence(5)).ask(30)
    for spec in specs:
        context = spec.context
        found = steps_by_boards(*(context[name] for name in ("walls", "start", "direction", "goal")))
        assert found == fewest_steps(context)
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"))
    agent = build_agent(Part(name="maze-oracle"), problem)
    trial = collect(agent, family.batch(30), specs, plan=agent.plan(1))
    results = score(trial, agent, family, ("regret", "success"))
    assert [result.scores["regret"] for result in results] == pytest.approx([0.0] * 30, abs=1e-5)
    assert all(result.scores["success"] == 1.0 for result in results)


def test_solved_is_reaching_the_goal():
    """In the last step too; standing still is not."""
    assert 0.0 < maze().solved_return < 0.1
