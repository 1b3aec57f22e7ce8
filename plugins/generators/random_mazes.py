"""Random mazes, the domain randomisation of unsupervised environment design: a number of walls thrown at random.

References: Jiang et al. 2021, "Replay-Guided Adversarial Environment Design": 25 walls (`least_walls = most_walls = 25`
here); Parker-Holder et al. 2022, "Evolving Curricula with Regret-Based Environment Design": up to 60, the default.

Differences from the papers: mazes without a path to the goal are passed over unless the family is built with
`solvable = false`, which is theirs.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plugins.families.maze import Maze, path_length
from registry.config import Config
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import child

_ROWS = 256  # mazes whose uniforms are drawn at once
_ATTEMPTS = 10_000  # rejected mazes in a row before giving up
_PLACES = 4  # uniforms of a maze beside its walls: their number, start, direction, goal


class RandomMazesConfig(Config):
    """Settings of `RandomMazes`."""

    least_walls: int = Field(0, ge=0, le=10_000, description="Fewest walls thrown.")
    most_walls: int = Field(60, ge=0, le=10_000, description="Most walls thrown; any number between is equally likely.")
    extent: int = Field(
        0, ge=0, description="Rows and columns of the mazes; the rest of a larger family is wall. 0: the family's size."
    )
    solvable: bool = Field(
        default=False, description="Pass over mazes without a path to the goal where the family allows them, too."
    )


class RandomMazes:
    """A `TaskSource` of mazes. Each wall is thrown on any cell, also where one stands; start and goal on open cells.

    Candidate i is a function of the stream at position i; the state is the number of candidates drawn so far. Raises
    `ConfigError` for another family than maze and for settings that do not fit it.
    """

    feedback = False

    def __init__(self, config: RandomMazesConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        self._family = maze_family(family, "random-mazes")
        self._extent = config.extent or self._family.config.size
        problems: list[str] = []
        if config.least_walls > config.most_walls:
            problems.append(f"least_walls = {config.least_walls} is above most_walls = {config.most_walls}")
        if not 2 <= self._extent <= self._family.config.size:
            problems.append(f"extent = {self._extent}: allowed is 2 to the family's size, {self._family.config.size}")
        if problems:
            raise ConfigError(problems, "random-mazes")
        self._walls = config.least_walls, config.most_walls
        self._solvable = config.solvable
        self._seed = seed
        self._position = 0
        self._block = -1
        self._uniforms: NDArray[np.float64] = np.empty((0, 0))
        self._seeds: list[int] = []

    def ask(self, n: int) -> list[TaskSpec]:
        """Exactly `n` valid mazes. Raises `TaskError` when there are hardly any."""
        specs: list[TaskSpec] = []
        rejected = 0
        while len(specs) < n:
            try:
                specs.append(self._next())
                rejected = 0
            except TaskError as problem:
                rejected += 1
                if rejected == _ATTEMPTS:
                    raise TaskError(
                        f"{_ATTEMPTS} mazes in a row were invalid; throw fewer walls. Last: {problem}"
                    ) from None
        return specs

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Ignored: the distribution is fixed."""

    def state_dict(self) -> dict[str, Any]:
        """The number of candidates drawn so far."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for anything else."""
        self._position = checked_position(state, "random-mazes")

    def _next(self) -> TaskSpec:
        block, row = divmod(self._position, _ROWS)
        if block != self._block:
            self._block = block
            width = _PLACES + self._walls[1]
            self._uniforms = self._random("maze", block * _ROWS * width, width)
            self._seeds = (self._random("seed", block * _ROWS, 1)[:, 0] * 2.0**53).astype(np.int64).tolist()
        self._position += 1
        return self._maze(self._uniforms[row], self._seeds[row])

    def _random(self, name: str, first: int, width: int) -> NDArray[np.float64]:
        bits = np.random.PCG64(child(self._seed, name))
        return np.random.Generator(bits.advance(first)).random((_ROWS, width))

    def _maze(self, u: NDArray[np.float64], seed: int) -> TaskSpec:
        extent, (least, most) = self._extent, self._walls
        number = least + int(u[0] * (most - least + 1))
        walls = np.zeros(extent**2, dtype=np.int64)
        walls[(u[_PLACES : _PLACES + number] * extent**2).astype(np.int64)] = 1
        opened = np.flatnonzero(walls == 0)
        if len(opened) < 2:
            raise TaskError(f"{number} walls leave no two open cells")
        first = int(u[1] * len(opened))
        second = int(u[2] * (len(opened) - 1))
        second += second >= first
        places = (divmod(int(opened[index]), extent) for index in (first, second))
        context = self._family.fitted(walls.reshape(extent, extent), next(places), int(u[3] * 4), next(places))
        self._family.validate(context)
        if self._solvable and path_length(context["walls"], context["start"], context["goal"]) is None:
            raise TaskError(f"{number} walls cut the goal off from the start")
        return TaskSpec(
            self._family.name, MappingProxyType({**self._family.structure, **context}), self._family.reward, seed
        )


def maze_family(family: TaskFamily[Any], generator: str) -> Maze:
    """`family` if it is a maze family. Raises `ConfigError` otherwise."""
    if not isinstance(family, Maze):
        raise ConfigError([f"{generator} makes tasks of the maze family, not of {family.name}"], generator)
    return family


def checked_position(state: dict[str, Any], generator: str) -> int:
    """The position in a source's state. Raises `CheckpointError` unless it is an integer of at least 0."""
    position = state.get("position")
    if not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise CheckpointError(f"state of {generator}: position = {position!r}, expected an integer >= 0")
    return position
