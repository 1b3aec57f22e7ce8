"""The biped on POET's courses: the ground by hand, mutation, lidar, motors, reward and endings."""

from itertools import pairwise

import mujoco
import numpy as np
import pytest
import torch

from plugins.families import terrain
from plugins.families.biped import LIDAR, RAYS
from plugins.families.terrain import LENGTH, STEP, heights
from plugins.families.terrain_walker import TerrainWalker, TerrainWalkerConfig
from registry.errors import TaskError
from taskgen.engines.mujoco import edited_model
from taskgen.testing import check_family


def make(**settings) -> TerrainWalker:
    return TerrainWalker(TerrainWalkerConfig(**settings), name="test/walker")


def started(family, *specs):
    batch = family.batch(len(specs), threads=1)
    batch.set_tasks(specs)
    return batch, batch.reset()


def course(context, **constant):
    """A course from uniforms of one half, except for the columns given."""
    uniform = np.full((LENGTH, terrain.DRAWS), 0.5)
    for column, value in constant.items():
        uniform[:, int(column[1:])] = value
    return terrain.course(context, uniform)


def surface(pieces, *steps):
    return heights(pieces, np.array(steps) * STEP) / STEP


def test_family_conforms():
    check_family(make(horizon=60))


def test_stairs_conform():
    """Their number is seen from the second stair on, so rollouts must lead there and meet nothing else before."""
    check_family(make(horizon=120, stairs=True, pits=False, stumps=False))


def test_ground_without_obstacles_is_flat():
    family = make()
    pieces = family.course(family.spec(seed=5))
    everywhere = np.linspace(0.0, LENGTH * STEP - 1e-6, 5000)
    assert (heights(pieces, everywhere) == 0.0).all()
    assert len(pieces) == LENGTH


def test_pit_by_hand():
    """Gap of 2.5 steps: a wall to 21, the floor 4 steps down to 23.5, a wall to 24.5, grass from the whole step 26."""
    pieces = course({"pit_gap": (2.5, 2.5)})
    assert surface(pieces, 20.5, 21.1, 22.0, 23.4, 23.6, 25.2).tolist() == pytest.approx([0, -4, -4, -4, 0, 0])
    assert pieces[terrain.PAD, 0] == pytest.approx(20 * STEP)
    assert pieces[terrain.PAD + 3, 2] == pytest.approx(26 * STEP)
    grass = 5 + int(0.5 * 5)
    assert surface(pieces, 26 + grass + 1.5).tolist() == pytest.approx([-4.0])


def test_stump_by_hand():
    pieces = course({"stump_height": (1.0, 3.0)})
    assert surface(pieces, 19.5, 20.5, 21.5, 27.5, 28.5).tolist() == pytest.approx([0, 2, 0, 0, 2])


@pytest.mark.parametrize(("draw", "steps"), [(0.9, [0, 1, 2, 2]), (0.1, [0, -1, -2, -3])])
def test_stairs_by_hand(draw, steps):
    """Three stairs, four steps wide each; up they end level with the last, down a stair lower."""
    pieces = course({"stair_height": (1.0, 1.0), "stair_steps": (3, 3)}, c4=draw)
    assert surface(pieces, 22.0, 26.0, 30.0, 32.5).tolist() == pytest.approx(steps)


def test_roughness_scales_the_same_unevenness():
    """Until the pull towards 0 changes its sign, y += r v with the same v, whatever the roughness r."""
    pieces = course({"roughness": 1.0}, c0=0.8)
    velocity = y = 0.0
    for piece in pieces[terrain.PAD : terrain.PAD + 3]:
        velocity = 0.8 * velocity - 0.01 * np.sign(y) + 0.6 / 30
        y += velocity
        assert piece[3] == pytest.approx(y)
    small, large = course({"roughness": 2.0}, c0=0.8), course({"roughness": 4.0}, c0=0.8)
    np.testing.assert_allclose(large[:26, 3], 2 * small[:26, 3])


def test_sizes_lie_in_their_ranges_and_all_kinds_appear():
    family = make(stairs=True)
    context = {"pit_gap": (1.0, 3.0), "stump_height": (0.5, 2.0), "stair_height": (0.2, 0.4), "stair_steps": (1, 3)}
    gaps, stumps = [], []
    for seed in range(20):
        pieces = family.course(family.spec(context, seed=seed)) / STEP
        np.testing.assert_allclose(pieces[:-1, 2], pieces[1:, 0])  # no holes
        for before, piece in pairwise(pieces):
            if piece[1] - before[3] < -3.9:
                gaps.append(piece[2] - piece[0])
            if before[4] > piece[4] and before[2] - before[0] < 1.01 and 0 < before[3] - piece[1] < 3.9:
                stumps.append(before[3] - piece[1])
    assert 1.0 <= min(gaps) < 1.5
    assert 2.5 < max(gaps) <= 3.0
    assert 0.5 <= min(stumps) < 0.7
    assert 1.8 < max(stumps) <= 2.0


