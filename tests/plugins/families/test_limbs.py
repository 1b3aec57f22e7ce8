"""Thicker bodies by hand; against MuJoCo's own compiler they are compared with the walking robots."""

import mujoco
import numpy as np
import pytest

from plugins.families.limbs import Limbs

MODEL = """<mujoco><worldbody><geom type="plane" size="1 1 1"/>
<body><freejoint/><geom type="sphere" size="0.5"/></body>
<body><freejoint/><geom type="capsule" size="0.1 0.6" pos="0 0 2"/></body></worldbody></mujoco>"""


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_string(MODEL)


def test_a_ball_twice_as_thick_by_hand(model):
    """Eight times the mass, and with a lever twice as long 32 times the inertia."""
    fields = Limbs(model, total_mass=False).fields(np.array([1.0, 2.0]))
    assert fields["body_mass"][1, 1] == pytest.approx(8.0 * 1000.0 * np.pi / 6.0)
    np.testing.assert_allclose(fields["body_inertia"][1, 1], 32.0 * model.body_inertia[1])
    assert fields["geom_size"][1, 1, 0] == fields["geom_rbound"][1, 1] == 1.0


def test_a_thicker_capsule_is_no_longer(model):
    fields = Limbs(model, total_mass=False).fields(np.array([1.5]))
    radius, length = 0.15, 1.2
    assert fields["geom_size"][0, 2].tolist() == [pytest.approx(radius), 0.6, 0.0]
    assert fields["geom_rbound"][0, 2] == pytest.approx(0.6 + radius)
    assert fields["geom_aabb"][0, 2].ravel().tolist() == pytest.approx([0, 0, 0, radius, radius, 0.6 + radius])
    assert fields["body_mass"][0, 2] == pytest.approx(1000.0 * np.pi * radius**2 * (length + 4.0 / 3.0 * radius))


def test_the_mass_of_the_whole_can_stay(model):
    fields = Limbs(model, total_mass=True).fields(np.array([0.5, 1.5]))
    np.testing.assert_allclose(fields["body_mass"].sum(1), model.body_mass.sum())


def test_ones_are_the_models_own_values_to_the_bit(model):
    fields = Limbs(model, total_mass=True).fields(np.array([1.0, 0.5, 1.0]))
    for name, values in fields.items():
        np.testing.assert_array_equal(values[0], getattr(model, name))
        np.testing.assert_array_equal(values[2], getattr(model, name))
        assert (values[1] != values[0]).any() or name in ("body_ipos", "body_iquat")
    assert Limbs(model, total_mass=True).fields(np.ones(3)) == {}
