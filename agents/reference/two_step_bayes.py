"""Bayes of the two-step task: keeps the probability that a state is the better one and chooses the way to it.

What adapts: that probability, of every situation met in the trial. What is meta-learned: nothing.

    w += +-log(good / bad) where state 1 or 0 has paid, +-log((1 - good) / (1 - bad)) where it has not;  a = [w > 0]

with w the log-odds that state 1 is better. In the incremental form the better state may then have changed:
p <- p (1 - reversal) + (1 - p) reversal. It is told the probabilities, not the better state. Where good + bad = 1,
as by default, no player can score more: one learns the same from either state, so that nothing is to be gained by
exploring. With `memory = "episode"` every visit is a first one.

Reference: Bayes' rule; Ritter et al. 2018, "Been there, done that: meta-learning with episodic recall", section 4.3.

Axes: B trials, N situations.
"""

from collections import defaultdict
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from agents.reference.cues import Known, at
from agents.reference.player import Player, random_argmax
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step

_LEAST = 1e-6
"""Probability that stands for 0: a log of it can be added to."""


class TwoStepBayesConfig(Config):
    """Settings of `TwoStepBayes`."""

    memory: Literal["trial", "episode"] = Field(
        "trial", description="What is remembered: all visits of the trial, or the present episode alone."
    )


class _Evidence(NamedTuple):
    known: Known
    weight: Tensor
    """[B, N] log-odds that state 1 is the better one."""
    stage: Tensor
    """[B] int64 what the last step was made in: start, state 0, state 1."""


class TwoStepBayes(Player[TwoStepBayesConfig]):
    """Chooses the way to the likelier state, ties broken at random."""

    needs_descriptor = True

    def __init__(self, config: TwoStepBayesConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._episodic = problem.structure["form"] == "episodic"
        self._situations = int(problem.structure["situations"]) if self._episodic else 1

    def begin_trial(self, batch: int) -> _Evidence:
        """No situation was met."""
        known = Known.nothing(batch, self._situations, self.problem.device)
        return _Evidence(known, torch.zeros(known.code.shape, device=known.code.device), torch.zeros_like(known.place))

    def act(self, carry: _Evidence, step: Step) -> tuple[Action, _Evidence]:
        """Learn from what the last state paid, look where this is, choose. Raises `UserError` without a descriptor."""
        probability = told(step.descriptor, "two-step-bayes")
        good, bad = (probability[:, entry].clamp(_LEAST, 1 - _LEAST) for entry in (1, 2))
        speaks = torch.where(step.previous_reward > 0, (good / bad).log(), ((1 - good) / (1 - bad)).log())
        speaks = speaks * (2 * carry.stage - 3).to(torch.float32)  # state 0 is stage 1, state 1 is stage 2
        decided = (carry.stage > 0) & ~step.trial_start
        slot = torch.arange(len(speaks), device=speaks.device)
        before = torch.where(step.trial_start[:, None], 0.0, carry.weight)
        weight = before.index_put((slot, carry.known.place), speaks * decided, accumulate=True)
        if not self._episodic:
            weight = torch.where(decided[:, None], _after_reversal(weight, probability[:, 3:4]), weight)
        if not self._episodic or self.config.memory == "episode":
            weight = torch.where(step.episode_start[:, None], 0.0, weight)
        known = carry.known.anew(step.trial_start).visit(step.observation[:, 3:])
        odds = at(weight, known.place)
        action = random_argmax(torch.stack([-odds, odds], dim=1), self.generator)
        return Action(action), _Evidence(known, weight, step.observation[:, :3].argmax(1))


def _after_reversal(odds: Tensor, reversal: Tensor) -> Tensor:
    """Log-odds of p (1 - reversal) + (1 - p) reversal, where p has the log-odds `odds`; also for reversal 0 or 1."""
    stay, swap = torch.log1p(-reversal), reversal.log()
    return torch.logaddexp(odds + stay, swap) - torch.logaddexp(stay, odds + swap)


def expected_returns(visits: int, common: float = 0.9, good: float = 0.9, bad: float = 0.1) -> list[float]:
    """Expected return of this player at each visit to a situation of the episodic form, exactly.

    `good` and `bad` lie inside (0, 1).
    """
    win, lose = np.log(good / bad), np.log((1 - good) / (1 - bad))
    states: dict[float, float] = {0.0: 1.0}  # what speaks for the likelier state -> probability
    found: list[float] = []
    for _ in range(visits):
        paid, following = 0.0, defaultdict[float, float](float)
        for weight, share in states.items():
            likelier = 1 / (1 + np.exp(-weight))  # is the better one
            for here, chance in ((True, common), (False, 1 - common)):  # where the passage led
                better = likelier if here else 1 - likelier
                success = better * good + (1 - better) * bad
                paid += share * chance * success
                for speaks, outcome in ((win, success), (lose, 1 - success)):
                    moved = abs(round(weight + (speaks if here else -speaks), 9))
                    following[moved] += share * chance * outcome
        states = dict(following)
        found.append(float(paid))
    return found
