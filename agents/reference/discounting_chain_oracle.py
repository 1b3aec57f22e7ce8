"""Discounting-chain oracle: is told which chain pays most and chooses it. No player can score more.

What adapts: nothing. What is meta-learned: nothing.

    a_0 = the best of the chains that pay within the episode: 1.1 where that is the task's own, else 1.0

Reference: Osband et al. 2020, "Behaviour Suite for Reinforcement Learning".

Axes: B trials.
"""

import torch
from torch import Tensor

from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step

DELAYS = (1, 3, 10, 30, 100)
"""Steps after which the chains pay."""


class DiscountingChainOracleConfig(Config):
    """`DiscountingChainOracle` has no settings."""


class DiscountingChainOracle(Player[DiscountingChainOracleConfig]):
    """Chooses the best chain, at every step: later actions do nothing."""

    needs_descriptor = True

    def __init__(self, config: DiscountingChainOracleConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._pays = (torch.tensor(DELAYS) <= problem.horizon).to(problem.device)

    def begin_trial(self, batch: int) -> Tensor:
        """Nothing to remember: [B, 0]."""
        return torch.zeros(batch, 0, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """The best chain. Raises `UserError` without a descriptor."""
        best = told(step.descriptor, "discounting-chain-oracle")
        return Action(torch.where(self._pays, 1.0 + best, 0.0).argmax(1)), carry
