"""Any MuJoCo model as a family, and MJCF that must not get through."""

import mujoco
import numpy as np
import pytest
import torch

import taskgen
from plugins.families.mujoco_any import GYMNASIUM, MujocoAny, MujocoAnyConfig
from registry.errors import TaskError
from taskgen.engines.mjcf import LONGEST, check_mjcf, compile_mjcf
from taskgen.engines.mujoco import edited_model
from taskgen.spec import TaskSpec
from taskgen.testing import check_family

CART = """<mujoco>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 0.1"/>
    <body name="cart" pos="0 0 0.2">
      <joint name="slide" type="slide" axis="1 0 0" damping="0.5"/>
      <geom name="box" type="box" size="0.1 0.1 0.05" mass="1.5"/>
      <body name="pole">
        <joint name="hinge" type="hinge" axis="0 1 0"/>
        <geom type="capsule" size="0.02 0.3" pos="0 0 0.3"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="slide" gear="10" ctrlrange="-1 1"/></actuator>
</mujoco>"""


def make(**settings) -> MujocoAny:
    return MujocoAny(MujocoAnyConfig(**settings), name="builtin/mujoco-any")


@pytest.mark.parametrize("name", GYMNASIUM)
def test_every_model_of_gymnasium_runs(name):
    family = make(model=name, fields=("body_mass.*",), horizon=10)
    batch = family.batch(2)
    batch.set_tasks([family.spec(), family.spec({"body_mass.*": 2.0})])
    first = batch.reset()
    for _ in range(10):
        outcome = batch.step(torch.from_numpy(np.tile(family.action_space.high, (2, 1))))
    assert torch.isfinite(outcome.observation).all()
    assert (outcome.observation != first).any()
    assert batch.faults.count == 0


def test_mjcf_text_is_a_family():
    fields = ("body_mass.cart", "body_mass.*", "geom_friction.*", "dof_damping.slide", "actuator_gear.0", "gravity")
    family = make(model=CART, fields=("body_mass.cart", "dof_damping.slide", "actuator_gear.0", "gravity"), horizon=40)
    check_family(family)
    family = make(model=CART, fields=fields)
    spec = family.spec({"body_mass.cart": 2.0, "body_mass.*": 1.5, "geom_friction.*": 0.5, "actuator_gear.0": 3.0})
    plain, model = family.robot.model, edited_model(family.robot, spec)
    np.testing.assert_allclose(model.body_mass, plain.body_mass * [1.0, 3.0, 1.5])
    np.testing.assert_allclose(model.body_inertia, plain.body_inertia * np.array([[1.0], [3.0], [1.5]]))
    np.testing.assert_allclose(model.geom_friction, plain.geom_friction * 0.5)
    assert model.actuator_gear[0, 0] == 30.0
    assert model.dof_damping.tolist() == [0.5, 0.0]


def test_a_slot_equals_its_own_model():
    family = make(model="Humanoid-v5", fields=("body_mass.torso", "actuator_gear.*"))
    spec = family.spec({"body_mass.torso": 1.7, "actuator_gear.*": 0.6})
    batch = family.batch(2)
    batch.set_tasks([family.spec(), spec])
    batch.reset()
    model = edited_model(family.robot, spec)
    data = mujoco.MjData(model)
    data.qpos, data.qvel = batch.simulation.qpos[1], batch.simulation.qvel[1]
    mujoco.mj_forward(model, data)
    for _ in range(20):
        batch.step(torch.full((2, model.nu), 0.1))
        data.ctrl = np.float32(0.1)
        mujoco.mj_step(model, data, nstep=5)
        np.testing.assert_array_equal(batch.simulation.qpos[1], data.qpos)


def test_the_reward_is_metres_a_second_less_the_control_cost():
    robot = make(model=CART, fields=("gravity",), frame_skip=4, control_cost=0.5).robot
    before, after = np.array([[1.0], [1.0]]), np.array([[1.5], [0.8]])
    action = np.array([[3.0], [-0.4]])  # 3 is cut to 1, the end of the motor's range
    reward, terminated = robot.outcome({}, {}, before, after, action)
    # 4 steps of MuJoCo's 2 ms take 0.008 s: 0.5 / 0.008 - 0.5 * 1 and -0.2 / 0.008 - 0.5 * 0.16
    np.testing.assert_allclose(reward, [62.0, -25.08])
    assert terminated.tolist() == [False, False]


