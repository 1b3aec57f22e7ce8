"""`learning-progress`: averages and weights by hand, sets of tasks and cells of a grid."""

import json
from typing import Any

import numpy as np
import pytest

from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.source import TaskResult
from taskgen.streams import uniforms

CELLS = {"cells": {"force": 5}, "ranges": {"force": {"low": 5.0, "high": 15.0}}}


def tell(source: Any, spec: Any, *returns: float, success: float = 0.0) -> None:
    source.tell([TaskResult(spec, (value,), {"success": success}) for value in returns])


def test_averages_by_hand(make: Any) -> None:
    source = make("learning-progress", tasks=3, rate=0.5)
    specs = source._set._specs
    assert len(specs) == 3
    tell(source, specs[1], 4.0)
    np.testing.assert_allclose(source._averages, [[0, 4, 0], [0, 4, 0]])  # the first result is no progress
    tell(source, specs[1], 10.0, 14.0)  # of an iteration the mean counts: 12
    np.testing.assert_allclose(source._averages, [[0, 8, 0], [0, 6, 0]])
    np.testing.assert_allclose(source.progress, [0, 2, 0])
    tell(source, specs[1], 0.0)
    np.testing.assert_allclose(source._averages, [[0, 4, 0], [0, 5, 0]])
    np.testing.assert_allclose(source.progress, [0, 1, 0])  # getting worse is progress too
    assert source.metrics()["tasks/share_seen"] == pytest.approx(1 / 3)


def test_success_rates_are_stretched(make: Any, family: Any) -> None:
    source = make("learning-progress", tasks=2, rate=0.5, measure="success")
    assert set(source.scores) == {"success"}
    spec = source._set._specs[0]
    tell(source, spec, 0.0, success=0.0)
    tell(source, spec, 0.0, success=0.4)  # fast 0.2, slow 0.1
    expected = 0.9 * 0.2 / (0.2 + 0.1 * 0.6) - 0.9 * 0.1 / (0.1 + 0.1 * 0.8)
    assert source.progress.tolist() == pytest.approx([expected, 0.0])


def test_weights_by_hand(make: Any) -> None:
    """Progress 0, 0, 0, 4: quantile 90% is 2.8, the spread sqrt(3)."""
    source = make("learning-progress", tasks=4, random=0.2)
    np.testing.assert_allclose(source.weights, 0.25)
    source._averages[0] = [0, 0, 0, 4]
    logistic = 1 / (1 + np.exp(-(np.array([0, 0, 0, 4]) - 2.8) / np.sqrt(3)))
    np.testing.assert_allclose(source.weights, 0.2 / 4 + 0.8 * logistic / logistic.sum())
    drawn = np.array(source._set.places(source.ask(4000)))
    np.testing.assert_allclose(np.bincount(drawn) / 4000, source.weights, atol=0.03)


def test_choices_follow_the_rows_of_the_stream(make: Any) -> None:
    """Shares of 0.25, 0.5 and 0.25 of three cells; the second uniform of a row says where in the cell."""
    source = make("learning-progress", cells={"force": 3}, ranges={"force": {"low": 1.0, "high": 7.0}})
    source.__class__ = type("Fixed", (type(source),), {"weights": np.array([0.25, 0.5, 0.25])})
    rows = uniforms(source._seed, "choices", 0, 40).reshape(20, 2)
    cells = (rows[:, 0] >= 0.25).astype(int) + (rows[:, 0] >= 0.75)
    forces = [spec.context["force"] for n in (1, 7, 12) for spec in source.ask(n)]
    assert forces == pytest.approx((1.0 + 2.0 * (cells + rows[:, 1])).tolist())
    assert set(cells) == {0, 1, 2}


def test_a_share_that_is_rounded_away_is_the_last_one_s(make: Any) -> None:
    source = make("learning-progress", tasks=2)
    source.__class__ = type("Fixed", (type(source),), {"weights": np.array([0.0, 0.0])})
    assert source.ask(3) == [source._set._specs[1]] * 3


def test_attempts_count_impossible_tasks_in_a_row(make: Any, monkeypatch: Any) -> None:
    source = make("learning-progress", attempts=3, **CELLS)
    place, fits = source._set._knobs.place, iter([0, 0, 1, 0, 0, 1, 0, 0, 0])

    def placed(spec: Any, point: Any) -> Any:
        if not next(fits):
            raise TaskError("no such task")
        return place(spec, point)

    monkeypatch.setattr(source._set._knobs, "place", placed)
    assert len(source.ask(2)) == 2
    with pytest.raises(TaskError, match="no such task"):
        source.ask(1)
    assert next(fits, None) is None


