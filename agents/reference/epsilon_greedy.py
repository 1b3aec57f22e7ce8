"""Epsilon-greedy: pull the arm with the highest posterior mean, but with probability epsilon any arm.

What adapts: the counts of successes and failures of every arm. What is meta-learned: nothing.

    a_t = a uniformly random arm                          with probability epsilon
          argmax_i (S_i + a) / (S_i + F_i + a + b)        otherwise, ties broken at random

Reference: Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", section 3.1,
"eps-Greedy".

Differences from the paper: the paper tunes epsilon for every number of arms and pulls and does not say to what; here
one value, .01, serves all. At 5 arms it is close to the best for 10, 100 and 500 pulls: short trials want less, long
ones more.

Axes: B trials, k arms.
"""

import torch
from pydantic import Field

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts, posterior_mean
from agents.reference.player import Player, number_of_actions, random_argmax
from taskgen.interaction.agent import Action, Step


class EpsilonGreedyConfig(BetaPrior):
    """Settings of `EpsilonGreedy`."""

    epsilon: float = Field(0.01, ge=0, le=1, description="Probability of pulling a random arm.")


class EpsilonGreedy(Player[EpsilonGreedyConfig]):
    """Pulls the arm that looks best, now and then another."""

    def begin_trial(self, batch: int) -> ArmCounts:
        """No pulls yet."""
        return no_counts(batch, number_of_actions(self.problem), self.problem.device)

    def act(self, carry: ArmCounts, step: Step) -> tuple[Action, ArmCounts]:
        """Count the last pull and pull the best arm or a random one."""
        counts = count(carry, step)
        batch, arms = counts.successes.shape
        best = random_argmax(posterior_mean(counts, self.config), self.generator)
        coin = torch.rand(batch, generator=self.generator, device=best.device)
        anything = torch.randint(arms, (batch,), generator=self.generator, device=best.device)
        return Action(torch.where(coin < self.config.epsilon, anything, best)), counts
