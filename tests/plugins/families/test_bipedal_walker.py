"""Gymnasium's BipedalWalker on POET's courses: the ground by hand, worlds of their own, and what evolves and trains."""

import sys

import numpy as np
import pytest
import torch
from Box2D import b2
from gymnasium.envs.box2d.bipedal_walker import TERRAIN_HEIGHT, BipedalWalker

from plugins.families import terrain
from plugins.families.bipedal_course import BipedalCourse
from plugins.families.terrain import LENGTH, STEP
from registry.cli import main
from registry.errors import ConfigError, TaskError, UserError
from taskgen.build import build_family
from taskgen.taskset import TaskSet
from taskgen.testing import check_family

HARD = {"roughness": 2.0, "stump_height": (0.5, 1.0), "pit_gap": (0.5, 1.0)}
FLAT = {"roughness": 0.0, "stump_height": (0.0, 0.0), "pit_gap": (0.0, 0.0)}


def make(**settings):
    return build_family("bipedal-walker", settings)


def constant(**columns):
    """Uniforms of one half, except for the columns given."""
    uniform = np.full((LENGTH, terrain.DRAWS), 0.5)
    for column, value in columns.items():
        uniform[:, int(column[1:])] = value
    return uniform


def world(ranges, **columns):
    env = BipedalCourse(ranges, constant(**columns).ravel())
    env.reset(seed=0)
    return env


def surface(env, *steps, above=30.0, down=True):
    """Where a ray downwards (or up) from `above` steps meets Box2D's ground, in steps above the start."""

    class Nearest(b2.rayCastCallback):
        def ReportFixture(self, fixture, point, normal, fraction):
            if not fixture.filterData.categoryBits & 1:
                return -1
            self.z = point[1]
            return fraction

    found = []
    for step in steps:
        ray, start = Nearest(), TERRAIN_HEIGHT + above * STEP
        env.world.RayCast(ray, (step * STEP, start), (step * STEP, start - 60.0 if down else start + 60.0))
        found.append((ray.z - TERRAIN_HEIGHT) / STEP)
    return found


def rollout(family, specs, steps=60, before=0, seeds=None):
    """[steps, B, 24 + 2] what is seen, earned and ended under actions that follow from the slot alone."""
    batch = family.batch(len(specs))
    batch.set_tasks(specs)
    pull = torch.Generator().manual_seed(0)
    for _ in range(before):
        batch.reset(seeds=[99] * len(specs))
        for _ in range(80):
            batch.step(2 * torch.rand(1, 4, generator=pull).repeat(len(specs), 1) - 1)
    seen = [batch.reset(seeds=seeds or [spec.seed for spec in specs])]
    pull.manual_seed(1)
    outcomes = []
    for _ in range(steps):
        step = batch.step(2 * torch.rand(1, 4, generator=pull).repeat(len(specs), 1) - 1)
        seen.append(step.observation)
        outcomes.append(torch.stack([step.reward, step.terminated.float()], dim=1))
    return torch.cat([torch.stack(seen[1:]), torch.stack(outcomes)], dim=2)


# ------------------------------------------------------------------------------------------------ the ground
def test_family_conforms():
    check_family(make(horizon=60))


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize("setting", ["floating", "redrawn"])
def test_settings_conform(setting):
    """The number of stairs is not among them: nobody who acts at random gets to see a second stair."""
    check_family(make(horizon=60, **{setting: True}))


def test_a_pit_in_box2d():
    """Gap of 2.5 steps: a wall to 21, the floor 4 steps down to 23.5, a wall to 24.5, grass from the whole step 26."""
    env = world({"pit_gap": (2.5, 2.5)})
    expected = [0, 0, -4, -4, -4, 0, 0, 0]
    assert surface(env, 5.0, 20.5, 21.1, 22.0, 23.4, 23.6, 25.2, 30.0) == pytest.approx(expected, abs=1e-4)


