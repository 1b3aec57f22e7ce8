"""Tabular players against values worked out by hand and by brute force."""

import itertools
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy import stats

from agents.reference import tables
from agents.reference.beb import BEB, BEBConfig
from agents.reference.opsrl import OPSRL, OPSRLConfig
from agents.reference.player import sample_gamma
from agents.reference.posterior_greedy import PosteriorGreedy, PosteriorGreedyConfig
from agents.reference.psrl import PSRL, PSRLConfig
from agents.reference.tables import TableCounts, TablePrior, Tables, action_values, no_table_counts
from agents.reference.tabular_oracle import TabularOracle, TabularOracleConfig
from registry.errors import UserError
from taskgen.interaction.agent import Problem, Step


def problem(states=2, actions=2, horizon=3, seed=0):
    box, discrete = gym.spaces.Box(0.0, 1.0, (states,), np.float32), gym.spaces.Discrete(actions)
    size = states * actions * (1 + states)
    return Problem(box, discrete, horizon, 10, size, "builtin/tabular-mdp", {}, seed, torch.device("cpu"))


def step(state, action, reward, *, episode_start=False, trial_start=False, states=2, descriptor=None):
    """What is seen in `state` [B] after `action` [B] gave `reward` [B]; a flag may be one for all or one for each."""
    observation = torch.nn.functional.one_hot(torch.tensor(state), states).float()
    starts = (torch.as_tensor(flag).expand(len(state)) for flag in (episode_start, trial_start))
    index = torch.zeros(len(state), dtype=torch.int64)
    return Step(observation, torch.tensor(action), torch.tensor(reward), *starts, index, descriptor)


def first(batch=1, states=1):
    """The first step of a trial, in state 0."""
    return step([0] * batch, [0] * batch, [0.0] * batch, episode_start=True, trial_start=True, states=states)


def next_episode(batch, action, reward):
    """The first step of the next episode of a problem with one state, after the last one's `action` gave `reward`."""
    return step([0] * batch, [action] * batch, [reward] * batch, episode_start=True, states=1)


def seen(transitions, visits, reward):
    """`TableCounts` of one trial."""
    counts = [torch.tensor([values], dtype=torch.float32) for values in (transitions, visits, reward)]
    return TableCounts(*counts, *torch.zeros(2, 1, dtype=torch.int64), torch.zeros(1, 1, 1, dtype=torch.int64))


def test_posterior_by_hand():
    # one action, two states; in state 0 rewards 3 and 5, one move to state 1
    counts = seen([[[0, 1]], [[0, 0]]], [[2], [0]], [[8], [0]])
    expected = tables.posterior_mean(counts, TablePrior())
    assert expected.reward.flatten().tolist() == pytest.approx([(1 + 8) / 3, 1])
    assert expected.transition.flatten().tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2, 1 / 2])


def test_posterior_with_another_prior_by_hand():
    # precision 1/4 + 2/9 = 17/36; mean (5/4 + 8/9) / (17/36) = 77/17; concentrations .5 and 1.5
    prior = TablePrior(concentration=0.5, reward_mean=5.0, reward_spread=2.0, reward_noise=3.0)
    expected = tables.posterior_mean(seen([[[0, 1]], [[0, 0]]], [[2], [0]], [[8], [0]]), prior)
    assert expected.reward.flatten().tolist() == pytest.approx([77 / 17, 5])
    assert expected.transition.flatten().tolist() == pytest.approx([1 / 4, 3 / 4, 1 / 2, 1 / 2])


