"""The maze family against hand-made mazes, and its generators: what the mazes are, and that all can be solved."""

from collections import deque

import numpy as np
import pytest
import torch

from plugins.families.maze import DIRECTIONS, Maze, MazeConfig, path_length
from plugins.families.maze import fewest_steps as steps_by_boards
from plugins.generators import random_mazes
from plugins.generators.named_mazes import NAMED_MAZES
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


def test_measures_by_hand():
    """Two walls, and six steps around them; no path counts 0; straight across are four steps."""
    family = maze(size=3)
    assert family.measures == {"walls": (0.0, 4.5), "shortest_path": (0.0, 8.0)}
    assert family.measure(drawn("S#G .#. ...", family).context).tolist() == [2.0, 6.0]
    unsolvable = maze(size=2, solvable=False)
    assert unsolvable.measure(unsolvable.spec({"walls": [[0, 1], [1, 0]]}).context).tolist() == [2.0, 0.0]


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
