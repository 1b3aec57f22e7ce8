"""Mazes seen from inside: walls, start and goal are the task; the world of unsupervised environment design.

The agent turns or walks and sees a square of cells ahead of it, through walls. It is the minimal grid of Dennis et al.
2020, "Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design", with the sizes of Jiang et al.
2021, "Replay-Guided Adversarial Environment Design": 13 x 13 cells inside a wall, view 5 x 5, 250 steps, reward
1 - 0.9 t / 250 for reaching the goal at step t.

Differences from the papers: only the three actions that do something; cells are told by two planes of zeros and ones,
walls and goal, not by object, colour and state numbers; unless `solvable` is off a task has a path to its goal.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator
from torch import Tensor

from plugins.families.maze_design import MazeDesign
from plugins.families.maze_levels import FORMS, read_layouts
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Choice, IntegerRange

DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(rows, columns) that a step forward moves by, facing right, down, left, up."""
EDITS = 5
"""Edits of one mutation, as ACCEL makes."""
_EMPTY, _WALL, _GOAL = range(3)
_LEFT, _RIGHT, _FORWARD = range(3)

_PIXELS = 12  # side of a cell in a picture
_FLOOR, _SEEN, _BRICK, _TARGET, _AGENT = np.array(
    [[250, 250, 250], [255, 240, 190], [75, 80, 90], [45, 160, 75], [205, 50, 45]], dtype=np.uint8
)


class MazeConfig(Config):
    """Structural settings of `Maze`."""

    size: int = Field(13, ge=2, le=101, description="Rows and columns of cells inside the outer wall.")
    view: int = Field(5, ge=3, le=15, description="Rows and columns of the view, odd; the agent is in its last row.")
    horizon: int = Field(250, ge=1, le=100_000, description="Steps per episode, T.")
    time_penalty: float = Field(
        0.9, ge=0.0, le=1.0, description="Reward at the goal is 1 - time_penalty * t / T after t steps."
    )
    solvable: bool = Field(
        default=True,
        description="Whether every task must have a path to its goal; the literature's training mazes need not.",
    )

    @field_validator("view")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} is even; the agent stands in the middle of an odd view")
        return value


