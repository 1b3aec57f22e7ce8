"""The MuJoCo engine: threads, slots, noise, faults."""

import json
from collections.abc import Iterator

import mujoco
import numpy as np
import pytest
import torch
from mujoco.batch import Batch

from plugins.families.ant import Ant, AntConfig
from plugins.families.half_cheetah import HalfCheetah, HalfCheetahConfig
from registry.errors import ConfigError, TaskError
from taskgen.engines import mujoco as engine
from taskgen.engines import mujoco_process
from taskgen.engines.faults import Fault, Faulting, FaultLog
from taskgen.engines.mujoco import MujocoBatch


def cheetah(**settings) -> HalfCheetah:
    return HalfCheetah(HalfCheetahConfig(**settings), name="test/half-cheetah")


def bodies(family, count: int):
    rng = np.random.default_rng(3)
    return [
        family.spec(
            {"mass": rng.uniform(0.5, 2), "friction": rng.uniform(0.5, 2), "gear": rng.uniform(0.5, 2)}, seed=seed
        )
        for seed in range(count)
    ]


def play(batch: MujocoBatch, steps: int, seed: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
    """What happens, with a reset of whatever ended."""
    generator = torch.Generator().manual_seed(seed)
    size = batch.family.action_space.shape[0]
    yield (batch.reset(),)
    for _ in range(steps):
        outcome = batch.step(2.0 * torch.rand(batch.slots, size, generator=generator) - 1.0)
        yield outcome.observation, outcome.reward, outcome.terminated, outcome.truncated
        ended = outcome.terminated | outcome.truncated
        if ended.any():
            yield (batch.reset(ended),)


def same(left, right, rows=slice(None)) -> bool:
    return all(
        torch.equal(a[rows], b[rows]) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize(
    "family", [cheetah(horizon=20), Ant(AntConfig(horizon=20), name="test/ant")], ids=["cheetah", "ant"]
)
def test_results_are_the_same_at_any_number_of_threads(family):
    results = []
    for threads in (1, 2, 7):
        batch = family.batch(9, threads=threads)
        batch.set_tasks(bodies(family, 9))
        results.append(list(play(batch, 50)))
    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_threads_come_from_the_environment(monkeypatch):
    monkeypatch.setenv(mujoco_process.THREADS_VARIABLE, "3")
    assert mujoco_process.default_threads() == 3
    assert cheetah().batch(8).simulation.nthread == 3
    assert cheetah().batch(2).simulation.nthread == 2
    monkeypatch.setenv(mujoco_process.THREADS_VARIABLE, "many")
    with pytest.raises(ConfigError, match=mujoco_process.THREADS_VARIABLE):
        mujoco_process.default_threads()


def test_noise_goes_on_and_restarts_with_a_seed():
    family = cheetah()
    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=4), family.spec(seed=5)])
    first, second = batch.reset(), batch.reset()
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(batch.reset(seeds=[5, 4]), first.flip(0))
    kept = batch.reset(torch.tensor([True, False]), seeds=[9, 9])
    assert torch.equal(kept[1], first[0])
    assert not torch.equal(kept[0], first[1])


def test_fields_that_no_task_changes_stay_shared():
    family = cheetah()
    batch = family.batch(4)
    batch.set_tasks([family.spec(seed=seed) for seed in range(4)])
    assert batch.simulation.expanded("body_mass") is None
    batch.set_tasks([family.spec({"mass": 2.0})], [2])
    assert batch.simulation.expanded("body_mass") is not None
    assert batch.simulation.expanded("geom_friction") is None


def test_no_log_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    batch = cheetah().batch(1)
    batch.set_tasks([cheetah().spec()])
    batch.reset()
    batch._physics["qpos"][0, 2] = np.nan
    batch.step(torch.zeros(1, 6))
    assert batch.faults.count == 1
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


# Faults


