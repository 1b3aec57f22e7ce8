"""A small version of the coverage simulation: 95% holds the truth about as often, and the bootstrap does not."""

import math

import numpy as np
import pytest

import benchmarks.interval_coverage
from agents.evaluation.statistics import intervals
from benchmarks.interval_coverage import Effects, aggregates_coverage, bootstrap, coverage, satterthwaite

REPETITIONS = 1200


def effects(seed: float, task: float, rest: float) -> Effects:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(2, 4000))
    values = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    return Effects(seed, task * values[0], rest * values[1])


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(("seed", "task", "rest"), [(1.0, 1.0, 0.3), (0.1, 1.5, 1.6)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds: int, seed: float, task: float, rest: float) -> None:
    error = 3 * math.sqrt(0.95 * 0.05 / REPETITIONS)  # binomial, three standard errors
    for share in coverage(effects(seed, task, rest), seeds, 40, REPETITIONS, normal=True):
        assert 0.93 - error < share < 0.97 + error


SKEWED = {  # drawn about a mean of 0; from how often to how often the intervals hold it, as docs/judging.md says
    "exponential": (lambda rng, *shape: rng.exponential(size=shape) - 1, 0.86, 0.96),
    "log-normal": (lambda rng, *shape: rng.lognormal(size=shape) - math.exp(0.5), 0.79, 0.95),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SKEWED)
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("tasks", [20, 200])
@pytest.mark.parametrize(("seed", "task"), [(1.0, 1.0), (0.2, 1.0), (1.0, 0.2)])
def test_of_skewed_effects_they_hold_the_truth_less_often(
    kind: str, seeds: int, tasks: int, seed: float, task: float
) -> None:
    draw, least, most = SKEWED[kind]
    rng, held = np.random.default_rng(0), 0
    for _ in range(REPETITIONS):
        x = seed * draw(rng, seeds, 1) + task * draw(rng, 1, tasks) + 0.3 * draw(rng, seeds, tasks)
        _, low, high = intervals(x)[0]
        held += low <= 0 <= high
    assert least < held / REPETITIONS < most


@pytest.mark.parametrize(("seeds", "normal"), [(3, True), (5, False), (10, True)])
def test_intervals_of_aggregates_hold_the_truth_too(monkeypatch, seeds: int, normal: bool) -> None:
    monkeypatch.setattr(benchmarks.interval_coverage, "MANY", 200_000)
    repetitions = 400
    error = 3 * math.sqrt(0.95 * 0.05 / repetitions)
    for held in aggregates_coverage(effects(0.15, 1.0, 0.5), seeds, 60, repetitions, normal=normal).values():
        assert held.shown > 0.5
        assert 0.93 - error < held.covered < 0.97 + error


def test_where_seeds_make_shares_of_nothing_and_all_none_is_shown(monkeypatch) -> None:
    monkeypatch.setattr(benchmarks.interval_coverage, "MANY", 10_000)
    found = aggregates_coverage(effects(5.0, 0.2, 0.2), 5, 60, 50, normal=True)
    gap = found.pop("optimality gap")
    assert gap.shown == 1
    assert all(held.shown < 0.1 for held in found.values())


def test_a_percentile_bootstrap_over_few_seeds_does_not() -> None:
    rng = np.random.default_rng(1)
    held = np.zeros(3)
    for _ in range(400):
        x = rng.normal(size=(3, 1)) + rng.normal(size=(1, 60)) + 0.3 * rng.normal(size=(3, 60))
        ends = (bootstrap(x, rng, 300), satterthwaite(x), intervals(x)[0][1:])
        held += [low <= 0 <= high for low, high in ends]
    assert held[0] / 400 < 0.82 < 0.88 < held[1] / 400 < held[2] / 400 + 0.02
    assert held[2] / 400 > 0.91


def test_recorded_effects_have_the_unbiased_variances() -> None:
    # the table of three runs and tasks: runs' means vary by 4 and the rest by 3, of which 3 / 3 is in the runs' means
    x = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0], [2.0, 6.0, 13.0]])
    assert Effects.recorded(x).deviations == pytest.approx((math.sqrt(4 - 1), math.sqrt(13 - 1), math.sqrt(3)))
