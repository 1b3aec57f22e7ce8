"""Bayes-optimal bandit play: the policy with the highest expected return under the prior, by exact dynamic programming.

What adapts: the counts of successes and failures of every arm. What is meta-learned: nothing.

With h the multiset of all arms' (successes, failures) and p_i the posterior mean of arm i,

    V(h) = 0 after the last pull,   V(h) = max_i  p_i (1 + V(h + success of i)) + (1 - p_i) V(h + failure of i)

Arms are interchangeable, so a state is a multiset: sorted counts, not one per arm. Untouched arms are too, so more
arms than pulls add nothing.

Reference: Bellman 1956, "A problem in the sequential design of experiments"; Duff 2002, "Optimal learning:
computational procedures for Bayes-adaptive Markov decision processes". The bandit is Duan et al. 2016, "RL^2",
section 3.1.

Differences from the paper: RL^2 has no such player; its figures above this one's expected return are sampling noise.

A multiset is stored as one 64-bit integer, the sum over arms of random integers that stand for (successes, failures)
(Zobrist 1970, "A new hashing method with application for game playing"): pulling an arm is an addition and needs no
sorting. That no two states share an integer is checked against the exact number of states.

Axes: B trials, k arms, N states.
"""

import bisect
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts, pulls_of_trial
from agents.reference.player import Player, number_of_actions
from registry.errors import UserError
from taskgen.interaction.agent import Action, Problem, Step
from taskgen.streams import stream

Integers = NDArray[np.int64]


class BayesOptimalConfig(BetaPrior):
    """Settings of `BayesOptimal`."""

    max_states: int = Field(
        2_500_000, ge=1, description="Largest table to compute: 2.5 million states take about 20 seconds and 500 MB."
    )


@dataclass(frozen=True, slots=True)
class Solution:
    """Optimal play from every state that can occur."""

    keys: Integers
    """[N] states in increasing order."""
    pair: Integers
    """[N] code of the (successes, failures) of an arm that is best to pull."""
    scramble: Integers
    """The integer that stands for each code; zero for an untouched arm."""
    value: float
    """Expected return of the whole trial."""