def test_counts_follow_the_boundaries():
    counts = no_table_counts(3, problem())
    counts = tables.count(counts, step([0, 0, 0], [1, 1, 1], [9.0, 9.0, 9.0], episode_start=True, trial_start=True))
    assert float(counts.visits.sum()) == 0
    # row 0 goes on, row 1 begins an episode (where it moved is not seen), row 2 a new trial
    flags = {"episode_start": [False, True, True], "trial_start": [False, False, True]}
    before = counts
    counts = tables.count(counts, step([1, 0, 0], [1, 1, 1], [2.0, 3.0, 4.0], **flags))
    assert counts.transitions.nonzero().tolist() == [[0, 0, 1, 1]]
    assert counts.visits.nonzero().tolist() == [[0, 0, 1], [1, 0, 1]]
    assert counts.reward[:, 0, 1].tolist() == [2, 3, 0]
    assert counts.state.tolist() == [1, 0, 0]
    assert counts.time.tolist() == [1, 0, 0]
    assert float(before.visits.sum()) == 0, "the old carry is not touched"


def test_posterior_samples_have_the_posterior_moments():
    counts = seen([[[0, 3]], [[0, 0]]], [[3], [0]], [[8], [0]])
    many = TableCounts(*(values.repeat(20_000, *[1] * (values.ndim - 1)) for values in counts))
    drawn = tables.posterior_sample(many, TablePrior(), torch.Generator().manual_seed(0))
    assert drawn.reward[:, 0, 0].mean() == pytest.approx(9 / 4, abs=4 * math.sqrt(1 / 4 / 20_000))
    assert drawn.reward[:, 0, 0].var() == pytest.approx(1 / 4, rel=0.05)
    to_one = drawn.transition[:, 0, 0, 1].double().numpy()  # Dirichlet(1, 4): the second is Beta(4, 1)
    assert stats.kstest(to_one, stats.beta(4, 1).cdf).pvalue > 1e-3
    assert torch.allclose(drawn.transition.sum(-1), torch.ones(()))


@pytest.mark.parametrize("shape", [0.2, 1.0, 2.0, 40.0])
def test_gamma_variates_have_their_distribution(shape):
    drawn = sample_gamma(torch.full((20_000,), shape), torch.Generator().manual_seed(1)).double().numpy()
    assert stats.kstest(drawn, stats.gamma(shape).cdf).pvalue > 1e-3


def test_gamma_variates_do_not_move_each_other():
    one = sample_gamma(torch.tensor([1.0, 1.0, 1.0]), torch.Generator().manual_seed(2))
    other = sample_gamma(torch.tensor([1.0, 90.0, 0.1]), torch.Generator().manual_seed(2))
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_value_iteration_is_the_best_of_all_policies():
    rng, states, actions, horizon = np.random.default_rng(0), 2, 2, 3
    reward, transition = rng.normal(size=(states, actions)), rng.dirichlet([1, 1], size=(states, actions))
    best = np.full((horizon, states), -np.inf)
    for policy in itertools.product(range(actions), repeat=horizon * states):
        choice, value = np.array(policy).reshape(horizon, states), np.zeros(states)
        for h in reversed(range(horizon)):
            value = np.array([reward[s, choice[h, s]] + transition[s, choice[h, s]] @ value for s in range(states)])
            best[h] = np.maximum(best[h], value)
    found = action_values(Tables(torch.from_numpy(reward)[None], torch.from_numpy(transition)[None]), horizon)
    assert found.shape == (1, horizon, states, actions)
    np.testing.assert_allclose(found[0].amax(-1).numpy(), best, rtol=1e-5)


def test_oracle_plans_in_the_true_tables():
    # state 0: action 0 pays 1 and stays, action 1 pays nothing and leads to state 1, where action 1 pays 3 and stays
    reward = [1.0, 0.0, 0.0, 3.0]
    transition = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    descriptor = torch.tensor([reward + transition])
    player = TabularOracle(TabularOracleConfig(), problem())
    told = {"descriptor": descriptor}
    action, carry = player.act(
        player.begin_trial(1), step([0], [0], [0.0], episode_start=True, trial_start=True, **told)
    )
    assert action.value.tolist() == [1]
    action, carry = player.act(carry, step([1], [1], [0.0], **told))
    assert action.value.tolist() == [1]
    action, carry = player.act(carry, step([0], [1], [0.0], **told))  # last step: no time to go to state 1
    assert action.value.tolist() == [0]
    action, _ = player.act(carry, step([0], [0], [0.0], episode_start=True, **told))
    assert action.value.tolist() == [1]
    with pytest.raises(UserError, match="descriptor"):
        player.act(player.begin_trial(1), first(states=2))


