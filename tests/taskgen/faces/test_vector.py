"""`TaskVectorEnv` against Gymnasium's SyncVectorEnv of the same tasks, and its own contract."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import vector as wrappers

import registry
import taskgen
from registry.errors import TaskError
from taskgen.spec import TaskSpec

pytestmark = pytest.mark.usefixtures("scripted_families")

BUILT_IN = [item.full_name for item in registry.catalogue().items("families")]
FAMILIES = ["bandit", "tabular-mdp", "scripted_families/coins", "scripted_families/drift"]
Seed = int | list[int | None] | None


def tasks_of(name: str, count: int = 5) -> list[TaskSpec]:
    """Different tasks of one family."""
    family = taskgen.build_family(name, {"pulls": 3} if name == "bandit" else {})
    rng = np.random.default_rng(0)
    knobs = {"bandit": ("probabilities", 5), "scripted_families/drift": ("wind", 0)}
    if name not in knobs:
        return [family.spec(seed=seed) for seed in range(count)]
    knob, size = knobs[name]
    return [family.spec({knob: rng.random(size).tolist() if size else rng.random()}) for _ in range(count)]


def both(specs: list[TaskSpec], mode: AutoresetMode) -> tuple[VectorEnv, SyncVectorEnv]:
    synchronous = SyncVectorEnv([lambda spec=spec: taskgen.make(spec) for spec in specs], autoreset_mode=mode)
    return taskgen.make_vec(specs, autoreset_mode=mode), synchronous


def play(env: VectorEnv, mode: AutoresetMode, steps: int, seed: Seed, change: Callable[[], None]) -> list[Any]:
    """Everything that happens: actions always the same, half-way the slots get other tasks."""
    env.action_space.seed(1)
    seen: list[Any] = [env.reset(seed=seed)]
    for step in range(steps):
        if step == steps // 2:
            change()
        outcome = env.step(env.action_space.sample())
        seen.append(outcome)
        ended = outcome[2] | outcome[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            seen.append(env.reset(options={"reset_mask": ended}))
    seen.append(env.reset())
    return seen


def same(left: Any, right: Any, where: str) -> None:
    """Equal values of equal types, all the way down."""
    assert type(left) is type(right), f"{where}: {type(left)} and {type(right)}"
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for number, pair in enumerate(zip(left, right, strict=True)):
            same(*pair, f"{where}[{number}]")
    elif isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape), where
        if left.dtype == object:
            same(left.tolist(), right.tolist(), where)
        else:
            assert left.tobytes() == right.tobytes(), f"{where}: {left} and {right}"
    else:
        assert left == right, where


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", [7, [3, 1, 4, 1, 5]])
def test_equals_a_sync_vector_env_bit_for_bit(name: str, mode: AutoresetMode, seed: Seed) -> None:
    specs, others = tasks_of(name), tasks_of(name)[::-1]
    ours, theirs = both(specs, mode)

    def change_theirs() -> None:
        for env, task in zip(theirs.envs, others, strict=True):
            env.unwrapped.set_task(task)

    left = play(ours, mode, 40, seed, lambda: ours.set_tasks(others))
    right = play(theirs, mode, 40, seed, change_theirs)
    same(left, right, name)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_family_equals_a_sync_vector_env_bit_for_bit(
    name: str, drawn_tasks: Callable[..., list[TaskSpec]]
) -> None:
    """Three different tasks, half-way handed on by one slot, over several episodes."""
    short = {
        "builtin/bandit": {"pulls": 7},
        "builtin/barcode-bandit": {"pulls": 7},
        "builtin/catch": {"rows": 8},
        "builtin/re-seen-choice": {"steps": 3},
        "builtin/two-step": {"form": "episodic"},
    }
    settings = short.get(name, {"horizon": 7})
    specs = drawn_tasks(taskgen.build_family(name, settings))
    others = specs[1:] + specs[:1]
    ours, theirs = both(specs, AutoresetMode.NEXT_STEP)

    def change_theirs() -> None:
        for env, task in zip(theirs.envs, others, strict=True):
            env.unwrapped.set_task(task)

    left = play(ours, AutoresetMode.NEXT_STEP, 30, 7, lambda: ours.set_tasks(others))
    same(left, play(theirs, AutoresetMode.NEXT_STEP, 30, 7, change_theirs), name)
    ends = sum(terminated | truncated for _, _, terminated, truncated, _ in left[1:-1])
    assert (ends >= 3).all()


def test_the_comparison_meets_staggered_ends() -> None:
    seen = play(taskgen.make_vec(tasks_of("scripted_families/coins")), AutoresetMode.NEXT_STEP, 40, 7, lambda: None)
    ended = np.array([terminated | truncated for _, _, terminated, truncated, _ in seen[1:-1]])
    assert ended.any(0).all()
    assert not (ended.all(1) | ~ended.any(1)).all()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_slot_keeps_its_task(mode: AutoresetMode) -> None:
    specs = tasks_of("scripted_families/coins")
    env = taskgen.make_vec(specs, autoreset_mode=mode)
    numbers = [spec.number for spec in specs]
    for outcome in play(env, mode, 60, 0, lambda: None):
        infos = outcome[-1]
        assert infos["task_id"].tolist() == [
            number if stated else 0 for number, stated in zip(numbers, infos["_task_id"], strict=True)
        ]
    assert list(env.tasks) == specs


def test_tasks_of_some_slots_change_at_their_own_next_reset() -> None:
    family = taskgen.build_family("bandit", {"pulls": 2, "arms": 1})
    never, always = family.spec({"probabilities": [0.0]}), family.spec({"probabilities": [1.0]})
    env = taskgen.make_vec([never] * 3, autoreset_mode="SameStep")
    env.reset(seed=0)
    env.set_tasks([always], [1])
    rewards = [env.step([0, 0, 0])[1].tolist() for _ in range(4)]
    assert rewards == [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert [task.id for task in env.tasks] == [never.id, always.id, never.id]


def test_partial_seeds_touch_only_their_slots() -> None:
    specs = tasks_of("scripted_families/coins", 3)
    mode = AutoresetMode.DISABLED
    ours, theirs = both(specs, mode)
    for env in (ours, theirs):
        env.reset(seed=0)
    for _ in range(3):
        mask = np.array([True, False, True])
        seeds: list[int | None] = [None, 8, 9]
        left = ours.reset(seed=seeds, options={"reset_mask": mask.copy()})
        right = theirs.reset(seed=seeds, options={"reset_mask": mask.copy()})
        same(left, right, "reset")
        same(ours.reset(), theirs.reset(), "reset of all")


def test_the_options_of_the_caller_stay_as_they_are() -> None:
    env = taskgen.make_vec(tasks_of("bandit"))
    env.reset(seed=0)
    options = {"reset_mask": np.ones(5, dtype=bool)}
    env.reset(options=options)
    assert list(options) == ["reset_mask"]


def test_infos_and_observations_are_new_every_time() -> None:
    env = taskgen.make_vec(tasks_of("bandit"), autoreset_mode="SameStep")
    observation, info = env.reset(seed=0)
    observation[:] = 99.0
    info["task_id"][:] = 7
    first = env.step([0] * 5)
    first[0][:] = 99.0
    first[-1]["task_id"][:] = 7
    second = env.step([0] * 5)
    assert (second[0] == 0).all()
    assert 7 not in second[-1]["task_id"]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_record_episode_statistics(mode: AutoresetMode) -> None:
    specs = tasks_of("scripted_families/coins")
    recorded = [wrappers.RecordEpisodeStatistics(env, buffer_length=1000) for env in both(specs, mode)]
    for env in recorded:
        play(env, mode, 60, 3, lambda: None)
    ours, theirs = recorded
    assert ours.episode_count == theirs.episode_count > 20
    if mode is not AutoresetMode.DISABLED:  # there SyncVectorEnv takes the mask away from the wrapper around it
        assert list(ours.return_queue) == list(theirs.return_queue)
        assert list(ours.length_queue) == list(theirs.length_queue)
    assert max(ours.length_queue) <= 6


def test_normalize_observation() -> None:
    mode = AutoresetMode.NEXT_STEP
    specs = tasks_of("scripted_families/coins")
    left, right = (play(wrappers.NormalizeObservation(env), mode, 60, 3, lambda: None) for env in both(specs, mode))
    same(left, right, "normalised")


def test_tasks_of_different_structure_are_refused_with_the_difference() -> None:
    three, five = (taskgen.build_family("bandit", {"arms": arms}).spec() for arms in (3, 5))
    with pytest.raises(TaskError, match="task 1 of 3: arms = 5: this family is set to 3"):
        taskgen.make_vec([three, five, three])
    with pytest.raises(TaskError, match="task 1 of 2: .*tabular-mdp"):
        taskgen.make_vec([three, taskgen.build_family("tabular-mdp").spec()])
    with pytest.raises(TaskError, match="no tasks"):
        taskgen.make_vec([])
    env = taskgen.make_vec([three, three])
    with pytest.raises(TaskError, match="1 tasks for 2 slots"):
        env.set_tasks([three])
    with pytest.raises(TaskError, match="slot 2: there are slots 0 to 1"):
        env.set_tasks([three], [2])


def test_wrong_actions_are_named_with_their_slot() -> None:
    env = taskgen.make_vec(tasks_of("bandit"))
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match=r"action 7 of slot 2 is not in Discrete\(5\)"):
        env.step([0, 1, 7, 0, 0])
    with pytest.raises(gym.error.InvalidAction, match="action 0.5 of slot 0"):
        env.step(np.full(5, 0.5))
    for wrong in ([0, 1], 3, None, [[0], [1, 2]]):
        with pytest.raises(gym.error.InvalidAction, match="expected 5, one per slot"):
            env.step(wrong)
    drift = taskgen.make_vec(tasks_of("scripted_families/drift", 2))
    drift.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match=r"of slot 1 is not in Box"):
        drift.step([[0.0, 0.0], [0.0, 3.0]])
    with pytest.raises(gym.error.InvalidAction, match=r"action tensor.* of slot 0 is not in Box"):
        drift.step(torch.zeros(2, 2, requires_grad=True))


def test_a_step_needs_a_reset() -> None:
    env = taskgen.make_vec(tasks_of("bandit"), autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(gym.error.ResetNeeded, match="first"):
        env.step([0] * 5)
    with pytest.raises(gym.error.ResetNeeded, match="all slots"):
        env.reset(options={"reset_mask": np.array([True, False, False, False, False])})
    env.reset(seed=0)
    for _ in range(3):
        env.step([0] * 5)
    env.reset(options={"reset_mask": np.array([True, False, True, True, True])})
    with pytest.raises(gym.error.ResetNeeded, match="ended in slot 1;"):
        env.step([0] * 5)


@pytest.mark.parametrize(
    ("mask", "kind"), [([True] * 5, TypeError), (np.ones(5), TypeError), (np.ones(4, bool), ValueError)]
)
def test_wrong_reset_masks_are_refused(mask: Any, kind: type[Exception]) -> None:
    env = taskgen.make_vec(tasks_of("bandit"))
    env.reset(seed=0)
    with pytest.raises(kind, match="reset_mask"):
        env.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="nothing to reset"):
        env.reset(options={"reset_mask": np.zeros(5, dtype=bool)})


def test_wrong_seeds_are_refused() -> None:
    env = taskgen.make_vec(tasks_of("bandit"))
    with pytest.raises(ValueError, match="2 seeds for num_envs=5"):
        env.reset(seed=[1, 2])
    with pytest.raises(gym.error.Error, match="seed -3 of slot 1"):
        env.reset(seed=[1, -3, 2, 3, 4])


def test_without_a_seed_slots_differ() -> None:
    env = taskgen.make_vec([taskgen.build_family("scripted_families/coins").spec()] * 20)
    assert len({tuple(row) for row in env.reset()[0].tolist()}) == 20


def test_render() -> None:
    env = taskgen.make_vec(tasks_of("bandit"), render_mode="ansi")
    frames = env.render()
    assert frames is not None
    assert len(set(frames)) == 5
    assert taskgen.make_vec(tasks_of("bandit")).render() is None


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_diverging_simulation_says_so_as_in_a_sync_vector_env(mode: AutoresetMode) -> None:
    family = taskgen.build_family("half-cheetah", {"horizon": 6})
    ours, theirs = both([family.spec({"mass": 1.0 + slot}, seed=slot) for slot in range(3)], mode)
    singles = [env.unwrapped for env in theirs.envs]
    for env in (ours, theirs):
        env.reset(seed=5)
    reported = []
    for step in range(9):
        if step == 3:
            ours._slots._batch._physics["qpos"][1, 2] = singles[1]._slots._batch._physics["qpos"][0, 2] = np.nan
        outcomes = [env.step(np.full((3, 6), 0.5, dtype=np.float32)) for env in (ours, theirs)]
        same(*outcomes, f"step {step}")
        observation, _, terminated, truncated, infos = outcomes[0]
        assert np.isfinite(observation).all()
        info = infos["final_info"] if mode is AutoresetMode.SAME_STEP and "final_info" in infos else infos
        if "fault" in info:
            reported.append((step, info["fault"].tolist(), truncated.tolist()))
            assert ours.faults == (None, "position diverged", None)
        ended = terminated | truncated
        if mode is AutoresetMode.DISABLED and ended.any():
            for env in (ours, theirs):
                env.reset(options={"reset_mask": ended})
    assert reported == [(3, [False, True, False], [False, True, False])]
