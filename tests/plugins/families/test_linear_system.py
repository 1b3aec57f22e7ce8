"""Linear systems: the best return by hand, play that follows the matrices, plants that are scaled or refused."""

import numpy as np
import pytest
import torch

from plugins.families.linear_system import LinearSystem, LinearSystemConfig
from registry.errors import TaskError
from taskgen.testing import check_family


def system(**settings):
    return LinearSystem(LinearSystemConfig(**settings), name="builtin/linear-system")


def matrices(family, context):
    """A, B and C as the descriptor tells them."""
    batch = family.batch(1)
    batch.set_tasks([family.spec(context)])
    states, controls, outputs = (getattr(family.config, name) for name in ("states", "controls", "outputs"))
    told = batch.descriptor()[0].double().numpy()
    first, second, _, rest = np.split(told, np.cumsum([states**2, states * controls, 3]))
    return first.reshape(states, states), second.reshape(states, controls), rest[: outputs * states].reshape(-1, states)


def test_two_steps_of_one_number_by_hand():
    """a = 1.2, b = 0.5: K_1 = 0, P_1 = 1; K_0 = b a / (1 + b^2) = 0.48, P_0 = 1 + a^2 / (1 + b^2) = 2.152."""
    family = system(states=1, controls=1, horizon=2)
    plant = {"dynamics": [[0.3]], "control": [[0.5]], "radius": 1.2, "process_noise": 0.3, "start": 2.0, "effort": 1.0}
    best = family.best(family.spec(plant).context)
    assert best.expected_return == pytest.approx(-(2.152 * 4 + 0.09))
    assert best.reach == pytest.approx(0.48 * 2)
    assert family.optimal_return(family.spec(plant)) == best.expected_return
    turned = {**plant, "dynamics": [[-0.3]], "effort": 0.25}  # a = -1.2: K_0 = -1.2, P_0 = 1 + 1.44 * 0.25 / 0.5
    best = family.best(family.spec(turned).context)
    assert best.expected_return == pytest.approx(-(1.72 * 4 + 0.09))
    assert best.reach == pytest.approx(1.2 * 2)


def test_two_steps_of_one_hidden_number_by_hand():
    """c = 0.5, sensor noise 0.5: half of the variance 1 is known at first, so that u_0 = -K x^ with E x^2 = 0.5."""
    family = system(states=1, controls=1, outputs=1, horizon=2)
    plant = {"dynamics": [[1.0]], "control": [[1.0]], "radius": 1.0, "process_noise": 0.1, "start": 1.0, "effort": 0.75}
    told = {"sensor": [[0.5]], "sensor_noise": 0.5}
    gain = 0.25 / (0.75 + 0.25)
    first = 0.25 + 0.25 + 0.75 * gain**2 * 0.5
    second = 0.25 * ((1 - gain) ** 2 * 0.5 + 0.5 + 0.01) + 0.25
    best = family.best(family.spec({**plant, **told}).context)
    assert best.expected_return == pytest.approx(-(first + second))
    assert best.reach == pytest.approx(gain * 0.5**0.5)


@pytest.mark.parametrize("outputs", [0, 2])
def test_a_step_follows_the_matrices(outputs):
    family = system(states=3, controls=2, outputs=outputs, horizon=4)
    slots, rng = 40_000, np.random.default_rng(0)
    shapes = {"dynamics": (3, 3), "control": (3, 2), **({"sensor": (2, 3)} if outputs else {})}
    plant = {name: rng.uniform(-1, 1, shape).tolist() for name, shape in shapes.items()}
    measured = {"sensor_noise": 0.2} if outputs else {}
    context = {**plant, **measured, "process_noise": 0.5, "start": 2.0, "effort": 0.25}
    a, b, c = matrices(family, context)
    assert np.abs(np.linalg.eigvals(a)).max() == pytest.approx(0.9)
    np.testing.assert_allclose(a / a[0, 0], np.array(plant["dynamics"]) / plant["dynamics"][0][0], rtol=1e-5)
    np.testing.assert_allclose(b, plant["control"], rtol=1e-6)
    batch = family.batch(slots)
    batch.set_tasks([family.spec(context)] * slots)
    before = batch.reset(seeds=range(slots)).double().numpy()
    start = batch.position.state[:, :3].double().numpy()
    error = 4 * (2 / slots) ** 0.5
    np.testing.assert_allclose(np.cov(start.T), 4 * np.eye(3), atol=4 * error)
    action = torch.tensor([[1.0, -2.0]]).repeat(slots, 1)
    outcome = batch.step(action)
    state = batch.position.state[:, :3].double().numpy()
    luck = state - start @ a.T - np.array([1.0, -2.0]) @ b.T
    np.testing.assert_allclose(luck.mean(0), 0, atol=4 * 0.5 / slots**0.5)
    np.testing.assert_allclose(np.cov(luck.T), 0.25 * np.eye(3), atol=0.25 * error)
    np.testing.assert_allclose(outcome.reward.numpy(), -((before**2).sum(1) + 0.25 * 5), rtol=1e-5)
    assert not outcome.terminated.any()
    seen = outcome.observation.double().numpy()
    if outputs:
        np.testing.assert_allclose(np.cov((seen - state @ c.T).T), 0.04 * np.eye(2), atol=0.04 * error)
        assert abs(np.cov(np.c_[luck, seen - state @ c.T].T)[:3, 3:]).max() < 0.1 * error
    else:
        np.testing.assert_array_equal(seen, state)


def test_plants_that_are_nearly_nilpotent_are_scaled_by_their_norm():
    family = system()
    one_way = matrices(family, {"dynamics": [[0.0, 0.5], [0.0, 0.0]], "radius": 0.8})[0]
    np.testing.assert_allclose(one_way, [[0.0, 8.0], [0.0, 0.0]], rtol=1e-6)
    assert not matrices(family, {"dynamics": [[0.0, 0.0], [0.0, 0.0]]})[0].any()


def test_plants_that_leave_single_precision_are_refused():
    family = system(horizon=300)
    family.spec({"radius": 1.09})
    with pytest.raises(
        TaskError, match=r"radius = 1.1 a state grows 1.1\^300-fold .* lower radius, .* to 1.096, or horizon"
    ):
        family.spec({"radius": 1.1})


@pytest.mark.parametrize(
    "settings", [{"states": 3, "controls": 1, "outputs": 2}, {"states": 16, "controls": 16, "outputs": 16}]
)
def test_other_sizes_pass_the_kit(settings):
    check_family(system(**settings, horizon=5))


def test_the_text_tells_the_plant_and_what_the_best_play_needs():
    family = system(outputs=1)
    spec = family.spec({"dynamics": [[0.5, 0.0], [0.0, -0.25]], "control": [[1.0, 0.0], [0.0, 1.0]]})
    lines = family.render(spec).splitlines()
    assert " ".join(" ".join(lines[:5]).split()) == "A 0.900 0.000 0.000 -0.450 B 1.000 0.000 0.000 1.000 C 0.500 0.500"
    assert lines[5].startswith("radius 0.9 ")
    best = family.best(spec.context)
    assert f"best return {best.expected_return:.4g}, by controls" in lines[6]
    assert f"at most {best.reach:.3g}, limit 10" in lines[6]
