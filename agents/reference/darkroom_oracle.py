"""Darkroom oracle: is told the goal, walks there and stays. No player can score more.

What adapts: nothing. What is meta-learned: nothing.

    return of an episode = H - max(d - 1, 0),  d the steps from the start to the goal, H the horizon

since the step that arrives is paid, and on the start itself the first step that stays. Over the 100 goals of the 10 x
10 grid with H = 100 it is 91.99 on average.

Reference: the optimal policy of Lee et al. 2023, "Supervised Pretraining Can Learn In-Context Reinforcement Learning".

Axes: B trials.
"""

import torch
from torch import Tensor

from agents.reference import grids
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step

MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0, 0))
"""(x, y) that the actions add: right, left, up, down, stay."""


class DarkroomOracleConfig(Config):
    """`DarkroomOracle` has no settings."""


class DarkroomOracle(Player[DarkroomOracleConfig]):
    """Walks to the goal and stays there."""

    needs_descriptor = True

    def __init__(self, config: DarkroomOracleConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._size: int = problem.structure["size"]
        self._after = grids.neighbours(self._size, MOVES).to(problem.device)

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing to remember: [B, 0]."""
        return torch.zeros(batch, 0, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """A step towards the goal. Raises `UserError` without a descriptor."""
        goal = grids.number(told(step.descriptor, "darkroom-oracle"), self._size)
        cell = grids.cell_seen(step.observation, self._size, self.problem.structure["observation"])
        return Action(grids.towards(cell, goal, self._after)), carry