def test_the_start_is_noise_around_the_model_s_own_place():
    robot = make(model=CART, fields=("gravity",), reset_noise=0.2).robot
    robot.model.qpos0[:] = [3.0, 5.0]
    position, velocity = robot.initial({}, np.array([[0.0, 0.5, 1.0, 0.75]]))
    np.testing.assert_allclose(position, [[2.8, 5.0]])
    np.testing.assert_allclose(velocity, [[0.2, 0.1]])


def test_a_motor_without_limits_takes_from_minus_one_to_one():
    other = '<motor joint="hinge" ctrlrange="-3 2"/></actuator>'
    free = CART.replace('ctrlrange="-1 1"', "").replace("</actuator>", other)
    robot = make(model=free, fields=("gravity",)).robot
    assert robot.limits.tolist() == [[-1.0, -3.0], [1.0, 2.0]]


def test_a_task_carries_its_model():
    spec = make(model=CART, fields=("body_mass.cart",)).spec({"body_mass.cart": 2.0})
    again = TaskSpec.from_json(spec.to_json())
    assert taskgen.make(again).observation_space.shape == (4,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "HalfCheeta-v5"}, "HalfCheetah-v5"),
        ({"model": "/etc/passwd"}, "neither a known id nor MJCF"),
        ({"fields": ("body_mas.torso",)}, "body_mass"),
        ({"fields": ("body_mass.tors",)}, "torso"),
        ({"fields": ("dof_damping.rootx",)}, "scaling it changes nothing"),
        ({"model": "<mujoco/>"}, "a body and an actuator"),
        ({"model": "<mujoco><worldbody><body/></worldbody></mujoco>"}, "a body and an actuator"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(TaskError, match=message):
        make(**settings)


@pytest.mark.parametrize(
    "inside",
    [
        "<include file='/etc/passwd'/>",
        "<asset><mesh file='/etc/passwd'/></asset>",
        "<asset><texture type='2d' file='/dev/zero'/></asset>",
        "<asset><texture type='cube' fileright='/dev/zero'/></asset>",
        "<asset><texture type='2d' builtin='flat' width='1000000' height='1000000'/></asset>",
        "<asset><hfield name='h' nrow='100000' ncol='100000' size='1 1 1 1'/></asset>",
        "<compiler meshdir='/etc'/>",
        "<compiler assetdir='/etc'/>",
        "<extension><plugin plugin='mujoco.elasticity.cable'/></extension>",
        "<worldbody><replicate count='1000000000'><geom size='1'/></replicate></worldbody>",
        "<worldbody><flexcomp type='grid' count='1000 1000 1000' name='f'/></worldbody>",
        "<worldbody><composite type='grid' count='1000 1000 1'/></worldbody>",
        "<option timestep='0'/>",
        "<option timestep='-1'/>",
        "<option timestep='nan'/>",
        "<option iterations='2000000000'/>",
        "<worldbody><geom size='inf'/></worldbody>",
        "<worldbody><geom size='1' density='1e308'/></worldbody>",
        "<worldbody><body pos='0 nan 0'/></worldbody>",
        "<size memory='1T'/>",
        "<visual><quality shadowsize='100000000'/></visual>",
        "<worldbody><geom size='-1'/></worldbody>",
        "<worldbody><geom name='a' size='1'/><geom name='a' size='1'/></worldbody>",
        "<worldbody>" + "<body>" * 200 + "</body>" * 200 + "</worldbody>",
        "<worldbody>" + "<site/>" * 6000 + "</worldbody>",
        "<worldbody>",
    ],
    ids=lambda text: text[:40],
)
def test_hostile_models_are_refused(inside):
    with pytest.raises(TaskError, match="model: "):
        compile_mjcf(f"<mujoco>{inside}</mujoco>")


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE x [<!ENTITY a 'aaaa'>]><mujoco/>",
        "<!DOCTYPE x SYSTEM '/etc/passwd'><mujoco/>",
        "<mujoco>" + " " * LONGEST + "</mujoco>",
        "<robot/>",
        "<Mujoco/>",
    ],
    ids=["entity", "system", "long", "urdf", "case"],
)
def test_what_is_no_plain_mjcf_is_refused(text):
    with pytest.raises(TaskError, match="model: "):
        compile_mjcf(text)


def test_harmless_models_get_through():
    assert "slide" in check_mjcf(CART)
    assert compile_mjcf(CART).nu == 1
