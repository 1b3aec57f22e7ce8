"""What other people's learners ask of the faces: options, seeds, arguments, specs, infos that are numbers."""

import functools
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeAwareObservation
from scipy._lib import array_api_compat

import taskgen
from registry.errors import TaskError
from taskgen.faces.vector import TaskVectorEnv
from taskgen.interaction.build import problem_of
from taskgen.spec import TaskSpec

pytestmark = pytest.mark.usefixtures("scripted_families")
COINS = "taskgen/coins-v0"


@pytest.fixture(autouse=True)
def registered(scripted_families: None) -> None:
    taskgen.register_envs()


def specs_of(name: str, count: int = 3, **settings: Any) -> list[TaskSpec]:
    family = taskgen.build_family(name, settings)
    return [family.spec(seed=seed) for seed in range(count)]


def test_unknown_options_are_refused_by_name_by_every_face() -> None:
    spec = taskgen.build_family("bandit").spec()
    faces: list[Any] = [
        taskgen.make(spec),
        gym.make("taskgen/bandit-v0"),
        gym.make_vec("taskgen/bandit-v0", num_envs=2, vectorization_mode="sync"),
        taskgen.design_game("maze"),
    ]
    for face in faces:
        with pytest.raises(
            gym.error.Error, match=r"options\['reset_maks'\] is unknown: this environment has no options"
        ):
            face.reset(seed=0, options={"reset_maks": True})
        face.reset(seed=0, options={})
    envs = taskgen.make_vec([spec] * 2)
    with pytest.raises(gym.error.Error, match=r"options\['reset_maks'\] is unknown: Did you mean 'reset_mask'"):
        envs.reset(seed=0, options={"reset_maks": np.array([True, False])})
    envs.reset(seed=0, options={"reset_mask": np.array([True, True])})


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), np.int32(3), np.array(3), torch.tensor(3)])
def test_an_integer_of_any_kind_is_a_seed(seed: Any) -> None:
    (spec,) = specs_of("scripted_families/coins", 1)
    plain = taskgen.make(spec).reset(seed=3)[0].tolist()
    assert taskgen.make(spec).reset(seed=seed)[0].tolist() == plain
    envs = taskgen.make_vec([spec] * 2)
    assert envs.reset(seed=seed)[0].tolist() == taskgen.make_vec([spec] * 2).reset(seed=3)[0].tolist()
    assert envs.reset(seed=[seed, None])[0].tolist()[0] == plain
    game = taskgen.design_game("maze")
    game.reset(seed=seed)
    first = game.observe("teacher_0")
    game.reset(seed=3)
    assert (
        {name: value.tolist() for name, value in first.items()}
        == {name: value.tolist() for name, value in game.observe("teacher_0").items()}
        if isinstance(first, dict)
        else np.array_equal(first, game.observe("teacher_0"))
    )
    bandit = taskgen.build_family("bandit")
    assert bandit.spec(seed=seed) == bandit.spec(seed=3)
    assert type(problem_of(bandit, episodes=2, seed=seed, device=torch.device("cpu")).seed) is int
    drawn = taskgen.build_source("domain-randomization", bandit, seed).ask(2)
    assert drawn == taskgen.build_source("domain-randomization", bandit, 3).ask(2)


@pytest.mark.parametrize("seed", [True, 1.0, "1", [1.0]])
def test_what_is_no_integer_is_no_seed(seed: Any) -> None:
    with pytest.raises(TaskError, match="seed"):
        taskgen.build_family("bandit").spec(seed=seed)


def test_unknown_arguments_are_a_type_error_that_libraries_understand() -> None:
    (spec,) = specs_of("bandit", 1)
    for make in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'frameskip'.*Known: arms, pulls"):
            make("taskgen/bandit-v0", frameskip=1)
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'frameskip'"):
            make("taskgen/bandit-v0", frameskip=1, task=spec)
    for make in (taskgen.make, lambda spec, **settings: taskgen.make_vec([spec], **settings)):
        with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
            make(spec, frameskip=1)


def test_the_spec_of_what_was_made_of_a_task_makes_it_again() -> None:
    (spec,) = specs_of("scripted_families/coins", 1)
    env = taskgen.make(spec)
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps) == (COINS, 6)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.task == spec
    assert again.spec is not None
    assert again.spec.max_episode_steps == 6
    assert gym.make(COINS, horizon=9).spec.max_episode_steps == 9
    assert gym.make(COINS, max_episode_steps=4).spec.max_episode_steps == 4
    assert gym.make("taskgen/bandit-v0").spec.max_episode_steps is None  # complete after its one step
    env.set_task(other := specs_of("scripted_families/coins", 2)[1])
    env.reset(seed=0)
    assert gym.make(env.spec).unwrapped.task == other


def test_what_is_made_again_ends_as_it_did() -> None:
    for name in ("bandit", "scripted_families/coins"):
        env = taskgen.make(specs_of(name, 1)[0])
        again = gym.make(env.spec)
        for one in (env, again):
            one.reset(seed=1)
        for _ in range(env.family.horizon):
            left, right = env.step(0), again.step(0)
            assert left[1:4] == right[1:4]
            if left[2] or left[3]:
                break


