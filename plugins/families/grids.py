"""What the grid worlds share: moves, one-hot numbers, pictures, and the world with one hidden goal.

A cell is its column x and row y, counted from 0 at the lower left; its number is `size * x + y`.
"""

from collections.abc import Mapping, Sequence

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taskgen.engines.tensor import Tables
from taskgen.family import Goal
from taskgen.spec import TaskSpec
from taskgen.split import Split

Cell = tuple[int, int]
Colour = tuple[int, int, int]

UP, RIGHT, DOWN, LEFT, STAY = (0, 1), (1, 0), (0, -1), (-1, 0), (0, 0)
"""(x, y) that a move adds."""

AGENT, GOAL, START, CLOSED, FLOOR = (205, 50, 45), (45, 160, 75), (150, 190, 235), (190, 190, 190), (250, 250, 250)
_PIXELS = 16  # side of a cell in a picture


def cell_space(size: int, observation: str) -> gym.spaces.Box:
    """Space of a cell told by its "coordinates", column and row [2], or "one-hot" [size * size]."""
    if observation == "coordinates":
        return gym.spaces.Box(0.0, size - 1.0, (2,), np.float32)
    return gym.spaces.Box(0.0, 1.0, (size**2,), np.float32)


def goal(cell: int, size: int, observation: str) -> Goal:
    """The cell as a place in `cell_space(size, observation)`."""
    place = divmod(cell, size) if observation == "coordinates" else [number == cell for number in range(size**2)]
    return Goal(tuple(map(float, place)), tuple(range(len(place))))


def one_hot(number: Tensor, classes: int) -> Tensor:
    """[..., classes] float32 from `number` [...]; all zeros for numbers outside 0 to classes - 1."""
    return (number[..., None] == torch.arange(classes, device=number.device)).to(torch.float32)


def neighbours(size: int, moves: Sequence[Cell]) -> Tensor:
    """[size * size, moves] int64 number of the cell that each move leads to; the edge holds the agent back."""
    place = torch.arange(size)
    cells = torch.cartesian_prod(place, place)
    after = (cells[:, None] + torch.tensor(moves)).clamp(0, size - 1)
    return after[..., 0] * size + after[..., 1]


def neighbour(number: int, size: int, rng: np.random.Generator, closed: Sequence[int] = ()) -> int:
    """A cell next to cell `number` and not in `closed`, equally likely."""
    x, y = divmod(number, size)
    near = [(x + dx, y + dy) for dx, dy in (UP, RIGHT, DOWN, LEFT)]
    inside = [size * x + y for x, y in near if 0 <= x < size and 0 <= y < size]
    allowed = [cell for cell in inside if cell not in closed]
    return allowed[int(rng.integers(len(allowed)))]


def goal_split(size: int, goals: Sequence[int]) -> Split:
    """Cells (x, y) of `goals` with x + 2 y divisible by 5 are for testing, the others for training.

    These are a knight's move apart: a fifth of the cells, spread evenly, of which no two share an edge. Every test goal
    has training goals around it.
    """
    test = frozenset(cell for cell in goals if (cell // size + 2 * (cell % size)) % 5 == 0)
    return Split("goal", frozenset(goals) - test, test)


def paint(
    width: int, height: int, colours: Mapping[Cell, Colour], agent: Cell | None = None, pixels: int = _PIXELS
) -> NDArray[np.uint8]:
    """[height * pixels, width * pixels, 3]: row 0 at the bottom, the agent a smaller square."""
    cells = np.full((height, width, 3), FLOOR, dtype=np.uint8)
    for (x, y), colour in colours.items():
        cells[height - 1 - y, x] = colour
    picture = cells.repeat(pixels, 0).repeat(pixels, 1)
    picture[::pixels] = picture[::pixels] * 0.85
    picture[:, ::pixels] = picture[:, ::pixels] * 0.85
    if agent is not None:
        top, left, margin = (height - 1 - agent[1]) * pixels, agent[0] * pixels, pixels // 4
        picture[top + margin + 1 : top + pixels - margin, left + margin + 1 : left + pixels - margin] = AGENT
    return picture


def write(width: int, height: int, marks: Mapping[Cell, str]) -> str:
    """One character for each cell, row 0 in the last line; "." where there is no mark."""
    lines = (" ".join(marks.get((x, y), ".") for x in range(width)) for y in reversed(range(height)))
    return "\n".join(lines)


def solved_return(horizon: int, rewards: tuple[float, float]) -> float:
    """Least return of an episode in a `HiddenGoal` with one step on the goal, less what rounding may lose."""
    paid, unpaid = rewards
    return paid + (horizon - 1) * unpaid - 0.5 * (paid - unpaid)


def optimal_return(distance: int, horizon: int, rewards: tuple[float, float]) -> float:
    """Return of an episode in a `HiddenGoal` that walks straight to a goal `distance` steps away and stays there."""
    paid, unpaid = rewards
    before = min(max(distance - 1, 0), horizon)
    return before * unpaid + (horizon - before) * paid


class HiddenGoal:
    """`Dynamics` of state [B, 1] int64, the cell; nothing is random.

    A step that ends on the goal pays `paid`, any other `unpaid`.
    """

    uniforms = 0

    def __init__(
        self,
        size: int,
        moves: Sequence[Cell],
        rewards: tuple[float, float],
        device: torch.device | str,
        *,
        coordinates: bool,
    ) -> None:
        self.paid, self.unpaid = rewards
        self.after = neighbours(size, moves).flatten().to(device)
        self.actions = len(moves)
        number = torch.arange(size**2, device=device)
        self.places = torch.stack([number // size, number % size], dim=1).to(torch.float32)
        # One look into a table costs less than working an observation out.
        self.all_observations = self.places if coordinates else one_hot(number, size**2)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        """`goal` [B] int64: its cell."""
        return {"goal": torch.tensor([spec.context["goal"] for spec in specs], dtype=torch.int64)}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        """[B, 1]: cell 0, the corner."""
        return torch.zeros_like(tables["goal"])[:, None]

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        """The cell: coordinates [B, 2] float32, or one-hot [B, size * size]."""
        return self.all_observations.index_select(0, state.view(-1))

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Dynamics.step`; `action` [B] int64 counts the moves, and no episode ends before its horizon."""
        cell = self.after.index_select(0, torch.add(action, state.view(-1), alpha=self.actions))
        found = cell == tables["goal"]
        reward = torch.where(found, self.paid, self.unpaid)
        return cell[:, None], reward, torch.zeros_like(found)

    def descriptor(self, tables: Tables) -> Tensor:
        """[B, 2] float32: coordinates of the goal, in cells."""
        return self.places.index_select(0, tables["goal"])
