"""Bandit players against values worked out by hand and by brute force."""

import itertools
import math
from functools import cache

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.reference.arms import ArmCounts, BetaPrior, count, no_counts, posterior_mean
from agents.reference.bandit_oracle import BanditOracle, BanditOracleConfig
from agents.reference.bayes_optimal import BayesOptimal, BayesOptimalConfig, count_states, longest_trial, solve
from agents.reference.epsilon_greedy import EpsilonGreedy, EpsilonGreedyConfig
from agents.reference.gittins import LONGEST, Gittins, GittinsConfig, gittins_indices
from agents.reference.greedy import Greedy, GreedyConfig
from agents.reference.thompson import Thompson, ThompsonConfig
from agents.reference.ucb1 import UCB1, UCB1Config
from registry.errors import UserError
from taskgen.interaction.agent import Problem, Step

CPU = torch.device("cpu")


def problem(arms=2, pulls=10, horizon=1):
    box, actions = gym.spaces.Box(0.0, 1.0, (1,), np.float32), gym.spaces.Discrete(arms)
    return Problem(box, actions, horizon, pulls // horizon, arms, "builtin/bandit", {"arms": arms}, 0, CPU)


def step(action, reward, first=False, descriptor=None):
    """What is seen after `action` [B] gave `reward` [B]; `first`: before any pull."""
    action, reward = torch.as_tensor(action), torch.as_tensor(reward, dtype=torch.float32)
    start = torch.as_tensor(first).expand(action.shape)
    episode_start = torch.ones_like(action, dtype=torch.bool)
    return Step(torch.zeros(len(action), 1), action, reward, episode_start, start, torch.zeros_like(action), descriptor)


def play_on(player, rewards):
    """Pulls [n, B] of a player whose pulls give `rewards` [n, B], whichever arm it pulls."""
    previous = torch.zeros_like(rewards[0])
    action, carry = player.act(
        player.begin_trial(rewards.shape[1]), step(torch.zeros(len(previous), dtype=torch.int64), previous, True)
    )
    actions = [action.value]
    for reward in rewards[:-1]:
        action, carry = player.act(carry, step(actions[-1], reward))
        actions.append(action.value)
    return torch.stack(actions)


def first_choice(player, history, batch=1):
    """[B] next pull after `history`, a list of (arm, reward), the same in every trial."""
    carry = player.begin_trial(batch)
    action, carry = player.act(carry, step(torch.zeros(batch, dtype=torch.int64), torch.zeros(batch), True))
    for arm, reward in history:
        action, carry = player.act(carry, step(torch.full((batch,), arm), torch.full((batch,), float(reward))))
    return action.value


def expected_return(player, arms, pulls):
    """Exact expected return under the uniform prior of a player without randomness: all reward sequences at once."""
    rewards = torch.tensor(list(itertools.product([0.0, 1.0], repeat=pulls))).T
    actions = play_on(player, rewards)
    counts, likelihood = no_counts(rewards.shape[1], arms, CPU), torch.ones(rewards.shape[1], dtype=torch.float64)
    for action, reward in zip(actions, rewards, strict=True):
        mean = posterior_mean(counts, BetaPrior()).gather(1, action[:, None])[:, 0]
        likelihood = likelihood * torch.where(reward == 1, mean, 1 - mean)
        counts = count(counts, step(action, reward))
    return float((likelihood * rewards.sum(0)).sum())


def brute_force(arms, pulls, prior):
    """Value of Bayes-optimal play, one count per arm, no symmetry."""

    @cache
    def value(counts, left):
        if left == 0:
            return 0.0
        worth = []
        for arm, (s, f) in enumerate(counts):
            p = (s + prior.prior_successes) / (s + f + prior.prior_successes + prior.prior_failures)
            won = (*counts[:arm], (s + 1, f), *counts[arm + 1 :])
            lost = (*counts[:arm], (s, f + 1), *counts[arm + 1 :])
            worth.append(p * (1 + value(won, left - 1)) + (1 - p) * value(lost, left - 1))
        return max(worth)

    return value(((0, 0),) * arms, pulls)


def test_counts_of_a_trial_start_anew_where_it_starts():
    before = ArmCounts(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    after = count(before, step([1, 1], [1.0, 1.0], first=torch.tensor([True, False])))
    assert after.successes.tolist() == [[0, 0], [2, 1]]
    assert after.failures.tolist() == [[0, 0], [0, 1]]
    assert posterior_mean(after, BetaPrior()).tolist() == [[0.5, 0.5], [0.75, 0.5]]  # 3/4 and 2/4
    assert before.successes.tolist() == [[2, 0], [2, 0]], "the old carry is not touched"


@pytest.mark.parametrize(("arms", "pulls", "expected"), [(1, 4, 2.0), (5, 1, 0.5), (2, 2, 1 + 1 / 12)])
def test_bayes_optimal_value_by_hand(arms, pulls, expected):
    # two arms, two pulls: .5, then 2/3 after a success (the same arm), 1/2 after a failure (the other)
    assert solve(arms, pulls, BayesOptimalConfig()).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("arms", "pulls"), [(2, 6), (3, 5), (4, 3), (5, 4)])
@pytest.mark.parametrize("prior", [(1.0, 1.0), (2.0, 0.5)])
def test_bayes_optimal_value_is_that_of_the_plain_recursion(arms, pulls, prior):
    config = BayesOptimalConfig(prior_successes=prior[0], prior_failures=prior[1])
    assert solve(arms, pulls, config).value == pytest.approx(brute_force(arms, pulls, config), abs=1e-12)


@pytest.mark.parametrize(("arms", "expected"), [(5, 6.660), (10, 6.714), (50, 6.714)])
def test_bayes_optimal_value_of_ten_pulls(arms, expected):
    assert BayesOptimal(BayesOptimalConfig(), problem(arms, 10)).value == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("arms", "pulls"), [(2, 8), (3, 7), (9, 5)])
