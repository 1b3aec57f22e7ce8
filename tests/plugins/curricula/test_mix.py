"""`mix` and `schedule`: exact shares, whose results go where, and weights that cannot be."""

import json
from collections import Counter
from typing import Any

import pytest

from plugins.curricula.shares import Shares
from registry.errors import CheckpointError, ConfigError
from taskgen import curriculum
from taskgen.source import TaskResult

SOURCES = {
    name: {"name": "domain-randomization", "fixed": {"gravity": value}}
    for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))
}
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}
POINTS = [{"iteration": 0, "weights": {"a": 1.0}}, {"iteration": 4, "weights": {"b": 0.75, "c": 0.25}}]


def gravities(specs: Any) -> list[float]:
    return [spec.context["gravity"] for spec in specs]


def test_shares_are_exact_at_any_time(make: Any) -> None:
    source = make("mix", sources=SOURCES, weights=WEIGHTS)
    seen: list[float] = []
    for n in range(1, 101):
        seen += gravities(source.ask(1))
        counts = Counter(seen)
        assert all(abs(counts[value] - share * n) < 1 for value, share in zip((1, 2, 3), WEIGHTS.values(), strict=True))
    assert [Counter(seen)[value] for value in (1, 2, 3)] == [50, 30, 20]


def test_the_order_by_hand(make: Any) -> None:
    """Owed before each turn: .5 .3 .2 -> a; 0 .6 .4 -> b; .5 -.1 .6 -> c; 1 .2 -.2 -> a; .5 .5 0 -> a; 0 .8 .2 -> b."""
    assert gravities(make("mix", sources=SOURCES, weights=WEIGHTS).ask(6)) == [1, 2, 3, 1, 1, 2]


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 8])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mix", {"weights": WEIGHTS}),
        ("schedule", {"points": POINTS}),
        ("schedule", {"points": POINTS, "between": "constant"}),
    ],
)
def test_history_depends_on_neither_slots_nor_resume(
    history: Any, name: str, settings: Any, chunk: int, resumed: bool
) -> None:
    play = [lambda spec: (1.0,), name]
    assert history(*play, chunk, 6, resumed, sources=SOURCES, **settings) == history(
        *play, 4, 6, False, sources=SOURCES, **settings
    )


def test_results_go_to_the_source_that_gave_the_task(make: Any) -> None:
    staged = {"name": "staged", "stages": [{"threshold": 5.0, "window": 1}, {}], "source": SOURCES["b"]}
    source = make("mix", sources={"a": SOURCES["a"], "b": staged}, weights={"a": 0.5, "b": 0.5})
    assert source.feedback
    for returned, stage in ((9.0, 1.0), (4.0, 1.0)):  # of the tasks of a, which are none of b's business
        specs = source.ask(4)
        source.tell([TaskResult(spec, (returned if spec.context["gravity"] == 1.0 else 0.0,)) for spec in specs])
        assert source.metrics()["tasks/b/stage"] == stage
    specs = source.ask(4)
    resumed = make("mix", sources={"a": SOURCES["a"], "b": staged}, weights={"a": 0.5, "b": 0.5})
    resumed.load_state_dict(json.loads(json.dumps(source.state_dict())))  # tasks are out that were not told yet
    resumed.tell([TaskResult(spec, (9.0 if spec.context["gravity"] == 2.0 else 0.0,)) for spec in specs])
    assert resumed.metrics()["tasks/b/stage"] == 2.0


