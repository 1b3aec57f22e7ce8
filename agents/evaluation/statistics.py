"""Point estimates with intervals for returns: the mean, and the interquartile mean (IQM) with a stratified bootstrap.

Reference: Agarwal, Schwarzer, Castro, Courville, Bellemare, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", NeurIPS 2021, sections 4.1 (stratified bootstrap intervals) and 4.3 (IQM).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval. The ends are NaN where one sample says nothing of spread."""

    value: float
    low: float
    high: float


def mean_interval(x: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Mean of independent samples `x` [N] with Student's t interval. Raises `ValueError` for NaN or no samples."""
    from scipy.stats import t  # half a second to import

    samples = _finite(x).ravel()
    mean = float(samples.mean())
    if samples.size < 2:
        return Interval(mean, math.nan, math.nan)
    error = float(samples.std(ddof=1)) / math.sqrt(samples.size)
    half = float(t.ppf((1 + confidence) / 2, samples.size - 1)) * error
    return Interval(mean, mean - half, mean + half)


def iqm(x: ArrayLike) -> float:
    """Interquartile mean of all of `x`: the mean without the lowest and the highest quarter of the samples.

    Equals `scipy.stats.trim_mean(x, 0.25, axis=None)`, which is what rliable takes.
    """
    samples = _finite(x)
    return float(_trimmed_mean(np.sort(samples, axis=None), np.ones((1, samples.size), dtype=np.int64))[0])


def iqm_interval(
    x: ArrayLike, generator: np.random.Generator, *, resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """Interquartile mean with a percentile bootstrap interval.

    Args:
        x: [N] samples of one run, one per task: tasks are resampled. [seeds, tasks] several runs on the same tasks:
            seeds are resampled within each task (the stratified bootstrap), so the interval says what other seeds
            would have given on these tasks.
        generator: the only source of randomness; the same state gives the same interval.
        resamples: bootstrap resamples.
        confidence: coverage of the interval.

    Raises:
        ValueError: no samples, a NaN or infinity among them, or more than two axes.
    """
    samples = _finite(x)
    if samples.ndim > 2:
        raise ValueError(f"expected samples [N] or [seeds, tasks], not of shape {list(samples.shape)}")
    strata = samples.reshape(len(samples), -1)  # [samples of a stratum, strata]
    if len(strata) < 2:
        return Interval(iqm(samples), math.nan, math.nan)
    values, rank = np.unique(strata, return_inverse=True)
    counts = _resample(rank.reshape(strata.shape), len(values), generator, resamples)
    low, high = np.quantile(_trimmed_mean(values, counts), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(iqm(samples), float(low), float(high))


def crossed_intervals(
    x: ArrayLike, generator: np.random.Generator, *, resamples: int = 2000, confidence: float = 0.95
) -> tuple[Interval, Interval]:
    """Mean and interquartile mean of several runs' samples `x` [seeds, tasks], with percentile bootstrap intervals.

    A resample draws whole runs and, by themselves, tasks: what is left in or out of a run concerns all its tasks. The
    stratified bootstrap of `iqm_interval` would draw other runs for every task, which averages the luck of a run away
    where one run plays all tasks. With one run tasks alone are drawn. Raises `ValueError` as `iqm_interval` does.
    """
    samples = _finite(x)
    if samples.ndim != 2:
        raise ValueError(f"expected samples [seeds, tasks], not of shape {list(samples.shape)}")
    seeds, tasks = samples.shape
    order = np.argsort(samples, axis=None)
    values = samples.ravel()[order]
    seed, task = np.divmod(order, tasks)
    means, middles = np.empty(resamples), np.empty(resamples)
    for i in range(resamples):
        runs = np.bincount(generator.integers(0, seeds, seeds), minlength=seeds)
        drawn = np.bincount(generator.integers(0, tasks, tasks), minlength=tasks)
        counts = runs[seed] * drawn[task]
        means[i] = (counts * values).sum() / samples.size
        middles[i] = _trimmed_mean(values, counts[None])[0]
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    mean, middle = float(samples.mean()), iqm(samples)
    if samples.size < 2:
        return Interval(mean, math.nan, math.nan), Interval(middle, math.nan, math.nan)
    return Interval(mean, *np.quantile(means, ends).tolist()), Interval(middle, *np.quantile(middles, ends).tolist())


def _resample(
    rank: NDArray[np.int64], values: int, generator: np.random.Generator, resamples: int
) -> NDArray[np.int64]:
    """How often each distinct value is drawn, [resamples, values]; value `rank[i, j]` is sample i of stratum j."""
    size, strata = rank.shape
    if (
        strata == 1 and values * 16 < size
    ):  # few distinct values, such as 0 to 10 pulls won: their counts are multinomial
        return generator.multinomial(size, np.bincount(rank[:, 0], minlength=values) / size, size=resamples)
    counts = np.empty((resamples, values), dtype=np.int64)
    columns = np.arange(strata)
    for row in counts:
        drawn = rank[generator.integers(0, size, (size, strata)), columns]
        row[:] = np.bincount(drawn.ravel(), minlength=values)
    return counts


def _trimmed_mean(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the middle half of each row: sorted `values` [V], of which row r holds `counts[r]` [R, V]."""
    total = int(counts[0].sum())
    cut = total // 4
    result = np.empty(len(counts))
    for i, row in enumerate(counts):  # row by row: a few [R, V] arrays of a large evaluation would fill the memory
        kept = np.asarray(np.diff(np.clip(np.cumsum(row), cut, total - cut), prepend=cut), dtype=np.float64)
        result[i] = (kept * values).sum() / (total - 2 * cut)  # not `@`: BLAS threads are 30 times slower here
    return result


def _finite(x: ArrayLike) -> NDArray[np.float64]:
    samples = np.asarray(x, dtype=np.float64)
    if samples.size == 0:
        raise ValueError("no samples to estimate from")
    if not np.isfinite(samples).all():
        raise ValueError(f"{int((~np.isfinite(samples)).sum())} of {samples.size} samples are NaN or infinite")
    return samples
