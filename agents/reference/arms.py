"""What the bandit players know: successes and failures of every arm, which are all a Beta posterior needs.

Axes: B trials, k arms. A trial is `problem.episodes` episodes of `problem.horizon` pulls; counts last as long as it.
"""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from registry.config import Config
from taskgen.interaction.agent import Problem, Step


class BetaPrior(Config):
    """Prior of every arm's success probability, Beta(successes, failures); the default is uniform on [0, 1]."""

    prior_successes: float = Field(1.0, gt=0, description="Successes every arm starts with (first Beta parameter).")
    prior_failures: float = Field(1.0, gt=0, description="Failures every arm starts with (second Beta parameter).")


class ArmCounts(NamedTuple):
    """Outcomes seen in this trial."""

    successes: Tensor
    """[B, k] float32."""
    failures: Tensor
    """[B, k] float32."""

    @property
    def pulls(self) -> Tensor:
        """[B, k] pulls of each arm."""
        return self.successes + self.failures


def no_counts(batch: int, arms: int, device: torch.device) -> ArmCounts:
    """Counts before the first pull."""
    zeros = torch.zeros(batch, arms, device=device)
    return ArmCounts(zeros, zeros)


def count(counts: ArmCounts, step: Step) -> ArmCounts:
    """Counts after the previous pull; from zero where a trial starts. Rewards are 0 or 1."""
    arm = torch.nn.functional.one_hot(step.previous_action.long(), counts.successes.shape[1]).to(torch.float32)
    going_on = ~step.trial_start[:, None]
    reward = step.previous_reward[:, None]
    successes = (counts.successes + arm * reward) * going_on
    failures = (counts.failures + arm * (1 - reward)) * going_on
    return ArmCounts(successes, failures)


def posterior_mean(counts: ArmCounts, prior: BetaPrior) -> Tensor:
    """[B, k] expected success probability."""
    successes = counts.successes + prior.prior_successes
    return successes / (successes + counts.failures + prior.prior_failures)


def pulls_of_trial(problem: Problem) -> int:
    """Pulls of a whole trial, n."""
    return problem.episodes * problem.horizon
