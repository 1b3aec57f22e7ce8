"""2D navigation against hand-computed steps and the figure of the best player that does not adapt."""

import pytest
import torch

from registry.errors import TaskError
from taskgen.build import build_family
from taskgen.testing import check_family

VARIANTS = [
    {},
    {"clip": False},
    {"goals": "half-circle"},
    {"goals": "half-circle", "reward": "sparse"},
    {"reward": "sparse", "horizon": 30},
]


def started(context, settings=None):
    family = build_family("point-navigation", settings)
    batch = family.batch(1)
    batch.set_tasks([family.spec(context)])
    return batch, batch.reset()


def take(batch, *move):
    outcome = batch.step(torch.tensor([move], dtype=torch.float32))
    return outcome.observation[0].tolist(), float(outcome.reward), bool(outcome.terminated), bool(outcome.truncated)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_conforms(settings):
    check_family(build_family("point-navigation", settings))


def test_reward_is_minus_the_distance_after_the_move():
    batch, observation = started({"goal": (0.3, 0.4)})
    assert observation.tolist() == [[0.0, 0.0]]
    position, reward, terminated, _ = take(batch, 0.0, 0.1)
    assert position == pytest.approx([0.0, 0.1])
    assert reward == pytest.approx(-(0.18**0.5))
    assert not terminated


@pytest.mark.parametrize(("clip", "reached"), [(True, [0.1, -0.1]), (False, [0.5, -0.2])])
def test_clipping_is_a_setting(clip, reached):
    batch, _ = started({"goal": (0.5, -0.2)}, {"clip": clip})
    position, _, terminated, _ = take(batch, 0.5, -0.2)
    assert position == pytest.approx(reached)
    assert terminated == (not clip)


def test_an_episode_ends_within_a_hundredth_of_the_goal_in_both_coordinates():
    batch, _ = started({"goal": (0.05, 0.05)})
    assert not take(batch, 0.05, 0.0395)[2]
    assert take(batch, 0.0, 0.002)[2]


def test_the_best_that_does_not_adapt_stays_at_the_centre():
    """Stay at the centre: -38.3 over goals U[-0.5, 0.5]^2; tolerance 0.1."""
    family = build_family("point-navigation")
    ticks = [(i + 0.5) / 40 - 0.5 for i in range(40)]
    specs = [family.spec({"goal": (x, y)}) for x in ticks for y in ticks]
    batch = family.batch(len(specs))
    batch.set_tasks(specs)
    batch.reset()
    total = sum(batch.step(torch.zeros(len(specs), 2)).reward for _ in range(family.horizon))
    assert family.horizon == 100
    assert float(total.mean()) == pytest.approx(-38.3, abs=0.1)


@pytest.mark.parametrize(("reward", "paid"), [("sparse", [0.0, 0.85, 0.95]), ("dense", [-0.25, -0.15, -0.05])])
def test_half_circle(reward, paid):
    batch, _ = started({"angle": 0.0, "distance": 0.35}, {"goals": "half-circle", "reward": reward})
    for expected in paid:
        _, received, terminated, _ = take(batch, 0.1, 0.0)
        assert received == pytest.approx(expected, abs=1e-6)
    take(batch, 0.05, 0.0)
    assert not terminated  # the half circle's episodes never end early
    for _ in range(15):
        assert not take(batch, 0.0, 0.0)[3]
    assert take(batch, 0.0, 0.0)[2:] == (False, True)


def test_a_sparse_goal_beyond_reach_is_refused():
    family = build_family("point-navigation", {"goals": "half-circle", "reward": "sparse", "horizon": 5})
    with pytest.raises(TaskError, match="5 steps reach 0.5"):
        family.spec({"angle": 0.0})
    family.spec({"angle": 0.0, "distance": 0.7})
    build_family("point-navigation", {**family.structure, "clip": False}).spec({"angle": 0.0})


def test_features_are_the_goal():
    family = build_family("point-navigation", {"goals": "half-circle", "reward": "sparse"})
    spec = family.spec({"angle": 0.0, "distance": 1.5})
    assert family.descriptor(spec.context).tolist() == [1.5, 0.0, 0.2]
    batch = family.batch(1)
    batch.set_tasks([spec])
    assert batch.descriptor()[0].tolist() == pytest.approx([1.5, 0.0, 0.2])