def test_a_mix_of_sources_without_feedback_has_none(make: Any) -> None:
    assert not make("mix", sources=SOURCES, weights=WEIGHTS).feedback


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 0.5, "b": 0.3}, r"weights sum to 0.8, expected 1: 0.5 \(a\) \+ 0.3 \(b\)"),
        ({"a": 0.5, "b": 0.3}, "none for source 'c'"),
        ({**WEIGHTS, "d": 0.0}, "weights.d: no such source. "),
        ({"a": 1.5, "b": -0.5, "c": 0.0}, "weights.b = -0.5: expected 0 or more"),
        ({}, "weights sum to 0, expected 1: nothing"),
    ],
)
def test_weights_that_cannot_be_are_refused(make: Any, weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("mix", sources=SOURCES, weights=weights)


def test_a_schedule_moves_shares_linearly_with_the_iterations(make: Any) -> None:
    source = make("schedule", sources=SOURCES, points=POINTS)
    for time, expected in enumerate(((1, 0, 0), (0.75, 0.1875, 0.0625), (0.5, 0.375, 0.125))):
        assert [source.metrics()[f"tasks/share_{name}"] for name in "abc"] == pytest.approx(expected), time
        source.ask(16)
        source.tell([])
    for _ in range(9):
        source.tell([])
    before = Counter(gravities(source.ask(3)))  # what was owed from earlier shares
    after = Counter(gravities(source.ask(400)))
    assert after[1.0] == 0
    assert abs(after[2.0] - 300) <= 1, before


def test_a_schedule_may_go_by_steps(make: Any) -> None:
    source = make("schedule", sources=SOURCES, points=POINTS, between="constant")
    for time in range(6):
        assert set(gravities(source.ask(8))) == ({1.0} if time < 4 else {2.0, 3.0})
        source.tell([])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "the first is that of iteration 0"),
        ([{"iteration": 3, "weights": {"a": 1.0}}], "the first is that of iteration 0"),
        ([*POINTS, {"iteration": 4, "weights": {"a": 1.0}}], r"iterations \[0, 4, 4\] are to rise"),
        ([{"weights": {"a": 0.9}}], r"points\[0\].weights sum to 0.9"),
        ([{"weights": {"a": 0.5, "b": 0.5}}], "sources.c never has a share"),
    ],
)
def test_points_that_cannot_be_are_refused(make: Any, points: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("schedule", sources=SOURCES, points=points)


def test_a_state_of_another_mix_is_refused(make: Any) -> None:
    two = {"a": 0.5, "b": 0.5}
    state = make("mix", sources={name: SOURCES[name] for name in two}, weights=two).state_dict()
    with pytest.raises(CheckpointError, match=r"expected the sources \['a', 'b', 'c'\]"):
        make("mix", sources=SOURCES, weights=WEIGHTS).load_state_dict(state)


def test_weights_may_be_zero_and_sum_to_one_but_for_rounding(make: Any) -> None:
    source = make("mix", sources=SOURCES, weights={"a": 0.5, "b": 0.5 + 9e-7, "c": 0.0})
    assert Counter(gravities(source.ask(10))) == {1.0: 5, 2.0: 5}
    with pytest.raises(ConfigError, match="weights sum to 1, expected 1"):
        make("mix", sources=SOURCES, weights={"a": 0.5, "b": 0.5 + 2e-6, "c": 0.0})
    with pytest.raises(ConfigError, match="sources.c never has a share"):
        make("schedule", sources=SOURCES, points=[{"weights": {"a": 0.5, "b": 0.5, "c": 0.0}}])


def test_who_has_no_share_any_more_has_no_turn_whatever_is_owed() -> None:
    """Owed before each turn: .3 .3 .4; .55 .8 -.35; .55 .3 .15."""
    shares = Shares(("a", "b", "c"))
    weights = ({"a": 0.3, "b": 0.3, "c": 0.4}, {"a": 0.25, "b": 0.5, "c": 0.25}, {"a": 0.0, "b": 0.5, "c": 0.5})
    assert [shares.turn(one) for one in weights] == ["c", "b", "b"]


@pytest.mark.parametrize("time", [-1, 1.5, None])
def test_a_time_that_cannot_be_is_refused(make: Any, time: Any) -> None:
    state = make("schedule", sources=SOURCES, points=POINTS).state_dict()
    make("schedule", sources=SOURCES, points=POINTS).load_state_dict(state)  # at time 0
    with pytest.raises(CheckpointError, match="time = .*, expected an integer >= 0"):
        make("schedule", sources=SOURCES, points=POINTS).load_state_dict({**state, "time": time})


def test_two_points_share_what_lies_between_by_their_distance(make: Any) -> None:
    """A quarter of the way from iteration 2 to 6."""
    points = [{"weights": {"a": 1.0}}, {"iteration": 2, "weights": {"b": 1.0}}, {"iteration": 6, "weights": {"c": 1.0}}]
    source = make("schedule", sources=SOURCES, points=points)
    for _ in range(3):
        source.tell([])
    assert [source.metrics()[f"tasks/share_{name}"] for name in "abc"] == [0.0, 0.75, 0.25]


def test_what_the_sources_say_stands_under_their_names(make: Any) -> None:
    inside = {name: {"name": "robust-plr", "capacity": 16, "minimum_fill": 0.5, "replay": 0.5} for name in "ab"}
    inside["b"]["replay"] = 0.25
    source = make("mix", sources=inside, weights={"a": 0.5, "b": 0.5})
    assert "tasks/a/buffer_fill" in source.metrics()
    assert set(source.highlights()) == {f"{name}: {title}" for name in "ab" for title in ("easiest", "hardest")} | {
        "a: most replayed",
        "b: most replayed",
    }
    assert source.updates(102, 4) == 50  # the 100 rounds after a has its minimum fill, of which half are replays
    assert source.learns_from(source.ask(2)) == [False, False]
    plain = make("mix", sources=SOURCES, weights=WEIGHTS)
    assert plain.updates(102, 4) == 102
    assert plain.learns_from(plain.ask(2)) == [True, True]


def test_of_tasks_that_are_never_told_the_latest_are_remembered(make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(curriculum, "_REMEMBERED", 3)
    staged = {"name": "staged", "stages": [{"iterations": 1}, {}]}
    source = make("mix", sources={"a": SOURCES["a"], "b": staged}, weights={"a": 0.0, "b": 1.0})
    specs = source.ask(5)
    assert list(source._given) == [spec.id for spec in specs[2:]]
    source.tell([TaskResult(specs[3], (1.0,))])
    assert list(source._given) == [specs[2].id, specs[4].id]