class BayesOptimal(Player[BayesOptimalConfig]):
    """Pulls the arm that maximises the expected return of the whole trial. `value` is that return, exactly."""

    def __init__(self, config: BayesOptimalConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        solution = solve(number_of_actions(problem), pulls_of_trial(problem), config)
        self.value = solution.value
        self._keys, self._pair, self._scramble = (
            torch.from_numpy(table).to(problem.device) for table in (solution.keys, solution.pair, solution.scramble)
        )

    def begin_trial(self, batch: int) -> ArmCounts:
        """No pulls yet."""
        return no_counts(batch, number_of_actions(self.problem), self.problem.device)

    def act(self, carry: ArmCounts, step: Step) -> tuple[Action, ArmCounts]:
        """Count the last pull, look the state up, and pull an arm with the counts that are best to pull."""
        counts = count(carry, step)
        pulls = counts.pulls.long()
        code: Tensor = pulls * (pulls + 1) // 2 + counts.successes.long()
        key = self._scramble[code.clamp(max=len(self._scramble) - 1)].sum(-1)
        state = torch.searchsorted(self._keys, key).clamp(max=len(self._keys) - 1)
        return Action((code == self._pair[state][:, None]).int().argmax(-1)), counts


def solve(arms: int, pulls: int, config: BayesOptimalConfig) -> Solution:
    """Exact dynamic programming over all states. Raises `UserError` when there are more than `config.max_states`."""
    longest = longest_trial(arms, config.max_states)
    if pulls > longest:
        raise UserError(
            f"bayes-optimal: {arms} arms and {pulls} pulls have more than max_states = {config.max_states} states. "
            f"With {arms} arms it can do {longest} pulls; gittins is nearly as good and goes further."
        )
    scramble = _scramble(pulls * (pulls + 1) // 2)
    layers = _layers(min(arms, pulls), pulls, scramble)
    keys = np.concatenate([layer_keys for layer_keys, _ in layers])
    order = np.argsort(keys)
    assert len(keys) == count_states(arms, pulls), "two states of a layer share a key"
    assert (np.diff(keys[order]) > 0).all(), "two states of different layers share a key"
    value, best = np.zeros(1), list[Integers]()
    for made in reversed(range(pulls)):
        following = layers[made + 1][0] if made + 1 < pulls else None
        value, pair = _backup(layers[made][1], layers[made][0], following, value, scramble, config)
        best.append(pair)
    return Solution(keys[order], np.concatenate(best[::-1])[order], scramble, float(value[0]))


def count_states(arms: int, pulls: int) -> int:
    """States with a pull to come: multisets of at most `arms` pairs other than (0, 0) that sum to less than `pulls`.

    Exact below 2**53.
    """
    ways = np.zeros((pulls, min(arms, pulls) + 1))  # [pulls made, arms touched]
    ways[0, 0] = 1
    for weight in range(1, pulls):  # pulls of one arm: one of weight + 1 pairs
        extended = ways.copy()
        for number in range(1, min(ways.shape[1] - 1, (pulls - 1) // weight) + 1):  # arms with that many pulls
            shifted = ways[: pulls - number * weight, : ways.shape[1] - number]
            extended[number * weight :, number:] += math.comb(weight + number, number) * shifted
        ways = extended
    return int(ways.sum())


def longest_trial(arms: int, max_states: int) -> int:
    """The most pulls for which there are at most `max_states` states."""
    high = 2
    while count_states(arms, high) <= max_states:
        high *= 2
    return bisect.bisect_right(range(high), max_states, lo=1, key=lambda pulls: count_states(arms, pulls)) - 1


def _scramble(codes: int) -> Integers:
    """Random 64-bit integers for all codes, zero for code 0; always the same ones."""
    limits = np.iinfo(np.int64)
    scramble = stream(0, "bayes-optimal").integers(limits.min, limits.max, codes, endpoint=True)
    scramble[0] = 0
    return scramble


def _pulls(codes: Integers) -> Integers:
    """Pulls d of an arm from its code d (d + 1) / 2 + successes."""
    return ((np.sqrt(8 * codes + 1) - 1) / 2).astype(np.int64)


def _successors(keys: Integers, codes: Integers, scramble: Integers) -> tuple[Integers, Integers]:
    """Codes [2, N, k] of the pulled arm and keys [2, N, k] of the state after each arm's failure and success."""
    after = codes + _pulls(codes) + 1 + np.arange(2)[:, None, None]
    return after, keys[:, None] - scramble[codes] + scramble[after]


def _layers(arms: int, pulls: int, scramble: Integers) -> list[tuple[Integers, Integers]]:
    """For every number of pulls made, the states: sorted keys [N] and the codes of their arms [N, k].

    Untouched arms stand behind the touched ones, and only the first of them is kept.
    """
    layers = [(np.zeros(1, np.int64), np.zeros((1, 1), np.int64))]
    for made in range(1, pulls):
        keys, codes = layers[-1]
        after, candidates = _successors(keys, codes, scramble)
        following, first = np.unique(candidates, return_index=True)
        outcome, state, arm = np.unravel_index(first, candidates.shape)
        codes = codes[state]
        codes[np.arange(len(first)), arm] = after[outcome, state, arm]
        if made < arms:
            codes = np.pad(codes, ((0, 0), (0, 1)))
        layers.append((following, codes))
    return layers


def _backup(
    codes: Integers,
    keys: Integers,
    following: Integers | None,
    value: NDArray[np.float64],
    scramble: Integers,
    config: BayesOptimalConfig,
) -> tuple[NDArray[np.float64], Integers]:
    """Value [N] of the states and the code [N] of a best pair, from the `value` of the `following` layer's keys."""
    pulls = _pulls(codes)
    successes = codes - pulls * (pulls + 1) // 2 + config.prior_successes
    mean = successes / (pulls + config.prior_successes + config.prior_failures)
    quality = mean
    if following is not None:
        _, after = _successors(keys, codes, scramble)
        failure, success = value[np.searchsorted(following, after)]
        quality = mean * (1 + success) + (1 - mean) * failure
    arm = quality.argmax(1)[:, None]
    return np.take_along_axis(quality, arm, 1)[:, 0], np.take_along_axis(codes, arm, 1)[:, 0]
