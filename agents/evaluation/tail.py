"""The tail: mean return of a trial on the share of tasks where it is lowest, the conditional value at risk (CVaR).

Reference: Rockafellar and Uryasev, "Optimization of Conditional Value-at-Risk", Journal of Risk 2000; Rigter, Lacerda
and Hawes, "Risk-Averse Bayes-Adaptive Reinforcement Learning", NeurIPS 2021, judge adaptation by it.

The worst tasks of one evaluation are in part those of the worst luck, and their mean would be too low. So tasks are
ranked by a trial with other luck than the one that is measured. The luck of ranking makes the estimate too mild rather
than too low: it is the mean of the tasks that *would be called* worst by one trial. Axes: S seeds, N tasks.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.statistics import Interval, crossed
from taskgen.spec import TaskSpec
from taskgen.streams import integer_seed

PART = 4
"""One in so many tasks is played a second time to be ranked."""
LEAST = 20
"""Tasks in the tail, where there are tasks enough: with fewer of them there is no interval (of 95%, 10 cover 92%)."""


def ranked_tasks(tasks: int, share: float) -> int:
    """How many of `tasks` tasks are ranked, the first of them: a quarter, or more where these would be too few.

    0 where nothing is asked for (`share` 0) or not even one of all tasks would be in the tail.
    """
    if not share or tail_tasks(tasks, share) == 0:
        return 0
    return min(tasks, max(tasks // PART, math.ceil(LEAST / share)))


def tail_tasks(ranked: int, share: float) -> int:
    """How many of the `ranked` tasks are the tail."""
    return math.floor(share * ranked + 1e-9)


class Ranked(NamedTuple):
    """The tasks that are ranked, and how."""

    tasks: tuple[TaskSpec, ...]
    seeds: tuple[int, ...]
    """Of the noise of each task's ranking trial: a stream of the task, the same for everybody."""
    share: float
    """Of them the tail."""


def ranked(tasks: Sequence[TaskSpec], share: float) -> Ranked:
    """Those of the distinct `tasks` that are ranked for a tail of this `share`, maybe none."""
    chosen = tuple(tasks[: ranked_tasks(len(tasks), share)])
    return Ranked(chosen, tuple(integer_seed(spec.seed, "ranking", spec.id) for spec in chosen), share)


def tail_values(ranking: NDArray[np.float64], measured: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """[N] values whose mean is that of `measured` [N] over the `share` of tasks lowest in `ranking` [N].

    Their spread is that of the estimate, the luck of which tasks there are included (the influence function of CVaR:
    c + (value - c) / share in the tail and c beyond it, c being the mean return of tasks at the border), so that what
    gives a mean its interval gives the tail one.
    """
    tail = tail_tasks(len(ranking), share)
    order = np.argsort(ranking, kind="stable")
    border = float(measured[order[tail // 2 : tail + max(1, tail // 2)]].mean())
    values = np.full(len(ranking), border)
    worst = order[:tail]
    values[worst] += (measured[worst] - border) * len(ranking) / tail
    return values


def tail_interval(values: NDArray[np.float64], share: float) -> Interval:
    """Mean of `tail_values` [S, N] of runs on the same tasks, with its 95% interval as `statistics.intervals` has it.

    There is none below `LEAST` tasks in the tail. The spread is that of tasks in the tail, so these, less one, are its
    degrees of freedom.
    """
    tail = tail_tasks(values.shape[1], share)
    if tail < LEAST:
        return Interval(float(values.mean()), math.nan, math.nan)
    return crossed(values, tail - 1)
