"""The walking robots against Gymnasium's environments and against recompiled models."""

import copy

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import taskgen
from plugins.families.ant import Ant, AntConfig
from plugins.families.half_cheetah import HalfCheetah, HalfCheetahConfig
from plugins.families.hopper import Hopper, HopperConfig
from plugins.families.walker2d import Walker2d, Walker2dConfig
from registry.errors import TaskError
from taskgen.engines.lean import gymnasium_model
from taskgen.engines.mujoco import edited_model, field
from taskgen.engines.mujoco_render import can_render
from taskgen.engines.testing import check_batch
from taskgen.testing import check_family

ROBOTS = {
    "HalfCheetah-v5": (HalfCheetah, HalfCheetahConfig),
    "Ant-v5": (Ant, AntConfig),
    "Hopper-v5": (Hopper, HopperConfig),
    "Walker2d-v5": (Walker2d, Walker2dConfig),
}
BODY = {"mass": 1.3, "torso_mass": 0.7, "friction": 0.6, "damping": 1.9, "gear": 0.8, "thickness": 1.3, "gravity": 7.5}
GOAL_TASKS = [*((name, task) for name in ROBOTS for task in ("direction", "velocity")), ("Ant-v5", "position")]
GOALS = {"direction": 1, "velocity": 1.5, "position": (0.5, -2.0)}


def make(name: str, **settings):
    family, config = ROBOTS[name]
    return family(config(**settings), name="test/robot")


def actions(family, steps: int, seed: int = 0) -> np.ndarray:
    low, high = family.action_space.low, family.action_space.high
    rng = np.random.default_rng(seed)
    return rng.uniform(low, high, (steps, *low.shape)).astype(np.float32)


@pytest.mark.parametrize("name", ROBOTS)
def test_default_task_equals_gymnasium_step_for_step(name):
    """Same state, same actions: positions, velocities, observations, rewards and endings to the last bit."""
    family = make(name, horizon=1000)
    theirs = gym.make(name).unwrapped
    batch = family.batch(3, threads=2)
    batch.set_tasks([family.spec(seed=seed) for seed in range(3)])
    compared = 0
    for seed in range(8):
        observation = batch.reset()
        qpos, qvel = (np.array(batch._physics[field][1]) for field in ("qpos", "qvel"))
        theirs.reset(seed=0)
        mujoco.mj_resetData(theirs.model, theirs.data)
        theirs.set_state(qpos, qvel)
        np.testing.assert_array_equal(observation[1], theirs._get_obs().astype(np.float32))
        for action in actions(family, 100, seed):
            ours = batch.step(torch.from_numpy(np.tile(action, (3, 1))))
            expected, reward, terminated, _, _ = theirs.step(action.astype(np.float64))
            np.testing.assert_array_equal(batch._physics["qpos"][1], theirs.data.qpos)
            np.testing.assert_array_equal(batch._physics["qvel"][1], theirs.data.qvel)
            np.testing.assert_array_equal(ours.observation[1], expected.astype(np.float32))
            assert float(ours.reward[1]) == np.float32(reward)
            assert bool(ours.terminated[1]) == terminated
            compared += 1
            if terminated:
                break
    assert compared >= 100


@pytest.mark.parametrize("name", ROBOTS)
def test_settings_are_gymnasiums(name):
    family, theirs = make(name), gym.make(name)
    assert family.observation_space.shape == theirs.observation_space.shape
    assert family.action_space == theirs.action_space
    assert family.config.reset_noise == theirs.unwrapped._reset_noise_scale
    assert family.config.control_cost == theirs.unwrapped._ctrl_cost_weight
    assert make(name, horizon=1000).horizon == theirs.spec.max_episode_steps


@pytest.mark.parametrize("name", ROBOTS)
def test_initial_states_are_distributed_as_gymnasiums(name):
    family = make(name)
    batch = family.batch(2000)
    batch.set_tasks([family.spec(seed=seed) for seed in range(2000)])
    batch.reset()
    scale = family.config.reset_noise
    qpos = (batch._physics["qpos"] - family.robot.model.qpos0) / scale
    qvel = batch._physics["qvel"] / scale
    assert np.abs(qpos).max() <= 1.0 + 1e-9
    np.testing.assert_allclose(qpos.mean(), 0.0, atol=0.03)
    np.testing.assert_allclose(qpos.std(), 1 / np.sqrt(3), atol=0.03)
    gaussian = name in ("HalfCheetah-v5", "Ant-v5")
    np.testing.assert_allclose(qvel.std(), 1.0 if gaussian else 1 / np.sqrt(3), atol=0.03)
    assert (np.abs(qvel).max() > 3.0) == gaussian


