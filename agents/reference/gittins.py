"""Gittins: pull the arm with the highest finite-horizon index, the fair price of an option to play that arm alone.

What adapts: the counts of successes and failures of every arm, and the pulls left. What is meta-learned: nothing.

The index of an arm with posterior Beta(s, f) and m pulls left is the sure reward per pull, lambda, that makes one
indifferent between that and playing the arm for at least one pull and at most m ("calibration"):

    C_m(s, f; lambda) = p - lambda + p max(0, C_{m-1}(s + 1, f; lambda)) + (1 - p) max(0, C_{m-1}(s, f + 1; lambda)),
    p = s / (s + f),  C_0 = 0,  index_m(s, f) = the lambda at which C_m(s, f; lambda) = 0

Reference: Gittins 1979, "Bandit processes and dynamic allocation indices"; Nino-Mora 2011, "Computing a classic index
for finite-horizon bandits" (the index and calibration); Duan et al. 2016, "RL^2", section 3.1, "Gittins"
(finite-horizon approximation).

Differences from the paper: RL^2 does not say how it computes the index; here C is evaluated on an even grid of lambda
and its root taken linearly between grid points, which is off by 3e-5 on average and 1e-3 at most in trials of 100
pulls with the default grid. Index play is optimal for discounted infinite trials and only nearly so here: exact play
is `bayes-optimal`.

Axes: B trials, k arms, m pulls left, s successes, f failures (both without the prior's).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts, pulls_of_trial
from agents.reference.player import Player, number_of_actions
from registry.errors import UserError
from taskgen.interaction.agent import Action, Problem, Step

LONGEST = 200
"""Pulls of the longest trial: the table grows with their cube and takes ten seconds there."""
_CHUNK = 16  # values of lambda evaluated at once: their arrays stay in the processor's cache


class GittinsConfig(BetaPrior):
    """Settings of `Gittins`."""

    grid: int = Field(512, ge=2, le=10_000, description="Intervals of the grid of lambda on [0, 1].")


class Gittins(Player[GittinsConfig]):
    """Pulls the arm with the highest index."""

    def __init__(self, config: GittinsConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        index = gittins_indices(pulls_of_trial(problem), config)
        self.index = torch.from_numpy(index).to(problem.device, torch.float32)

    def begin_trial(self, batch: int) -> ArmCounts:
        """No pulls yet."""
        return no_counts(batch, number_of_actions(self.problem), self.problem.device)

    def act(self, carry: ArmCounts, step: Step) -> tuple[Action, ArmCounts]:
        """Count the last pull and pull the arm with the highest index."""
        counts = count(carry, step)
        last = len(self.index) - 1
        left: Tensor = (last - counts.pulls.sum(-1, keepdim=True)).long().clamp(min=0)
        successes, failures = (c.long().clamp(max=last) for c in counts)
        return Action(self.index[left, successes, failures].argmax(-1)), counts


def gittins_indices(pulls: int, config: GittinsConfig) -> NDArray[np.float64]:
    """[n + 1, n + 1, n + 1] indices by pulls left, successes and failures; zero where they sum past n = `pulls`.

    Raises `UserError` for trials of more than `LONGEST` pulls.
    """
    if pulls > LONGEST:
        raise UserError(
            f"gittins: a trial of {pulls} pulls is too long; its table is computed for up to {LONGEST}. "
            "Take ucb1 or thompson for longer trials, or shorten the trial."
        )
    size = pulls + 1
    outcomes = np.arange(size)
    successes = outcomes[:, None] + config.prior_successes
    mean = successes / (successes + outcomes[None, :] + config.prior_failures)
    index = np.zeros((size, size, size))
    grid = np.linspace(0.0, 1.0, config.grid + 1)
    for start in range(0, config.grid, _CHUNK):
        _calibrate(index, mean, grid[start : start + _CHUNK + 1])
    return index


def _calibrate(index: NDArray[np.float64], mean: NDArray[np.float64], price: NDArray[np.float64]) -> None:
    """Write the indices that lie between the first and the last `price` into `index`."""
    pulls = len(mean) - 1
    value = np.zeros((len(price), pulls + 1, pulls + 1))
    for left in range(1, pulls + 1):
        size = pulls - left + 1
        p = mean[:size, :size]
        value = p * (1 + value[:, 1 : size + 1, :size]) + (1 - p) * value[:, :size, 1 : size + 1] - price[:, None, None]
        above = (value >= 0).sum(0)
        inside = (above > 0) & (above < len(price))
        lower = np.where(inside, above - 1, 0)[None]
        high, low = np.take_along_axis(value, lower, 0)[0], np.take_along_axis(value, lower + 1, 0)[0]
        root = price[lower[0]] + (price[1] - price[0]) * high / np.where(inside, high - low, 1.0)
        index[left, :size, :size] = np.where(inside, root, index[left, :size, :size])
        value = np.maximum(value, 0.0)
