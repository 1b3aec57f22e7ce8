"""GridNavi: a hidden goal on a small grid (Zintgraf et al. 2020, "VariBAD", section 5.1, as its code has it).

5 x 5 cells, start (0, 0), 15 steps an episode, a trial of 4 episodes on one goal. A step that ends on the goal pays 1,
any other -0.1; the agent may stay on the goal. The goal is any cell but the 2 x 2 cells at the start. Nothing but the
reward shows it, so an agent has to search cells it has not seen, and to come back to the goal in later episodes.

Tasks vary over all goals, in training and evaluation alike, as in VariBAD's code. The family's split, for whoever asks
for it, is `plugins.families.grids.goal_split`: of 5 x 5 cells it has 17 goals for training, 4 for testing.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import grids
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines.tensor import TensorBatch
from taskgen.family import Goal, TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Choice

MOVES = (grids.STAY, grids.UP, grids.RIGHT, grids.DOWN, grids.LEFT)
"""What the actions do, in their order."""
REWARDS = (1.0, -0.1)
"""Of a step that ends on the goal, and of any other."""


class GridNavigationConfig(Config):
    """Structural settings of `GridNavigation`."""

    size: int = Field(5, ge=3, le=50, description="Rows and columns of cells.")
    horizon: int = Field(15, ge=2, le=100_000, description="Steps per episode.")
    observation: Literal["coordinates", "one-hot"] = Field(
        "coordinates", description="How the cell is told: column and row, as in VariBAD, or one-hot."
    )


class GridNavigation(TaskFamily[GridNavigationConfig]):
    """Actions: stay, up, right, down, left. Observation: the agent's column and row [2], or its cell one-hot [size^2].

    Cell (x, y), with (0, 0) at the lower left, has number size * x + y. The edge holds the agent back.
    """

    def __init__(self, config: GridNavigationConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = grids.cell_space(config.size, config.observation)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.horizon = config.horizon
        self.solved_return = grids.solved_return(config.horizon, REWARDS)
        """Of coming across the goal once."""
        self.split = grids.goal_split(config.size, self._goals)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The goal."""
        last = self.config.size**2 - 1
        allowed = Choice(values=tuple(map(float, self._goals)))
        return ContextSpace({"goal": Knob(0, last, last, "Number of the goal's cell.", integer=True, vary=allowed)})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the goal's column and row [2]."""
        coordinates = self.config.observation == "coordinates"
        dynamics = grids.HiddenGoal(self.config.size, MOVES, REWARDS, device, coordinates=coordinates)
        return TensorBatch(self, dynamics, slots, device)

    def validate(self, context: Mapping[str, Any]) -> None:
        """The goal is not among the four cells at the start."""
        goal = context["goal"]
        if goal in self._closed:
            raise TaskError(
                f"{self.name}: goal = {goal} is cell {divmod(goal, self.config.size)}, one of the four at the start, "
                f"which hold no goal: give none of {', '.join(map(str, self._closed))}"
            )

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The goal moved to a neighbouring cell."""
        return {**context, "goal": grids.neighbour(context["goal"], self.config.size, rng, self._closed)}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[2] column and row of the goal, 0 to 1."""
        return np.array(divmod(context["goal"], self.config.size), dtype=np.float64) / (self.config.size - 1)

    def goal(self, context: Mapping[str, Any]) -> Goal:
        """The goal's cell, told as the observation tells the agent's."""
        return grids.goal(context["goal"], self.config.size, self.config.observation)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of walking straight to the goal and staying there."""
        return grids.optimal_return(
            sum(divmod(cast(int, spec.context["goal"]), self.config.size)), self.horizon, REWARDS
        )

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The goal in green, the cells that hold no goal in grey, the agent in red at the start."""
        return self._draw(spec, 0)

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The same in `state`."""
        return self._draw(spec, int(state[0]))

    def text(self, spec: TaskSpec) -> str:
        """S the start, x cells that hold no goal, G the goal."""
        size, goal = self.config.size, cast(int, spec.context["goal"])
        marks = {divmod(cell, size): "x" for cell in self._closed} | {(0, 0): "S", divmod(goal, size): "G"}
        return grids.write(size, size, marks)

    @property
    def _goals(self) -> tuple[int, ...]:
        """Cells that may hold the goal."""
        return tuple(cell for cell in range(self.config.size**2) if cell not in self._closed)

    @property
    def _closed(self) -> tuple[int, ...]:
        """The start and the cells around it."""
        return (0, 1, self.config.size, self.config.size + 1)

    def _draw(self, spec: TaskSpec, agent: int) -> NDArray[np.uint8]:
        size, goal = self.config.size, cast(int, spec.context["goal"])
        colours = {divmod(cell, size): grids.CLOSED for cell in self._closed} | {divmod(goal, size): grids.GOAL}
        return grids.paint(size, size, colours, divmod(agent, size))
