"""GridNavi oracle: is told the goal, walks there and stays. No player can score more.

What adapts: nothing. What is meta-learned: nothing.

    return of an episode = (H - d + 1) - 0.1 (d - 1),  d the steps from the start to the goal, H the horizon

which over the 21 goals of the 5 x 5 grid with H = 15 is 11.07 on average, 44.29 for a trial of 4 episodes.

Reference: the oracle of Zintgraf et al. 2020, "VariBAD", section 5.1.

Axes: B trials.
"""

import torch
from torch import Tensor

from agents.reference import grids
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
"""(x, y) that the actions add: stay, up, right, down, left."""


class GridNavigationOracleConfig(Config):
    """`GridNavigationOracle` has no settings."""


class GridNavigationOracle(Player[GridNavigationOracleConfig]):
    """Walks to the goal and stays there."""

    needs_descriptor = True

    def __init__(self, config: GridNavigationOracleConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._size: int = problem.structure["size"]
        self._after = grids.neighbours(self._size, MOVES).to(problem.device)

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing to remember: [B, 0]."""
        return torch.zeros(batch, 0, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """A step towards the goal. Raises `UserError` without a descriptor."""
        goal = grids.number(told(step.descriptor, "grid-navigation-oracle"), self._size)
        cell = grids.cell_seen(step.observation, self._size, self.problem.structure["observation"])
        return Action(grids.towards(cell, goal, self._after)), carry