def test_a_stump_in_box2d():
    env = world({"stump_height": (1.0, 3.0)})
    assert surface(env, 19.5, 20.5, 21.5, 27.5, 28.5) == pytest.approx([0, 2, 0, 0, 2], abs=1e-4)


def test_a_stump_that_floats_in_box2d():
    """Two or three steps above the ground, by half a draw three: solid from 3 to 5, and there is grass below."""
    env = world({"stump_height": (1.0, 3.0), "stump_float": (2, 3)})
    assert surface(env, 19.5, 20.5, 21.5) == pytest.approx([0, 5, 0], abs=1e-4)
    assert surface(env, 20.5, above=1.0) == pytest.approx([0], abs=1e-4)
    assert surface(env, 20.5, above=1.0, down=False) == pytest.approx([3], abs=1e-4)
    as_thick_as_grass = world({"stump_height": (0.5, 0.5), "stump_float": (1, 1)})
    assert surface(as_thick_as_grass, 20.5, above=0.5, down=False) == pytest.approx([1], abs=1e-4)
    assert surface(as_thick_as_grass, 20.5) == pytest.approx([1.5], abs=1e-4)


@pytest.mark.parametrize(("draw", "steps"), [(0.9, [0, 1, 2, 2]), (0.1, [0, -1, -2, -3])])
def test_stairs_in_box2d(draw, steps):
    """Three stairs, four steps wide each; up they end level with the last, down a stair lower."""
    env = world({"stair_height": (1.0, 1.0), "stair_steps": (3, 3)}, c4=draw)
    assert surface(env, 22.0, 26.0, 30.0, 32.5) == pytest.approx(steps, abs=1e-4)


def test_what_is_thinner_than_box2d_holds_is_left_out():
    """A gap of a micrometre, and a stump that floats and is as thick."""
    for ranges in ({"pit_gap": (1e-6, 1e-6)}, {"stump_height": (1e-6, 1e-6), "stump_float": (2, 2)}):
        assert surface(world(ranges), 20.5, 21.5, 30.0) == pytest.approx([0, 0, 0], abs=1e-4)


class Drawn:
    """What Gymnasium's terrain asks of `np_random`, answered from our uniforms; the rest from a generator."""

    def __init__(self, env, uniform):
        self.env, self.draws, self.rest = env, uniform, np.random.default_rng(0)

    def integers(self, low, high):
        return low + int(self.draws[len(self.env.terrain_x), 3] * (high - low))

    def uniform(self, low, high):
        if (low, high) == (-1, 1):
            return 2.0 * self.draws[len(self.env.terrain_x) - 2, 0] - 1.0
        return self.rest.uniform(low, high)


@pytest.mark.parametrize("roughness", [0.0, 1.0])
def test_roughness_1_is_gymnasiums_easy_terrain_and_0_is_flat(roughness):
    uniform = np.random.default_rng(3).random((LENGTH + 1, terrain.DRAWS))
    theirs = BipedalWalker()
    theirs._np_random = Drawn(theirs, uniform if roughness else np.full_like(uniform, 0.5))
    theirs._generate_terrain(hardcore=False)
    pieces = terrain.course({"roughness": roughness}, uniform[:LENGTH])
    np.testing.assert_allclose(pieces[:, 1], np.array(theirs.terrain_y) - TERRAIN_HEIGHT, atol=1e-12)
    np.testing.assert_allclose(pieces[:, 0], theirs.terrain_x, atol=1e-12)
    assert np.ptp(pieces[:, 1]) == 0.0 if roughness == 0.0 else np.ptp(pieces[:, 1]) > 0.3


class Flat(BipedalWalker):
    """Gymnasium's, where no draw of the terrain is anything but its middle."""

    def _generate_terrain(self, hardcore):
        own, self._np_random = self._np_random, Drawn(self, np.full((LENGTH + 1, terrain.DRAWS), 0.5))
        super()._generate_terrain(hardcore)
        self._np_random = own


