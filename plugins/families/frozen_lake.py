"""Frozen lake: over slippery ice to the goal, past the holes; the map and how slippery the ice is are the task.

4 x 4 cells or any other number, start in the upper left corner, goal in the lower right. A step that ends on the goal
pays 1, any other nothing; goal and holes end the episode. With slipperiness s a move goes where it should with
probability 1 - s, and to either side of that with s / 2. With the holes of `MAPS[4]` and the default slipperiness,
2/3, this is Gymnasium's FrozenLake-v1; with `size = 8`, `horizon = 200` and the holes of `MAPS[8]` FrozenLake8x8-v1.
Left out, there are no holes.

Reference: Towers et al. 2024, "Gymnasium: A Standard Interface for Reinforcement Learning Environments", toy text.

Differences from Gymnasium: the cell is told by numbers [2] or one-hot, not by its number.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import grids
from plugins.families.maze import path_length
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Choice

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))
"""(rows, columns) of the actions, in their order: left, down, right, up. Neighbours in it are at right angles."""
EDITS = 3
"""Cells that one mutation draws."""
MAPS = {
    4: ((0, 0, 0, 0), (0, 1, 0, 1), (0, 0, 0, 1), (1, 0, 0, 0)),
    8: (
        (0, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 0, 1, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 1, 0, 0),
        (0, 0, 0, 1, 0, 0, 0, 0),
        (0, 1, 1, 0, 0, 0, 1, 0),
        (0, 1, 0, 0, 1, 0, 1, 0),
        (0, 0, 0, 1, 0, 0, 0, 0),
    ),
}
"""Holes of Gymnasium's maps."""
_WATER = (70, 110, 190)


class FrozenLakeConfig(Config):
    """Structural settings of `FrozenLake`."""

    size: int = Field(4, ge=2, le=50, description="Rows and columns of cells.")
    horizon: int = Field(100, ge=1, le=100_000, description="Steps per episode.")
    observation: Literal["coordinates", "one-hot"] = Field(
        "coordinates", description="How the cell is told: row and column, or one-hot, row by row."
    )