def with_faults(family, slots: int, steps: int, poison: dict[int, int], value: float = np.nan):
    """Play with `value` written into a coordinate of slot `poison[step]` before that step. Returns events and batch."""
    batch = family.batch(slots, threads=2)
    batch.set_tasks(bodies(family, slots))
    events, reference = [], family.batch(slots, threads=2)
    reference.set_tasks(bodies(family, slots))
    generator = torch.Generator().manual_seed(1)
    observation, expected = batch.reset(), reference.reset()
    clean = torch.ones(slots, dtype=torch.bool)
    for step in range(steps):
        action = 2.0 * torch.rand(slots, 6, generator=generator) - 1.0
        if step in poison:
            batch._physics["qpos" if step % 2 else "qvel"][poison[step], step % 9] = value
        before = observation
        outcome, wanted = batch.step(action), reference.step(action)
        observation, expected = outcome.observation, wanted.observation
        assert torch.isfinite(observation).all()
        assert torch.isfinite(outcome.reward).all()
        if step in poison:
            slot = poison[step]
            events.append((step, slot, outcome.reward[slot].item(), outcome.truncated[slot].item()))
            assert torch.equal(observation[slot], before[slot])
            assert not outcome.terminated[slot]
            clean[slot] = False
        assert torch.equal(observation[clean], expected[clean])
        assert torch.equal(outcome.reward[clean], wanted.reward[clean])
        assert torch.equal(outcome.truncated[clean], wanted.truncated[clean])
        ended, known = outcome.terminated | outcome.truncated, wanted.terminated | wanted.truncated
        if ended.any():
            observation = batch.reset(ended, seeds=[step] * slots)
        if known.any():
            expected = reference.reset(known, seeds=[step] * slots)
        if step in poison:  # the reference restarts too, so that the slot can be compared again
            poisoned = torch.zeros(slots, dtype=torch.bool)
            poisoned[poison[step]] = True
            expected = reference.reset(poisoned & ~known, seeds=[step] * slots)
            clean[poison[step]] = True
    return events, batch


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_diverging_slot_is_found_and_leaves_the_others_alone(value):
    poison = {3: 1, 4: 5, 10: 1, 19: 7, 20: 0, 31: 2}
    events, batch = with_faults(cheetah(horizon=20), 8, 40, poison, value)
    assert [(step, slot) for step, slot, _, _ in events] == list(poison.items())
    assert all(reward == 0.0 and truncated for _, _, reward, truncated in events)
    assert batch.faults.count == len(poison)
    assert isinstance(batch, Faulting)


@pytest.mark.slow
def test_200_nans_in_64_slots_are_200_faults():
    rng = np.random.default_rng(0)
    poison = {int(step): int(rng.integers(64)) for step in rng.choice(600, 200, replace=False)}
    events, batch = with_faults(cheetah(horizon=100), 64, 600, poison)
    assert len(events) == 200
    assert all(reward == 0.0 and truncated for _, _, reward, truncated in events)
    assert batch.faults.count == 200


def test_a_clock_that_goes_back_is_a_fault():
    family = cheetah()
    batch = family.batch(2)
    batch.set_tasks(bodies(family, 2))
    batch.reset()
    batch.simulation.expand("opt.timestep")[1] = -0.01
    outcome = batch.step(torch.zeros(2, 6))
    assert outcome.truncated.tolist() == [False, True]
    assert batch.faults.reasons == {"the clock went back": 1}


def test_a_body_that_blows_up_by_itself_is_a_fault():
    """No value is tampered with: a time step that is too long for the body makes the physics diverge."""
    family = cheetah(horizon=1000)
    batch = family.batch(3)
    batch.set_tasks(bodies(family, 3))
    batch.reset()
    batch.simulation.expand("opt.timestep")[1] = 0.5
    truncated = torch.zeros(3, dtype=torch.bool)
    for _ in range(100):
        outcome = batch.step(torch.ones(3, 6))
        assert torch.isfinite(outcome.observation).all()
        truncated |= outcome.truncated
    assert truncated.tolist() == [False, True, False]
    assert batch.faults.count == 1  # an episode has one fault, however long it is played on
    assert batch.faults.last is not None
    assert batch.faults.last.slot == 1


def test_a_new_task_begins_its_noise_anew():
    family = cheetah()
    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=4), family.spec(seed=5)])
    starts = [batch.reset() for _ in range(2)]
    batch.set_tasks([family.spec(seed=6)], [0])
    start = batch.reset()
    assert not any(torch.equal(start[1], before[1]) for before in starts)
    assert torch.equal(start[0], batch.reset(seeds=[6, 5])[0])  # seeds begin with the first episode


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 2e10, -2e10])
def test_an_action_that_is_not_finite_is_the_players_fault(value):
    family = cheetah()
    batch, reference = family.batch(2), family.batch(2)
    for each in (batch, reference):
        each.set_tasks(bodies(family, 2))
        each.reset()
    action = torch.zeros(2, 6)
    action[0, 3] = value
    outcome, wanted = batch.step(action), reference.step(torch.zeros(2, 6))
    assert outcome.truncated.tolist() == [True, False]
    assert outcome.reward[0] == 0.0
    assert torch.equal(outcome.observation[1], wanted.observation[1])
    assert batch.faults.reasons == {"the action is not finite": 1}
    assert batch.faults.quarantine == {}


