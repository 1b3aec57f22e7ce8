"""Lean models step to the same bits as the plain ones; what they may leave out is found by looking at the model."""

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch

from registry.errors import TaskError
from taskgen.engines.lean import friction, gymnasium_model, lean_model
from taskgen.engines.mujoco import load_model, quiet

ROBOTS = ("half_cheetah.xml", "ant.xml", "hopper.xml", "walker2d_v5.xml")
NO_ISLANDS = mujoco.mjtDisableBit.mjDSBL_ISLAND.value
OVERRIDE = mujoco.mjtEnableBit.mjENBL_OVERRIDE.value
FLOOR = "<geom name='floor' type='plane' size='5 5 1' {floor}/>"
BALLS = "".join(f"<body pos='{x} 0 0.05'><freejoint/><geom size='0.1' {{ball}}/></body>" for x in (0.0, 0.15))


def played(model, steps: int, friction_scale: float = 1.0) -> np.ndarray:
    """States [B, D] after random controls; every other slot has friction of its own."""
    batch = Batch(model, 4, 1)
    name, values = friction(model)
    batch.expand(name)[::2] = values * friction_scale
    rng = np.random.default_rng(0)
    qpos, control = batch.bind("qpos"), batch.bind("ctrl")
    qpos[:] += rng.uniform(-0.1, 0.1, qpos.shape)
    for _ in range(steps):
        control[:] = rng.uniform(-1.0, 1.0, control.shape)
        batch.step(nstep=4)
    return np.array(batch.state)


def written(tmp_path, floor: str, ball: str):
    path = tmp_path / "balls.xml"
    content = FLOOR.format(floor=floor) + BALLS.format(ball=ball)
    path.write_text(f"<mujoco><worldbody>{content}</worldbody></mujoco>")
    return path


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_a_lean_model_steps_to_the_same_bits(name, scale):
    path = gymnasium_model(name)
    expected = played(load_model(path), 60, scale)
    np.testing.assert_array_equal(played(lean_model(path), 60, scale), expected)
    assert (played(load_model(path), 60) != expected).any() == (scale != 1.0)


def test_what_each_robot_can_do_without():
    models = [lean_model(gymnasium_model(name)) for name in ROBOTS]
    assert [model.npair for model in models] == [8, 13, 0, 0]  # hopper and walker2d can touch themselves
    assert all(model.opt.disableflags & NO_ISLANDS for model in models)
    assert [friction(model)[0] for model in models] == ["opt.o_friction"] * 2 + ["geom_friction"] * 2
    np.testing.assert_array_equal(friction(models[0])[1], [0.4, 0.4, 0.1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("floor", "ball", "pairs", "override"),
    [
        ("conaffinity='1'", "conaffinity='0'", 2, True),
        ("", "", 0, True),  # the balls can touch each other
        ("contype='2' conaffinity='2'", "contype='1' conaffinity='1'", 0, True),  # and nothing but each other
        ("conaffinity='1'", "conaffinity='0' friction='0.2'", 0, False),
        ("conaffinity='1'", "conaffinity='0' priority='1'", 0, False),
    ],
)
def test_only_what_is_the_same_is_left_out(tmp_path, floor, ball, pairs, override):
    path = written(tmp_path, floor, ball)
    model = lean_model(path)
    assert not model.opt.disableflags & NO_ISLANDS  # two trees may be two islands
    assert model.npair == pairs
    assert bool(model.opt.enableflags & OVERRIDE) == override
    np.testing.assert_array_equal(played(model, 60), played(load_model(path), 60))


def test_a_model_that_mujoco_refuses_is_named(tmp_path):
    path = tmp_path / "broken.xml"
    path.write_text("<mujoco><worldbody><geom size='-1'/></worldbody></mujoco>")
    with pytest.raises(TaskError, match=r"broken\.xml"):
        lean_model(path)


def timed(model) -> bool:
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, nstep=50)
    return data.timer[mujoco.mjtTimer.mjTIMER_STEP].duration > 0.0


def test_mujoco_does_not_time_itself_unless_somebody_asks_for_it():
    model = load_model(gymnasium_model("half_cheetah.xml"))
    mujoco.set_mjcb_time(None)
    assert timed(model)
    quiet()
    assert not timed(model)
    clock = iter(range(10**9))
    mujoco.set_mjcb_time(lambda: float(next(clock)))
    try:
        quiet()
        assert timed(model)
    finally:
        mujoco.set_mjcb_time(None)
        quiet()
