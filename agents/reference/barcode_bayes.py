"""Bayes of bandits that recur: knows a barcode again and pulls the arm that is likeliest to be its bandit's good one.

What adapts: for every bandit met in the trial how much speaks for each arm. What is meta-learned: nothing.

    a_t = argmax_i w_i,   w_i += log(good / bad) where arm i has paid, log((1 - good) / (1 - bad)) where it has not

It is told how often good and other arms pay, not which is which. With `memory = "episode"` every visit is a first one.
Being greedy costs nothing here: of ten arms, .9 and .1, a first visit of ten pulls is worth 4.436 this way
(`expected_returns`), which dynamic programming finds to be the most. `re-seen-choice` is the case 1 and 0.

Reference: Bayes' rule; Ritter et al. 2018, "Been there, done that: meta-learning with episodic recall", section 4.1.

Axes: B trials, N bandits, k arms.
"""

from collections import defaultdict
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from agents.reference.cues import Known, at
from agents.reference.player import Player, number_of_actions, random_argmax
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Step

_LEAST = 1e-6
"""Probability that stands for 0: a log of it can be added to."""


class BarcodeBayesConfig(Config):
    """Settings of `BarcodeBayes`."""

    memory: Literal["trial", "episode"] = Field(
        "trial", description="What is remembered: all visits of the trial, or the present one alone."
    )


class _Evidence(NamedTuple):
    known: Known
    weight: Tensor
    """[B, N, k] log-odds, up to a constant, that an arm is the good one."""


class BarcodeBayes(Player[BarcodeBayesConfig]):
    """Pulls the likeliest arm, ties broken at random."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> _Evidence:
        """No bandit was met."""
        bandits, device = int(self.problem.structure["situations"]), self.problem.device
        weight = torch.zeros(batch, bandits, number_of_actions(self.problem), device=device)
        return _Evidence(Known.nothing(batch, bandits, device), weight)

    def act(self, carry: _Evidence, step: Step) -> tuple[Action, _Evidence]:
        """Learn from the last pull, look at the barcode, pull. Raises `UserError` without a descriptor."""
        probability = told(step.descriptor, "barcode-bayes")
        good, bad = (value.clamp(_LEAST, 1 - _LEAST) for value in (probability.amax(1), probability.amin(1)))
        speaks = torch.where(step.previous_reward > 0, (good / bad).log(), ((1 - good) / (1 - bad)).log())
        speaks = speaks * ~step.trial_start
        slot = torch.arange(len(speaks), device=speaks.device)
        before = torch.where(step.trial_start[:, None, None], 0.0, carry.weight)
        weight = before.index_put((slot, carry.known.place, step.previous_action), speaks, accumulate=True)
        if self.config.memory == "episode":
            weight = weight * ~step.episode_start[:, None, None]
        known = carry.known.anew(step.trial_start).visit(step.observation)
        return Action(random_argmax(at(weight, known.place), self.generator)), _Evidence(known, weight)


def expected_returns(arms: int, pulls: int, visits: int, good: float = 0.9, bad: float = 0.1) -> list[float]:
    """Expected return of this player at each visit to a bandit, exactly, by running through all that may happen.

    `good` and `bad` lie inside (0, 1). A state is what speaks for each arm, sorted: which arm is which does not matter.
    """
    win, lose = np.log(good / bad), np.log((1 - good) / (1 - bad))
    states: dict[tuple[float, ...], float] = {(0.0,) * arms: 1.0}
    found: list[float] = []
    for _ in range(visits):
        paid = 0.0
        for _ in range(pulls):
            following: defaultdict[tuple[float, ...], float] = defaultdict(float)
            for weights, share in states.items():
                posterior = 1 / np.exp(np.subtract(weights, weights[-1])).sum()  # of the likeliest arm, the last one
                success = float(posterior * good + (1 - posterior) * bad)
                paid += share * success
                for speaks, chance in ((win, success), (lose, 1 - success)):
                    following[tuple(sorted((*weights[:-1], round(weights[-1] + speaks, 9))))] += share * chance
            states = dict(following)
        found.append(paid)
    return found