def recompiled(name: str, knobs: dict[str, float]) -> mujoco.MjModel:
    """The model written down with the knobs' values and compiled by MuJoCo, not edited."""
    path = str(gymnasium_model(ROBOTS[name][0].anatomy.model))
    spec = mujoco.MjSpec.from_file(path)
    for geom in spec.geoms:
        if geom.type != mujoco.mjtGeom.mjGEOM_PLANE:
            geom.size = geom.size * np.array([knobs["thickness"], 1.0, 1.0])
    plain = spec.compile()  # its masses and inertias, before the other knobs
    spec.compiler.settotalmass = -1.0
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    spec.option.gravity = (0.0, 0.0, -knobs["gravity"])
    for number, body in enumerate(spec.bodies):
        scale = knobs["mass"] * (knobs["torso_mass"] if number == 1 else 1.0)
        if number:
            body.explicitinertial = True
            body.mass, body.inertia = plain.body_mass[number] * scale, plain.body_inertia[number] * scale
            body.ipos, body.iquat = plain.body_ipos[number], plain.body_iquat[number]
    for number, geom in enumerate(spec.geoms):
        geom.friction = plain.geom_friction[number] * knobs["friction"]
    for joint in spec.joints:
        joint.damping = joint.damping * knobs["damping"]
    for actuator in spec.actuators:
        actuator.gear = np.asarray(actuator.gear) * knobs["gear"]
    return spec.compile()


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.filterwarnings("ignore:compiler attribute .settotalmass.")
def test_a_randomised_slot_equals_a_recompiled_model(name):
    family = make(name)
    specs = [family.spec(), family.spec(BODY), family.spec({"mass": 0.5})]
    batch = family.batch(3, threads=2)
    batch.set_tasks(specs)
    batch.reset()
    compiled, edited = recompiled(name, BODY), edited_model(family.robot, specs[1])
    same = ("body_mass", "body_inertia", "body_ipos", "dof_invweight0", "body_subtreemass", "dof_M0", "actuator_gear")
    for attribute in (*same, "geom_size", "geom_rbound", "geom_aabb"):
        np.testing.assert_allclose(getattr(edited, attribute), getattr(compiled, attribute), rtol=1e-10, atol=1e-12)
    simulations = []
    for model in (edited, compiled):
        data = mujoco.MjData(model)
        data.qpos, data.qvel = batch._physics["qpos"][1], batch._physics["qvel"][1]
        mujoco.mj_forward(model, data)
        simulations.append((model, data))
    for number, action in enumerate(actions(family, 50)):
        outcome = batch.step(torch.from_numpy(np.tile(action, (3, 1))))
        for model, data in simulations:
            data.ctrl = action
            mujoco.mj_step(model, data, nstep=family.robot.frame_skip)
        np.testing.assert_array_equal(batch._physics["qpos"][1], simulations[0][1].qpos)
        np.testing.assert_array_equal(batch._physics["qvel"][1], simulations[0][1].qvel)
        if number < 10:  # later on chaos turns the last bit of the compiler into anything
            np.testing.assert_allclose(batch._physics["qpos"][1], simulations[1][1].qpos, rtol=1e-8, atol=1e-8)
        if bool(outcome.terminated[1]):  # from now on it rests
            break
    assert number > 10


def test_a_slot_given_back_its_default_task_equals_gymnasium_again():
    family = make("HalfCheetah-v5")
    model = family.robot.model
    batch = family.batch(2)
    batch.set_tasks([family.spec(BODY), family.spec(BODY)])
    batch.set_tasks([family.spec()], [1])
    derived = ("dof_invweight0", "dof_M0", "body_subtreemass")
    for name in ("body_mass", "body_inertia", "geom_size", "geom_aabb", "opt.o_friction", *derived):
        values = batch.simulation.expanded(name)
        assert (values[0] != values[1]).any()
        np.testing.assert_array_equal(values[1], field(model, name))


