"""`TaskEnv` against Gymnasium's checker, its contract, and the engine it stands on."""

import copy
import itertools
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import registry
import taskgen
from registry.errors import TaskError
from taskgen.faces.env import TaskEnv
from taskgen.spec import TaskSpec

pytestmark = pytest.mark.usefixtures("scripted_families")

BUILT_IN = [item.full_name for item in registry.catalogue().items("families")]
SCRIPTED = ["scripted_families/coins", "scripted_families/drift"]


def env_of(name: str, seed: int = 0, **settings: object) -> TaskEnv:
    return taskgen.make(taskgen.build_family(name, settings).spec(seed=seed))


def trajectory(env: gym.Env, steps: int, seed: int | None) -> list[object]:
    """Everything that happens under actions that are always the same, across episodes."""
    env.action_space.seed(1)
    observation, info = env.reset(seed=seed)
    seen: list[object] = [np.array(observation).tolist(), info]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen += [np.array(observation).tolist(), reward, terminated, truncated, info]
        if terminated or truncated:
            observation, info = env.reset()
            seen += [np.array(observation).tolist(), info]
    return seen


@pytest.mark.parametrize("name", [*BUILT_IN, *SCRIPTED])
def test_passes_the_checker_of_gymnasium(name: str, drawn_tasks: Callable[..., list[TaskSpec]]) -> None:
    """With the default task and three others."""
    taskgen.register_envs()
    short = name.partition("/")[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*Box (action|observation) space")  # advice on the bounds a family chose
        check_env(gym.make(f"taskgen/{short}-v0").unwrapped)
        tasks = drawn_tasks(taskgen.build_family(name))
        assert len({task.id for task in tasks}) == 3
        for task in tasks:
            check_env(gym.make(f"taskgen/{short}-v0", task=task).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", [*BUILT_IN, *SCRIPTED])
def test_values_have_the_types_that_gymnasium_documents(name: str) -> None:
    env = env_of(name)
    seen = [env.reset(seed=0)[0]]
    for _ in range(min(3 * env.family.horizon, 60)):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen.append(observation)
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        told = {"success": info.get("success")} if env.family.tells_success else {}
        assert info == {"task_id": env.task.number, **told}
        if terminated or truncated:
            seen.append(env.reset()[0])
    for observation in seen:
        assert observation in env.observation_space
        assert observation.dtype == env.observation_space.dtype
    if env.observation_space.shape:
        assert not any(np.shares_memory(left, right) for left, right in itertools.pairwise(seen))


@pytest.mark.parametrize("name", ["bandit", "tabular-mdp", *SCRIPTED])
def test_the_seed_decides_all_noise(name: str) -> None:
    assert trajectory(env_of(name), 30, seed=3) == trajectory(env_of(name), 30, seed=3)
    assert trajectory(env_of(name), 30, seed=3) != trajectory(env_of(name), 30, seed=4)


def test_a_seed_restarts_the_noise_and_none_lets_it_go_on() -> None:
    env = env_of("scripted_families/coins")
    first, _ = env.reset(seed=3)
    second, _ = env.reset()
    again, _ = env.reset(seed=3)
    assert first.tolist() == again.tolist()
    assert first.tolist() != second.tolist()
    assert second.tolist() == env.reset()[0].tolist()


def test_without_a_seed_the_first_reset_takes_entropy() -> None:
    name = "scripted_families/coins"
    assert env_of(name).reset()[0].tolist() != env_of(name).reset()[0].tolist()
    left, right = env_of(name), env_of(name)
    left.np_random, right.np_random = np.random.default_rng(1), np.random.default_rng(1)
    assert left.reset()[0].tolist() == right.reset()[0].tolist()


def test_a_seed_plays_what_the_engine_plays_with_it() -> None:
    family = taskgen.build_family("scripted_families/coins")
    batch = family.batch(1)
    batch.set_tasks([family.spec()])
    assert env_of(family.name).reset(seed=9)[0].tolist() == batch.reset(seeds=[9])[0].tolist()


def test_a_seed_of_any_size_is_taken() -> None:
    env = env_of("scripted_families/coins")
    assert env.reset(seed=2**70 + 1)[0].tolist() == env.reset(seed=2**70 + 1)[0].tolist()
    for wrong in (-1, 1.5, "1"):
        with pytest.raises(gym.error.Error, match="Seed must be"):
            env.reset(seed=wrong)  # type: ignore[arg-type]


def test_bandit_with_one_pull_ends_terminated_and_with_more_truncated() -> None:
    one, many = env_of("bandit"), env_of("bandit", pulls=2)
    one.reset(seed=0)
    many.reset(seed=0)
    assert one.step(0)[2:4] == (True, False)
    assert many.step(0)[2:4] == (False, False)
    assert many.step(0)[2:4] == (False, True)


@pytest.mark.parametrize("action", [5, -1, 1.0, None, "left", [1], np.nan])
def test_a_wrong_discrete_action_is_named(action: object) -> None:
    env = env_of("bandit")
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match=r"action .* is not in Discrete\(5\)"):
        env.step(action)


@pytest.mark.parametrize("action", [[0.0], [0.0, 2.0], [0.0, np.nan], 0.5, [[0.0, 0.0]], None, [0.0, [1.0]]])
def test_a_wrong_continuous_action_is_named(action: object) -> None:
    env = env_of("scripted_families/drift")
    env.reset(seed=0)
    with pytest.raises(gym.error.InvalidAction, match=r"action .* is not in Box"):
        env.step(action)


def test_actions_of_every_fitting_type_are_the_same() -> None:
    outcomes = []
    for action in (2, np.int64(2), np.int32(2), np.uint8(2), np.array(2)):
        env = env_of("scripted_families/coins")
        env.reset(seed=0)
        outcomes.append(env.step(action)[1])
    for action in ([0.5, -0.25], (0.5, -0.25), np.array([0.5, -0.25]), np.array([0.5, -0.25], dtype=np.float32)):
        env = env_of("scripted_families/drift")
        env.reset(seed=0)
        outcomes.append(env.step(action)[1])
    assert len(set(outcomes[:5])) == 1
    assert len(set(outcomes[5:])) == 1


def test_a_step_needs_a_reset_before_the_first_episode_and_after_each() -> None:
    env = env_of("bandit")
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(gym.error.ResetNeeded, match="ended"):
        env.step(0)
    env.reset()
    env.step(0)


def test_a_new_task_takes_effect_at_the_next_reset() -> None:
    family = taskgen.build_family("scripted_families/coins", {"horizon": 2})
    old, new = family.spec({"stop": 0.0, "worth": -1.0}), family.spec({"stop": 0.0, "worth": 1.0})
    env = taskgen.make(old)
    env.reset(seed=0)
    env.set_task(new)
    _, reward, _, _, info = env.step(0)
    assert reward < 0
    assert (info["task_id"], env.task) == (old.number, old)
    env.step(0)
    _, info = env.reset()
    assert (info["task_id"], env.task) == (new.number, new)
    assert env.step(0)[1] >= 1


def test_noise_after_a_change_of_task_is_reproducible_and_never_the_same_again() -> None:
    family = taskgen.build_family("scripted_families/coins")
    env = taskgen.make(family.spec())

    def starts() -> list[list[float]]:
        seen = [env.reset(seed=5)[0].tolist()]
        for _ in range(4):
            env.set_task(family.spec())
            seen.append(env.reset()[0].tolist())
        return seen

    first = starts()
    assert first == starts()
    assert len({tuple(start) for start in first}) == 5


def test_wrong_tasks_are_refused() -> None:
    family = taskgen.build_family("bandit")
    spec = family.spec()
    with pytest.raises(TaskError, match=r"probabilities\[0\] = 2.0: allowed range is 0 to 1"):
        taskgen.make(replace(spec, context={**spec.context, "probabilities": (2.0,) * 5}))
    with pytest.raises(TaskError, match="nobody/nothing"):
        taskgen.make(replace(spec, family="nobody/nothing"))
    env = taskgen.make(spec)
    with pytest.raises(TaskError, match="arms = 3"):
        env.set_task(taskgen.build_family("bandit", {"arms": 3}).spec())
    with pytest.raises(TaskError, match="tabular-mdp"):
        env.set_task(taskgen.build_family("tabular-mdp").spec())


def test_render() -> None:
    spec = taskgen.build_family("bandit").spec()
    assert taskgen.make(spec).render() is None
    assert "arm 0" in taskgen.make(spec, render_mode="ansi").render()
    frame = taskgen.make(taskgen.build_family("scripted_families/drift").spec(), render_mode="rgb_array").render()
    assert (frame.shape, frame.dtype) == ((4, 4, 3), np.uint8)
    with pytest.raises(gym.error.UnsupportedMode, match="'rgb_array': builtin/bandit has ansi, or None"):
        taskgen.make(spec, render_mode="rgb_array")


def test_environments_share_no_space() -> None:
    left, right = env_of("bandit"), env_of("bandit")
    left.action_space.seed(0)
    before = copy.deepcopy(right.action_space.np_random.bit_generator.state)
    left.action_space.sample()
    assert right.action_space.np_random.bit_generator.state == before


def test_a_task_can_be_copied_and_sent_to_another_process() -> None:
    spec = taskgen.build_family("bandit").spec(seed=4)
    for again in (copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))):
        assert again == spec
        assert again.id == spec.id


def test_a_diverging_simulation_is_named_in_the_info() -> None:
    family = taskgen.build_family("half-cheetah", {"horizon": 6})
    env = taskgen.make(family.spec())
    _, info = env.reset(seed=0)
    assert "fault" not in info
    action = np.zeros(6, dtype=np.float32)
    assert "fault" not in env.step(action)[4]
    env.unwrapped._slots._batch._physics["qvel"][0, 3] = np.nan
    observation, reward, terminated, truncated, info = env.step(action)
    assert np.isfinite(observation).all()
    assert (reward, terminated, truncated, info["fault"]) == (0.0, False, True, True)
    assert env.fault == "velocity diverged"
    env.reset()
    assert "fault" not in env.step(action)[4]
    assert env.fault is None
