"""Bandit oracle: is told the arms' probabilities and pulls the best arm. No player can score more on average.

What adapts: nothing. What is meta-learned: nothing.

    a_t = argmax_i p_i,  with p the task's descriptor

Reference: the upper bound of Duan et al. 2016, "RL^2", section 3.1; its expected return is n k / (k + 1) for n pulls
of k arms with p_i ~ U[0, 1].

Differences from the paper: none.

Axes: B trials, k arms.
"""

import torch
from torch import Tensor

from agents.reference.player import Player
from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Step


class BanditOracleConfig(Config):
    """`BanditOracle` has no settings."""


class BanditOracle(Player[BanditOracleConfig]):
    """Pulls the truly best arm."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing to remember: [B, 0]."""
        return torch.zeros(batch, 0, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Pull the best arm. Raises `UserError` when the step carries no descriptor."""
        if step.descriptor is None:
            raise UserError("bandit-oracle needs the task's descriptor: collect with a batch that gives one")
        return Action(step.descriptor.argmax(-1)), carry