def test_psrl_acts_as_often_on_an_action_as_it_is_believed_best():
    # one state, one step: after a reward of 3, action 0 is worth N(2, 1/2), action 1 N(1, 1)
    batch, player = 20_000, PSRL(PSRLConfig(), problem(states=1, horizon=1))
    _, carry = player.act(player.begin_trial(batch), first(batch))
    action, _ = player.act(carry, next_episode(batch, 0, 3.0))
    expected = stats.norm.cdf(1 / math.sqrt(1.5))
    assert (action.value == 0).double().mean() == pytest.approx(expected, abs=4 * math.sqrt(0.25 / batch))


def test_opsrl_takes_the_largest_of_its_samples():
    batch, rng = 20_000, np.random.default_rng(0)
    player = OPSRL(OPSRLConfig(samples=3), problem(states=1, horizon=1))
    _, carry = player.act(player.begin_trial(batch), first(batch))
    action, _ = player.act(carry, next_episode(batch, 0, 1.0))
    samples = rng.normal(1, [math.sqrt(1 / 2), 1], size=(200_000, 3, 2)).max(1)
    expected = (samples[:, 0] > samples[:, 1]).mean()
    assert expected < 0.45
    assert (action.value == 0).double().mean() == pytest.approx(expected, abs=4 * math.sqrt(0.25 / batch))


@pytest.mark.parametrize(("bonus", "action"), [(5.9, 0), (6.1, 1)])
def test_beb_by_hand(bonus, action):
    # one state: action 0 gave 3 once, worth 2 + bonus / (1 + 1 + 1); action 1 is worth 1 + bonus / (1 + 1)
    player = BEB(BEBConfig(bonus=bonus), problem(states=1, horizon=1))
    _, carry = player.act(player.begin_trial(1), first())
    chosen, _ = player.act(carry, next_episode(1, 0, 3.0))
    assert chosen.value.tolist() == [action]


@pytest.mark.parametrize(("replan", "second"), [("episode", 0), ("step", 1)])
def test_plans_are_made_when_asked_for(replan, second):
    player = PosteriorGreedy(PosteriorGreedyConfig(replan=replan), problem(states=1))
    action, carry = player.act(player.begin_trial(1), first())
    assert action.value.tolist() == [0]
    action, carry = player.act(carry, step([0], [0], [-9.0], states=1))
    assert action.value.tolist() == [second]
    action, _ = player.act(carry, next_episode(1, 0, -9.0))
    assert action.value.tolist() == [1]


def test_a_trial_in_mid_episode_keeps_its_plan_when_another_begins_one():
    player = PosteriorGreedy(PosteriorGreedyConfig(), problem(states=1))
    _, carry = player.act(player.begin_trial(2), first(2))
    action, _ = player.act(carry, step([0, 0], [0, 0], [-9.0, -9.0], states=1, episode_start=[False, True]))
    assert action.value.tolist() == [0, 1]


def test_spaces_that_are_not_tabular_are_refused():
    box = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
    with pytest.raises(UserError, match="discrete actions"):
        PSRL(PSRLConfig(), Problem(box, box, 3, 10, 0, "mine/walker", {}, 0, torch.device("cpu"))).begin_trial(1)
    image = gym.spaces.Box(0.0, 1.0, (2, 2), np.float32)
    actions = gym.spaces.Discrete(2)
    with pytest.raises(UserError, match="one-hot states"):
        PSRL(PSRLConfig(), Problem(image, actions, 3, 10, 0, "mine/maze", {}, 0, torch.device("cpu"))).begin_trial(1)
