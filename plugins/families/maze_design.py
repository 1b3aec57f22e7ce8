"""How a teacher makes a maze: the agent, the goal, then a wall a turn, as in Dennis et al. 2020, section 5.1.

A wall on a cell that is taken changes nothing, so a teacher may place fewer. The number of placements is the paper's
share of the cells: 50 walls on 13 x 13.

Differences from the paper: a goal on the agent goes to the next cell, row by row, where the paper draws one; where the
agent faces at the start is random, and the teacher sees it.

Axes: B designs, n x n cells.
"""

from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from registry.errors import ConfigError

_EMPTY, _WALL, _START, _GOAL = range(4)
_TURN_OF_START, _TURN_OF_GOAL = range(2)
_WALLS_PER_CELL = 50 / 13**2


class MazeDesign:
    """A design is [n n + 1]: what is in each cell, row by row, and the direction. An action is the number of a cell.

    A teacher sees the cells that are walls, the start and the goal as planes, then the direction, one-hot.
    """

    uniforms = 1

    def __init__(self, size: int, placements: int) -> None:
        """Raises `ConfigError` for placements that are not enough for agent and goal."""
        if placements == 1:
            raise ConfigError(
                ["placements = 1: agent and goal take two, every wall one more; 0 is the usual"], "design"
            )
        self._size = size
        self.placements = placements or 2 + round(_WALLS_PER_CELL * size**2)
        self.action_space: gym.Space[Any] = gym.spaces.Discrete(size**2)
        self.features = 3 * size**2 + 4

    def blank(self, uniform: Tensor) -> Tensor:
        """See `Design.blank`: no walls; the direction is the quarter in which the uniform lies."""
        cells = uniform.new_zeros(len(uniform), self._size**2)
        return torch.cat([cells, (4 * uniform).floor()], dim=1)

    def place(self, design: Tensor, turn: Tensor, action: Tensor) -> Tensor:
        """See `taskgen.engines.design.Design.place`."""
        cells, direction = design.split([self._size**2, 1], dim=1)
        cell = action.to(torch.int64)[:, None]
        taken = cells.gather(1, cell) != _EMPTY
        goal = (turn == _TURN_OF_GOAL)[:, None]
        cell = torch.where(goal & taken, (cell + 1) % self._size**2, cell)
        what = torch.where(goal, _GOAL, torch.where((turn == _TURN_OF_START)[:, None], _START, _WALL)).to(cells.dtype)
        before = cells.gather(1, cell)
        return torch.cat([cells.scatter(1, cell, torch.where(before == _EMPTY, what, before)), direction], dim=1)

    def observe(self, design: Tensor) -> Tensor:
        """See `MazeDesign`."""
        cells, direction = design.split([self._size**2, 1], dim=1)
        planes = [cells == what for what in (_WALL, _START, _GOAL)]
        facing = direction == torch.arange(4, device=design.device)
        return torch.cat([*planes, facing], dim=1).to(torch.float32)

    def context(self, design: Tensor) -> dict[str, Any]:
        """See `Design.context`: walls, start, direction, goal."""
        cells = design[:-1].to(torch.int64).view(self._size, self._size)
        start, goal = (
            divmod(int((cells == what).flatten().to(torch.int64).argmax()), self._size) for what in (_START, _GOAL)
        )
        walls = (cells == _WALL).to(torch.int64).tolist()
        return {"walls": walls, "start": start, "direction": int(design[-1]), "goal": goal}