def test_a_grid_may_have_ten_thousand_cells(make: Any, family: Any) -> None:
    source = make("learning-progress", cells={"force": 100, "pole_mass": 100})
    assert len(source._set) == 10_000
    spec = source._set.task(9_950, family.spec(), np.array([0.5, 0.5]))
    assert source._set.places([spec]) == [9_950]


def test_figures_by_hand(make: Any) -> None:
    """Progress 0, 0, 0, 4 of which two were seen; weights of 1/4, 1/4, 1/4, 1/4 amount to four tasks."""
    source = make("learning-progress", tasks=4, random=1.0)
    source._averages[1] = [0, 0, 0, 4]
    source._seen[:] = [True, False, False, True]
    metrics = source.metrics()
    assert metrics["tasks/learning_progress"] == 1.0
    assert metrics["tasks/most_learning_progress"] == 4.0
    assert metrics["tasks/share_seen"] == 0.5
    assert metrics["tasks/effective_number"] == pytest.approx(4.0)


def test_a_set_of_tasks_gives_no_others(make: Any) -> None:
    source = make("learning-progress", tasks=3)
    assert {spec.id for spec in source.ask(100)} == {spec.id for spec in source._set._specs}


def test_cells_are_parts_of_the_ranges(make: Any, family: Any) -> None:
    source = make("learning-progress", **CELLS)
    forces = np.array([spec.context["force"] for spec in source.ask(2000)])
    counts, _ = np.histogram(forces, bins=5, range=(5.0, 15.0))
    assert ((counts - 400) ** 2 / 400).sum() < 18.5  # chi-squared, 4 degrees of freedom, 99.9%
    numbers = source._set.places([family.spec({"force": force}) for force in (5.0, 6.99, 7.01, 15.0, 4.0)])
    assert numbers == [0, 0, 1, 4, None]


def test_the_cell_that_changes_is_drawn_most(make: Any) -> None:
    source = make("learning-progress", **CELLS)
    for iteration in range(30):
        specs = source.ask(20)
        source.tell(
            [TaskResult(spec, (float(iteration) if 9.0 < spec.context["force"] < 11.0 else 7.0,)) for spec in specs]
        )
    inside = [9.0 <= spec.context["force"] <= 11.0 for spec in source.ask(500)]
    assert np.mean(inside) > 0.45
    assert source.metrics()["tasks/effective_number"] < 4.5


def test_a_grid_over_several_knobs(make: Any, family: Any) -> None:
    source = make("learning-progress", cells={"force": 2, "pole_mass": 3})
    assert len(source._set) == 6
    for number in range(6):
        spec = source._set.task(number, family.spec(), np.array([0.5, 0.5]))
        assert source._set.places([spec]) == [number]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 8])
@pytest.mark.parametrize("settings", [{"tasks": 6}, CELLS])
def test_history_depends_on_neither_slots_nor_resume(history: Any, settings: Any, chunk: int, resumed: bool) -> None:
    play = [lambda spec: (spec.context["force"],), "learning-progress"]
    assert history(*play, chunk, 10, resumed, **settings) == history(*play, 4, 10, False, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cells": {"force": 0}}, "cells.force = 0: expected 1 or more"),
        ({"cells": {"force": 2}, "ranges": {"gravity": {"low": 1.0}}}, "ranges.gravity: it is not among the `cells`"),
        ({"ranges": {"force": {"low": 1.0}}}, "they are those of `cells`"),
        ({"cells": {"force": 1000, "pole_mass": 1000}}, "make more than 10,000 cells"),
        ({"cells": {"farce": 2}}, "unknown context knob 'farce'"),
    ],
)
def test_sets_that_cannot_be_are_refused(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("learning-progress", **settings)


def test_a_state_of_another_set_is_refused(make: Any) -> None:
    state = json.loads(json.dumps(make("learning-progress", tasks=3).state_dict()))
    with pytest.raises(CheckpointError, match=r"averages of shape \(2, 3\), expected \(2, 4\)"):
        make("learning-progress", tasks=4).load_state_dict(state)
