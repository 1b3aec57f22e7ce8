"""Intervals: by hand, against scipy, by what they must not depend on, and by their coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from agents.evaluation.statistics import (
    Interval,
    Spread,
    basis,
    intervals,
    iqm,
    mean_interval,
    seeds_interval,
    spread_of,
)

TABLE = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0], [2.0, 6.0, 13.0]])
"""Three runs on three tasks: means of runs 3, 5, 7, of tasks 2, 4, 9, of all 5."""


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


def test_spread_by_hand() -> None:
    # tasks' means 2, 4, 9 about 5: 9 + 1 + 16 = 26, so MS_task / (S N) = 26 / 2 / 3
    # what is left: x - run - task + 5 = [[1, 0, -1], [1, 0, -1], [-2, 0, 2]], squares 12, MS_rest = 12 / (2 * 2) = 3
    assert spread_of(TABLE) == pytest.approx(Spread(26 / 6, 3 / 9, 2))
    assert spread_of(TABLE, 1) == pytest.approx(Spread(26 / 6, 3 / 9, 1))
    # two runs on three tasks: runs 2 and 4, tasks 1, 3, 5, rest [[1, 0, -1], [-1, 0, 1]], MS_rest = 4 / (1 * 2) = 2
    assert spread_of([[1.0, 2.0, 3.0], [1.0, 4.0, 7.0]]) == pytest.approx(Spread(8 / 2 / 3, 2 / 6, 2))
    assert spread_of([[1.0, 2.0]]) is None
    assert spread_of([[1.0], [2.0]]) is None


def test_crossed_interval_by_hand() -> None:
    # runs 3, 5, 7: variance 4, over 3 runs 4/3; less MS_rest / 9 = 1/3 is the seeds' part, 1; that of the tasks is 13/3
    # both have 2 degrees of freedom, so t is 4.302653 whatever the weights
    mean, _ = intervals(TABLE)
    assert mean == pytest.approx((5.0, 5 - 4.302653 * math.sqrt(16 / 3), 5 + 4.302653 * math.sqrt(16 / 3)))


def test_t_is_weighted_by_the_parts() -> None:
    # runs 3, 5, 7 as above: seeds' part 4/3 - 1/3 = 1, tasks' part 3; t(0.975, 2) = 4.302653, t(0.975, 10) = 2.228139
    t = (1 * 4.302653 + 3 * 2.228139) / 4
    assert seeds_interval([3, 5, 7], Spread(3.0, 1 / 3, 10)) == pytest.approx((5.0, 5 - 2 * t, 5 + 2 * t))
    # what is left exceeds the variance of the runs' means, so that seeds have no part: t with 10 degrees alone
    assert seeds_interval([3, 5, 7], Spread(4.0, 2.0, 10)) == pytest.approx((5, 5 - 2 * 2.228139, 5 + 2 * 2.228139))
    # no tasks: Student's t over the means, standard error 2 / sqrt(3)
    assert seeds_interval([3, 5, 7]) == mean_interval([3, 5, 7])
    assert seeds_interval([3, 5, 7]).low == pytest.approx(5 - 4.302653 * 2 / math.sqrt(3), abs=1e-5)


def test_iqm_of_one_run_by_hand() -> None:
    # of 0, 1, 2, 3, 4, 5, 6, 100 the middle four, 2 to 5, have the mean 3.5; winsorised: 2, 2, 2, 3, 4, 5, 5, 5, mean
    # 3.5, squares about it 3 * 2.25 * 2 + 0.25 * 2 = 14; Tukey and McLaughlin: 8 / 4 * sqrt(14 / 7 / 8) = 1 is the
    # standard error, with 4 - 1 degrees of freedom: t(0.975, 3) = 3.182446
    _, middle = intervals([[0, 1, 2, 3, 4, 5, 6, 100]])
    assert middle == pytest.approx((3.5, 3.5 - 3.182446, 3.5 + 3.182446))


def test_iqm_of_three_runs_by_hand() -> None:
    # IQMs 1, 2 and 6 of four samples each, in the same order of tasks: nothing is left between runs and tasks
    runs = np.array([[0.0], [1.0], [5.0]]) + np.array([-8.0, 0.5, 1.5, 9.0])
    # winsorised, and stretched about their mean 1 by 4 / 2: 0, 0, 2, 2, so MS_task / (S N) = 4 / 3 / 4; runs: 7 / 3
    _, middle = intervals(runs)
    seeds, tasks = 7 / 3, 1 / 3
    t = (seeds * 4.302653 + tasks * 12.706205) / (seeds + tasks)  # the two samples kept have 1 degree of freedom
    assert middle == pytest.approx((3.0, 3 - t * math.sqrt(seeds + tasks), 3 + t * math.sqrt(seeds + tasks)))


def test_one_run_is_judged_over_its_tasks() -> None:
    x = generator(1).normal(size=400)
    mean, middle = intervals(x[None])
    assert mean == pytest.approx(mean_interval(x))
    assert middle.value == pytest.approx(iqm(x))
    assert middle.low < middle.value < middle.high


def test_two_runs_have_no_interval() -> None:
    for interval in (*intervals([[1.0, 2.0], [3.0, 4.0]]), seeds_interval([1.0, 4.0])):
        assert interval.value == 2.5
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


def test_one_task_leaves_the_seeds() -> None:
    for interval in intervals([[1.0], [2.0], [3.0]]):
        assert interval == pytest.approx(mean_interval([1.0, 2.0, 3.0]))
    for interval in (mean_interval([3.0]), *intervals([[3.0]])):
        assert isinstance(interval, Interval)
        assert interval.value == 3.0
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


def test_without_spread_the_interval_is_a_point() -> None:
    for runs in (1, 3):
        assert intervals(np.full((runs, 8), 0.5)) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_runs_that_agree_are_as_sure_as_one() -> None:
    tasks = generator(2).normal(size=50)
    for several, one in zip(intervals(np.stack([tasks] * 3)), intervals(tasks[None]), strict=True):
        assert several == pytest.approx(one)


@pytest.mark.parametrize("shape", [(1, 9), (3, 9), (5, 40), (4, 1)])
def test_what_intervals_do_not_depend_on(shape: tuple[int, int]) -> None:
    rng = generator(3)
    x = rng.normal(size=shape) + rng.normal(size=(shape[0], 1)) + rng.exponential(size=(1, shape[1]))
    found = np.array(intervals(x))
    assert np.array(intervals(x + 7)) == pytest.approx(found + 7)
    assert np.array(intervals(3 * x)) == pytest.approx(3 * found)
    assert np.array(intervals(-x)) == pytest.approx(-found[:, [0, 2, 1]])
    shuffled = x[rng.permutation(shape[0])][:, rng.permutation(shape[1])]
    assert np.array(intervals(shuffled)) == pytest.approx(found)
    wider = np.array(intervals(x, confidence=0.99))
    assert (wider[:, 1] < found[:, 1]).all()
    assert (wider[:, 2] > found[:, 2]).all()


def test_what_intervals_are_over_is_said() -> None:
    assert basis(1, 20) == "over the tasks of this run alone; says nothing of other seeds"
    assert basis(1, 1) == "none: one run, one task"
    assert basis(2, 20) == basis(2, 1) == basis(2, 20, same_tasks=False) == "none: two seeds are too few, it takes 3"
    assert basis(3, 20) == "over seeds and tasks"
    assert basis(3, 1) == "over seeds alone: there is one task"
    assert basis(3, 20, same_tasks=False) == "over seeds, each with tasks of its own"


@pytest.mark.parametrize(("x", "message"), [([], "no samples"), ([1.0, math.nan, math.inf], "2 of 3 samples")])
def test_useless_samples_are_refused(x: list[float], message: str) -> None:
    for estimate in (mean_interval, iqm, seeds_interval, intervals):
        with pytest.raises(ValueError, match=message):
            estimate(x)
    for wrong in ([1.0, 2.0], np.zeros((1, 1, 1))):
        with pytest.raises(ValueError, match=r"expected samples \[seeds, tasks\], not of shape"):
            intervals(wrong)
