"""Epsilon-greedy: pull the arm with the highest posterior mean, but with probability epsilon any arm.

What adapts: the counts of successes and failures of every arm. What is meta-learned: nothing.

    a_t = a uniformly random arm                          with probability epsilon
          argmax_i (S_i + a) / (S_i + F_i + a + b)        otherwise, ties broken at random

Reference: Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", section 3.1,
"eps-Greedy".

Differences from the paper: RL^2 does not print its tuned epsilon. "tuned" takes .01 for trials of up to 200 pulls and
.03 beyond, found by trying .001 to .05 on trials of 10, 100 and 500 pulls of 5 arms; up to 100 pulls nothing beats 0.

Axes: B trials, k arms.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts, posterior_mean, pulls_of_trial
from agents.reference.player import Player, number_of_actions, random_argmax
from taskgen.interaction.agent import Action, Problem, Step


class EpsilonGreedyConfig(BetaPrior):
    """Settings of `EpsilonGreedy`."""

    epsilon: Annotated[float, Field(ge=0, le=1)] | Literal["tuned"] = Field(
        "tuned", description='Probability of pulling a random arm; "tuned" is .01 up to 200 pulls a trial, .03 beyond.'
    )


class EpsilonGreedy(Player[EpsilonGreedyConfig]):
    """Pulls the arm that looks best, now and then another."""

    def __init__(self, config: EpsilonGreedyConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        tuned = 0.01 if pulls_of_trial(problem) <= 200 else 0.03
        self.epsilon = tuned if config.epsilon == "tuned" else config.epsilon

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
        return Action(torch.where(coin < self.epsilon, anything, best)), counts
