"""Thompson sampling: imagine the arms by one draw from the posterior and pull the best of the imagined ones.

What adapts: the Beta posterior of every arm. What is meta-learned: nothing.

    p_i ~ Beta(S_i + a, F_i + b) for every arm;  a_t = argmax_i p_i

with S_i, F_i the successes and failures of arm i in this trial and Beta(a, b) the prior.

Reference: Thompson 1933, "On the likelihood that one unknown probability exceeds another in view of the evidence of
two samples"; Chapelle and Li 2011, "An empirical evaluation of Thompson sampling", section 2, algorithm 2; Duan et
al. 2016, "RL^2", section 3.1, "TS" (the true prior).

Differences from the paper: none.

Axes: B trials, k arms.
"""

import torch

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts
from agents.reference.player import Player, number_of_actions, sample_gamma
from taskgen.interaction.agent import Action, Step


class ThompsonConfig(BetaPrior):
    """Settings of `Thompson`."""


class Thompson(Player[ThompsonConfig]):
    """Pulls the best arm of a sampled bandit."""

    def begin_trial(self, batch: int) -> ArmCounts:
        """No pulls yet."""
        return no_counts(batch, number_of_actions(self.problem), self.problem.device)

    def act(self, carry: ArmCounts, step: Step) -> tuple[Action, ArmCounts]:
        """Count the last pull, draw a bandit, pull its best arm."""
        counts = count(carry, step)
        successes = counts.successes + self.config.prior_successes
        failures = counts.failures + self.config.prior_failures
        success, failure = sample_gamma(torch.stack([successes, failures]), self.generator)
        return Action((success / (success + failure)).argmax(-1)), counts
