"""`Knobs` and what curricula over them share: points of the unit cube, and tasks moved there."""

from typing import Any

import numpy as np
import pytest

from plugins.curricula.knobs import Knobs, Range
from registry.errors import ConfigError, TaskError
from taskgen.build import build_family
from taskgen.source import TaskResult


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
