"""Cooking oracle: is told what the drawers hold and fetches what the recipe calls for from the nearest. No player can
score more.

What adapts: nothing. What is meta-learned: nothing.

    return of an episode = 1 - 0.2 (d_1 + d_2),  d_i steps from the bowl to the nearest drawer with ingredient i

Over recipes this is 0.467 in kitchen 10, the one for testing, and 0.400 over all 64 kitchens.

Reference: the optimum in Liu et al. 2021, "Decoupling Exploration and Exploitation for Meta-Reinforcement Learning
without Sacrifices", section 6.

Axes: B trials.
"""

import torch
from torch import Tensor

from agents.reference import grids
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step

_SIZE, _NOTHING = 3, 4
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))
"""(x, y) that the first actions add: left, up, right, down, stay."""
_PICK_UP, _DROP = 6, 7
_BOWL, _DRAWERS = 4, (6, 7, 8)
"""Numbers of cells, 3 x + y."""
_FROM_BOWL = (2, 1, 2)
"""Steps from the bowl to each drawer."""


class CookingOracleConfig(Config):
    """`CookingOracle` has no settings."""


class CookingOracle(Player[CookingOracleConfig]):
    """Fetches the first ingredient, then the second."""

    needs_descriptor = True

    def __init__(self, config: CookingOracleConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        device = problem.device
        self._after = grids.neighbours(_SIZE, _MOVES).to(device)
        self._drawers = torch.tensor(_DRAWERS, device=device)
        self._far = torch.tensor(_FROM_BOWL, device=device)

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing to remember: [B, 0]."""
        return torch.zeros(batch, 0, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """With the right ingredient in hand go to the bowl and drop it; else go to a drawer that has it and pick it up.

        Raises `UserError` without a descriptor.
        """
        held = told(step.descriptor, "cooking-oracle").unflatten(1, (3, 4)).argmax(2)
        parts = step.observation.split([3, 3, 2, 5, 5, 5, 5, 4, 4], dim=1)
        column, row, _, hand, bowl, _, _, first, second = (part.argmax(1) for part in parts)
        wanted = torch.where(bowl == _NOTHING, first, second)
        drawer = torch.where(held == wanted[:, None], self._far, 9).argmin(1)
        ready = hand == wanted
        target = torch.where(ready, _BOWL, self._drawers.index_select(0, drawer))
        cell = column * _SIZE + row
        there = torch.where(ready, _DROP, _PICK_UP)
        return Action(torch.where(cell == target, there, grids.towards(cell, target, self._after))), carry
