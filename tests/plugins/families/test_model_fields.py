"""Fields of models as knobs: what each changes, by hand, and that a knob which changes nothing is named."""

import warnings

import mujoco
import numpy as np
import pytest
import torch

from plugins.families.model_fields import FIELDS, field_knob
from plugins.families.mujoco_any import GYMNASIUM, MujocoAny, MujocoAnyConfig
from registry.errors import TaskError
from taskgen.engines.mujoco import edited_model
from taskgen.engines.mujoco_trial import STEPS

ARM = """<mujoco>
  <option gravity="0 0 0" density="3" viscosity="0.5"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 0.1" pos="0 0 -3"/>
    <body name="left_arm">
      <joint name="left" axis="0 1 0" damping="1 2 3" stiffness="5 6 7" armature="0.1" frictionloss="0.2" range="-1 3"
       limited="true"/>
      <geom name="left_foot" type="capsule" size="0.02 0.3" pos="0 0 0.3" friction="0.8"/>
    </body>
    <body name="right_arm" pos="0 1 0">
      <joint name="right" axis="0 1 0" damping="4"/>
      <geom name="right_foot" type="box" size="0.1 0.2 0.3" pos="0.1 0 0.3"/>
    </body>
  </worldbody>
  <contact><pair geom1="floor" geom2="left_foot" friction="0.3 0.3 0.1 0.01 0.02"/></contact>
  <tendon><fixed name="cord" stiffness="2 3" damping="4" frictionloss="5" armature="6">
    <joint joint="left" coef="1"/><joint joint="right" coef="-1"/>
  </fixed></tendon>
  <actuator>
    <motor name="motor" joint="right" gear="10"/>
    <position name="servo" joint="left" kp="10" kv="0.7" forcerange="-4 6" ctrlrange="-1 1"/>
    <muscle name="muscle" joint="right" force="9" lengthrange="0 1"/>
    <velocity name="wheel" joint="right" kv="3"/>
    <damper name="brake" joint="right" kv="4" ctrlrange="0 1"/>
  </actuator>
</mujoco>"""


def make(model: str = ARM, **settings) -> MujocoAny:
    return MujocoAny(MujocoAnyConfig(model=model, **settings), name="builtin/mujoco-any")