def test_the_spec_of_a_vector_environment_makes_it_again() -> None:
    specs = specs_of("scripted_families/coins")
    envs = taskgen.make_vec(specs, autoreset_mode=AutoresetMode.SAME_STEP, max_episode_steps=4)
    assert envs.spec is not None
    assert envs.spec.max_episode_steps == 4
    for spec in (envs.spec, EnvSpec.from_json(envs.spec.to_json())):
        again = gym.make_vec(spec)
        assert isinstance(again, TaskVectorEnv)
        assert list(again.tasks) == specs
        assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        assert again.spec is not None
        assert again.spec.max_episode_steps == 4
    assert taskgen.make_vec(specs).spec.max_episode_steps == 6  # type: ignore[union-attr]
    assert gym.make_vec(COINS, num_envs=2, tasks=specs[:2]).spec.max_episode_steps == 6  # type: ignore[union-attr]


def test_time_can_be_observed() -> None:
    env = TimeAwareObservation(taskgen.make(specs_of("scripted_families/coins", 1)[0]))
    assert env.reset(seed=0)[0].shape == (3,)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_shorter_episodes_end_as_under_a_time_limit(mode: AutoresetMode) -> None:
    specs = specs_of("scripted_families/coins")
    ours = gym.make_vec(COINS, num_envs=3, tasks=specs, max_episode_steps=2, autoreset_mode=mode)
    theirs = SyncVectorEnv(
        [lambda spec=spec: gym.make(COINS, task=spec, max_episode_steps=2) for spec in specs], autoreset_mode=mode
    )
    assert ours.reset(seed=4)[0].tolist() == theirs.reset(seed=4)[0].tolist()
    cut = 0
    for _ in range(15):
        left, right = ours.step([0, 1, 2]), theirs.step([0, 1, 2])
        assert [np.array(part).tolist() for part in left[:4]] == [np.array(part).tolist() for part in right[:4]]
        cut += int(left[3].sum())
        ended = left[2] | left[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            for envs in (ours, theirs):
                envs.reset(options={"reset_mask": ended.copy()})
    assert cut >= 5
    with pytest.raises(TaskError, match="max_episode_steps = 0: expected 1 or more"):
        taskgen.make_vec(specs, max_episode_steps=0)


def test_tasks_one_per_slot_are_for_the_own_vector_environment() -> None:
    specs = specs_of("bandit")
    for mode in ("sync", "async"):
        with pytest.raises(TaskError, match=r"tasks: .* leave vectorization_mode out, or make .*AsyncVectorEnv"):
            gym.make_vec("taskgen/bandit-v0", num_envs=3, vectorization_mode=mode, tasks=specs)
    synchronous = SyncVectorEnv([functools.partial(taskgen.make, spec) for spec in specs])  # as the message says
    assert synchronous.get_attr("task") == tuple(specs)


@pytest.mark.slow
def test_tasks_one_per_process() -> None:
    specs = specs_of("bandit")
    envs = AsyncVectorEnv([functools.partial(taskgen.make, spec) for spec in specs])
    assert list(envs.reset(seed=0)[1]["task_id"]) == [spec.number for spec in specs]
    envs.close()


def test_the_number_in_infos_is_the_id() -> None:
    specs = specs_of("bandit", 50)
    assert any(spec.number < 0 for spec in specs)  # the sign is no matter
    for spec in specs:
        assert f"{spec.number % 2**64:016x}" == spec.id
        assert taskgen.make(spec).reset(seed=0)[1] == {"task_id": spec.number}


def test_infos_become_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "array_api_compat", array_api_compat)  # which these wrappers need
    from gymnasium.wrappers import NumpyToTorch
    from gymnasium.wrappers import vector as wrappers

    specs = specs_of("scripted_families/coins")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        single = NumpyToTorch(taskgen.make(specs[0]))
        info = single.reset(seed=0)[1]
        assert int(info["task_id"]) == specs[0].number
        for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
            envs = wrappers.NumpyToTorch(taskgen.make_vec(specs, autoreset_mode=mode))
            info = envs.reset(seed=0)[1]
            assert info["task_id"].tolist() == [spec.number for spec in specs]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_infos_hold_no_objects_but_the_last_observations(mode: AutoresetMode) -> None:
    family = taskgen.build_family("half-cheetah", {"horizon": 6})
    envs = taskgen.make_vec([family.spec(seed=seed) for seed in range(3)], autoreset_mode=mode)
    envs.reset(seed=0)
    envs._slots._batch._physics["qpos"][1, 2] = np.nan  # type: ignore[attr-defined]
    faults = 0
    for _ in range(2):
        infos = envs.step(np.zeros((3, 6), dtype=np.float32))[-1]
        for part in (infos, infos.get("final_info", {})):
            faults += int(np.sum(part.get("fault", 0)))
            for name, value in part.items():
                assert name in ("final_obs", "final_info") or value.dtype != object, name
        if mode is AutoresetMode.DISABLED:
            envs.reset(options={"reset_mask": np.array([False, True, False])})
    assert faults == 1
