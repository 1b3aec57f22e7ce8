"""Scores against values computed by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from registry.config import Part
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import CollectionPlan, Rollout, Trial
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.score import SCORES, check_scores, score

BANDIT = build_family("bandit")
SPECS = [BANDIT.spec({"probabilities": [p] * 5}, seed=1) for p in (0.0, 1.0)]


class Table:
    """A critic whose values and advantages are given, [T, B]."""

    def __init__(self, value, advantage, error):
        self.value, self.advantage, self.error = (torch.tensor(x) for x in (value, advantage, error))

    def estimates(self, rollout, trace=None):
        return self.value, self.error if trace == 0 else self.advantage


def _trial(reward, index, valid, slots=1, episodes=2):
    reward = torch.tensor(reward)
    zeros = torch.zeros_like(reward)
    flags = zeros.bool()
    rollout = Rollout(
        zeros, zeros, reward, flags, flags, zeros, flags, flags, torch.tensor(index), torch.tensor(valid), {"x": zeros}
    )
    side_by_side = slots > 1
    return Trial(SPECS[: reward.shape[1] // slots], [rollout], CollectionPlan(1, episodes, side_by_side))


SEQUENTIAL = _trial(
    [[1.0, 0.0], [0.0, 2.0], [3.0, 9.0]], [[0, 0], [1, 1], [1, 2]], [[True, True], [True, True], [True, False]]
)
CRITIC = Table(
    [[1.0, 2.0], [3.0, 4.0], [5.0, 99.0]],
    [[-1.0, 2.0], [2.0, -4.0], [5.0, 99.0]],
    [[-3.0, 0.5], [0.0, -0.5], [0.0, 99.0]],
)


def test_value_scores_are_means_over_valid_steps():
    wanted = ("positive-value-loss", "gae", "value-l1", "one-step-td", "mean-value")
    first, second = score(SEQUENTIAL, CRITIC, BANDIT, wanted)
    assert (first.returns, second.returns) == ((1.0, 3.0), (0.0, 2.0))
    assert first.scores == pytest.approx(
        {"gae": 2.0, "mean-value": 3.0, "one-step-td": 1.0, "positive-value-loss": 7 / 3, "value-l1": 8 / 3}
    )
    assert second.scores == pytest.approx(
        {"gae": -1.0, "mean-value": 3.0, "one-step-td": 0.5, "positive-value-loss": 1.0, "value-l1": 3.0}
    )


def test_success_learnability_and_regret():
    family = SimpleNamespace(name="toy", solved_return=2.0, optimal_return=lambda spec: 4.0 + (spec == SPECS[1]))
    first, second = score(SEQUENTIAL, CRITIC, family, ("success", "learnability", "regret"))
    assert first.scores == {"success": 0.5, "learnability": 0.25, "regret": 2.0}
    assert second.scores == {"success": 0.5, "learnability": 0.25, "regret": 4.0}


def test_success_and_regret_count_the_family_s_reward_and_value_scores_what_was_paid():
    """Paid 1 and 3, 0 and 2; by the family 2 and 5, 1 and 0 (a step that was not played counts 8)."""
    (rollout,) = SEQUENTIAL.rounds
    own = torch.tensor([[2.0, 1.0], [4.0, 0.0], [1.0, 8.0]])
    trial = replace(SEQUENTIAL, rounds=[replace(rollout, family_reward=own)])
    family = SimpleNamespace(name="toy", solved_return=2.0, optimal_return=lambda spec: 6.0)
    wanted = ("success", "learnability", "regret", "gae", "mean-value")
    first, second = score(trial, CRITIC, family, wanted)
    assert first.scores == {"success": 1.0, "learnability": 0.0, "regret": 2.5, "gae": 2.0, "mean-value": 3.0}
    assert second.scores == {"success": 0.0, "learnability": 0.0, "regret": 5.5, "gae": -1.0, "mean-value": 3.0}
    assert (first.returns, second.returns) == ((1.0, 3.0), (0.0, 2.0))
    assert (first.family_returns, second.family_returns) == ((2.0, 5.0), (1.0, 0.0))
    assert score(SEQUENTIAL, CRITIC, family)[0].family_returns == ()
    assert {name for name, entry in SCORES.items() if not entry.paid} == {"success", "learnability", "regret"}


def test_episodes_side_by_side_belong_to_one_task():
    trial = _trial([[1.0, 2.0, 3.0, 4.0]], [[0, 1, 0, 1]], [[True] * 4], slots=2)
    critic = Table([[1.0, 3.0, 5.0, 9.0]], [[0.0] * 4], [[0.0] * 4])
    first, second = score(trial, critic, BANDIT, ("mean-value",))
    assert (first.returns, second.returns) == ((1.0, 2.0), (3.0, 4.0))
    assert (first.scores, second.scores) == ({"mean-value": 2.0}, {"mean-value": 7.0})
    alone = trial.of([1])
    assert alone.specs == [SPECS[1]]
    assert alone.rounds[0].reward.tolist() == [[3.0, 4.0]]
    assert trial.of([]).rounds[0].reward.shape == (1, 0)


def test_results_carry_episode_returns():
    problem = problem_of(BANDIT, episodes=4, seed=0, device=torch.device("cpu"))
    agent = build_agent(Part(name="random"), problem)
    trial = collect(agent, BANDIT.batch(2), SPECS, plan=agent.plan(4))
    results = score(trial, agent, BANDIT)
    assert [result.returns for result in results] == [(0.0,) * 4, (1.0,) * 4]
    assert [result.spec for result in results] == SPECS
    assert all(result.scores == {} for result in results)


@pytest.mark.parametrize("name", ["rl2", "ppo"])
def test_critics_estimate_in_units_of_reward(name):
    """With lambda 1 and discount 1 an advantage is what came after all, less the value."""
    problem = problem_of(BANDIT, episodes=3, seed=0, device=torch.device("cpu"), updates=3)
    part = Part.model_validate({"name": name, "discount": 1.0})
    agent = build_agent(part, problem)
    for seed in range(2):  # the first update sets how values are scaled
        trial = collect(agent, BANDIT.batch(2), SPECS, plan=agent.plan(3), seeds=[seed, seed + 1])
        if seed == 0:
            agent.learn(trial)
    value, advantage = agent.estimates(trial.rollout, trace=1.0)
    if name == "rl2":  # to the trial's end
        to_go = torch.tensor([[0.0, 3.0], [0.0, 2.0], [0.0, 1.0]])
    else:  # to the episode's end, one step ahead; a time limit is no end, so the value of the same state comes after
        to_go = torch.tensor([[0.0, 1.0]] * 3) + value
    assert torch.allclose(value + advantage, to_go, atol=1e-5)


def test_what_is_missing_is_named():
    random = build_agent(Part(name="random"), problem_of(BANDIT, episodes=1, seed=0, device=torch.device("cpu")))
    with pytest.raises(UserError, match=r"'gae' needs a value function: .* has none. Scores without .*: success"):
        check_scores(["gae"], random, BANDIT)
    with pytest.raises(UserError, match="bandit is solved"):
        check_scores(["learnability"], random, BANDIT)
    with pytest.raises(UserError, match="no optimal_return"):
        check_scores(["regret"], random, BANDIT)
    with pytest.raises(UserError, match="learnability"):
        check_scores(["learnabilty"], random, BANDIT)
    solvable = SimpleNamespace(name="toy", solved_return=2.0)
    with pytest.raises(UserError, match=r"'learnability' is the same .* fewer than 2 episodes.*training.episodes = 1"):
        check_scores(["learnability"], random, solvable, 1)
    check_scores(["learnability"], random, solvable, 2)
    assert all(entry.summary.endswith(".") for entry in SCORES.values())