@pytest.mark.parametrize(("name", "task"), GOAL_TASKS)
def test_goals_are_rewarded_as_stated(name, task):
    family = make(name, task=task)
    goal = GOALS[task]
    batch = family.batch(1)
    batch.set_tasks([family.spec({task: goal})])
    batch.reset()
    physics = batch._physics
    for action in actions(family, 5):
        before = copy.deepcopy(batch._place)
        outcome = batch.step(torch.from_numpy(action[None]))
        after = physics["xpos"][:, 1, :2] if name == "Ant-v5" else physics["qpos"][:, :1]
        velocity = (after - before)[0] / 0.05 if name in ("Ant-v5", "HalfCheetah-v5") else (after - before)[0] / 0.008
        progress = {
            "direction": velocity[0] * np.cos(1.0) + velocity[-1] * np.sin(1.0) if len(velocity) == 2 else velocity[0],
            "velocity": -abs(velocity[0] - 1.5),
            "position": -np.abs(after[0] - np.array(goal)).sum() if task == "position" else 0.0,
        }[task]
        alive = 0.0 if name == "HalfCheetah-v5" else family.config.alive_bonus * (not bool(outcome.terminated[0]))
        cost = family.config.control_cost * np.square(action.astype(np.float64)).sum()
        assert float(outcome.reward[0]) == pytest.approx(progress + alive - cost, rel=1e-5, abs=1e-5)


def test_direction_of_a_planar_robot_is_forwards_or_backwards():
    family = make("HalfCheetah-v5", task="direction")
    with pytest.raises(TaskError, match="direction = 0"):
        family.spec({"direction": 0})


def test_literature_sets_defaults_that_can_be_overridden():
    assert make("HalfCheetah-v5").config.control_cost == 0.1
    assert make("HalfCheetah-v5", task="velocity").config.control_cost == 0.05
    assert make("HalfCheetah-v5", task="velocity", control_cost=0.2).config.control_cost == 0.2


@pytest.mark.parametrize(("name", "task"), GOAL_TASKS)
def test_goal_families_conform(name, task):
    """No dead knobs among goals and bodies, and the batch protocol."""
    check_family(make(name, task=task, horizon=20))


@pytest.mark.parametrize("name", ROBOTS)
def test_bodies_in_other_slots_change_nothing(name):
    family = make(name, horizon=20)
    check_batch(family, [family.spec(BODY, seed=1), family.spec(seed=2), family.spec({"mass": 2.0}, seed=3)])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_task_told_is_the_task_run_after_three_autoresets(mode):
    family = taskgen.build_family("half-cheetah", {"horizon": 4})
    specs = [family.spec(body, seed=1) for body in ({"mass": 2.0, "gear": 0.5}, {}, {"thickness": 1.4})]
    env = taskgen.make_vec(specs, autoreset_mode=mode)
    env.reset(seed=1)
    starts, simulation = 0, env._slots._batch.simulation
    for _ in range(20):
        _, _, terminated, truncated, infos = env.step(np.full((3, 6), 0.3, dtype=np.float32))
        assert infos["task_id"].tolist() == [spec.number for spec in specs]
        ended = terminated | truncated
        starts += int(ended.all())
        if mode is AutoresetMode.DISABLED and ended.any():
            env.reset(options={"reset_mask": ended})
    assert starts >= 3
    for slot, spec in enumerate(specs):
        running, told = simulation.get_model(slot), edited_model(family.robot, spec)
        for attribute in ("body_mass", "body_inertia", "geom_size", "actuator_gear", "dof_invweight0"):
            np.testing.assert_array_equal(getattr(running, attribute), getattr(told, attribute))


@pytest.mark.parametrize("name", ["half-cheetah", "ant", "hopper", "walker2d"])
def test_faces(name):
    """Gymnasium's checker accepts tasks; a vector environment equals single ones step for step."""
    family = taskgen.build_family(name, {"horizon": 30})
    for context in ({}, {"mass": 2.0}, {"gravity": 4.0, "gear": 0.5}):
        check_env(taskgen.make(family.spec(context, seed=1)), skip_render_check=True)
    specs = [family.spec({"mass": 1.0 + 0.2 * slot}, seed=slot) for slot in range(3)]
    ours = taskgen.make_vec(specs)
    single = gym.vector.SyncVectorEnv([lambda spec=spec: taskgen.make(spec) for spec in specs])
    np.testing.assert_array_equal(ours.reset(seed=3)[0], single.reset(seed=3)[0])
    for action in np.random.default_rng(0).uniform(-1, 1, (70, *ours.action_space.shape)).astype(np.float32):
        for mine, other in zip(ours.step(action)[:4], single.step(action)[:4], strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.skipif(not can_render(), reason="MuJoCo finds no OpenGL on this machine")
def test_frames_show_robot_and_goal():
    family = make("Ant-v5", task="position")
    near, far = family.spec({"position": (0.0, 1.0)}), family.spec({"position": (0.0, -1.0)})
    first, second = family.render(near), family.render(far)
    assert first.shape == (240, 320, 3)
    assert first.std() > 10.0
    assert (first != second).any()
