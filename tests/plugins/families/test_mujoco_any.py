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


@pytest.mark.parametrize(
    ("model", "settings", "paid"),
    [
        ("HalfCheetah-v5", {}, ("torso", "x")),
        ("Reacher-v5", {}, ("body1", "x")),
        ("Reacher-v5", {"paid_along": "y"}, ("body1", "y")),
        ("Reacher-v5", {"paid": "fingertip"}, ("fingertip", "x")),
        (CART, {}, ("cart", "x")),
        (CART, {"paid": "com.pole", "paid_along": "z"}, ("com.pole", "z")),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_what_is_paid_is_what_actions_move(model, settings, paid):
    family = make(model=model, fields=("body_mass.*",), **settings)
    assert (family.config.paid, family.config.paid_along) == paid
    assert family.spec().context["paid"] == paid[0]
    batch = family.batch(2)
    batch.set_tasks([family.spec()] * 2)
    batch.reset(seeds=[0, 0])
    actions = np.stack([family.action_space.low, family.action_space.high]) / 2
    for step in range(60):
        reward = batch.step(torch.from_numpy(actions if step % 20 < 10 else actions * [[0.5], [0.9]])).reward
    speed = reward.numpy() + 0.1 * (actions**2).sum(1)
    assert speed[0] != speed[1]


def test_the_centre_of_mass_of_a_pole_is_paid_for_its_own_velocity():
    family = make(model=CART, fields=("body_mass.*",), paid="com.pole", control_cost=0.0, frame_skip=1)
    batch = family.batch(1)
    batch.set_tasks([family.spec()])
    seen = [batch.reset()[0]]
    paid = [0.0]
    for _ in range(5):
        outcome = batch.step(torch.ones(1, 1))
        seen.append(outcome.observation[0])
        paid.append(float(outcome.reward[0]))
    x = [float(state[0] + 0.3 * torch.sin(state[1])) for state in seen]  # 0.3 m up the pole
    # places are one physics step late, as after `mj_step`
    np.testing.assert_allclose(paid[2:], np.diff(x[:-1]) / 0.002, rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paid": "nobody"}, "paid = 'nobody': no such body"),
        ({"paid": "com.nobody"}, "no such body"),
        ({"start": "nowhere"}, "start = 'nowhere': no such keyframe"),
    ],
)
def test_unknown_names_of_places_are_said(settings, message):
    with pytest.raises(TaskError, match=message):
        make(model=CART, fields=("body_mass.*",), **settings)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("Reacher-v5", {"paid": "body0"}, "'body0': no action moved it along x.*moved body1 along x"),
        (CART, {"paid": "cart", "paid_along": "y"}, "no action moved it along y"),
        (CART.replace("<motor ", "<general gainprm='0' "), {}, "moved no body and no centre of mass"),
    ],
)
def test_a_reward_that_no_action_can_change_is_said(model, settings, message):
    with pytest.warns(UserWarning, match=message):
        make(model=model, fields=("body_mass.*",), **settings)


KEYS = """<keyframe><key name="up" qpos="0.5 0.25" qvel="1 2" act="0.75"/><key qpos="0.5 9" act="0"/></keyframe>
</mujoco>"""
FILTERED = CART.replace("<motor ", '<general dyntype="filter" dynprm="2" ').replace("</mujoco>", KEYS)


def test_episodes_start_from_a_keyframe_and_show_activations():
    family = make(model=FILTERED, fields=("body_mass.*",), start="up", reset_noise=0.0, frame_skip=1)
    batch = family.batch(1)
    batch.set_tasks([family.spec()])
    for _ in range(2):
        assert batch.reset()[0].tolist() == [0.5, 0.25, 1.0, 2.0, 0.75]
        seen = batch.step(torch.zeros(1, 1)).observation[0]
    assert seen[4] == pytest.approx(0.75 * (1 - 0.002 / 2))  # act' = (u - act) / 2, one step of Euler
    model = make(model=FILTERED, fields=("body_mass.*",), reset_noise=0.0)
    batch = model.batch(1)
    batch.set_tasks([model.spec()])
    assert batch.reset()[0].tolist() == [0.0] * 5


def test_a_start_outside_of_joint_limits_is_said():
    limited = FILTERED.replace('<joint name="hinge"', '<joint name="hinge" limited="true" range="-90 90"')
    with pytest.warns(UserWarning, match="joint hinge starts at 9, outside of its range from -1.57"):
        make(model=limited, fields=("body_mass.*",), start="1")


def test_orientations_are_of_length_one_after_noise():
    family = make(model="Ant-v5", fields=("body_mass.*",), reset_noise=0.3)
    uniform = np.random.default_rng(0).uniform(size=(20, family.robot.uniforms))
    position, _ = family.robot.initial({}, uniform)
    np.testing.assert_allclose(np.linalg.norm(position[:, 3:7], axis=1), 1.0, rtol=1e-12)
    noisy = family.robot.model.qpos0[3:7] + 0.3 * (2 * uniform[:, 3:7] - 1)
    np.testing.assert_allclose(position[:, 3:7] * np.linalg.norm(noisy, axis=1)[:, None], noisy, rtol=1e-12)
    np.testing.assert_allclose(position[:, :3], family.robot.model.qpos0[:3] + 0.3 * (2 * uniform[:, :3] - 1))


def test_an_actuator_of_several_controls_has_them_all():
    ball = """<mujoco><worldbody>
      <body><joint name="b" type="ball"/><geom type="box" size=".1 .2 .3" pos=".1 0 0"/></body>
      </worldbody><actuator><orientation joint="b" kp="3" kv="1"/></actuator></mujoco>"""
    family = make(model=ball, fields=("body_mass.*",))
    assert family.action_space.shape == (3,)


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
        "<extension><plugin plugin='mujoco.elasticity.cable'/></extension>",
        "<worldbody><replicate count='1000000000'><geom size='1'/></replicate></worldbody>",
        "<worldbody><flexcomp type='grid' count='1000 1000 1000' name='f'/></worldbody>",
        "<worldbody><composite type='grid' count='1000 1000 1'/></worldbody>",
        "<option timestep='0'/>",
        "<option timestep='-1'/>",
        "<option timestep='nan'/>",
        "<option iterations='2000000000'/><worldbody><body><joint/><geom size='1'/></body></worldbody>",
        "<worldbody><geom size='inf'/></worldbody>",
        "<worldbody><geom size='1' density='1e308'/></worldbody>",
        "<worldbody><body pos='0 nan 0'/></worldbody>",
        "<size memory='1T'/>",
        "<visual><quality shadowsize='100000000'/></visual>",
        "<worldbody><geom size='-1'/></worldbody>",
        "<worldbody><geom name='a' size='1'/><geom name='a' size='1'/></worldbody>",
        "<worldbody>" + "<body>" * 200 + "</body>" * 200 + "</worldbody>",
        "<worldbody>" + "<site/>" * 21000 + "</worldbody>",
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