class Maze(TaskFamily[MazeConfig]):
    """Actions: turn left, turn right, step forward. With v the view, observations are [2 v v + 4] zeros and ones.

    First the v x v cells that are walls, then those that are the goal, both row by row from the row farthest ahead,
    left to right as the agent faces; its own cell is the middle of the last row. Then the direction it faces, one-hot:
    right, down, left, up. What lies outside the maze is wall. The episode ends at the goal.
    """

    forms = tuple(FORMS)

    def __init__(self, config: MazeConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2 * config.view**2 + 4,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.horizon = config.horizon
        self.solved_return = 1e-6
        """Any reward at all is for the goal."""
        self.measures = {"walls": (0.0, config.size**2 / 2), "shortest_path": (0.0, 4.0 * config.size - 4.0)}
        """To half of the cells, and twice the longest straight distance: there is little beyond."""

    @cached_property
    def context_space(self) -> ContextSpace:
        """The walls, where the agent starts and how it faces, and the goal."""
        last = self.config.size - 1
        somewhere = IntegerRange(low=0, high=last)
        return ContextSpace(
            {
                "walls": Knob(
                    0,
                    1,
                    0,
                    "Row by row, 1 where a cell is a wall.",
                    shape=(last + 1, last + 1),
                    integer=True,
                    vary=Choice(values=(0, 1), weights=(0.85, 0.15)),
                ),
                "start": Knob(0, last, 0, "Row and column of the start.", shape=(2,), integer=True, vary=somewhere),
                "direction": Knob(
                    0,
                    3,
                    0,
                    "Where the agent faces at the start: 0 right, 1 down, 2 left, 3 up.",
                    integer=True,
                    vary=IntegerRange(low=0, high=3),
                ),
                "goal": Knob(0, last, last, "Row and column of the goal.", shape=(2,), integer=True, vary=somewhere),
            }
        )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch.

        The descriptor is [3 n n + 4] zeros and ones: walls, start and goal as planes of n x n cells, the direction.
        """
        return TensorBatch(self, _Walk(self.config, device), slots, device)

    def validate(self, context: Mapping[str, Any]) -> None:
        """Start and goal differ and are no walls; a path joins them unless `solvable` is off."""
        walls, start, goal = context["walls"], tuple(context["start"]), tuple(context["goal"])
        for name, (row, column) in (("start", start), ("goal", goal)):
            if walls[row][column]:
                raise TaskError(f"{self.name}: {name} = [{row}, {column}] is a wall; walls[{row}][{column}] must be 0")
        if start == goal:
            raise TaskError(f"{self.name}: goal = {list(goal)} is the start; give two cells")
        if self.config.solvable and path_length(walls, start, goal) is None:
            raise TaskError(
                f"{self.name}: walls cut goal = {list(goal)} off from start = {list(start)}: the maze is unsolvable; "
                "open a path, or allow such tasks with solvable = false"
            )

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """ACCEL's edit: `EDITS` cells drawn with replacement become wall, empty, start or goal; bad edits are left out.

        Parker-Holder et al. 2022, "Evolving Curricula with Regret-Based Environment Design". An agent that is moved
        faces anywhere.
        """
        edited = dict(context)
        for _ in range(EDITS):
            row, column, what, facing = (int(rng.integers(high)) for high in (self.config.size, self.config.size, 4, 4))
            walls = [list(line) for line in edited["walls"]]
            walls[row][column] = int(what == 0)
            candidate = {**edited, "walls": tuple(map(tuple, walls))}
            if what == 2:
                candidate |= {"start": (row, column), "direction": facing}
            elif what == 3:
                candidate["goal"] = (row, column)
            try:
                self.validate(candidate)
            except TaskError:
                continue
            edited = candidate
        return edited

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[4] share of walls, and over the longest straight distance: path to the goal, straight distance, detour.

        All are near [0, 1], the path and the detour more in winding mazes; both are 0 where there is no path.
        """
        start, goal = context["start"], context["goal"]
        straight = abs(start[0] - goal[0]) + abs(start[1] - goal[1])
        path = path_length(context["walls"], start, goal)
        steps = [0, straight, 0] if path is None else [path, straight, path - straight]
        share = float(np.mean(np.asarray(context["walls"])))
        return np.array([share, *(step / (2 * self.config.size - 2) for step in steps)])

    def design(self, placements: int) -> MazeDesign:
        """Agent, goal, then walls; 0 placements stand for walls in number like the literature's."""
        return MazeDesign(self.config.size, placements)

    def figures(self, context: Mapping[str, Any]) -> dict[str, float]:
        """Number of walls, whether there is no path to the goal, and the length of the shortest, where there is one."""
        path = path_length(context["walls"], context["start"], context["goal"])
        walls = float(np.sum(context["walls"]))
        return {"walls": walls, "unsolvable": float(path is None), **({} if path is None else {"shortest_path": path})}

    def measure(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[2] the number of walls, and the length of the shortest path; 0 where there is none."""
        figures = self.figures(context)
        return np.array([figures["walls"], figures.get("shortest_path", 0.0)])

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of the shortest way to the goal, turns counted; 0 where the horizon cuts it."""
        context = cast(Mapping[str, Any], spec.context)
        steps = fewest_steps(*(context[name] for name in ("walls", "start", "direction", "goal")))
        if steps is None or steps > self.horizon:
            return 0.0
        return 1.0 - self.config.time_penalty * steps / self.horizon

    def fitted(self, walls: ArrayLike, start: Sequence[int], direction: int, goal: Sequence[int]) -> dict[str, Any]:
        """The context of a maze of r x c cells, neither more than `size`, in the upper left corner; all else is wall.

        To the agent walls are what lies outside a maze, so a square maze is the one that a family of its size has.
        Raises `TaskError` for a larger one, and for a place outside of it.
        """
        cells = np.asarray(walls, dtype=np.int64)
        rows, columns = cells.shape
        if max(rows, columns) > self.config.size:
            raise TaskError(
                f"{self.name}: a maze of {rows} x {columns} cells does not fit in size = {self.config.size}; "
                f"take family.size={max(rows, columns)} or more"
            )
        for what, (row, column) in (("start", start), ("goal", goal)):
            if not (0 <= row < rows and 0 <= column < columns):
                raise TaskError(f"{self.name}: {what} = [{row}, {column}] is outside of {rows} x {columns} cells")
        whole = np.ones((self.config.size, self.config.size), dtype=np.int64)
        whole[:rows, :columns] = cells
        places = {"start": tuple(map(int, start)), "direction": int(direction), "goal": tuple(map(int, goal))}
        return {"walls": tuple(map(tuple, whole.tolist())), **places}

    def read(self, form: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The contexts of mazes of other programs, and where each stands; see `maze_levels`.

        Raises `TaskError` that says where, for what is no maze in that form, or does not fit.
        """
        for where, layout in read_layouts(form, text):
            try:
                context = self.fitted(*layout)
            except TaskError as error:
                raise TaskError(f"{where}: {error}") from None
            yield where, context

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The maze with its outer wall, the goal in green, the agent in red at the start."""
        return self._draw(spec, spec.context["start"], spec.context["direction"])  # type: ignore[arg-type]

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The same in `state`, with the cells that the agent sees in yellow."""
        margin = self.config.view - 1
        place, direction, _ = state.tolist()
        row, column = (part - margin for part in divmod(place, self.config.size + 2 * margin))
        ahead, side = DIRECTIONS[direction], DIRECTIONS[(direction + 1) % 4]
        reach, half = range(self.config.view), range(-(self.config.view // 2), self.config.view // 2 + 1)
        seen = {(row + f * ahead[0] + s * side[0], column + f * ahead[1] + s * side[1]) for f in reach for s in half}
        return self._draw(spec, (row, column), direction, seen)

    def _draw(
        self, spec: TaskSpec, agent: Sequence[int], direction: int, seen: Collection[tuple[int, int]] = ()
    ) -> NDArray[np.uint8]:
        size, context = self.config.size, cast(Mapping[str, Any], spec.context)
        colours = np.tile(_BRICK, (size + 2, size + 2, 1))
        inside = colours[1:-1, 1:-1]
        inside[np.asarray(context["walls"]) == 0] = _FLOOR
        for row, column in seen:
            if 0 <= row < size and 0 <= column < size and not context["walls"][row][column]:
                inside[row, column] = _SEEN
        inside[tuple(context["goal"])] = _TARGET
        picture = colours.repeat(_PIXELS, 0).repeat(_PIXELS, 1)
        edges = np.arange(len(picture)) % _PIXELS == 0
        picture[edges] = picture[edges] * 0.93
        picture[:, edges] = picture[:, edges] * 0.93
        top, left = (_PIXELS * (part + 1) for part in agent)
        picture[top : top + _PIXELS, left : left + _PIXELS][np.rot90(_arrow(), -direction)] = _AGENT
        return picture


def path_length(walls: Sequence[Sequence[int]], start: Sequence[int], goal: Sequence[int]) -> int | None:
    """Cells to cross on a shortest path from `start` to `goal` (turns are free); None without a path.

    Breadth-first search on all cells at once: bit (size + 1) * row + column of an integer is a cell, and the bit that
    ends every row, no cell, is never open.
    """
    stride, opened = _board(walls)
    front = seen = 1 << (start[0] * stride + start[1])
    target = 1 << (goal[0] * stride + goal[1])
    length = 0
    while not front & target:
        front = (front << 1 | front >> 1 | front << stride | front >> stride) & opened & ~seen
        if not front:
            return None
        seen |= front
        length += 1
    return length


def fewest_steps(
    walls: Sequence[Sequence[int]], start: Sequence[int], direction: int, goal: Sequence[int]
) -> int | None:
    """Actions from `start`, facing `direction`, to `goal` on the shortest way, turns counted; None where there is none.

    As `path_length`, with a board of cells for each direction faced.
    """
    stride, opened = _board(walls)
    target = 1 << (goal[0] * stride + goal[1])
    front = [0, 0, 0, 0]
    front[direction] = 1 << (start[0] * stride + start[1])
    seen = list(front)
    length = 0
    while not any(board & target for board in front):
        ahead = (front[0] << 1, front[1] << stride, front[2] >> 1, front[3] >> stride)
        front = [(ahead[d] & opened | front[d - 1] | front[(d + 1) % 4]) & ~seen[d] for d in range(4)]
        if not any(front):
            return None
        seen = [old | new for old, new in zip(seen, front, strict=True)]
        length += 1
    return length


def _board(walls: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Bits between two rows, and the open cells as bits."""
    rows = ("0" + "".join("0" if cell else "1" for cell in reversed(row)) for row in reversed(walls))
    return len(walls) + 1, int("".join(rows), 2)


def _arrow() -> NDArray[np.bool_]:
    """A triangle that points right, a cell large."""
    row, column = np.mgrid[:_PIXELS, :_PIXELS] + 0.5
    half = _PIXELS / 2
    return (column > 2) & (np.abs(row - half) < (_PIXELS - 1 - column) * 0.55)


class _Walk:
    """State [B, 3] int64: cell, direction, steps made. Cells are numbered row by row with `view - 1` walls around.

    A view is looked up row by row: `rows` holds, for every direction and cell, the code of the view's row around it.
    """

    uniforms = 0

    def __init__(self, config: MazeConfig, device: torch.device | str) -> None:
        self.size, self.margin, self.view = config.size, config.view - 1, config.view
        self.width = config.size + 2 * self.margin
        self.decay = config.time_penalty / config.horizon
        self.strides = [row * self.width + column for row, column in DIRECTIONS]  # for the host, which makes tables
        self.moves = torch.tensor(self.strides, device=device)
        ahead = torch.arange(config.view - 1, -1, -1, device=device)
        planes = torch.arange(4, device=device)[:, None] * self.width**2
        self.ahead = planes + ahead * self.moves[:, None]  # [4, view], from the agent's cell on, to its rows' codes
        self.turned = (torch.arange(4, device=device)[:, None] + torch.tensor([-1, 1, 0], device=device)).flatten() & 3
        self.facing = torch.eye(4, device=device)
        bits = torch.arange(2**config.view, device=device)[:, None] >> torch.arange(config.view, device=device) & 1
        self.wall_row = bits.to(torch.float32)  # [2^view, view]
        none = torch.zeros(1, config.view, device=device)
        self.goal_row = torch.cat([none, torch.eye(config.view, device=device)])  # [1 + view, view]

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        contexts = [cast(Mapping[str, Any], spec.context) for spec in specs]
        cells = np.full((len(specs), self.width, self.width), _WALL, dtype=np.uint8)
        inside = slice(self.margin, self.margin + self.size)
        cells[:, inside, inside] = np.array([context["walls"] for context in contexts], dtype=np.uint8)
        start, goal = (np.array([context[name] for context in contexts]) + self.margin for name in ("start", "goal"))
        cells[np.arange(len(specs)), goal[:, 0], goal[:, 1]] = _GOAL
        flat = torch.from_numpy(cells).flatten(1)
        return {
            "cells": flat,
            "rows": self._rows(flat),
            "start": torch.from_numpy(start[:, 0] * self.width + start[:, 1]),
            "direction": torch.tensor([context["direction"] for context in contexts]),
        }

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        start = tables["start"]
        return torch.stack([start, tables["direction"], torch.zeros_like(start)], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        direction = state[:, 1]
        codes = tables["rows"].gather(1, self.ahead.index_select(0, direction).add_(state[:, :1])).to(torch.int64)
        walls = self.wall_row.index_select(0, (codes & (2**self.view - 1)).view(-1)).view(len(state), -1)
        goal = self.goal_row.index_select(0, (codes >> self.view).view(-1)).view(len(state), -1)
        return torch.cat([walls, goal, self.facing.index_select(0, direction)], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        place, direction, time = state.unbind(1)
        ahead = place + self.moves.index_select(0, direction)
        cell = tables["cells"].gather(1, ahead[:, None])[:, 0]
        forward = action == _FORWARD
        place = torch.where(forward & (cell != _WALL), ahead, place)
        direction = self.turned.index_select(0, torch.add(action, direction, alpha=3))
        time = time + 1
        arrived = forward & (cell == _GOAL)
        reward = torch.where(arrived, 1.0 - self.decay * time.to(torch.float32), 0.0)
        return torch.stack([place, direction, time]).T, reward, arrived

    def _rows(self, cells: Tensor) -> Tensor:
        """[B, 4 * cells] codes: bit j is set where cell j of a row is a wall; above, 1 + j where it is the goal."""
        codes = torch.zeros(len(cells), 4, cells.shape[1], dtype=torch.int32)
        wall, goal = (cells == _WALL).to(torch.int32), (cells == _GOAL).to(torch.int32)
        for d in range(4):
            for j in range(self.view):
                # What wraps around at the edges is in the middle of no row that is ever seen.
                offset = (j - self.view // 2) * self.strides[(d + 1) % 4]
                code = wall * 2**j + goal * ((1 + j) * 2**self.view)
                codes[:, d] += code.roll(-offset, dims=1)
        return codes.flatten(1).to(torch.uint8 if (1 + self.view) * 2**self.view <= 256 else torch.int32)

    def descriptor(self, tables: Tables) -> Tensor:
        cells = tables["cells"].view(-1, self.width, self.width)
        numbers = torch.arange(self.width**2, device=cells.device).view(self.width, self.width)
        start = numbers == tables["start"][:, None, None]
        inside = slice(self.margin, self.margin + self.size)
        planes = [plane[:, inside, inside].flatten(1) for plane in (cells == _WALL, start, cells == _GOAL)]
        return torch.cat([*planes, self.facing[tables["direction"]]], dim=1).to(torch.float32)