def changed(name: str, value: float | tuple[float, ...]) -> tuple[mujoco.MjModel, mujoco.MjModel]:
    """The model as it is, and as it is in a task."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        family = make(fields=(name,))
    return family.robot.model, edited_model(family.robot, family.spec({name: value}))


@pytest.mark.parametrize(
    ("name", "value", "array", "rows", "expected"),
    [
        ("geom_friction.left_foot", 2.0, "geom_friction", 1, [1.6, 0.01, 0.0002]),
        ("geom_friction.left_foot", 2.0, "pair_friction", 0, [0.6, 0.6, 0.2, 0.02, 0.04]),
        ("geom_friction.right_foot", 2.0, "pair_friction", 0, [0.3, 0.3, 0.1, 0.01, 0.02]),
        ("geom_friction.*_foot", 2.0, "geom_friction", slice(1, 3), [[1.6, 0.01, 0.0002], [2.0, 0.01, 0.0002]]),
        ("geom_size.right_foot", 2.0, "geom_size", 2, [0.2, 0.4, 0.6]),
        ("body_ipos.right_arm", (0.01, -0.02, 0.03), "body_ipos", 2, [0.11, -0.02, 0.33]),
        ("dof_damping.left", 3.0, "dof_damping", slice(None), [3.0, 4.0]),
        ("dof_damping.left", 3.0, "dof_dampingpoly", slice(None), [[6.0, 9.0], [0.0, 0.0]]),
        ("dof_damping.right,left", 3.0, "dof_damping", slice(None), [3.0, 12.0]),
        ("dof_armature.left", 3.0, "dof_armature", slice(None), [0.3, 0.0]),
        ("dof_frictionloss.*", 3.0, "dof_frictionloss", slice(None), [0.6, 0.0]),
        ("jnt_stiffness.left", 3.0, "jnt_stiffness", slice(None), [15.0, 0.0]),
        ("jnt_stiffness.left", 3.0, "jnt_stiffnesspoly", 0, [18.0, 21.0]),
        ("tendon_stiffness.cord", 2.0, "tendon_stiffness", 0, 4.0),
        ("tendon_stiffness.cord", 2.0, "tendon_stiffnesspoly", 0, [6.0, 0.0]),
        ("tendon_damping.cord", 2.0, "tendon_damping", 0, 8.0),
        ("tendon_frictionloss.cord", 2.0, "tendon_frictionloss", 0, 10.0),
        ("tendon_armature.cord", 2.0, "tendon_armature", 0, 12.0),
        ("actuator_forcerange.servo", 2.0, "actuator_forcerange", 1, [-8.0, 12.0]),
        ("actuator_kv.*", 2.0, "actuator_biasprm", slice(1, 4, 2), [[0, -10, -1.4], [0, 0, -3]]),
        ("actuator_gear.*", 2.0, "actuator_gear", slice(None), [[20], [1], [1], [1], [1]]),
        ("actuator_gear.*", 2.0, "actuator_gainprm", slice(None), [[1], [20], [0.75, 1.05, 18, 400], [6], [0, 0, -8]]),
        ("actuator_gear.servo", 2.0, "actuator_biasprm", 1, [0.0, -20.0, -1.4]),
        ("actuator_gear.wheel", 2.0, "actuator_biasprm", 3, [0.0, 0.0, -6.0]),
        ("actuator_gear.muscle", 2.0, "actuator_gainprm", 2, [0.75, 1.05, 18.0, 400.0, 0.5]),
        ("actuator_gear.muscle", 2.0, "actuator_biasprm", 2, [0.75, 1.05, 18.0, 400.0, 0.5]),
    ],
)
def test_a_knob_changes_its_rows_and_no_others(name, value, array, rows, expected):
    plain, model = changed(name, value)
    wanted = getattr(plain, array).copy()
    if wanted[rows].ndim == 2:  # of each row the first entries
        for row, entries in zip(wanted[rows], expected, strict=True):
            row[: len(entries)] = entries
    elif wanted.ndim == 2:
        wanted[rows, : len(expected)] = expected
    else:
        wanted[rows] = expected
    np.testing.assert_allclose(getattr(model, array), wanted, rtol=1e-12)


def test_a_range_grows_about_its_middle():
    _, model = changed("jnt_range.left", 2.0)  # from -1..3 degrees: the middle is 1
    np.testing.assert_allclose(np.rad2deg(model.jnt_range[0]), [-3.0, 5.0])


@pytest.mark.parametrize(("name", "expected"), [("density", 6.0), ("viscosity", 1.0)])
def test_the_medium_is_a_number(name, expected):
    _, model = changed(name, 2.0)
    assert getattr(model.opt, name) == expected


def test_a_stronger_servo_holds_the_same_target():
    """Against a spring of stiffness k = 5 a servo of gain p rests where p (u - q) = k q, at q = p u / (p + k)."""
    spring = """<mujoco><option gravity="0 0 0"/><worldbody><body>
      <joint name="j" axis="0 1 0" stiffness="5" damping="2"/>
      <geom type="capsule" size="0.02 0.1" pos="0 0 .1"/></body></worldbody>
      <actuator><position joint="j" kp="10" ctrlrange="-1 1"/></actuator></mujoco>"""
    family = make(spring, fields=("actuator_gear.*",), horizon=2000, reset_noise=0.0)
    batch = family.batch(2)
    batch.set_tasks([family.spec(), family.spec({"actuator_gear.*": 2.0})])
    batch.reset()
    for _ in range(1000):
        angle = batch.step(torch.full((2, 1), 0.3)).observation[:, 0]
    np.testing.assert_allclose(angle, [10 * 0.3 / 15, 20 * 0.3 / 25], rtol=1e-4)


def test_servos_and_springs_keep_what_was_made_for_the_old_masses():
    """As if the model had been written with the heavier arm and the gains that were derived for the lighter one."""
    text = """<mujoco><option gravity="0 0 0"/><worldbody><site name="a" pos="0 0 1"/><body name="arm" pos="0 0 .5">
      <joint name="j" axis="0 1 0"/>
      <geom type="capsule" size="0.02 0.1" pos="0 0 .1" mass="{mass}"/><site name="b" pos=".2 0 0"/></body>
      </worldbody><tendon><spatial name="cord" stiffness="3"><site site="a"/><site site="b"/></spatial></tendon>
      <actuator><position joint="j" kp="10" {damping} ctrlrange="-1 1"/></actuator></mujoco>"""
    family = make(text.format(mass=1, damping='dampratio="1"'), fields=("body_mass.arm",))
    plain, model = family.robot.model, edited_model(family.robot, family.spec({"body_mass.arm": 3.0}))
    kv = float(-plain.actuator_biasprm[0, 2])
    written = mujoco.MjModel.from_xml_string(text.format(mass=3, damping=f'kv="{kv!r}"'))
    assert model.actuator_biasprm[0, 2] == -kv
    assert model.tendon_lengthspring.tolist() == plain.tendon_lengthspring.tolist()
    for array in ("body_mass", "body_inertia", "dof_M0", "dof_invweight0", "actuator_biasprm", "tendon_lengthspring"):
        np.testing.assert_allclose(getattr(model, array), getattr(written, array), rtol=1e-12)


def test_every_field_has_a_meaning_and_a_knob_of_its_own():
    model = make(ARM.replace('gravity="0 0 0"', "")).robot.model
    for name, meaning in FIELDS.items():
        knob = field_knob(model, f"{name}.*" if meaning.of else name)
        assert len(meaning.help) > 10
        assert meaning.help in knob.knob.help


FLOOR = """<mujoco><option timestep="0.01">{option}</option><worldbody>
  <geom name="floor" type="plane" size="5 5 .1" {floor}/>
  <body name="box" pos="0 0 0.1"><joint type="slide" axis="1 0 0" {joint}/><joint type="slide" axis="0 0 1"/>
    <geom name="box" type="box" size=".1 .1 .1" {box}/></body></worldbody>
  <actuator><motor joint="0" gear="20" ctrlrange="-1 1"/></actuator></mujoco>"""


def floor(option: str = "", floor: str = "", box: str = "", joint: str = "") -> str:
    text = FLOOR.format(option=option, floor=floor, box=box, joint=f'name="x" {joint}')
    return text.replace('joint="0"', 'joint="x"')


@pytest.mark.parametrize(
    ("model", "field", "reason"),
    [
        (floor(box='friction=".5"'), "geom_friction.box", "larger friction of its two geoms"),
        (floor('<flag contact="disable"/>'), "geom_friction.*", "disables contact"),
        (floor(box='contype="0" conaffinity="0"'), "geom_friction.box", "touch nothing"),
        (floor('<flag damper="disable"/>', joint='damping="3"'), "dof_damping.x", "disables damper"),
        (floor('<flag gravity="disable"/>'), "gravity", "disables gravity"),
        (floor('<flag limit="disable"/>', joint='range="-.1 .1" limited="true"'), "jnt_range.x", "disables limit"),
        (floor(joint='range="-900 900" limited="true"'), "jnt_range.x", "came to an end"),
        ("Reacher-v5", "gravity", "gives way to gravity"),
        ("Swimmer-v5", "geom_friction.*", "touch nothing|touched anything"),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else None,
)
def test_a_knob_that_changes_nothing_is_named_with_the_reason(model, field, reason):
    with pytest.warns(UserWarning, match=f"{field.replace('*', '.')} changed nothing.*{reason}"):
        make(model, fields=(field,))


@pytest.mark.parametrize("field", ["geom_friction.box", "gravity", "body_mass.box", "actuator_gear.*"])
def test_a_knob_that_lives_is_not_warned_of(field):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(floor(box='friction="1.5"'), fields=(field,))


@pytest.mark.parametrize(
    ("model", "dead"),
    [
        ("HalfCheetah-v5", ()),
        ("Hopper-v5", ()),
        ("InvertedDoublePendulum-v5", ("geom_friction.*",)),
        ("InvertedPendulum-v5", ("geom_friction.*",)),
        ("Pusher-v5", ("geom_friction.*", "gravity")),
        ("Reacher-v5", ("geom_friction.*", "gravity")),
        ("Swimmer-v5", ("geom_friction.*", "dof_damping.*", "gravity")),
        ("Walker2d-v5", ()),
        (floor(box='friction="1.5"'), ("dof_damping.*",)),
        (floor('<flag contact="disable"/>'), ("geom_friction.*", "dof_damping.*")),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_what_varies_when_nothing_is_named_is_what_lives(model, dead):
    config = MujocoAnyConfig(model=model)
    usual = ("body_mass.*", "geom_friction.*", "dof_damping.*", "actuator_gear.*", "gravity")
    assert config.fields == tuple(name for name in usual if name not in dead)
    assert MujocoAnyConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("model", ["Pusher-v5", "Reacher-v5", "Swimmer-v5"])
def test_each_of_the_default_knobs_changes_an_episode(model):
    family = make(model)
    tasks = [family.spec(), *(family.spec({name: 2.0}) for name in family.config.fields)]
    batch = family.batch(len(tasks))
    batch.set_tasks(tasks)
    batch.reset(seeds=[0] * len(tasks))
    for step in range(STEPS):
        action = family.action_space.high * np.float32(1 if step // 5 % 2 else -0.5)
        seen = batch.step(torch.from_numpy(np.tile(action, (len(tasks), 1)))).observation
    assert len({tuple(row) for row in seen.tolist()}) == len(tasks)


def test_a_field_that_no_number_can_scale_is_refused():
    text = ARM.replace(
        '<motor name="motor" joint="right" gear="10"/>', '<pid name="motor" joint="right" kp="1" ki="1"/>'
    )
    with pytest.raises(TaskError, match="'motor' is a pid"):
        make(text, fields=("actuator_gear.*",))
    assert "actuator_gear.*" not in MujocoAnyConfig(model=text).fields


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("geom_friction", "did you mean 'geom_friction"),
        ("gravity.x", "no such field"),
        ("geom_friction.foot_*", "no such geom 'foot_.'.*left_foot"),
        ("geom_friction.left_foot,nobody", "no such geom 'nobody'"),
        ("geom_size.floor", "is 0 in this model"),
        ("jnt_range.right", "is 0 in this model"),
    ],
)
def test_fields_that_cannot_be_are_named(name, message):
    with pytest.raises(TaskError, match=f"(?i){message}"):
        make(fields=(name,))


def test_describe_tells_of_every_field():
    told = {row[0].partition(".")[0]: row[-1] for row in make("Reacher-v5").explained()}
    assert told == {name: meaning.sentence for name, meaning in FIELDS.items()}


DEAD = {
    "InvertedDoublePendulum-v5": {"geom_friction.*", "geom_size.*"},
    "InvertedPendulum-v5": {"geom_friction.*", "geom_size.*"},
    "Pusher-v5": {"geom_friction.*"},
    "Reacher-v5": {"geom_friction.*", "geom_size.*", "gravity"},
    "Swimmer-v5": {"geom_friction.*", "geom_size.*", "gravity"},
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("model", GYMNASIUM)
def test_each_field_of_each_model_lives_or_is_refused_or_warned_of(model):
    """All fields by all models: what is not in the table above changes an episode, or is 0 in the model."""
    dead, absent = set(), []
    for name, meaning in FIELDS.items():
        knob = f"{name}.*" if meaning.of else name
        try:
            make(model, fields=tuple(dict.fromkeys(("body_mass.*", knob))))
        except TaskError as error:
            absent.append(str(error))
        except UserWarning as warning:
            dead.add(str(warning).split(" changed nothing in a trial")[0].removeprefix("builtin/mujoco-any: "))
    assert dead == DEAD.get(model, set())
    assert all("is 0 in this model" in said or "no such" in said for said in absent)