def test_on_flat_ground_it_is_gymnasiums_walker_to_the_bit():
    ours, theirs = BipedalCourse(FLAT, constant().ravel()), Flat()
    rng = np.random.default_rng(0)
    assert np.array_equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    for _ in range(80):
        action = rng.uniform(-1, 1, 4).astype(np.float32)
        one, other = ours.step(action), theirs.step(action)
        assert np.array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
        if one[2]:
            return
    pytest.fail("it should have fallen")


# ------------------------------------------------------------------------------------------------ worlds of their own
def test_the_course_is_that_of_the_terrain_walker():
    ours, theirs = make(), build_family("terrain-walker")
    for seed in (0, 3):
        assert np.array_equal(ours.course(ours.spec(HARD, seed=seed)), theirs.course(theirs.spec(HARD, seed=seed)))
    batch = ours.batch(1)
    batch.set_tasks([ours.spec(HARD, seed=3)])
    batch.reset()
    assert np.array_equal(batch.state(0)[0], theirs.course(theirs.spec(HARD, seed=3)))


def test_environments_of_one_process_do_not_disturb_each_other():
    family = make()
    specs = [family.spec({"stump_height": (5.0, 5.0)}, seed=1), family.spec(seed=1), family.spec(HARD, seed=2)]
    together = rollout(family, specs)
    for slot, spec in enumerate(specs):
        assert torch.equal(together[:, slot], rollout(family, [spec])[:, 0])
    assert not torch.equal(together[:, 0], together[:, 1])


def test_an_episode_does_not_remember_the_ones_before():
    """A world that is used again does, as Gymnasium's: BipedalWalker-v3 gives other episodes of the same seed."""
    family = make()
    specs = [family.spec(HARD, seed=seed) for seed in range(8)]
    assert torch.equal(rollout(family, specs, 200), rollout(family, specs, 200, before=2))


def test_workers_host_the_same():
    apart, here = make(workers=2, deadline=60.0), make()
    specs = [here.spec(HARD, seed=seed) for seed in (1, 2, 1)]
    assert torch.equal(rollout(apart, specs, 20), rollout(here, specs, 20))
    batch = apart.batch(2)
    batch.set_tasks(specs[:2])
    batch.reset()
    frames = [apart.frame(spec, batch.state(slot)) for slot, spec in enumerate(specs[:2])]
    assert frames[0].shape == (180, 320, 3)
    assert np.array_equal(batch.state(1)[0], here.course(specs[1]))


def test_the_seed_is_the_course_and_episodes_differ_by_a_push():
    family = make()
    spec = family.spec(HARD, seed=4)
    batch = family.batch(1)
    batch.set_tasks([spec])
    first, course = batch.reset().clone(), batch.state(0)[0]
    assert not torch.equal(batch.reset(), first)
    assert np.array_equal(batch.state(0)[0], course)
    assert type(family).drawn_from_seed(spec.context)
    assert not type(family).drawn_from_seed(family.spec().context)


def test_a_course_may_be_drawn_anew_each_episode():
    family = make(redrawn=True)
    batch = family.batch(2)
    batch.set_tasks([family.spec(HARD, seed=seed) for seed in (1, 2)])
    courses = []
    for _ in range(2):
        batch.reset(seeds=None if courses else [7, 7])
        courses.append([batch.state(slot)[0] for slot in (0, 1)])
    assert np.array_equal(*courses[0])  # the noise seed says which, not the task's
    assert not np.array_equal(courses[0][0], courses[1][0])
    assert not type(family).drawn_from_seed(family.spec(HARD).context)
    assert batch.descriptor().tolist() == [[2.0, 0.5, 1.0, 0.5, 1.0]] * 2


def test_the_oracle_sees_ranges_and_heights():
    family = make()
    batch = family.batch(1)
    batch.set_tasks([family.spec({"stump_height": (2.0, 2.0)}, seed=6)])
    shown = batch.descriptor()[0]
    assert shown[:5].tolist() == [0.0, 0.0, 0.0, 2.0, 2.0]
    assert shown[5 : 5 + 20].tolist() == [0.0] * 20
    assert float(shown[25]) == pytest.approx(2 * STEP)


