"""UCB1: pull the arm with the highest upper confidence bound, optimism in the face of uncertainty.

What adapts: the counts of successes and failures of every arm. What is meta-learned: nothing.

    a_t = argmax_i  S_i / T_i + c sqrt(2 ln t / T_i),  T_i = S_i + F_i,  t = sum_i T_i

where S_i and F_i count from 1 success and 1 failure of every arm (the prior's), ties broken at random.

Reference: Auer, Cesa-Bianchi and Fischer 2002, "Finite-time analysis of the multiarmed bandit problem", figure 1 (c =
1); Duan et al. 2016, "RL^2", section 3.1, "UCB1" (c tuned, counts from 1 success and 1 failure).

Differences from the paper: RL^2 does not print its tuned c. "tuned" takes .1 for trials of up to 20 pulls, .2 up to
200 and .3 beyond, found by trying .1, .2, ... on trials of 10, 100 and 500 pulls. The paper leaves open whether t
counts the initial outcomes; here it does, which scores slightly more.

Axes: B trials, k arms.
"""

from typing import Annotated, Literal

from pydantic import Field

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts, pulls_of_trial
from agents.reference.player import Player, number_of_actions, random_argmax
from taskgen.interaction.agent import Action, Problem, Step


class UCB1Config(BetaPrior):
    """Settings of `UCB1`."""

    exploration: Annotated[float, Field(ge=0)] | Literal["tuned"] = Field(
        "tuned", description='Factor c of the bound; "tuned" is .1 up to 20 pulls a trial, .2 up to 200, .3 beyond.'
    )


class UCB1(Player[UCB1Config]):
    """Pulls the arm that could be best."""

    def __init__(self, config: UCB1Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self.exploration = config.exploration if config.exploration != "tuned" else _tuned(pulls_of_trial(problem))

    def begin_trial(self, batch: int) -> ArmCounts:
        """No pulls yet."""
        return no_counts(batch, number_of_actions(self.problem), self.problem.device)

    def act(self, carry: ArmCounts, step: Step) -> tuple[Action, ArmCounts]:
        """Count the last pull and pull the arm with the highest bound."""
        counts = count(carry, step)
        successes = counts.successes + self.config.prior_successes
        pulls = successes + counts.failures + self.config.prior_failures
        width = (2 * pulls.sum(-1, keepdim=True).log() / pulls).sqrt()
        return Action(random_argmax(successes / pulls + self.exploration * width, self.generator)), counts


def _tuned(pulls: int) -> float:
    if pulls <= 20:
        return 0.1
    return 0.2 if pulls <= 200 else 0.3
