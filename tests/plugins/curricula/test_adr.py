"""`adr`: which tasks lie at an end, and how the ends move, by hand."""

import json
from typing import Any

import numpy as np
import pytest

from registry.errors import CheckpointError, ConfigError
from taskgen.source import TaskResult

RULE = {"widen_above": 100.0, "narrow_below": 20.0, "queue": 2, "step": 0.1}
FORCE = {"force": {"low": 5.0, "high": 15.0}}  # the default is 10; a step of the ends is 1 N


def tell(source: Any, specs: Any, low: float, high: float) -> None:
    """`low` is returned at the low end, `high` at the high end, 50 inside."""
    returned = {0: low, 1: high, None: 50.0}
    source.tell([TaskResult(spec, (returned[end_of(source, spec)],)) for spec in specs])


def end_of(source: Any, spec: Any) -> int | None:
    """Where the task lies that was given out once."""
    (end,) = source._waiting.get(spec.id, [None])
    return end


def at_ends(source: Any, specs: Any) -> list[list[Any]]:
    """The tasks at the low end and those at the high end."""
    return [[spec for spec in specs if end_of(source, spec) == end] for end in (0, 1)]


def test_it_begins_at_the_defaults(make: Any) -> None:
    source = make("adr", ranges=FORCE, **RULE)
    assert {spec.context["force"] for spec in source.ask(50)} == {10.0}
    assert source.ranges.tolist() == [[10.0], [10.0]]
    assert source.metrics()["tasks/adr_width"] == 0.0


def test_full_queues_widen_and_narrow(make: Any) -> None:
    source = make("adr", ranges=FORCE, boundary=1.0, **RULE)
    low, high = at_ends(source, source.ask(40))
    tell(source, high[:1], 0, 100.0)  # one result does not fill a queue of two
    assert source.ranges.tolist() == [[10.0], [10.0]]
    tell(source, high[1:2], 0, 100.0)
    assert source.ranges.tolist() == [[10.0], [11.0]]
    tell(source, high[2:6], 0, 120.0)  # two queues full: two steps
    assert source.ranges.tolist() == [[10.0], [13.0]]
    tell(source, high[6:8], 0, 60.0)  # between the thresholds nothing moves
    assert source.ranges.tolist() == [[10.0], [13.0]]
    tell(source, high[8:10], 0, 20.0)
    assert source.ranges.tolist() == [[10.0], [12.0]]
    tell(source, low[:4], 100.0, 0)
    assert source.ranges.tolist() == [[8.0], [12.0]]
    tell(source, low[4:10], 0.0, 0)  # three steps inwards, the last beyond the default
    assert source.ranges.tolist() == [[10.0], [12.0]]
    assert source.metrics()["tasks/adr_width"] == pytest.approx(0.2)
    assert source.metrics()["tasks/high_force"] == pytest.approx(12.0)


def test_of_tasks_that_are_the_same_every_result_counts(make: Any) -> None:
    """One varied knob and one seed for all: tasks at an end are one task, given out again and again."""
    drawn = {"name": "domain-randomization", "task_seed": 0, "fixed": {"pole_mass": 0.1, "half_length": 0.5}}
    source = make("adr", ranges=FORCE, boundary=1.0, source=drawn, **{**RULE, "queue": 100})
    specs = source.ask(64)
    assert len({spec.id for spec in specs}) == 1  # both ends begin at the default
    (ends,) = (list(waiting) for waiting in source._waiting.values())
    assert len(ends) == 64
    source.tell([TaskResult(spec, (float(number),)) for number, spec in enumerate(specs)])
    assert not source._waiting
    for end, queue in enumerate(source._queues):
        assert list(queue) == [number for number, other in enumerate(ends) if other == end] != []


def test_a_queue_is_averaged_and_emptied(make: Any) -> None:
    source = make("adr", ranges=FORCE, boundary=1.0, **RULE)
    _, high = at_ends(source, source.ask(40))
    for returned, end in ((150.0, 10.0), (50.0, 11.0), (99.0, 11.0), (99.0, 11.0), (0.0, 11.0), (40.0, 10.0)):
        tell(source, high[:1], 0, returned)
        del high[:1]
        assert source.ranges[1, 0] == end


def test_ends_stop_at_the_limits(make: Any) -> None:
    source = make("adr", ranges=FORCE, boundary=1.0, **{**RULE, "queue": 1, "step": 0.3})
    tell(source, source.ask(40), 100.0, 100.0)
    assert source.ranges.tolist() == [[5.0], [15.0]]


def test_tasks_lie_at_one_end_or_inside(make: Any) -> None:
    source = make("adr", **RULE, boundary=0.25)
    source._ends = np.array([[0.2, 0.3, 0.4], [0.8, 0.7, 0.6]])
    specs = source.ask(4000)
    points = source.knobs.points(specs)
    ends = [end_of(source, spec) for spec in specs]
    for end in range(6):
        side, number = divmod(end, 3)
        mine = points[[other == end for other in ends]]
        assert abs(len(mine) - 4000 * 0.25 / 6) < 60  # 12.7 is a standard deviation
        np.testing.assert_allclose(mine[:, number], source._ends[side, number])
    inside = points[[end is None for end in ends]]
    assert abs(len(inside) - 3000) < 140
    assert (inside >= source._ends[0] - 1e-9).all()
    assert (inside <= source._ends[1] + 1e-9).all()
    np.testing.assert_allclose(inside.mean(0), 0.5, atol=0.02)


def test_what_is_never_told_is_waited_for_over_a_resume(make: Any) -> None:
    source = make("adr", ranges=FORCE, boundary=1.0, **RULE)
    specs = source.ask(40)
    resumed = make("adr", ranges=FORCE, boundary=1.0, **RULE)
    resumed.load_state_dict(json.loads(json.dumps(source.state_dict())))
    for one in (source, resumed):
        tell(one, specs, 100.0, 0.0)
    assert resumed.ranges.tolist() == source.ranges.tolist() != [[10.0], [10.0]]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_history_depends_on_neither_slots_nor_resume(history: Any, chunk: int, resumed: bool) -> None:
    play = [lambda spec: (spec.context["force"] ** 2,), "adr"]
    assert history(*play, chunk, 12, resumed, **RULE) == history(*play, 4, 12, False, **RULE)


@pytest.mark.parametrize("rule", [{}, {"widen_above": 1.0}, {"widen_above": 1.0, "narrow_below": 1.0}])
def test_thresholds_must_be_said(make: Any, rule: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="give returns, the first below the second"):
        make("adr", **rule)


def test_ranges_of_other_knobs_are_refused(make: Any) -> None:
    with pytest.raises(CheckpointError, match=r"ranges of shape \(2, 3\), expected \(2, 1\)"):
        make("adr", ranges=FORCE, **RULE).load_state_dict(make("adr", **RULE).state_dict())