def test_bayes_optimal_play_earns_its_value(arms, pulls):
    player = BayesOptimal(BayesOptimalConfig(), problem(arms, pulls))
    assert expected_return(player, arms, pulls) == pytest.approx(player.value, abs=1e-5)


def test_pulls_of_a_trial_may_be_spread_over_episodes_of_several():
    short, long = (BayesOptimal(BayesOptimalConfig(), problem(3, 8, horizon)) for horizon in (1, 4))
    assert short.value == long.value


def test_number_of_states():
    # two arms, three pulls: () | (1,0) (0,1) | (2,0) (1,1) (0,2) and the three multisets of two single pulls
    assert count_states(2, 3) == 1 + 2 + 6
    assert count_states(50, 12) == count_states(12, 12)
    assert count_states(5, 20) == len(solve(5, 20, BayesOptimalConfig()).keys)


def test_bayes_optimal_says_what_it_can_do():
    assert count_states(3, longest_trial(3, 1000)) <= 1000 < count_states(3, longest_trial(3, 1000) + 1)
    with pytest.raises(UserError, match=rf"3 arms it can do {longest_trial(3, 1000)} pulls"):
        solve(3, 60, BayesOptimalConfig(max_states=1000))
    with pytest.raises(UserError, match="max_states"):
        solve(50, 500, BayesOptimalConfig())


def test_gittins_index_by_hand():
    index = gittins_indices(4, GittinsConfig())
    assert index[1, 0, 0] == pytest.approx(1 / 2)
    assert index[1, 2, 1] == pytest.approx(3 / 5)
    # two left, Beta(1, 1), 1/3 < x < 2/3: 1/2 - x + 1/2 (2/3 - x) = 0
    assert index[2, 0, 0] == pytest.approx(5 / 9, abs=1e-4)
    # two left, Beta(2, 1), 1/2 < x < 3/4: 2/3 - x + 2/3 (3/4 - x) = 0
    assert index[2, 1, 0] == pytest.approx(7 / 10, abs=1e-4)
    # three left, Beta(1, 1), x > 1/3 and x < 7/10: 1/2 - x + 1/2 (2/3 - x + 2/3 (3/4 - x) + 1/3 max(0, 1/2 - x)) = 0
    assert index[3, 0, 0] == pytest.approx(13 / 22, abs=1e-4)


