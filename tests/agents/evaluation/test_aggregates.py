"""Aggregates: by hand, against brute force over pairs, scipy and finite differences, and what they cannot say."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from agents.evaluation.aggregates import improvement, optimality_gap, profile, scale, thresholds
from agents.evaluation.play import play
from agents.evaluation.statistics import Interval, crossed, intervals
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.interaction.build import build_agent, problem_of


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def angular(value: float, half: float) -> tuple[float, float, float]:
    at, reach = math.asin(math.sqrt(value)), half / (2 * math.sqrt(value * (1 - value)))
    return value, math.sin(at - reach) ** 2, math.sin(at + reach) ** 2


def test_profile_by_hand() -> None:
    shares = profile([[1, 2, 3, 4], [2, 2, 3, 5], [0, 1, 2, 3]], [0, 2, 5])
    assert [share.value for share in shares] == pytest.approx([11 / 12, 5 / 12, 0])  # above, not at
    # three runs alike, above on 8 of 16 tasks: MS_task / (S N) = (16 / 4 / 15) / 16 = 1 / 60, t(0.975, 15) = 2.131450
    # the angle of one half is pi / 4, and sin(pi / 4 - r)^2 = (1 - sin 2 r) / 2 with r = half / (2 / 2)
    (half,) = profile([[0.0] * 8 + [1.0] * 8] * 3, [0.5])
    reach = 2.131450 * math.sqrt(1 / 60)
    assert half == pytest.approx((0.5, (1 - math.sin(2 * reach)) / 2, (1 + math.sin(2 * reach)) / 2))


def test_seeds_move_a_profile() -> None:
    # shares 4, 8 and 12 of 16, squares 3 * 16 / 4 = 12 in all, of which 2 between runs; the means of tasks are four
    # each of 0, 1/3, 2/3 and 1, squares 3 * 4 * 5/9 = 20/3; rest 10/3. So MS_rest / (S N) = 10/3 / 30 / 48 = 1/432, the
    # seeds' part is 1/16 / 3 - 1/432 = 1/54 and that of the tasks 20/3 / 15 / 48 = 1/108
    (found,) = profile([[1.0] * wins + [0.0] * (16 - wins) for wins in (4, 8, 12)], [0.5])
    reach = (2 * 4.302653 + 2.131450) / 3 * math.sqrt(1 / 36)
    assert found == pytest.approx((0.5, (1 - math.sin(2 * reach)) / 2, (1 + math.sin(2 * reach)) / 2))


def test_shares_near_an_end_have_no_interval() -> None:
    def runs(tasks: int, *wins: int) -> list[list[float]]:
        return [[1.0] * won + [0.0] * (tasks - won) for won in wins]

    for won, shown in (((10, 10, 1), True), ((10, 10, 0), False), ((19, 10, 10), True), ((20, 10, 10), False)):
        (share,) = profile(runs(20, *won), [0.5])
        assert share.value == pytest.approx(sum(won) / 60)
        assert math.isnan(share.low) is math.isnan(share.high) is not shown
        ahead = improvement(runs(20, *won), np.full((3, 20), 0.5))
        assert math.isnan(ahead.low) is not shown
        behind = improvement(np.full((3, 20), 0.5), runs(20, *won))
        assert math.isnan(behind.low) is not shown
    assert math.isnan(profile(runs(21, 10, 10, 1), [0.5])[0].low)  # one task of 21 is less than 5%


def test_ends_stay_between_nothing_and_all() -> None:
    (share,) = profile([[1.0, 0.0]] * 3, [0.5])  # t(0.975, 1) = 12.7 times 0.35
    assert share == pytest.approx((0.5, 0.0, 1.0))


def test_improvement_by_hand() -> None:
    x, y = [[1.0, 2.0], [3.0, 0.0]], [[1.0, 1.0]]
    # the first run ties and wins, the second wins and loses: (0.5 + 1 + 1 + 0) / 4
    assert improvement(x, y).value == 0.625
    assert improvement(y, x).value == 0.375
    assert improvement(x, x).value == 0.5


def test_sums_of_the_same_rewards_in_another_order_tie() -> None:
    apart = 2.0**-16  # of themselves: twice what rounding may make
    for sums, same in ((0.1 + 0.2, True), (0.3 * (1 - apart / 4), True), (0.3 * (1 + apart), False)):
        for sign in (1, -1):  # as a cost
            x, y = np.full((2, 20), sign * sums), np.full((3, 20), sign * 0.3)
            assert improvement(x, y).value == 1 - improvement(y, x).value == (0.5 if same else 0.5 + sign / 2)
            assert thresholds(x, y).tolist() == ([max(x[0, 0], y[0, 0])] if same else sorted({x[0, 0], y[0, 0]}))
    near = np.nextafter(np.float32(0.3), np.float32(1))
    assert thresholds(np.array([[0.1, 0.3, near, -0.5]])).tolist() == [-0.5, 0.1, near]
    assert [share.value for share in profile([[0.3, near]], thresholds(np.array([[0.3, near]])))] == [0]


@pytest.mark.parametrize("world", ["grid-navigation", "pursuit"])
def test_players_tie_where_their_rewards_in_decimals_do(world: str) -> None:
    family = build_family(world, {"size": 4})
    problem = problem_of(family, episodes=8, seed=0, device=torch.device("cpu"))
    specs = build_source(Part(name="domain-randomization"), family, np.random.SeedSequence(0)).ask(100)
    seeds = (replace(problem, seed=seed) for seed in range(4))
    x = np.stack([play(build_agent(Part(name="random"), one), family, specs, 8).sum(0) for one in seeds])
    wins = [[improvement(y[:1, [j]], y[1:, [j]]).value for j in range(100)] for y in (x, x.round(4))]
    assert wins[0] == wins[1]


def test_improvement_is_mann_and_whitneys_u_by_task() -> None:
    rng = generator(1)
    x, y = rng.integers(0, 4, (4, 12)).astype(float), rng.integers(0, 5, (3, 12)).astype(float)
    expected = [stats.mannwhitneyu(x[:, j], y[:, j]).statistic / 12 for j in range(12)]
    assert improvement(x, y).value == pytest.approx(np.mean(expected))


def test_interval_of_an_improvement_by_brute_force() -> None:
    rng = generator(2)
    x = rng.normal(size=(4, 30)) + 0.8 * rng.normal(size=(4, 1)) + 0.4
    y = rng.normal(size=(3, 30)) + 0.5 * rng.normal(size=(3, 1))
    pairs = itertools.product(range(4), range(3), range(30))
    wins = np.array([float(x[i, j] > y[k, j]) for i, k, j in pairs]).reshape(4, 3, 30)
    mean, tasks = wins.mean(), wins.mean((0, 1)).var(ddof=1) / 30
    parts, rests = [], []
    for by_run in (wins.mean(1), wins.mean(0)):
        runs = len(by_run)
        left = by_run - by_run.mean(1, keepdims=True) - by_run.mean(0) + mean
        parts.append(by_run.mean(1).var(ddof=1) / runs)
        rests.append((left**2).sum() / ((runs - 1) * 29) / (runs * 30))
    seeds = sum(parts) - sum(rests)
    assert seeds > 0
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)  # Welch
    t = (seeds * stats.t.ppf(0.975, freedom) + tasks * stats.t.ppf(0.975, 29)) / (seeds + tasks)
    found = improvement(x, y)
    assert found == pytest.approx(angular(mean, t * math.sqrt(seeds + tasks)))
    assert improvement(y, x) == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))


def test_against_a_player_without_luck_it_is_a_profile() -> None:
    x = generator(3).normal(size=(3, 40)) + np.array([[0.0], [0.5], [1.0]])
    assert improvement(x, np.zeros((3, 40))) == pytest.approx(profile(x, [0.0])[0])


def test_few_seeds() -> None:
    x, y = generator(4).normal(size=(2, 3, 40))
    for ours, theirs in ((x[:2], y), (x, y[:2]), (x[:2], y[:1]), (x[:1], y[:2])):
        assert math.isnan(improvement(ours, theirs).low)
        assert math.isnan(improvement(ours, theirs).high)
    assert math.isnan(profile(x[:2], [0.0])[0].low)
    assert math.isnan(optimality_gap(x[:2], x - 3, x + 3).low)
    # one run of either: over tasks alone, as of one run's shares
    wins = np.array([improvement(x[:1, [j]], y[:, [j]]).value for j in range(40)])
    plain = intervals(wins[None])[0]
    assert improvement(x[:1], y) == pytest.approx(angular(plain.value, plain.high - plain.value))
    assert math.isnan(improvement(x[:, :1], y[:, :1]).low)


def test_optimality_gap_by_hand() -> None:
    random, optimal = np.full((1, 4), 10.0), np.full((1, 4), 30.0)
    # scores 0.5, 1.1, 1 and -0.5, of which 1.1 counts as 1: 1 - (0.5 + 1 + 1 - 0.5) / 4
    assert optimality_gap([[20.0, 32.0, 30.0, 0.0]], random, optimal).value == pytest.approx(0.5)
    assert optimality_gap(optimal, random, optimal) == (0, 0, 0)
    assert optimality_gap(random, random, optimal).value == 1
    # the scale is one for all tasks, between the means over tasks: 0 is 2, 1 is 6
    uneven = optimality_gap([[4.0, 4.0]], [[1.0, 3.0]], [[2.0, 10.0]])
    assert uneven.value == pytest.approx(0.5)
    # players without luck leave the scale alone: the interval is that of the shortfalls
    x = generator(5).uniform(5, 35, (3, 4))
    found = optimality_gap(x, random, optimal)
    plain = crossed(1 - np.minimum((x - 10) / 20, 1), 3)
    assert found == pytest.approx((plain.value, max(0, plain.low), plain.high))


def test_the_scale_of_a_gap_moves_with_the_tasks() -> None:
    """The influence of each task by finite differences of the gap in the weights of tasks."""
    rng = generator(6)
    task = rng.exponential(size=50)
    x, random, optimal = rng.normal(size=50) + task + 1.5, rng.normal(size=50) + task, rng.normal(size=50) + task + 3

    def gap(weights: np.ndarray) -> float:
        zero, one = weights @ random, weights @ optimal
        return 1 - weights @ np.minimum((x - zero) / (one - zero), 1)

    even, step = np.full(50, 0.02), 1e-6
    values = [gap(even) + (gap(even + step * (np.eye(50)[j] - even)) - gap(even)) / step for j in range(50)]
    expected = intervals(np.array(values)[None])[0]
    assert optimality_gap(x[None], random[None], optimal[None]) == pytest.approx(expected, rel=1e-4)


def test_scale_is_the_difference_of_the_means_over_runs() -> None:
    found = scale([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]], [[5.0, 6.0, 10.0]])
    # differences 5 - 1, 6 - 3 and 10 - 5: mean 4, standard error 1 / sqrt(3), t(0.975, 2) = 4.302653
    assert found == pytest.approx((4.0, 4 - 4.302653 / math.sqrt(3), 4 + 4.302653 / math.sqrt(3)))


def test_thresholds_are_the_values_or_equally_spaced() -> None:
    assert thresholds(np.array([[3.0, 1.0]]), np.array([[1.0, 2.0]])).tolist() == [1, 2, 3]
    assert thresholds(np.array([[0.0, 1.0, 4.0]]), most=2).tolist() == [0, 4]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="scores on 2 and 3 tasks"):
        improvement(np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="on different tasks"):
        optimality_gap(np.zeros((1, 2)), np.zeros((1, 2)), np.ones((1, 3)))
    for optimal in (0.0, -1.0):
        with pytest.raises(ValueError, match="earns .*, no more than the random one, 0"):
            optimality_gap(np.zeros((1, 2)), np.zeros((1, 2)), np.full((1, 2), optimal))
    with pytest.raises(ValueError, match="NaN"):
        profile([[math.nan]], [0.0])
    assert isinstance(profile([[1.0]], [0.0])[0], Interval)
