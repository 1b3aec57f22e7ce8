"""The log of faults, by hand: whose they are, since when, and what two logs make together."""

import json

import numpy as np

from plugins.families.half_cheetah import HalfCheetah, HalfCheetahConfig
from taskgen.engines.faults import Fault, FaultLog

FAMILY = HalfCheetah(HalfCheetahConfig(), name="test/half-cheetah")
ONE, OTHER = FAMILY.spec(seed=1), FAMILY.spec(seed=2)


def fault(slot, task, step=1, *, reason="position diverged", blame=True):
    return Fault(slot, task, step, reason, blame, np.full(2, float(step)))


def test_the_last_fault_of_every_slot_since_a_count():
    log = FaultLog()
    faults = [fault(3, ONE, 1), fault(5, ONE, 2), fault(3, OTHER, 3)]
    for one in faults:
        log.record(one)
    assert log.since(0) == {3: faults[2], 5: faults[1]}
    assert log.since(1) == {3: faults[2], 5: faults[1]}  # the second fault came after the first
    assert log.since(2) == {3: faults[2]}
    assert log.since(3) == {}
    assert log.last is faults[2]


def test_strikes_are_counted_by_task_and_only_where_it_is_to_blame():
    log = FaultLog(strikes=2)
    for task, blame in ((ONE, True), (OTHER, False), (OTHER, True), (OTHER, False)):
        log.record(fault(0, task, blame=blame))
    assert (log.count, log.quarantine) == (4, {})
    log.record(fault(0, ONE))
    assert set(log.quarantine) == {ONE.id}
    assert (log.quarantined(ONE.id), log.quarantined(OTHER.id)) == (True, False)


def test_a_log_of_other_slots_is_taken_in():
    mine, theirs = FaultLog(strikes=2), FaultLog(strikes=2)
    mine.record(fault(0, ONE, 7))
    theirs.record(fault(1, ONE, 8))
    theirs.record(fault(0, OTHER, 9, reason="the action is not finite", blame=False))
    theirs.record(fault(2, OTHER, 4, reason="velocity diverged"))
    mine.merge(theirs.state_dict(), 10)
    assert mine.count == 4
    assert mine.reasons == {"position diverged": 2, "the action is not finite": 1, "velocity diverged": 1}
    assert [(one.slot, one.step) for one in mine.quarantine[ONE.id]] == [(0, 7), (11, 8)]
    assert not mine.quarantined(OTHER.id)
    # Of slots one hears of the faults that a task is blamed for, numbered behind those of this log.
    assert {slot: one.step for slot, one in mine.since(1).items()} == {11: 8, 12: 4}


def test_a_log_goes_on_from_its_state():
    log, again = FaultLog(strikes=2), FaultLog(strikes=2)
    log.record(fault(1, ONE, 3))
    log.record(fault(2, OTHER, 5, blame=False))
    again.record(fault(0, OTHER))
    again.load_state_dict(log.state_dict())
    assert (again.count, again.reasons, again.last) == (2, {"position diverged": 2}, None)
    again.record(fault(1, OTHER, 6))
    assert again.since(2)[1].step == 6
    assert not again.quarantined(OTHER.id)
    again.record(fault(1, ONE, 7))
    assert [one.step for one in again.quarantine[ONE.id]] == [3, 7]


def test_what_is_written_names_slot_step_and_reason(tmp_path):
    log = FaultLog(strikes=2)
    for step in (3, 4):
        log.record(fault(6, ONE, step))
    (path,) = log.write(tmp_path)
    assert path.name == f"{ONE.id}.json"
    written = json.loads(path.read_text())["faults"]
    assert written == [{"reason": "position diverged", "step": step, "slot": 6} for step in (3, 4)]
    assert np.load(path.with_suffix(".npy"), allow_pickle=False).tolist() == [[3.0, 3.0], [4.0, 4.0]]