def test_a_finer_grid_changes_gittins_indices_little():
    coarse, fine = (gittins_indices(30, GittinsConfig(grid=grid)) for grid in (512, 2048))
    assert np.abs(coarse - fine).max() < 1e-3


def test_gittins_play_is_nearly_optimal():
    arms, pulls = 3, 9
    optimal = solve(arms, pulls, BayesOptimalConfig()).value
    assert (
        optimal - 0.01 < expected_return(Gittins(GittinsConfig(), problem(arms, pulls)), arms, pulls) < optimal + 1e-5
    )


def test_gittins_refuses_long_trials():
    with pytest.raises(UserError, match=f"up to {LONGEST}"):
        Gittins(GittinsConfig(), problem(2, LONGEST + 1))


@pytest.mark.parametrize(("exploration", "arm"), [(0.70, 0), (0.73, 1)])
def test_ucb1_by_hand(exploration, arm):
    # after one success of arm 0: T = 3, 2, t = 5; 2/3 + c sqrt(2 ln 5 / 3) = 1/2 + c sqrt(2 ln 5 / 2) at c = .716
    crossing = (2 / 3 - 1 / 2) / (math.sqrt(math.log(5)) - math.sqrt(2 * math.log(5) / 3))
    assert crossing == pytest.approx(0.716, abs=1e-3)
    player = UCB1(UCB1Config(exploration=exploration), problem())
    assert first_choice(player, [(0, 1)], 50).unique().tolist() == [arm]


@pytest.mark.parametrize(
    ("pulls", "exploration", "epsilon"), [(10, 0.1, 0.01), (20, 0.1, 0.01), (100, 0.2, 0.01), (500, 0.3, 0.03)]
)
def test_tuned_settings_follow_the_length_of_the_trial(pulls, exploration, epsilon):
    assert UCB1(UCB1Config(), problem(5, pulls)).exploration == exploration
    assert EpsilonGreedy(EpsilonGreedyConfig(), problem(5, pulls)).epsilon == epsilon
    assert EpsilonGreedy(EpsilonGreedyConfig(epsilon=0.5), problem(5, pulls)).epsilon == 0.5


def test_thompson_pulls_an_arm_as_often_as_it_is_believed_best():
    # P(Beta(2, 1) > U) = E[Beta(2, 1)] = 2/3; P(Beta(1, 2) > U) = 1/3
    player = Thompson(ThompsonConfig(), problem())
    error = 4 * math.sqrt(2 / 9 / 20_000)
    assert (first_choice(player, [(0, 1)], 20_000) == 0).double().mean() == pytest.approx(2 / 3, abs=error)
    assert (first_choice(player, [(0, 0)], 20_000) == 0).double().mean() == pytest.approx(1 / 3, abs=error)


def test_greedy_pulls_the_best_arm_and_breaks_ties_at_random():
    player = Greedy(GreedyConfig(), problem(3))
    assert first_choice(player, [(1, 1)], 100).unique().tolist() == [1]
    share = (first_choice(player, [(1, 0)], 20_000) == 0).double().mean()  # arms 0 and 2 are untouched
    assert share == pytest.approx(1 / 2, abs=4 * math.sqrt(1 / 4 / 20_000))


def test_epsilon_greedy_strays_with_probability_epsilon():
    player = EpsilonGreedy(EpsilonGreedyConfig(epsilon=0.3), problem(3))
    share = (first_choice(player, [(1, 1)], 20_000) != 1).double().mean()  # a third of the strays return
    assert share == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 20_000))


def test_oracle_pulls_the_best_arm_it_is_told():
    player = BanditOracle(BanditOracleConfig(), problem(3))
    told = torch.tensor([[0.1, 0.9, 0.3], [0.8, 0.2, 0.7]])
    action, _ = player.act(player.begin_trial(2), step([0, 0], [0.0, 0.0], True, told))
    assert player.needs_descriptor
    assert action.value.tolist() == [1, 0]
    with pytest.raises(UserError, match="descriptor"):
        player.act(player.begin_trial(2), step([0, 0], [0.0, 0.0], True))
