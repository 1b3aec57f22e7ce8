"""Catch oracle: moves under the ball and waits there. No player can score more.

What adapts: nothing. What is meta-learned: nothing.

    a = 1 + sign(column of the ball - column of the paddle),  with 0 left, 1 stay, 2 right

Reference: the optimal policy of Osband et al. 2020, "Behaviour Suite for Reinforcement Learning", appendix A, whose
return is 1 where every column is within reach.

Axes: B trials.
"""

import torch
from torch import Tensor

from agents.reference.player import Player
from registry.config import Config
from taskgen.interaction.agent import Action, Step


class CatchOracleConfig(Config):
    """`CatchOracle` has no settings."""


class CatchOracle(Player[CatchOracleConfig]):
    """Follows the ball's column."""

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing to remember: [B, 0]."""
        return torch.zeros(batch, 0, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """A step towards the ball's column."""
        ball, paddle = self._columns(step.observation)
        return Action(1 + (ball - paddle).sign()), carry

    def _columns(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """[B] int64 columns of ball and paddle."""
        if self.problem.structure["observation"] == "numbers":
            return observation[:, 0].long(), observation[:, 2].long()
        board = observation[..., 0].long()
        return board[:, :-1].sum(1).argmax(1), board[:, -1].argmax(1)
