"""`Knobs` and what curricula over them share: points of the unit cube, and tasks moved there."""

from typing import Any

import numpy as np
import pytest

from plugins.curricula.knobs import Knobs, Range, performance
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.build import build_family
from taskgen.source import TaskResult
from taskgen.streams import uniforms


def test_without_ranges_the_knobs_that_vary(family: Any) -> None:
    knobs = Knobs({}, family, "test")
    assert knobs.labels == ["pole_mass", "half_length", "force"]
    assert knobs.low.tolist() == [0.05, 0.25, 5.0]
    assert knobs.high.tolist() == [0.5, 0.75, 15.0]
    np.testing.assert_allclose(knobs.default(), [0.05 / 0.45, 0.5, 0.5])


def test_a_task_is_moved_and_found_again(family: Any) -> None:
    knobs = Knobs({"force": Range(low=2.0), "gravity": Range(low=1.0, high=3.0)}, family, "test")
    spec = knobs.place(family.spec({"cart_mass": 2.0}, seed=5), np.array([0.5, 1.0]))
    assert (spec.context["gravity"], spec.context["force"]) == (2.0, 15.0)  # its own variation ends at 15
    assert (spec.context["cart_mass"], spec.seed) == (2.0, 5)
    np.testing.assert_allclose(knobs.points([spec])[0], [0.5, 1.0])
    family.check(spec)  # it is in the form that the family itself gives


def test_arrays_go_number_by_number() -> None:
    family = build_family("bandit", {"arms": 3})
    knobs = Knobs({}, family, "test")
    assert knobs.labels == ["probabilities_0", "probabilities_1", "probabilities_2"]
    spec = knobs.place(family.spec(), np.array([0.0, 0.5, 1.0]))
    assert spec.context["probabilities"] == (0.0, 0.5, 1.0)
    family.check(spec)


def test_what_is_left_to_the_source_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    family = build_family("maze", {"size": 5})
    for _ in range(2):
        Knobs({}, family, "said over maze")
        Knobs({"goal": None}, family, "named over maze")
        Knobs({}, build_family("cartpole"), "all of cartpole")
    (said,) = [record.message for record in caplog.records if record.name == "plugins.curricula.knobs"]
    assert said.startswith("said over maze: sets direction alone; walls, start, goal vary too and stay as the source")


