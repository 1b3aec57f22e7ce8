"""Named mazes: the out-of-distribution levels on which unsupervised environment design is judged.

The twelve of Parker-Holder et al. 2022, "Evolving Curricula with Regret-Based Environment Design", as its authors'
results list them, and a mirrored labyrinth; the four rooms and the crossing are MiniGrid's. Five are distributions: the
corridors over goals, the others over walls too; variant v of such a maze is a function of the source's seed, the maze's
name and v.

Smaller mazes are the upper left corner of the family's grid, the rest of which is wall, so that one family of size 19
plays all of them. Differences from the papers: episodes last as long as the family says, where the papers give
2 (n + 2)^2 steps to most mazes; the agent faces right where the papers turn it at random in a fixed maze.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import Field

from plugins.families.maze import Maze
from plugins.families.maze_levels import Layout
from plugins.generators.random_mazes import checked_position, maze_family
from registry.config import Config
from registry.errors import ConfigError, TaskError, suggest
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import child

# "#" is a wall.
_SIXTEEN_ROOMS = """
...#..#..#...
.........#...
...#..#......
#.###.##.###.
...#.........
......#..#...
##.#.##.###.#
...#.....#...
...#..#......
.####.##.#.##
...#..#..#...
......#......
...#.....#...
"""
_SIXTEEN_ROOMS_FEWER_DOORS = """
...#.....#...
......#..#...
...#..#..#...
####.##.###.#
...#..#......
......#..#...
#.#####.#####
...#..#..#...
...#.........
##.##.##.####
...#..#..#...
......#......
...#..#..#...
"""
_LABYRINTH = """
.............
.###########.
.#.........#.
.#.#######.#.
.#.#.....#.#.
.#.#.###.#.#.
.#.#.#.#.#.#.
.#.#.#.#.#.#.
.#...#...#.#.
.#########.#.
.....#.....#.
####.#.#####.
.....#.......
"""
_LABYRINTH_2 = """
.#...........
.#.#########.
.#.#.......#.
.#.#.#####.#.
.#.#.#...#.#.
...#.#.#.#.#.
####.#.#.#.#.
...#.###.#.#.
.#.#.....#.#.
.#.#######.#.
.#.........#.
.###########.
.............
"""
_MAZE = """
.....#....#..
.###.####.##.
.#...........
.########.###
........#....
######.#####.
....#..#.....
.##...##.####
..#.#..#...#.
#.#.##.###.#.
#.#..#...#...
#.##.###.###.
...#...#.#...
"""
_MAZE_2 = """
...#.#....#..
.#.#.####...#
.#........#..
.########.###
...#..#.#.#..
##.#.##.#.#..
.#.#....#.##.
.#.##.###..#.
.#..#..###.#.
.##.##.#.#.#.
.#...#.#.#.#.
.#.#.#.#.#.#.
...#...#.....
"""
_MAZE_3 = """
....#.#......
.####.#.####.
.#....#.#....
...####.#.#.#
##.#....#.#..
...#.##.#.##.
.#.#.#..#..#.
.#.#.#.###.##
.#...#.#.#...
.###.#.#.###.
.#...#.#...#.
.#.###.#.#.#.
.#...#...#...
"""


_Builder = Callable[[np.random.Generator], Layout]


def _drawn(text: str, start: tuple[int, int], goal: tuple[int, int]) -> _Builder:
    """A fixed maze; the agent faces right."""
    walls = np.array([[cell == "#" for cell in row] for row in text.split()], dtype=np.int64)

    def build(_: np.random.Generator) -> Layout:
        return Layout(walls, start, 0, goal)

    return build


def _flipped(rng: np.random.Generator) -> Layout:
    """The labyrinth in a mirror: from the lower right corner, facing left."""
    walls, (row, column), _, goal = NAMED_MAZES["labyrinth"](rng)
    return Layout(walls[:, ::-1], (row, len(walls) - 1 - column), 2, goal)


def _corridor(size: int) -> _Builder:
    """A ring around two combs of blind alleys; the goal is at the bottom of one, next to the middle row."""

    def build(rng: np.random.Generator) -> Layout:
        walls = np.zeros((size, size), dtype=np.int64)
        walls[1:-1, 1:-1:2] = 1
        walls[size // 2, 1:-1] = 1
        row = size // 2 + int(rng.choice([-1, 1]))
        return Layout(walls, (size // 2, 0), 0, (row, 2 * int(rng.integers(1, size // 2))))

    return build


def _four_rooms(rng: np.random.Generator) -> Layout:
    """Two walls across 17 x 17 cells with a door in each of their four arms; start and goal anywhere."""
    middle = 8
    walls = np.zeros((17, 17), dtype=np.int64)
    walls[middle], walls[:, middle] = 1, 1
    for arm in (0, middle + 1):
        walls[arm + int(rng.integers(middle)), middle] = 0
        walls[middle, arm + int(rng.integers(middle))] = 0
    start, goal = rng.permutation(np.argwhere(walls == 0))[:2].tolist()
    return Layout(walls, tuple(start), int(rng.integers(4)), tuple(goal))


def _simple_crossing(rng: np.random.Generator) -> Layout:
    """Five walls across 9 x 9 cells, with doors along one monotone way from corner to corner."""
    size, crossings = 9, 5
    walls = np.zeros((size, size), dtype=np.int64)
    lines = rng.permutation([(axis, place) for axis in (0, 1) for place in range(1, size - 1, 2)])[:crossings]
    rivers = [sorted(int(place) for axis, place in lines if axis == wanted) for wanted in (0, 1)]
    walls[rivers[0]], walls[:, rivers[1]] = 1, 1
    edges = [[-1, *places, size] for places in rivers]
    room = [0, 0]
    for axis in rng.permutation(np.repeat((0, 1), [len(places) for places in rivers])).tolist():
        other = 1 - axis
        door = [0, 0]
        door[axis] = edges[axis][room[axis] + 1]
        door[other] = int(rng.integers(edges[other][room[other]] + 1, edges[other][room[other] + 1]))
        walls[tuple(door)] = 0
        room[axis] += 1
    return Layout(walls, (0, 0), 0, (size - 1, size - 1))


def _perfect_maze(rng: np.random.Generator) -> Layout:
    """A random spanning tree (Kruskal) of 10 x 10 rooms, 19 x 19 cells; from one corner to another."""
    rooms = 10
    size = 2 * rooms - 1
    walls = np.ones((size, size), dtype=np.int64)
    walls[::2, ::2] = 0
    group = np.arange(rooms**2).reshape(rooms, rooms)
    doors = [(row, column) for row in range(size) for column in range(size) if (row + column) % 2]
    for row, column in rng.permutation(doors).tolist():
        one = group[row // 2, column // 2]
        other = group[(row + 1) // 2, (column + 1) // 2]
        if one != other:
            walls[row, column] = 0
            group[group == other] = one
    corners = [(row, column) for row in (0, size - 1) for column in (0, size - 1)]
    start, goal = rng.permutation(corners)[:2].tolist()
    return Layout(walls, tuple(start), int(rng.integers(4)), tuple(goal))


NAMED_MAZES: Mapping[str, _Builder] = MappingProxyType(
    {
        "sixteen-rooms": _drawn(_SIXTEEN_ROOMS, (1, 1), (11, 11)),
        "sixteen-rooms-fewer-doors": _drawn(_SIXTEEN_ROOMS_FEWER_DOORS, (1, 1), (11, 11)),
        "labyrinth": _drawn(_LABYRINTH, (12, 0), (6, 6)),
        "labyrinth-2": _drawn(_LABYRINTH_2, (0, 0), (6, 6)),
        "maze": _drawn(_MAZE, (0, 6), (12, 6)),
        "maze-2": _drawn(_MAZE_2, (6, 0), (4, 12)),
        "maze-3": _drawn(_MAZE_3, (0, 3), (6, 12)),
        "simple-crossing": _simple_crossing,
        "four-rooms": _four_rooms,
        "small-corridor": _corridor(13),
        "large-corridor": _corridor(19),
        "perfect-maze": _perfect_maze,
        "labyrinth-flipped": _flipped,
    }
)
"""From a name to the maze; what is random in it is drawn from the generator given."""


def named_maze(name: str, family: Maze, seed: np.random.SeedSequence, variant: int = 0) -> TaskSpec:
    """Variant `variant` of the maze `name`. Raises `TaskError` for an unknown name or a family too small for it."""
    if name not in NAMED_MAZES:
        raise TaskError(f"unknown maze {name!r}. {suggest(name, NAMED_MAZES)}")
    rng = np.random.Generator(np.random.PCG64(child(seed, name, variant)))
    return family.spec(family.fitted(*NAMED_MAZES[name](rng)))


class NamedMazesConfig(Config):
    """Settings of `NamedMazes`."""

    names: tuple[str, ...] = Field(
        (), description="Mazes in turn; empty: those of the literature's twelve that fit the family's size."
    )


class NamedMazes:
    """A `TaskSource` that goes round the named mazes; from round to round those vary that are random.

    Raises `ConfigError` for another family than maze, unknown names and mazes larger than the family.
    """

    feedback = False

    def __init__(self, config: NamedMazesConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        self._family = maze_family(family, "named-mazes")
        self._seed = seed
        self._position = 0
        size = self._family.config.size
        unknown = [name for name in config.names if name not in NAMED_MAZES]
        if unknown:
            raise ConfigError(
                [f"names: {name!r} is no maze. {suggest(name, NAMED_MAZES)}" for name in unknown], "named-mazes"
            )
        fitting = [name for name in config.names or NAMED_MAZES if _size(name) <= size]
        large = [
            f"names: {name} needs family.size={_size(name)} or more" for name in config.names if _size(name) > size
        ]
        if large or not fitting:
            raise ConfigError(large or [f"no named maze fits family.size={size}; 9 is the smallest"], "named-mazes")
        self._names = config.names or tuple(name for name in fitting if name != "labyrinth-flipped")

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` mazes."""
        first = self._position
        self._position += n
        return [self._maze(position) for position in range(first, first + n)]

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Ignored: the mazes are given."""

    def state_dict(self) -> dict[str, Any]:
        """The number of mazes given so far."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        self._position = checked_position(state, "named-mazes")

    def _maze(self, position: int) -> TaskSpec:
        variant, index = divmod(position, len(self._names))
        return named_maze(self._names[index], self._family, self._seed, variant)


def _size(name: str) -> int:
    """Rows and columns of a named maze."""
    return len(NAMED_MAZES[name](np.random.Generator(np.random.PCG64(0))).walls)