class FrozenLake(TaskFamily[FrozenLakeConfig]):
    """Actions: left, down, right, up. Observation: the agent's row and column [2], or its cell one-hot [size^2].

    The edge holds the agent back.
    """

    def __init__(self, config: FrozenLakeConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = grids.cell_space(config.size, config.observation)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.horizon = config.horizon
        self.solved_return = 1e-6
        """Any reward at all is for the goal."""

    @cached_property
    def context_space(self) -> ContextSpace:
        """The holes, one cell in five by default, and how slippery the ice is, which does not vary by default."""
        size = self.config.size
        return ContextSpace(
            {
                "holes": Knob(
                    0,
                    1,
                    0,
                    "Row by row, 1 where a cell is a hole.",
                    shape=(size, size),
                    integer=True,
                    vary=Choice(values=(0, 1), weights=(0.8, 0.2)),
                ),
                "slipperiness": Knob(
                    0.0, 1.0, 2 / 3, "Probability that a move goes to the side; half of it to either."
                ),
            }
        )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is [size^2 + 1]: 1 where a cell is a hole, row by row; slipperiness."""
        return TensorBatch(self, _Ice(self.config, device), slots, device)

    def validate(self, context: Mapping[str, Any]) -> None:
        """Start and goal are no holes, and a way leads from one to the other."""
        holes, last = context["holes"], self.config.size - 1
        for what, cell in (("start", 0), ("goal", last)):
            if holes[cell][cell]:
                raise TaskError(f"{self.name}: the {what} is a hole; holes[{cell}][{cell}] must be 0")
        if path_length(holes, (0, 0), (last, last)) is None:
            raise TaskError(f"{self.name}: holes cut the goal off from the start; leave a way between them")

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """`EDITS` cells drawn with replacement freeze over or become a hole; edits that leave no way are left out."""
        edited = dict(context)
        for _ in range(EDITS):
            row, column = (int(rng.integers(self.config.size)) for _ in range(2))
            holes = [list(line) for line in edited["holes"]]
            holes[row][column] = 1 - holes[row][column]
            candidate = {**edited, "holes": tuple(map(tuple, holes))}
            try:
                self.validate(candidate)
            except TaskError:
                continue
            edited = candidate
        return edited

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[3] share of holes, shortest way over the straight distance less 1, slipperiness."""
        steps, straight = self._shortest(context), 2 * (self.config.size - 1)
        return np.array([np.mean(np.asarray(context["holes"])), steps / straight - 1, context["slipperiness"]])

    def figures(self, context: Mapping[str, Any]) -> dict[str, float]:
        """Number of holes, length of the shortest way."""
        return {"holes": float(np.sum(context["holes"])), "shortest_path": float(self._shortest(context))}

    def optimal_return(self, spec: TaskSpec) -> float:
        """Probability that the best player reaches the goal within the horizon, by value iteration from its end.

        V_H = 0, V_h(s) = max_a sum_d P(d | a) (1 at the goal, 0 in a hole, else V_{h+1}(s + d)).
        """
        context, size = cast(Mapping[str, Any], spec.context), self.config.size
        after = neighbours(size).numpy()
        open_cells = np.asarray(context["holes"]).flatten() == 0
        slip = context["slipperiness"] / 2
        value = np.zeros(size**2)
        for _ in range(self.horizon):
            value[-1] = 1.0
            ahead = np.where(open_cells, value, 0.0)[after]  # [cells, 4], where each move would lead
            value = ((1 - 2 * slip) * ahead + slip * (np.roll(ahead, 1, 1) + np.roll(ahead, -1, 1))).max(1)
        return float(value[0])

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """Holes in blue, the goal in green, the agent in red at the start."""
        return self._draw(spec, 0)

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The same in `state`."""
        return self._draw(spec, int(state))

    def text(self, spec: TaskSpec) -> str:
        """S the start, G the goal, H holes."""
        size = self.config.size
        return grids.write(
            size, size, {**dict.fromkeys(self._holes(spec), "H"), (0, size - 1): "S", (size - 1, 0): "G"}
        )

    def _shortest(self, context: Mapping[str, Any]) -> int:
        last = self.config.size - 1
        return path_length(context["holes"], (0, 0), (last, last)) or 0

    def _holes(self, spec: TaskSpec) -> list[grids.Cell]:
        """(x, y) of the holes, y counted from below."""
        holes = np.argwhere(np.asarray(cast(Any, spec.context["holes"])))
        return [(int(column), self.config.size - 1 - int(row)) for row, column in holes]

    def _draw(self, spec: TaskSpec, agent: int) -> NDArray[np.uint8]:
        size = self.config.size
        colours = {(0, size - 1): grids.START, **dict.fromkeys(self._holes(spec), _WATER), (size - 1, 0): grids.GOAL}
        row, column = divmod(agent, size)
        return grids.paint(size, size, colours, (column, size - 1 - row))


def neighbours(size: int) -> Tensor:
    """[size * size, 4] int64 number of the cell, row by row, that each of `MOVES` leads to."""
    return grids.neighbours(size, MOVES)


class _Ice:
    """State [B] int64: the cell, row by row."""

    uniforms = 1
    fixed_start = True

    def __init__(self, config: FrozenLakeConfig, device: torch.device | str) -> None:
        self.last = config.size**2 - 1
        self.after = neighbours(config.size).flatten().to(device)
        number = torch.arange(config.size**2, device=device)
        places = torch.stack([number // config.size, number % config.size], dim=1).to(torch.float32)
        self.all_observations = places if config.observation == "coordinates" else grids.one_hot(number, config.size**2)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        contexts = [cast(Mapping[str, Any], spec.context) for spec in specs]
        return {
            "holes": torch.tensor([context["holes"] for context in contexts], dtype=torch.bool).flatten(1),
            "side": torch.tensor([context["slipperiness"] / 2 for context in contexts], dtype=torch.float32),
        }

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return torch.zeros(len(tables["side"]), dtype=torch.int64, device=tables["side"].device)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return self.all_observations.index_select(0, state)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        luck, side = uniform[:, 0], tables["side"]
        turn = (luck >= 1.0 - side).to(torch.int64) - (luck < side).to(torch.int64)
        move = (action + turn) & 3
        cell = self.after.index_select(0, torch.add(move, state, alpha=len(MOVES)))
        arrived = cell == self.last
        reward = arrived.to(torch.float32)
        return cell, reward, arrived | tables["holes"].gather(1, cell[:, None])[:, 0]

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.cat([tables["holes"].to(torch.float32), 2 * tables["side"][:, None]], dim=1)
