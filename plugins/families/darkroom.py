"""Darkroom: a hidden goal on a 10 x 10 grid (Laskin et al. 2022, "In-context Reinforcement Learning with Algorithm
Distillation"; in the version of Lee et al. 2023, "Supervised Pretraining Can Learn In-Context Reinforcement Learning",
as its code has it).

Start (0, 0), 100 steps an episode. A step that ends on the goal pays 1, any other nothing; the agent may stay on the
goal, which is any cell, the start too. Nothing but the reward shows it.

Tasks vary over all goals. The family's split, for whoever asks for it, is `plugins.families.grids.goal_split`: 80 goals
for training and 20 for testing.
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
from taskgen.engines.tensor import TensorBatch
from taskgen.family import Goal, TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange

MOVES = (grids.RIGHT, grids.LEFT, grids.UP, grids.DOWN, grids.STAY)
"""What the actions do, in their order."""
REWARDS = (1.0, 0.0)
"""Of a step that ends on the goal, and of any other."""


class DarkroomConfig(Config):
    """Structural settings of `Darkroom`."""

    size: int = Field(10, ge=2, le=50, description="Rows and columns of cells.")
    horizon: int = Field(100, ge=1, le=100_000, description="Steps per episode.")
    observation: Literal["coordinates", "one-hot"] = Field(
        "coordinates", description="How the cell is told: column and row, as in the papers, or one-hot."
    )


class Darkroom(TaskFamily[DarkroomConfig]):
    """Actions: right, left, up, down, stay. Observation: the agent's column and row [2], or its cell one-hot [size^2].

    Cell (x, y), with (0, 0) at the lower left, has number size * x + y. The edge holds the agent back.
    """

    def __init__(self, config: DarkroomConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = grids.cell_space(config.size, config.observation)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.horizon = config.horizon
        self.solved_return = grids.solved_return(config.horizon, REWARDS)
        """Of coming across the goal once."""
        self.split = grids.goal_split(config.size, range(config.size**2))

    @cached_property
    def context_space(self) -> ContextSpace:
        """The goal."""
        last = self.config.size**2 - 1
        anywhere = IntegerRange(low=0, high=last)
        return ContextSpace({"goal": Knob(0, last, last, "Number of the goal's cell.", integer=True, vary=anywhere)})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the goal's column and row [2]."""
        coordinates = self.config.observation == "coordinates"
        dynamics = grids.HiddenGoal(self.config.size, MOVES, REWARDS, device, coordinates=coordinates)
        return TensorBatch(self, dynamics, slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The goal moved to a neighbouring cell."""
        return {**context, "goal": grids.neighbour(context["goal"], self.config.size, rng)}

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
        """The goal in green, the agent in red at the start."""
        return self._draw(spec, 0)

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The same in `state`."""
        return self._draw(spec, int(state[0]))

    def text(self, spec: TaskSpec) -> str:
        """S the start, G the goal."""
        size, goal = self.config.size, cast(int, spec.context["goal"])
        return grids.write(size, size, {(0, 0): "S", divmod(goal, size): "G"})

    def _draw(self, spec: TaskSpec, agent: int) -> NDArray[np.uint8]:
        size, goal = self.config.size, cast(int, spec.context["goal"])
        return grids.paint(size, size, {divmod(goal, size): grids.GOAL}, divmod(agent, size))
