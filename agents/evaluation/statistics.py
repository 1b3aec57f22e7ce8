"""Means and interquartile means (IQM) of returns, with 95% intervals that cover the truth as often as they say.

S runs that differ in their seed played the same N tasks: `x` [S, N]. Runs and tasks are both drawn, so both move the
mean. The model is the two-way crossed layout of random effects without replication,

    x[i, j] = mean + seed[i] + task[j] + rest[i, j],    var(mean of x) = var_seed / S + var_task / N + var_rest / (S N),

and its mean squares, MS_seed = N sum_i (x[i, .] - x[., .])^2 / (S - 1), MS_task likewise, and MS_rest of what both
leave, estimate that variance without bias by (MS_seed - MS_rest) / (S N), the seeds' part, plus MS_task / (S N), that
of the tasks and the rest. The first is taken as 0 where it is below. The interval is the mean -+ t * sqrt(both), where
t is the mean of Student's t with S - 1 and with N - 1 degrees of freedom, weighted by the two parts (Cochran and Cox).
With Satterthwaite's degrees of freedom, the usual choice, "95%" would hold the truth 92% of the time with three seeds
where both parts matter, and with the percentile bootstrap over runs and tasks 74%: see `benchmarks/interval_coverage`.

The IQM of several runs is the mean of the runs' IQMs. The same interval holds for it, over each run's values with the
outer quarters winsorised and the rest stretched, whose mean is the IQM: of one run this is Tukey and McLaughlin's
interval. It needs no resampling, so the same returns always give the same interval.

References: Searle, Casella, McCulloch, "Variance Components", 1992, chapter 4 (mean squares of balanced crossed
layouts). Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2, 1946.
Cochran and Cox, "Experimental Designs", 1957, section 4.14 (the weighted t). Tukey and McLaughlin, "Less vulnerable
confidence and significance procedures for location", Sankhya A 25, 1963. Agarwal, Schwarzer, Castro, Courville,
Bellemare, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021, section 4.3 (IQM).
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_SEEDS = 3
"""With two, an interval would span 13 times their distance."""


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval. The ends are NaN where the samples say nothing of spread."""

    value: float
    low: float
    high: float


class Spread(NamedTuple):
    """What playing the same N tasks adds to the variance of the mean of S runs."""

    tasks: float
    """MS_task / (S N): the variance that the choice of tasks and what is left make."""
    rest: float
    """MS_rest / (S N): what is left, of which the variance of the runs' means holds as much."""
    freedom: int
    """Degrees of freedom of `tasks`."""


