"""Catch: a ball falls down a small board, a paddle in the last row has to be under it (bsuite's version).

10 rows and 5 columns. In every episode the ball starts in the first row, in a column drawn anew, and falls one row a
step; the paddle starts in the middle and moves one column a step at most. The step by which the ball reaches the last
row pays 1 where the paddle is under it, else -1, and ends the episode; any other pays nothing.

All tasks are the same but for the noise of their rewards, none by default, as in bsuite's `catch_noise`.

Reference: Osband et al. 2020, "Behaviour Suite for Reinforcement Learning", appendix A; Mnih, Heess, Graves and
Kavukcuoglu 2014, "Recurrent Models of Visual Attention", section 4.2.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import grids
from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec


class CatchConfig(Config):
    """Structural settings of `Catch`."""

    rows: int = Field(10, ge=2, le=100, description="Rows of the board; an episode has one step less.")
    columns: int = Field(5, ge=2, le=100, description="Columns of the board.")
    observation: Literal["numbers", "board"] = Field(
        "numbers",
        description="How the board is told: the ball's column and row and the paddle's column, or as an image.",
    )


class Catch(TaskFamily[CatchConfig]):
    """Actions: left, stay, right; the edge holds the paddle back.

    Observation: column of the ball, its row counted from the top, and column of the paddle [3] float32; or the board
    as an image [rows, columns, 1] uint8 that is 1 where ball and paddle are.
    """

    def __init__(self, config: CatchConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        rows, columns = config.rows, config.columns
        last = np.array([columns - 1, rows - 1, columns - 1], dtype=np.float32)
        self.observation_space = (
            gym.spaces.Box(np.zeros(3, dtype=np.float32), last)
            if config.observation == "numbers"
            else gym.spaces.Box(0, 1, (rows, columns, 1), np.uint8)
        )
        self.action_space = gym.spaces.Discrete(3)
        self.horizon = rows - 1
        self.solved_return = 0.5
        """Of a ball that was caught; noise of the rewards may pretend one."""

    @cached_property
    def context_space(self) -> ContextSpace:
        """The noise of the rewards; it does not vary by default."""
        noise = Knob(0.0, 10.0, 0.0, "Standard deviation of the noise that every reward has.", unit="reward")
        return ContextSpace({"reward_noise": noise})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the noise [1]."""
        return TensorBatch(self, _Fall(self.config, device), slots, device)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of catching every ball that the paddle can reach: 1 unless the board is wider than it is high."""
        middle, columns = self.config.columns // 2, self.config.columns
        caught = sum(abs(column - middle) <= self.horizon for column in range(columns))
        return (2 * caught - columns) / columns

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The board, the paddle in red in the middle, the columns the ball may start in in blue."""
        rows, columns = self.config.rows, self.config.columns
        start = dict.fromkeys(((column, rows - 1) for column in range(columns)), grids.START)
        return grids.paint(columns, rows, start, (columns // 2, 0))

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The ball in green and the paddle in red."""
        rows, columns = self.config.rows, self.config.columns
        column, row, paddle = map(int, state)
        return grids.paint(columns, rows, {(column, rows - 1 - row): grids.GOAL}, (paddle, 0))

    def text(self, spec: TaskSpec) -> str:
        """o where the ball may start, P the paddle."""
        rows, columns = self.config.rows, self.config.columns
        marks = dict.fromkeys(((column, rows - 1) for column in range(columns)), "o")
        return grids.write(columns, rows, {**marks, (columns // 2, 0): "P"})

    def figures(self, context: Mapping[str, Any]) -> dict[str, float]:
        """The noise."""
        return {"reward_noise": float(context["reward_noise"])}


class _Fall:
    """State [B, 3] int64: column and row of the ball, column of the paddle."""

    uniforms = 1

    def __init__(self, config: CatchConfig, device: torch.device | str) -> None:
        self.rows, self.columns = config.rows, config.columns
        self.board = config.observation == "board"
        cell = torch.arange(self.rows * self.columns, device=device)
        self.cell = cell.view(self.rows, self.columns, 1)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        noise = torch.tensor([spec.context["reward_noise"] for spec in specs], dtype=torch.float64)
        return {"noise": (math.sqrt(2.0) * noise).to(torch.float32)}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        column = (uniform[:, 0] * self.columns).to(torch.int64)
        return torch.stack([column, torch.zeros_like(column), torch.full_like(column, self.columns // 2)], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        if not self.board:
            return state.to(torch.float32)
        ball = state[:, 1] * self.columns + state[:, 0]
        paddle = state[:, 2] + (self.rows - 1) * self.columns
        ball, paddle = (place[:, None, None, None] for place in (ball, paddle))
        return ((self.cell == ball) | (self.cell == paddle)).to(torch.uint8)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        column, row, paddle = state.unbind(1)
        paddle = (paddle + action - 1).clamp(0, self.columns - 1)
        row = row + 1
        down = row == self.rows - 1
        paid = torch.where(down, torch.where(paddle == column, 1.0, -1.0), 0.0)
        reward = paid + (2.0 * uniform[:, 0] - 1.0).erfinv() * tables["noise"]
        return torch.stack([column, row, paddle], dim=1), reward, down

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["noise"][:, None] / math.sqrt(2.0)