# ------------------------------------------------------------------------------------------------ tasks
def test_mutation_lets_stumps_float_by_whole_steps():
    family = make(floating=True, pits=False, rough=False)
    rng = np.random.default_rng(0)
    context = family.mutate(family.spec().context, rng)
    assert (context["stump_height"], context["stump_float"]) == ((0.0, 0.4), (0, 0))
    reached = set()
    for _ in range(60):
        child = dict(family.spec(family.mutate(context, rng)).context)
        assert np.abs(np.subtract(child["stump_float"], context["stump_float"])).max() <= 1
        reached.add(child["stump_float"])
        context = child
    assert len(reached) > 4
    assert family.descriptor(context).tolist()[5:] == list(context["stump_float"])
    assert set(family.measures) == {"stump_height"}
    assert set(make().context_space.knobs) == {"roughness", "pit_gap", "stump_height"}


def test_where_there_are_no_stumps_none_can_float():
    with pytest.raises(ConfigError, match="floating: stumps are off"):
        make(floating=True, stumps=False)


def test_stumps_that_float_the_wrong_way_round_are_refused():
    with pytest.raises(TaskError, match=r"stump_float = \[2, 1\].*wrong way round"):
        make(floating=True).spec({"stump_float": (2, 1)})


def test_without_box2d_tasks_are_made_and_playing_is_refused_by_name(monkeypatch):
    users = ("Box2D", "gymnasium.envs.box2d", "plugins.families.bipedal_course")
    for name in [name for name in sys.modules if name.startswith(users)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    family = make()
    assert family.render(family.spec(HARD)).ndim == 3
    with pytest.raises(UserError, match=r"Box2D.*pip install 'taskgen-metarl\[box2d\]'"):
        family.batch(1)


@pytest.mark.parametrize(
    "source", ["{name='plr'}", "{name='adr', narrow_below=-1.0, widen_above=0.0}", "{name='accel'}"]
)
def test_curricula_train_on_it(source, tmp_path):
    tiny = ["family=bipedal-walker", "family.horizon=12", "training={iterations=2, tasks=4, episodes=2}"]
    judged = ["evaluation.final_tasks=2", "agent.hidden=[4]", "agent.network.hidden_size=4", "agent.gradient_steps=1"]
    run = tmp_path / "run"
    main(["train", "rl2-walker", "--run", str(run), f"source={source}", *tiny, *judged, "agent.minibatches=1"])
    assert (run / "report.html").exists()


def test_poet_evolves_it(tmp_path):
    tiny = ["family=bipedal-walker", "family.horizon=12", "training.iterations=2", "training.tasks=2"]
    poet = ["runner.map=serial", "runner.reproduce_every=1", "runner.reproduce_from=-500", "runner.lowest=-500"]
    more = ["runner.highest=500", "runner.children=2", "runner.transfer_every=1", "evaluation.final_tasks=2"]
    run = tmp_path / "run"
    main(["train", "poet-walker", "--run", str(run), *tiny, *poet, *more, "agent.hidden=[4]", "agent.minibatches=1"])
    assert (run / "report.html").exists()


def test_tasks_are_generated_and_shown(tmp_path):
    tasks = tmp_path / "courses.jsonl"
    main(["generate", "domain-randomization", "--family", "bipedal-walker", "-n", "3", "-o", str(tasks)])
    main(["show", str(tasks), "--render", str(tmp_path / "shown")])
    assert len(TaskSet.read(tasks)) == 3
    assert (tmp_path / "shown" / "contact-sheet.png").exists()
    film = tmp_path / "walk.gif"
    main(["play", str(tasks), "--agent", "bipedal-heuristic", "--every", "20", "-o", str(film)])
    assert film.stat().st_size > 1000


def test_solved_is_poets_threshold():
    assert make().solved_return == 230.0
