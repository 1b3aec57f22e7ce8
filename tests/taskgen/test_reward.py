"""Rewards that replace a family's own: completed, checked, paid by every engine and face."""

import math
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import taskgen
from registry.errors import TaskError
from taskgen.build import build_family, family_of
from taskgen.engines.tensor import TensorBatch
from taskgen.engines.testing import sample_actions
from taskgen.interaction.agent import CollectionPlan
from taskgen.interaction.collect import collect
from taskgen.reward import build_rewards, complete_reward
from taskgen.spec import RewardSpec, TaskSpec


def paying(**settings: object) -> RewardSpec:
    return RewardSpec("random-discriminator", settings)  # type: ignore[arg-type]


def test_a_reward_is_completed_so_that_equal_tasks_have_equal_ids() -> None:
    family = build_family("point-navigation")
    short, long = family.spec(reward=paying(skill=2)), family.spec(reward=paying(skill=2, seed=0, skills=10))
    assert short.id == long.id
    assert short.reward is not None
    assert short.reward.name == "builtin/random-discriminator"
    assert short.id != family.spec().id
    family_of(short).check(short)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (RewardSpec("random-discriminater", {}), "Did you mean 'random-discriminator'"),
        (paying(skil=2), "skil"),
        (paying(skill=10), r"skill = 10: allowed are 0 to 9"),
        (paying(features=[2]), r"2 is no entry of an observation of builtin/point-navigation; allowed are 0 to 1"),
        (paying(hidden=[2000, 2000]), "over 1,000,000 weights"),
        (paying(gain=math.inf), "inf"),
        (RewardSpec("learned-discriminator", {}), "taskgen generate diayn"),
        (RewardSpec("learned-discriminator", {"artefact": "0" * 64}), "is missing"),
    ],
)
def test_an_impossible_reward_is_named(reward: RewardSpec, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        build_family("point-navigation").spec(reward=reward)


def test_an_incomplete_reward_in_a_task_file_is_named() -> None:
    family = build_family("point-navigation")
    spec = family.spec()
    partial = TaskSpec(spec.family, spec.context, RewardSpec("builtin/random-discriminator", {"skill": 1}), spec.seed)
    with pytest.raises(TaskError, match="its reward in full is builtin/random-discriminator"):
        family.check(partial)


def test_slots_with_and_without_a_reward_stand_side_by_side() -> None:
    family = build_family("point-navigation")
    rewards = [None, paying(skill=1), None, paying(skill=2)]
    batch = family.batch(4)
    batch.set_tasks([family.spec(reward=reward) for reward in rewards])
    batch.reset()
    outcome = batch.step(torch.full((4, 2), 0.1))
    own = outcome.family_reward
    assert own is not None
    assert torch.equal(outcome.reward[[0, 2]], own[[0, 2]])
    assert not torch.equal(outcome.reward[[1, 3]], own[[1, 3]])
    assert batch.descriptor().shape == (4, 2 + 10)
    assert batch.descriptor()[:, 2:].argmax(1)[[1, 3]].tolist() == [1, 2]
    assert not batch.descriptor()[[0, 2], 2:].any()


@pytest.mark.parametrize("name", ["grid-navigation", "darkroom", "frozen-lake"])
def test_where_observations_are_few_what_is_paid_is_looked_up_and_the_same(name: str) -> None:
    family = build_family(name)
    rewards = [complete_reward(paying(seed=seed, skill=seed), family) for seed in range(3)]
    batch = family.batch(4)
    assert isinstance(batch, TensorBatch)
    batch.set_tasks([family.spec(reward=reward) for reward in [*rewards, None]])
    function = build_rewards(rewards, family, "cpu")
    calls: list[object] = []
    (built, rows), (table,) = batch.rewards._functions[0], batch.rewards._tables
    assert table is not None
    assert table.shape == (family.config.size**2, 3)
    batch.rewards._functions[0] = (lambda *given: calls.append(given) or built(*given), rows)  # type: ignore[assignment]
    seen = batch.reset()
    for action in sample_actions(family, 12, 4):
        outcome = batch.step(action)
        assert torch.equal(outcome.reward[:3], function(seen[:3], action[:3], outcome.observation[:3]))
        seen = outcome.observation
        assert outcome.family_reward is not None
        assert outcome.reward[3] == outcome.family_reward[3]
    assert not calls


def test_a_table_is_not_made_of_more_observations_than_two_episodes_show() -> None:
    few, many = (build_family("grid-navigation", {"horizon": horizon}) for horizon in (13, 12))  # of 25 cells
    for family, tabulated in ((few, True), (many, False)):
        batch = family.batch(1)
        assert isinstance(batch, TensorBatch)
        batch.set_tasks([family.spec(reward=paying(skill=1))])
        assert (batch.rewards._tables[0] is not None) == tabulated


def test_a_slot_given_another_reward_changes_alone() -> None:
    family = build_family("point-navigation")
    batch = family.batch(2)
    batch.set_tasks([family.spec(reward=paying(skill=1))] * 2)
    batch.set_tasks([family.spec()], [1])
    batch.reset()
    outcome = batch.step(torch.full((2, 2), 0.1))
    assert outcome.family_reward is not None
    assert outcome.reward[1] == outcome.family_reward[1]
    assert outcome.reward[0] != outcome.family_reward[0]


def test_the_reward_is_of_the_state_that_the_step_led_to() -> None:
    family = build_family("point-navigation")
    batch = family.batch(3)
    assert isinstance(batch, TensorBatch)
    batch.set_tasks([family.spec(reward=paying(skill=4))] * 3)
    batch.reset()
    here = batch.step(torch.tensor([[0.1, 0.0], [0.05, 0.0], [0.1, 0.1]]))
    there = batch.step(torch.tensor([[0.0, 0.1], [0.05, 0.1], [0.0, 0.0]]))
    assert there.reward[0] == there.reward[1] == there.reward[2]  # three ways to (0.1, 0.1)
    assert here.reward[0] != there.reward[0]


@pytest.mark.parametrize("family_name", ["point-navigation", "grid-navigation", "half-cheetah"])
def test_faces_pay_it_and_keep_the_familys_own(family_name: str) -> None:
    family = build_family(family_name)
    spec = family.spec(reward=paying(skill=3), seed=5)
    env, own = taskgen.make(spec), taskgen.make(family.spec(seed=5))
    check_env(env, skip_render_check=True)
    env.reset(seed=1)
    own.reset(seed=1)
    env.action_space.seed(2)
    for _ in range(5):
        action = env.action_space.sample()
        observation, reward, _, _, info = env.step(action)
        expected = own.step(action)
        np.testing.assert_array_equal(observation, expected[0])
        assert info["family_reward"] == expected[1] != reward


def test_a_trial_keeps_the_familys_own_reward() -> None:
    from registry.config import Part
    from taskgen.interaction.build import build_agent, problem_of

    family = build_family("grid-navigation")
    spec = family.spec(reward=paying(skill=1))
    problem = problem_of(family, episodes=2, seed=0, device=torch.device("cpu"), example=spec)
    assert problem.descriptor_size == 2 + 10
    trial = collect(build_agent(Part(name="random"), problem), family.batch(4), [spec] * 4, plan=CollectionPlan(2, 1))
    own = trial.rollout.family_reward
    assert own is not None
    assert own.shape == trial.rollout.reward.shape
    assert set(own.unique().tolist()) <= {1.0, float(np.float32(-0.1))}


def test_a_rewarded_task_survives_a_file(tmp_path: Path) -> None:
    family = build_family("grid-navigation")
    specs = [family.spec(reward=paying(skill=skill)) for skill in range(3)]
    taskgen.TaskSet(specs).write(tmp_path / "tasks.jsonl")
    assert taskgen.load_tasks(tmp_path / "tasks.jsonl") == specs


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_notes_are_laid_out_as_gymnasium_does(mode: str) -> None:
    """Slots with and without a reward, over several autoresets: infos equal those of `SyncVectorEnv`."""
    family = build_family("point-navigation", {"horizon": 3})
    specs = [family.spec(), family.spec(reward=paying(skill=1)), family.spec(reward=paying(skill=2))]
    ours = taskgen.make_vec(specs, autoreset_mode=mode)
    theirs = gym.vector.SyncVectorEnv(
        [lambda spec=spec: taskgen.make(spec) for spec in specs], autoreset_mode=gym.vector.AutoresetMode(mode)
    )
    ours.reset(seed=3)
    theirs.reset(seed=3)
    for _ in range(9):
        actions = np.full((3, 2), 0.05, dtype=np.float32)
        one, other = ours.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(one[1], other[1])
        _same(one[4], other[4])


def _same(one: dict[str, object], other: dict[str, object]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        if isinstance(value, dict):
            _same(value, other[name])  # type: ignore[arg-type]
        elif name != "final_obs":
            np.testing.assert_array_equal(value, other[name], err_msg=name)  # type: ignore[arg-type]


def test_a_chunk_refuses_rewards_it_would_not_pay() -> None:
    from registry.errors import UserError
    from taskgen.engines.chunk import Chunk

    family = build_family("point-navigation")
    batch = family.batch(2)
    assert isinstance(batch, TensorBatch)
    batch.set_tasks([family.spec(reward=paying(skill=1))] * 2)
    batch.reset()
    with pytest.raises(UserError, match="step the batch where tasks have a reward of their own"):
        Chunk(batch, 4)


def test_show_tells_the_reward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from registry.cli import main

    family = build_family("grid-navigation")
    specs = [family.spec(), family.spec(reward=paying(skill=1)), family.spec(reward=paying(skill=2))]
    taskgen.TaskSet(specs).write(tmp_path / "tasks.jsonl")
    assert main(["show", str(tmp_path / "tasks.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "rewards: the family's own in 1, builtin/random-discriminator in 2" in shown
    assert "reward: builtin/random-discriminator with seed = 0, skill = 2, skills = 10" in shown