def test_no_course_has_more_pieces_than_the_model():
    family = make(stairs=True)
    rng = np.random.default_rng(0)
    for seed in range(150):
        context = {"pit_gap": (0.0, rng.choice([0.0, 0.1, 10.0])), "stump_height": (0.0, rng.choice([0.0, 5.0]))}
        context |= {"stair_height": (0.0, rng.choice([0.0, 5.0])), "stair_steps": (1, 9)}
        pieces = family.course(family.spec(context, seed=seed))
        assert len(pieces) <= terrain.PIECES
        assert terrain.boxes(pieces).shape == (terrain.PIECES, 5)
        assert pieces[-1, 2] >= (LENGTH - 1e-6) * STEP


def test_lidar_on_flat_ground_is_geometry():
    family = make()
    _, observation = started(family, family.spec())
    height = family.model.body("hull").pos[2] + 2 * 34 / 30 + 8 / 30
    expected = np.minimum(height / np.cos(RAYS) / LIDAR, 1.0)
    np.testing.assert_allclose(observation[0, 14:], expected, atol=1e-6)


def test_lidar_hits_the_surface_of_rough_ground():
    """Rays end where MuJoCo's own do among the boxes of that slot: slopes, pits and stumps are where they are seen."""
    family = make()
    context = {"roughness": 6.0, "stump_height": (1.0, 2.0), "pit_gap": (1.0, 2.0)}
    specs = [family.spec(context, seed=seed) for seed in range(6)]
    batch, _ = started(family, *specs)
    compared = 0
    for x in np.arange(12.0, 60.0, 1.7):
        for slot, spec in enumerate(specs):
            pieces = family.course(spec)
            z = heights(pieces, np.array([x]))[0] + 3.0
            batch.simulation.bind("qpos")[slot, :2] = x, z
        observation = batch._robot.observe(batch._tables, batch._physics)[:, 14:]
        origin = np.zeros((len(specs), 1, 3))
        origin[:, 0, ::2] = batch.simulation.bind("qpos")[:, :2]
        rays = LIDAR * np.stack([np.sin(RAYS), 0.0 * RAYS, -np.cos(RAYS)], axis=1)
        theirs, _ = batch.simulation.ray(origin, rays, np.array([1, 0, 0, 0, 0, 0], dtype=np.uint8))
        theirs = np.where(theirs < 0.0, 1.0, np.minimum(theirs, 1.0))
        np.testing.assert_allclose(observation, theirs, atol=1e-5)
        compared += (theirs < 1.0).sum()
    assert compared > 500


def test_torques_move_joints_to_their_speed():
    """In free fall each motor turns its joint its own way; a hip reaches most of its limit and hardly exceeds it."""
    family = make()
    for motor in range(4):
        for sign in (1.0, -1.0):
            batch, _ = started(family, family.spec())
            batch.simulation.bind("qpos")[0, 1] = 30.0
            batch.simulation.bind("qpos")[0, 4] = batch.simulation.bind("qpos")[0, 6] = -0.8
            action = torch.zeros(1, 4)
            action[0, motor] = sign
            column = (5, 7, 10, 12)[motor]
            speeds = [float(batch.step(action).observation[0, column]) for _ in range(5)]
            assert 0.5 < sign * speeds[-1] < 1.05


def test_a_servo_stands():
    """Joints held at a straddle by proportional control: 4 s later the hull is level and both feet are down."""
    family = make()
    batch, observation = started(family, *[family.spec(seed=seed) for seed in range(4)])
    goal = torch.tensor([-0.35, -0.5, 0.75, -0.5])
    for _ in range(200):
        angle = observation[:, [4, 6, 9, 11]] - torch.tensor([0.0, 1.0, 0.0, 1.0])
        speed = observation[:, [5, 7, 10, 12]] * torch.tensor([4.0, 6.0, 4.0, 6.0])
        step = batch.step((2.0 * (goal - angle) - 0.1 * speed).clamp(-1.0, 1.0))
        observation = step.observation
        assert not bool(step.terminated.any())
    assert bool((observation[:, 0].abs() < 0.2).all())
    assert bool((observation[:, [8, 13]] == 1.0).all())


def test_reward_by_hand():
    family = make()
    batch, _ = started(family, family.spec())
    action = torch.tensor([[0.5, -1.0, 0.25, 2.0]])
    before = batch.state(0)[1:4]
    reward = float(batch.step(action).reward[0])
    after = batch.state(0)[1:4]
    progress = 130 / 30 * (after[0] - before[0]) - 5 * (abs(after[2]) - abs(before[2]))
    assert reward == pytest.approx(progress - 0.00035 * 80 * 2.75, abs=1e-6)