def mean_interval(x: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Mean of independent samples `x` [N] with Student's t interval. Raises `ValueError` for NaN or no samples."""
    samples = finite(x).ravel()
    mean = float(samples.mean())
    if samples.size < 2:
        return Interval(mean, math.nan, math.nan)
    return _around(mean, _t(samples.size - 1, confidence) * math.sqrt(float(samples.var(ddof=1)) / samples.size))


def iqm(x: ArrayLike) -> float:
    """Interquartile mean of all of `x`: the mean without the lowest and the highest quarter of the samples.

    Equals `scipy.stats.trim_mean(x, 0.25, axis=None)`, which is what rliable takes.
    """
    samples = np.sort(finite(x), axis=None)
    cut = samples.size // 4
    return float(samples[cut : samples.size - cut].mean())


def intervals(x: ArrayLike, *, confidence: float = 0.95) -> tuple[Interval, Interval]:
    """Mean and mean IQM of runs' samples `x` [S, N] on the same N tasks, with intervals over seeds and tasks.

    With one run the intervals are over its tasks and say nothing of other seeds; with two there are none; with one task
    they are over the seeds alone: `basis` says which in a sentence. Raises `ValueError` for NaN or no samples.
    """
    samples = finite(x)
    if samples.ndim != 2:
        raise ValueError(f"expected samples [seeds, tasks], not of shape {list(samples.shape)}")
    winsorised, kept = _winsorised(samples)
    return (
        crossed(samples, samples.shape[1] - 1, confidence),
        crossed(winsorised, kept - 1, confidence),
    )


def after_exploration(returns: ArrayLike, exploration: int) -> Interval | None:
    """Of runs' `returns` [S, K, N] by episode, the mean return of a trial without its first `exploration` episodes.

    None where none are left out, or nothing is left.
    """
    samples = np.asarray(returns, dtype=np.float64)
    return intervals(samples[:, exploration:].sum(1))[0] if 0 < exploration < samples.shape[1] else None


def seeds_interval(means: ArrayLike, spread: Spread | None = None, *, confidence: float = 0.95) -> Interval:
    """Mean of runs' means [S] with an interval over seeds; none with fewer than 3.

    Without `spread` it is Student's t over the means: what other seeds would give on the same tasks, or, where every
    run had tasks of its own, on other tasks too. With the `spread` of tasks that all played it holds for other tasks.
    Raises `ValueError` for NaN or no samples.
    """
    samples = finite(means).ravel()
    mean = float(samples.mean())
    if samples.size < LEAST_SEEDS:
        return Interval(mean, math.nan, math.nan)
    seeds = float(samples.var(ddof=1)) / samples.size
    if spread is None:
        return _around(mean, _t(samples.size - 1, confidence) * math.sqrt(seeds))
    return weighted(mean, max(0.0, seeds - spread.rest), samples.size - 1, spread, confidence)


def weighted(mean: float, seeds: float, freedom: float, spread: Spread, confidence: float = 0.95) -> Interval:
    """An estimate with the variances that seeds, with so much `freedom`, and tasks give it, and t weighted by them."""
    variance = seeds + spread.tasks
    if not variance:
        return Interval(mean, mean, mean)
    t = (seeds * _t(freedom, confidence) + spread.tasks * _t(spread.freedom, confidence)) / variance
    return _around(mean, t * math.sqrt(variance))


def spread_of(x: ArrayLike, freedom: int | None = None) -> Spread | None:
    """What the tasks add, of samples `x` [S, N]; None with one run or one task. `freedom` is N - 1 where not given."""
    samples = finite(x)
    seeds, tasks = samples.shape
    if seeds < 2 or tasks < 2:
        return None
    by_seed, by_task, mean = samples.mean(1, keepdims=True), samples.mean(0), samples.mean()
    of_tasks = float(((by_task - mean) ** 2).sum()) / (tasks - 1)
    left = float(((samples - by_seed - by_task + mean) ** 2).sum()) / ((seeds - 1) * (tasks - 1))
    return Spread(of_tasks / tasks, left / (seeds * tasks), tasks - 1 if freedom is None else freedom)


def basis(seeds: int, tasks: int, *, same_tasks: bool = True) -> str:
    """What the 95% intervals of so many runs on so many tasks each are over, or why there are none."""
    if seeds == 2:
        return f"none: two seeds are too few, it takes {LEAST_SEEDS}"
    if seeds == 1:
        return (
            "over the tasks of this run alone; says nothing of other seeds" if tasks > 1 else "none: one run, one task"
        )
    if not same_tasks:
        return "over seeds, each with tasks of its own"
    return "over seeds and tasks" if tasks > 1 else "over seeds alone: there is one task"


def crossed(samples: NDArray[np.float64], freedom: int, confidence: float = 0.95) -> Interval:
    """Mean of samples [S, N] with the interval of `intervals`; the tasks have so many degrees of `freedom`."""
    seeds, tasks = samples.shape
    if seeds > 1:
        return seeds_interval(samples.mean(1), spread_of(samples, freedom), confidence=confidence)
    mean = float(samples.mean())
    if tasks < 2:
        return Interval(mean, math.nan, math.nan)
    return _around(mean, _t(freedom, confidence) * math.sqrt(float(samples.var(ddof=1)) / tasks))


def _winsorised(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Values [S, N] whose mean over a run is its IQM, and how many of a run's N samples that averages.

    The lowest quarter of a run becomes its lowest value kept, the highest likewise, and all are stretched about their
    mean by N / kept: the samples' influence on the trimmed mean.
    """
    tasks = samples.shape[1]
    cut = tasks // 4
    kept = tasks - 2 * cut
    ordered = np.sort(samples, axis=1)
    middle = ordered[:, cut : tasks - cut]
    clipped = np.clip(samples, middle[:, :1], middle[:, -1:])
    stretched = (clipped - clipped.mean(1, keepdims=True)) * (tasks / kept)
    return middle.mean(1, keepdims=True) + stretched, kept


def _around(mean: float, half: float) -> Interval:
    return Interval(mean, mean - half, mean + half)


@lru_cache(maxsize=1024)
def _t(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs] - `scipy.stats` takes a second more

    return float(stdtrit(freedom, (1 + confidence) / 2))


def finite(x: ArrayLike) -> NDArray[np.float64]:
    """`x` in double precision. Raises `ValueError` for NaN, infinities or nothing at all."""
    samples = np.asarray(x, dtype=np.float64)
    if samples.size == 0:
        raise ValueError("no samples to estimate from")
    if not np.isfinite(samples).all():
        raise ValueError(f"{int((~np.isfinite(samples)).sum())} of {samples.size} samples are NaN or infinite")
    return samples
