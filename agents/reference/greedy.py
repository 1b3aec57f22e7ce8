"""Greedy: always pull the arm whose posterior mean is highest.

What adapts: the counts of successes and failures of every arm. What is meta-learned: nothing.

    a_t = argmax_i (S_i + a) / (S_i + F_i + a + b),  ties broken at random

with S_i, F_i the successes and failures of arm i in this trial and Beta(a, b) the prior.

Reference: Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", section 3.1,
"Greedy".

Differences from the paper: none in the rule, but the paper's figures are up to 3 % lower than this player's. The
paper does not say how ties are broken; always taking the first arm among the best scores less.

Axes: B trials, k arms.
"""

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts, posterior_mean
from agents.reference.player import Player, number_of_actions, random_argmax
from taskgen.interaction.agent import Action, Step


class GreedyConfig(BetaPrior):
    """Settings of `Greedy`."""


class Greedy(Player[GreedyConfig]):
    """Pulls the arm that looks best."""

    def begin_trial(self, batch: int) -> ArmCounts:
        """No pulls yet."""
        return no_counts(batch, number_of_actions(self.problem), self.problem.device)

    def act(self, carry: ArmCounts, step: Step) -> tuple[Action, ArmCounts]:
        """Count the last pull and pull the best arm."""
        counts = count(carry, step)
        return Action(random_argmax(posterior_mean(counts, self.config), self.generator)), counts
