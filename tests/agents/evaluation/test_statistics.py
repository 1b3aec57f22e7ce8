"""Intervals: by hand, against scipy, and by their coverage."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from agents.evaluation.statistics import Interval, crossed_intervals, iqm, iqm_interval, mean_interval


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_mean_interval_by_hand() -> None:
    # mean 2, standard deviation 1, standard error 1/sqrt(3); t(0.975, 2 degrees of freedom) = 4.302653
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2.0, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3))
    )
    # t(0.75, 1) = tan(pi/4) = 1: the 50 % interval of two samples is the samples themselves
    assert mean_interval([4.0, 6.0], confidence=0.5) == pytest.approx((5.0, 4.0, 6.0))


def test_iqm_by_hand() -> None:
    assert iqm([0, 1, 2, 100]) == 1.5
    assert iqm([[7, 3], [1, 5]]) == 4.0
    assert iqm(range(8)) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert iqm([1, 2, 9]) == 4.0  # a quarter of three samples is none
    assert iqm([5]) == 5.0


@pytest.mark.parametrize("size", [2, 5, 6, 7, 40, 41])
def test_iqm_is_scipys_trimmed_mean(size: int) -> None:
    x = generator(size).normal(size=size).round(1)
    assert iqm(x) == pytest.approx(stats.trim_mean(x, 0.25))


def test_bootstrap_of_three_by_enumeration() -> None:
    # 27 equally likely resamples of (0, 3, 9); a quarter of three is none, so each IQM is the mean
    means = sorted(sum(draw) / 3 for draw in itertools.product((0, 3, 9), repeat=3))
    interval = iqm_interval([0, 3, 9], generator(), resamples=20_000, confidence=0.6)
    assert interval.value == 4.0
    assert interval.low == pytest.approx(np.quantile(means, 0.2))
    assert interval.high == pytest.approx(np.quantile(means, 0.8))


def test_strata_are_kept_apart() -> None:
    # two seeds that agree on every task: whatever seeds are drawn, the sample is the same
    tasks = np.arange(8.0)
    assert iqm_interval(np.stack([tasks, tasks]), generator()) == (3.5, 3.5, 3.5)
    # the same samples as one stratum do vary
    low, high = iqm_interval(np.concatenate([tasks, tasks]), generator())[1:]
    assert low < 3.5 < high


def test_stratified_bootstrap_by_enumeration() -> None:
    x = np.array([[0.0, 10.0], [4.0, 20.0]])  # each task draws two of its two seeds; IQM of four: the middle two
    draws = [
        stats.trim_mean([*first, *second], 0.25)
        for first in itertools.product((0, 4), repeat=2)
        for second in itertools.product((10, 20), repeat=2)
    ]
    interval = iqm_interval(x, generator(), resamples=20_000, confidence=0.6)
    assert interval.value == 7.0
    assert interval[1:] == pytest.approx(np.quantile(draws, [0.2, 0.8]))


def test_both_ways_of_resampling_agree() -> None:
    coarse = generator(1).integers(0, 5, 2000).astype(float)  # few values: multinomial counts
    fine = coarse + generator(2).uniform(-1e-9, 1e-9, 2000)  # all distinct: drawn one by one
    first, second = (iqm_interval(x, generator(3), resamples=4000) for x in (coarse, fine))
    assert first == pytest.approx(second, abs=0.01)
    assert 0.02 < first.high - first.low < 0.3


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    hits = np.zeros(2)
    for seed in range(300):
        x = generator(seed).normal(1.0, 2.0, 60)
        for i, interval in enumerate((mean_interval(x), iqm_interval(x, generator(seed), resamples=400))):
            hits[i] += interval.low <= 1.0 <= interval.high
    assert (hits > 0.9 * 300).all()
    assert (hits < 0.985 * 300).all()


def test_the_generator_decides() -> None:
    x = generator(1).normal(size=50)
    assert iqm_interval(x, generator(7)) == iqm_interval(x, generator(7))
    assert iqm_interval(x, generator(7)) != iqm_interval(x, generator(8))


def test_one_sample_has_no_spread() -> None:
    for interval in (mean_interval([3.0]), iqm_interval([3.0], generator()), iqm_interval([[3.0, 3.0]], generator())):
        assert isinstance(interval, Interval)
        assert interval.value == 3.0
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


@pytest.mark.parametrize(("x", "message"), [([], "no samples"), ([1.0, math.nan, math.inf], "2 of 3 samples")])
def test_useless_samples_are_refused(x: list, message: str) -> None:
    for estimate in (mean_interval, iqm, lambda x: iqm_interval(x, generator())):
        with pytest.raises(ValueError, match=message):
            estimate(x)
    with pytest.raises(ValueError, match=r"shape \[1, 1, 1\]"):
        iqm_interval(np.zeros((1, 1, 1)), generator())


def test_crossed_bootstrap_by_enumeration() -> None:
    x = np.array([[0.0, 10.0], [4.0, 30.0]])  # two runs on two tasks: 4 draws of runs, each with 4 draws of tasks
    pairs = list(itertools.product((0, 1), repeat=2))
    draws = [x[np.ix_(runs, tasks)] for runs in pairs for tasks in pairs for _ in range(1000)]
    mean, middle = crossed_intervals(x, generator(), resamples=20_000, confidence=0.7)
    assert mean == pytest.approx((11.0, *np.quantile([draw.mean() for draw in draws], [0.15, 0.85])))
    assert middle == pytest.approx((7.0, *np.quantile([iqm(draw) for draw in draws], [0.15, 0.85])))


def test_the_luck_of_a_run_concerns_all_its_tasks() -> None:
    x = np.stack([np.zeros(500), np.ones(500)])
    assert crossed_intervals(x, generator())[0] == (0.5, 0.0, 1.0)
    low, high = iqm_interval(x + generator(1).normal(0, 1e-3, x.shape), generator())[1:]
    assert high - low < 0.2  # the stratified bootstrap draws other runs for every task


def test_with_one_run_tasks_are_drawn() -> None:
    x = generator(1).normal(size=400)
    mean, middle = crossed_intervals(x[None], generator(), resamples=4000)
    assert mean == pytest.approx(mean_interval(x), abs=0.01)
    assert middle == pytest.approx(iqm_interval(x, generator(2), resamples=4000), abs=0.01)


def test_crossed_bootstrap_refuses_what_it_cannot_estimate_from() -> None:
    with pytest.raises(ValueError, match=r"expected samples \[seeds, tasks\], not of shape \[3\]"):
        crossed_intervals([1.0, 2.0, 3.0], generator())
    with pytest.raises(ValueError, match="1 of 2 samples are NaN"):
        crossed_intervals([[1.0, math.nan]], generator())
    assert all(math.isnan(interval.low) for interval in crossed_intervals([[1.0]], generator()))