def test_a_recorded_state_repeats_the_fault():
    family = cheetah()
    batch = family.batch(1)
    batch.set_tasks([family.spec(seed=1)])
    batch.reset()
    batch._physics["qvel"][0, 4] = 1e12
    batch.step(torch.full((1, 6), 0.5))
    fault = batch.faults.last
    assert fault is not None
    again = Batch(engine.edited_model(family.robot, fault.task), 1, 1)
    again.state[0] = fault.state
    np.testing.assert_array_equal(again.bind("ctrl")[0], np.full(6, 0.5))
    again.step(nstep=family.robot.frame_skip)
    assert again.warning[0, :, 1].any()


def test_three_faults_put_a_task_into_quarantine(tmp_path):
    family = cheetah()
    tasks = bodies(family, 2)
    batch = family.batch(2)
    batch.set_tasks(tasks)
    for strike in range(1, 4):
        batch.reset()
        batch._physics["qpos"][1, 2] = np.nan
        batch.step(torch.zeros(2, 6))
        assert batch.faults.count == strike
        assert batch.faults.quarantined(tasks[1].id) == (strike == 3)
    assert not batch.faults.quarantined(tasks[0].id)
    (written,) = batch.faults.write(tmp_path / "quarantine")
    content = json.loads(written.read_text())
    assert content["task"] == json.loads(tasks[1].to_json())
    assert [fault["step"] for fault in content["faults"]] == [1, 1, 1]
    states = np.load(written.with_suffix(".npy"), allow_pickle=False)
    assert states.shape == (3, mujoco.mj_stateSize(family.robot.model, mujoco.mjtState.mjSTATE_INTEGRATION))


def test_a_log_keeps_the_last_faults_of_a_task():
    log = FaultLog(strikes=2)
    task = cheetah().spec()
    for step in range(5):
        log.record(Fault(0, task, step, "position diverged", True, np.zeros(3)))
    assert log.count == 5
    assert [fault.step for fault in log.quarantine[task.id]] == [3, 4]


def test_a_model_that_mujoco_refuses_is_named(tmp_path):
    path = tmp_path / "broken.xml"
    path.write_text("<mujoco><worldbody><geom size='-1'/></worldbody></mujoco>")
    with pytest.raises(TaskError, match=r"broken\.xml"):
        engine.load_model(path)


def test_a_slot_whose_episode_ended_rests_until_its_reset():
    family = cheetah(horizon=3)
    batch, fresh = family.batch(3), family.batch(3)
    for each in (batch, fresh):
        each.set_tasks(bodies(family, 3))
        each.reset()
    push = torch.ones(3, 6)
    batch.step(push)
    batch.reset(torch.tensor([False, True, True]))  # the first slot is a step ahead
    ends = [batch.step(push).truncated.tolist() for _ in range(2)]
    assert ends == [[False, False, False], [True, False, False]]
    rested = batch.state(0)
    assert batch.step(push).truncated.tolist()[1:] == [True, True]
    assert (batch.state(0) == rested).all()
    batch.step(push)  # nobody is awake
    assert batch.faults.count == 0
    batch.reset(seeds=[0, 1, 2])
    fresh.reset(seeds=[0, 1, 2])
    assert same([(batch.step(push).observation,)], [(fresh.step(push).observation,)])


def test_slots_that_rest_do_not_show_in_the_others():
    """What goes on is the same to the bit whether all slots are looked at or those that are awake."""
    family = cheetah(horizon=12)
    tasks = bodies(family, 5)
    generator = torch.Generator().manual_seed(0)
    seen = []
    for early in (False, True):
        batch = family.batch(5)
        batch.set_tasks(tasks)
        batch.reset(seeds=range(5))
        generator.manual_seed(0)
        played = []
        for step in range(12):
            action = 2.0 * torch.rand(5, 6, generator=generator) - 1.0
            if early and step in (3, 6):
                action[step // 3] = torch.nan  # a fault ends the episode of slot 1, later of slot 2
            outcome = batch.step(action)
            played.append((outcome.observation[[0, 3, 4]], outcome.reward[[0, 3, 4]], outcome.truncated[[0, 3, 4]]))
            if step == 8:
                batch.set_tasks(tasks[:1], [1])  # another task for a slot that rests
                batch.reset(torch.tensor([False, early, False, False, False]))
        seen.append(played)
    assert same(*seen)
