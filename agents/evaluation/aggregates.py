"""Many returns in one figure: performance profile, probability of improvement, optimality gap, with 95% intervals.

S runs that differ in their seed, each with one score on each of the same N tasks: `x` [S, N]; the estimators are those
of Agarwal et al., the intervals those of `statistics`, not percentile bootstraps. A profile and a probability are means
of 0 and 1. Near either end their spread is no guide, and an interval of a symmetric half width would leave [0, 1]. So
its ends are set on the scale on which the variance of a share does not depend on the share, the angle asin(sqrt(p)):

    sin(asin(sqrt(p)) -+ half / (2 sqrt(p (1 - p))))^2,    half = t * sqrt(variance of p) as in `statistics`,

and there are none where a run's own share is within 5% of 0 or 1. `benchmarks/interval_coverage` says how often they
hold the truth.

References: Agarwal, Schwarzer, Castro, Courville, Bellemare, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", NeurIPS 2021, section 4. Mann and Whitney, "On a test of whether one of two random variables is
stochastically larger than the other", Annals of Mathematical Statistics 18, 1947. Welch, "The generalization of
`Student's' problem when several different population variances are involved", Biometrika 34, 1947. Bartlett, "The use
of transformations", Biometrics 3, 1947 (the angle).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.evaluation.statistics import Interval, crossed, finite, intervals, spread_of, weighted
from taskgen.source import RESOLUTION

MARGIN = 0.05
"""Runs whose shares are nearer than this to 0 or 1 leave a share without an interval."""
NO_ENDS = f"a run is ahead on fewer than {MARGIN:.0%} of the tasks, or behind, where its spread says too little"
"""Why a share has no interval where runs and tasks are enough."""


def profile(x: ArrayLike, thresholds: ArrayLike) -> tuple[Interval, ...]:
    """Share of the scores `x` [S, N] that are above each of the `thresholds`, the mean of the runs' shares.

    The intervals are each for its threshold alone, over seeds and tasks as `statistics.basis` says, or none: see above.
    Raises `ValueError` for NaN or no samples.
    """
    samples = finite(x)
    return tuple(share((samples > threshold).astype(np.float64)) for threshold in finite(thresholds).ravel())


def improvement(x: ArrayLike, y: ArrayLike) -> Interval:
    """Probability that a run of one agent earns more on a task than a run of another: scores [S, N] and [T, N].

    The share of wins over all pairs of runs on the same task, a tie, but for rounding, being half of one (Mann and
    Whitney's U by task). Both agents' seeds move it, and tasks: with Welch's degrees of freedom for the seeds of both.
    There is no interval with two seeds of either, nor on one task; with one seed of either it is over tasks alone.
    Raises `ValueError` for NaN, no samples or different tasks.
    """
    ours, theirs = finite(x), finite(y)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(f"scores on {ours.shape[1]} and {theirs.shape[1]} tasks: pairs need the same tasks")
    mine, others = _wins(ours, theirs), 1 - _wins(theirs, ours)
    mean = float(mine.mean())
    if 1 in (len(mine), len(others)):
        seeds = max(len(mine), len(others))
        return Interval(mean, math.nan, math.nan) if seeds == 2 else share(mine.mean(0, keepdims=True))
    spread, rest = spread_of(mine), spread_of(others)
    if 2 in (len(mine), len(others)) or spread is None or rest is None or not (_open(mine) and _open(others)):
        return Interval(mean, math.nan, math.nan)
    parts = [float(wins.mean(1).var(ddof=1)) / len(wins) for wins in (mine, others)]
    each = parts[0] ** 2 / (len(mine) - 1) + parts[1] ** 2 / (len(others) - 1)
    freedom = sum(parts) ** 2 / each if each else len(mine) + len(others) - 2
    return _angular(weighted(mean, max(0.0, sum(parts) - spread.rest - rest.rest), freedom, spread))


def optimality_gap(x: ArrayLike, random: ArrayLike, optimal: ArrayLike) -> Interval:
    """How far scores `x` [S, N] are from 1 on average, those above 1 counting as 1.

    The score is 0 for what the `random` player [R, N] earns on average over these tasks, and 1 for what the `optimal`
    one [O, N] does. The scale is the same for all tasks: to divide by the difference on each would divide by its luck.
    The interval holds what the tasks do to the scale as well, to first order. Raises `ValueError` for NaN, no samples,
    different tasks, or an optimal player that earns no more than the random one.
    """
    samples, lowest, highest = finite(x), finite(random).mean(0), finite(optimal).mean(0)
    if not samples.shape[1] == len(lowest) == len(highest):
        raise ValueError("scores, random and optimal player are on different tasks")
    zero, one = lowest.mean(), highest.mean()
    if one <= zero:
        raise ValueError(f"the optimal player earns {one:.4g}, no more than the random one, {zero:.4g}")
    scores = (samples - zero) / (one - zero)
    below = scores < 1
    by_zero = np.where(below, scores - 1, 0.0).mean() * (lowest - zero)
    by_one = -np.where(below, scores, 0.0).mean() * (highest - one)
    moved = (by_zero + by_one) / (one - zero)  # of the mean score, by each task's share in the two ends of the scale
    found = crossed(1 - np.minimum(scores, 1) - moved, samples.shape[1] - 1)
    return found._replace(low=found.low if math.isnan(found.low) else max(0.0, found.low))


def scale(random: ArrayLike, optimal: ArrayLike) -> Interval:
    """By how much the `optimal` player is ahead of the `random` one on average, [R, N] and [O, N], over these tasks."""
    return intervals((finite(optimal).mean(0) - finite(random).mean(0))[None])[0]


def thresholds(*samples: NDArray[np.float64], most: int = 101) -> NDArray[np.float64]:
    """Where to look at profiles of all `samples`: at each of their values, or where these are many, equally spaced.

    Of values that differ by rounding at the highest, which none of them is above.
    """
    values = np.unique(np.concatenate([part.ravel() for part in samples]))
    values = values[np.append(_apart(values[1:], values[:-1]), True)]
    return values if len(values) <= most else np.linspace(values[0], values[-1], most)


def _wins(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each run of `x` [S, N], its share of wins against the runs of `y` on each task, [S, N]."""
    return sum((0.5 + 0.5 * np.sign(x - run) * _apart(x, run) for run in y), np.zeros(x.shape)) / len(y)


def _apart(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where they differ by more than rounding."""
    return np.abs(x - y) > np.maximum(np.abs(x), np.abs(y)) / RESOLUTION


def share(samples: NDArray[np.float64]) -> Interval:
    """Mean of samples [S, N] from 0 to 1, with the interval of shares."""
    found = crossed(samples, samples.shape[1] - 1)
    return _angular(found) if _open(samples) else found._replace(low=math.nan, high=math.nan)


def _open(samples: NDArray[np.float64]) -> bool:
    """Whether every run's mean of [S, N] is far enough from 0 and 1."""
    means = samples.mean(1)
    return bool((means >= MARGIN).all() and (means <= 1 - MARGIN).all())


def _angular(found: Interval) -> Interval:
    """A share with the ends of its interval on the scale of angles, of which 0 and a right one are the last."""
    at, half = math.asin(math.sqrt(found.value)), (found.high - found.low) / 2
    reach = half / (2 * math.sqrt(found.value * (1 - found.value)))
    ends = (math.sin(min(max(end, 0.0), math.pi / 2)) ** 2 for end in (at - reach, at + reach))
    return found if math.isnan(half) else Interval(found.value, *ends)