@pytest.mark.parametrize(("x", "reward"), [(-0.1, -100.0), (190.1 * STEP, None)])
def test_leaving_the_course_ends_the_episode(x, reward):
    family = make()
    batch, _ = started(family, family.spec())
    batch.simulation.bind("qpos")[0, 0] = x
    step = batch.step(torch.zeros(1, 4))
    assert bool(step.terminated[0])
    assert (float(step.reward[0]) == -100.0) == (reward is not None)


def test_a_fall_ends_the_episode():
    family = make()
    batch, _ = started(family, family.spec())
    batch.simulation.bind("qpos")[0, 1:3] = 1.0, 1.5
    for _ in range(100):
        step = batch.step(torch.zeros(1, 4))
        if bool(step.terminated[0]):
            break
    assert bool(step.terminated[0])
    assert float(step.reward[0]) == -100.0


def test_divergence_is_a_fault_and_spares_the_neighbours():
    family = make()
    batch, _ = started(family, *[family.spec(seed=seed) for seed in range(2)])
    batch.simulation.bind("qvel")[0] = 1e12
    step = batch.step(torch.zeros(2, 4))
    assert step.truncated.tolist() == [True, False]
    assert bool(torch.isfinite(step.observation).all())


def test_the_model_of_a_slot_is_a_recompiled_model():
    """Bounding volumes of moved ground too: a walker dropped far along a course lands as in a model of its own."""
    family = make()
    context = {"roughness": 5.0, "stump_height": (0.5, 1.0)}
    specs = [family.spec(context, seed=seed) for seed in range(3)]
    batch, _ = started(family, *specs)
    batch.simulation.bind("qpos")[:, 0] = 40.0
    batch.simulation.bind("qpos")[:, 1] = 8.0
    start = batch.state(1)
    for _ in range(80):
        batch.step(torch.zeros(3, 4))
    model = edited_model(batch._robot, specs[1])
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, start, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_step(model, data, 160)
    assert data.ncon > 0
    np.testing.assert_allclose(batch.state(1)[1:4], data.qpos[:3], atol=1e-6)


def test_mutation_moves_by_poets_steps():
    family = make(stairs=True)
    rng = np.random.default_rng(0)
    context = family.spec().context
    first = family.mutate(context, rng)
    assert (first["pit_gap"], first["stump_height"]) == ((0.0, 0.8), (0.0, 0.4))
    assert (first["stair_height"], first["stair_steps"]) == ((0.0, 0.4), (1, 2))
    steps = {"pit_gap": 0.4, "stump_height": 0.2, "stair_height": 0.2, "stair_steps": 1}
    context, largest = first, 0.0
    for _ in range(300):
        child = dict(family.spec(family.mutate(context, rng)).context)
        assert abs(child["roughness"] - context["roughness"]) <= 0.65
        for name, step in steps.items():
            moves = np.subtract(child[name], context[name])
            assert set(np.round(np.abs(moves) / step, 6)) <= {0.0, 1.0}
            assert np.any(moves != 0)
            assert child[name][1] >= first[name][1]
        context = child
        largest = max(largest, context["pit_gap"][1])
    assert largest > 2.0


def test_disabled_kinds_have_no_knobs_and_describe_as_zero():
    family = make(pits=False)
    assert set(family.context_space.knobs) == {"roughness", "stump_height"}
    context = family.spec({"roughness": 1.5, "stump_height": (0.2, 0.6)}).context
    assert family.descriptor(context).tolist() == [1.5, 0.0, 0.0, 0.2, 0.6]
    assert family.measures == {"roughness": (0, 10), "stump_height": (0.0, 5)}
    assert family.measure(context).tolist() == [1.5, 0.6]  # the highest there may be
    with pytest.raises(ValueError, match="leave one on"):
        make(pits=False, rough=False, stumps=False)


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(TaskError, match=r"pit_gap = \[2, 1\].*wrong way round"):
        make().spec({"pit_gap": (2.0, 1.0)})


def test_slots_do_not_depend_on_threads():
    family = make(horizon=40)
    context = {"roughness": 4.0, "stump_height": (0.5, 1.0), "pit_gap": (0.5, 1.0)}
    specs = [family.spec(context, seed=seed) for seed in range(4)]
    seen = []
    for threads in (1, 2):
        batch = family.batch(4, threads=threads)
        batch.set_tasks(specs)
        generator = torch.Generator().manual_seed(0)
        observations = [batch.reset()]
        observations += [batch.step(2 * torch.rand(4, 4, generator=generator) - 1).observation for _ in range(40)]
        seen.append(torch.stack(observations))
    assert torch.equal(*seen)


def test_frames_show_the_ground():
    family = make()
    spec = family.spec({"roughness": 3.0}, seed=1)
    batch, _ = started(family, spec)
    assert family.frame(spec, batch.state(0)).shape == (180, 320, 3)
    assert len(np.unique(family.render(spec).reshape(-1, 3), axis=0)) >= 5


def test_solved_is_poets_threshold():
    assert make().solved_return == 230.0