def test_integers_are_rounded() -> None:
    family = build_family("maze", {"size": 5})
    knobs = Knobs({}, family, "test")
    assert knobs.labels == ["direction"]  # walls, start and goal are arrays of integers
    spec = knobs.place(family.spec(), np.array([0.6]))
    assert spec.context["direction"] == 2
    family.check(spec)
    walls = Knobs({"walls": None}, family, "test").place(family.spec(), np.full(25, 0.4))
    family.check(walls)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"farce": {"low": 1.0}}, "unknown context knob 'farce'. Did you mean 'force'"),
        ({"force": {"low": 0.5, "high": 2.0}}, "0.5 to 2; allowed are two different values from 1 to 100"),
        ({"force": {"low": 2.0, "high": 2.0}}, "2 to 2; allowed are two different values"),
        ({"gravity": {"high": 1.0}, "force": {"low": 20.0}}, "20 to 15; allowed"),
    ],
)
def test_ranges_that_cannot_be_are_refused(make: Any, ranges: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("alp-gmm", ranges=ranges)


def test_a_family_that_varies_nothing_is_named(make: Any) -> None:
    with pytest.raises(
        ConfigError, match="no knob of builtin/tabular-mdp varies by itself; name some of concentration"
    ):
        make("alp-gmm", over=build_family("tabular-mdp"))


def test_impossible_points_are_passed_over(make: Any, family: Any, monkeypatch: Any) -> None:
    def validate(self: Any, context: Any) -> None:
        if context["force"] > 8.0:
            raise TaskError("too strong")

    monkeypatch.setattr(type(family), "validate", validate)
    weak = {"name": "domain-randomization", "fixed": {"force": 6.0}}
    specs = make("alp-gmm", source=weak, ranges={"force": {"low": 5.0}}).ask(30)
    assert max(spec.context["force"] for spec in specs) <= 8.0
    with pytest.raises(TaskError, match="50 impossible tasks in a row. The last: too strong"):
        make("alp-gmm", source=weak, ranges={"force": {"low": 9.0}}, attempts=50).ask(1)


def test_means_of_the_knobs_are_reported(make: Any, family: Any) -> None:
    source = make("alp-gmm", ranges={"force": {"low": 5.0, "high": 15.0}})
    specs = [family.spec({"force": force}) for force in (6.0, 8.0)]
    source.tell([TaskResult(spec, (1.0,)) for spec in specs])
    assert source.metrics()["tasks/mean_force"] == pytest.approx(7.0)


def test_a_range_holds_its_ends_and_what_lies_between() -> None:
    both, below, above = Range(low=1.0, high=3.0), Range(high=3.0), Range(low=1.0)
    assert [both.holds(value) for value in (0.99, 1.0, 2.0, 3.0, 3.01)] == [False, True, True, True, False]
    assert [below.holds(value) for value in (-9.0, 3.0, 3.01)] == [True, True, False]
    assert [above.holds(value) for value in (0.99, 1.0, 9.0)] == [False, True, True]
    assert [both.holds(values) for values in ([1.0, 3.0], [0.0, 2.0], [2.0, 4.0])] == [True, False, False]
    assert Range(low=2.0, high=2.0).holds(2.0)
    assert [str(one) for one in (both, below, above)] == ["1 to 3", "at most 3", "at least 1"]


def test_performance_is_the_mean_of_the_returns(family: Any) -> None:
    assert performance(TaskResult(family.spec(), (1.0, 2.0, 6.0))) == 3.0


def test_candidates_lie_where_their_row_of_the_stream_says(make: Any) -> None:
    """Of two uniforms that choose and one that places, before the first fit the last alone counts."""
    source = make("alp-gmm", ranges={"force": {"low": 1.0, "high": 11.0}})
    rows = uniforms(source._seed, "points", 0, 9).reshape(3, 3)
    forces = [spec.context["force"] for n in (1, 2) for spec in source.ask(n)]
    assert forces == pytest.approx((1.0 + 10.0 * rows[:, 2]).tolist())


def test_attempts_count_impossible_points_in_a_row(make: Any, monkeypatch: Any) -> None:
    source = make("alp-gmm", attempts=3)
    place, fits = source.knobs.place, iter([0, 0, 1, 0, 0, 1, 0, 0, 0])

    def placed(spec: Any, point: Any) -> Any:
        if not next(fits):
            raise TaskError("no such task")
        return place(spec, point)

    monkeypatch.setattr(source.knobs, "place", placed)
    assert len(source.ask(2)) == 2
    with pytest.raises(TaskError, match="3 impossible tasks in a row. The last: no such task"):
        source.ask(1)
    assert next(fits, None) is None


def test_means_of_more_than_eight_knobs_are_not_reported(make: Any) -> None:
    for arms, shown in ((8, 8), (9, 0)):
        family = build_family("bandit", {"arms": arms})
        source = make("alp-gmm", over=family)
        assert not any(name.startswith("tasks/mean_") for name in source.metrics())
        source.tell([TaskResult(spec, (1.0,)) for spec in source.ask(2)])
        assert sum(name.startswith("tasks/mean_") for name in source.metrics()) == shown
        source.tell([])  # of an iteration without results there is no mean


@pytest.mark.parametrize("position", [-1, 1.5, True, None])
def test_a_position_that_cannot_be_is_refused(make: Any, position: Any) -> None:
    state = make("alp-gmm").state_dict()
    make("alp-gmm").load_state_dict({**state, "position": 0})
    with pytest.raises(CheckpointError, match="position = .*, expected an integer >= 0"):
        make("alp-gmm").load_state_dict({**state, "position": position})
