"""`goal-proximity` against distances worked out by hand, and in a batch beside the family's own sparse reward."""

import pytest
import torch

from plugins.rewards.goal_proximity import GoalProximity, GoalProximityConfig
from registry.errors import TaskError
from taskgen.build import build_family
from taskgen.reward import build_rewards
from taskgen.spec import RewardSpec

SPARSE = {"goals": "half-circle", "reward": "sparse"}


def test_it_falls_with_the_distance_and_is_nothing_out_of_reach():
    goals = [
        {"goal": goal, "reach": reach} for goal, reach in [((0, 0), 1), ((3, 4), 10), ((3, 4), 2), ((0.3, 0.4), 2)]
    ]
    function = GoalProximity(
        [GoalProximityConfig.model_validate(goal) for goal in goals],
        family=build_family("point-navigation"),
        device="cpu",
    )
    elsewhere = torch.full((4, 2), 9.0)  # only where the step leads to counts
    # distances 0, 5, 5 and 0.5
    assert function(elsewhere, elsewhere, torch.zeros(4, 2)).tolist() == pytest.approx([1.0, 0.5, 0.0, 0.75])
    assert function.descriptor().tolist() == [[0, 0], [3, 4], [3, 4], pytest.approx([0.3, 0.4])]


def test_the_sparse_reward_stays_beside_it():
    family = build_family("point-navigation", SPARSE)
    reward = RewardSpec("goal-proximity", {"goal": [1.0, 0.0], "reach": 1.0})
    batch = family.batch(2)
    batch.set_tasks([family.spec({"angle": 0.0}, reward=reward), family.spec({"angle": 0.0})])
    batch.reset(seeds=[0, 0])
    right = torch.tensor([[0.1, 0.0]] * 2)
    paid, own = [], []
    for _ in range(9):
        outcome = batch.step(right)
        assert outcome.family_reward is not None
        paid.append(outcome.reward.tolist())
        own.append(outcome.family_reward.tolist())
    assert [dense for dense, _ in paid] == pytest.approx([0.1 * step for step in range(1, 10)], abs=1e-6)
    assert [sparse for _, sparse in paid] == pytest.approx([0.0] * 7 + [0.8, 0.9], abs=1e-6) == [row[0] for row in own]


def test_other_entries_of_other_families():
    family = build_family("half-cheetah")
    reward = RewardSpec("goal-proximity", {"goal": [2.0], "features": [8], "reach": 4.0})  # a velocity
    state = torch.zeros(1, 17)
    state[0, 8] = 1.0
    assert build_rewards([reward], family, "cpu")(state, state, state).tolist() == [0.75]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"goal": [0.0]}, "expected 2 numbers"),
        ({"goal": [0.0, 0.0], "features": [0, 2]}, "allowed are 0 to 1"),
        ({"reach": 0.0}, "reach"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(TaskError, match=message):
        build_family("point-navigation").spec(reward=RewardSpec("goal-proximity", settings))


def test_tasks_of_a_batch_share_the_entries():
    family = build_family("point-navigation")
    rewards = [
        family.spec(reward=RewardSpec("goal-proximity", {"goal": [0, 0], "features": some})).reward
        for some in ([0, 1], [1, 0])
    ]
    with pytest.raises(TaskError, match="share features"):
        build_rewards(rewards, family, "cpu")
