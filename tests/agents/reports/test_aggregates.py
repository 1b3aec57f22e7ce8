"""What is said of players in the aggregate: the scale of gaps and why there is none, tables, learning curves."""

import json
import math
import re

import numpy as np
import pytest

from agents.evaluation.aggregates import NO_ENDS
from agents.reports.aggregates import LAST, ONE_TASK, Scores, aggregate, lines, section
from agents.reports.courses import kept_curves
from agents.reports.results import pooled
from registry.errors import UserError

RNG = np.random.Generator(np.random.PCG64(0))
TASKS = RNG.normal(size=(1, 40))


def scores(name: str, mean: float, *, trained: bool = False, told: bool = False, seeds: int = 3) -> Scores:
    return Scores(name, trained, told, mean + TASKS + RNG.normal(size=(seeds, 40)))


AGENT = scores("rl2", 2.0, trained=True)
RANDOM, ORACLE, OTHER = scores("random", 0.0), scores("oracle", 4.0, told=True), scores("greedy", 1.0)


def test_the_scale_lies_between_random_and_the_best_player_that_is_told() -> None:
    found = aggregate([AGENT, RANDOM, OTHER, scores("map-reader", 3.0, told=True), ORACLE])
    assert "1 what oracle does, which is told the task" in found.normalised
    assert 0 < found.gap["oracle"].value < found.gap["rl2"].value < found.gap["random"].value
    assert found.gap["random"].value >= 1
    assert list(found.improvement) == ["rl2"]
    assert set(found.improvement["rl2"]) == {"random", "greedy", "map-reader", "oracle"}
    assert found.improvement["rl2"]["random"].value > 0.5 > found.improvement["rl2"]["oracle"].value


@pytest.mark.parametrize(
    ("players", "why"),
    [
        ([AGENT, ORACLE], "no random player was judged"),
        ([AGENT, RANDOM, OTHER], "no reference player that is told the task was judged"),
        ([scores("ppo", 4.0, trained=True, told=True), RANDOM], "no reference player that is told the task"),
        ([scores("random", 4.0, trained=True), ORACLE], "no random player"),
        ([AGENT, RANDOM, scores("oracle", -2.0, told=True)], r"oracle, which is told the task, earns .*, no more than"),
        ([AGENT, RANDOM, Scores("oracle", False, True, RANDOM.samples)], "no more than random"),
        ([AGENT, RANDOM, Scores("oracle", False, True, RANDOM.samples + 0.1 * RNG.normal(1, 9, 40))], "may be equal"),
    ],
)
def test_without_a_scale_there_is_no_gap_but_a_reason(players: list[Scores], why: str) -> None:
    found = aggregate(players)
    assert found.gap == {}
    assert found.normalised.startswith("There is no optimality gap: ")
    assert re.search(why, found.normalised)


def test_a_random_agent_is_judged_by_the_new_one() -> None:
    trained = scores("random", 0.0, trained=True)
    found = aggregate([trained, Scores("random (as new)", False, False, RANDOM.samples), ORACLE])
    assert "random (as new)" in found.normalised
    assert found.gap


def test_pairs_without_an_interval_are_told_with_the_reason() -> None:
    far = Scores("far", False, False, AGENT.samples - 100)
    found = aggregate([AGENT, far, scores("two", 2.0, seeds=2)])
    assert found.without == {NO_ENDS: ["rl2 and far"], "two seeds are too few, it takes 3": ["rl2 and two"]}
    assert found.improvement["rl2"]["far"].value == 1
    told = list(lines(found))
    assert any(line.endswith("rl2 earns more than far with probability 1.000") for line in told)
    assert f"  no interval of rl2 and far: {NO_ENDS}" in told
    assert found.summary()["improvement"]["rl2"]["far"] == {"value": 1.0, "low": None, "high": None}


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("lead", [0.0, 0.5, 1.0])
def test_one_task_makes_no_scale_and_says_so(seeds: int, lead: float) -> None:
    """However far the oracle is ahead of random on it: nothing tells how much of that is luck."""
    earned = {"rl2": lead, "random": 0.0, "oracle": 1.0}
    players = [
        Scores(name, name == "rl2", name == "oracle", value + 0.1 * RNG.normal(size=(seeds, 1)))
        for name, value in earned.items()
    ]
    found = aggregate(players)
    assert found.gap == {}
    assert re.search("There is no optimality gap: on one task .* oracle is ahead of random by", found.normalised)
    few = "two seeds are too few, it takes 3" if seeds == 2 else ONE_TASK
    assert found.without == {few: ["rl2 and random", "rl2 and oracle"]}
    assert all(math.isnan(share.low) for row in found.profiles.values() for share in row)


def test_lines_hold_every_figure() -> None:
    found = aggregate([AGENT, RANDOM, ORACLE], LAST)
    told = "\n".join(lines(found))
    for interval in (*found.middle.values(), *found.gap.values(), *found.improvement["rl2"].values()):
        assert f"{interval.value:.3f}" in told
        assert math.isnan(interval.low) or f"[{interval.low:.3f}, {interval.high:.3f}]" in told
    assert LAST in told


def test_the_figure_has_a_text() -> None:
    shown = section(aggregate([AGENT, RANDOM]), ["rl2"], "profile")
    assert shown["svg"].startswith("<svg")
    assert "rl2" in shown["svg"]
    plain = Scores("rl2", True, False, np.array([[1.0, 2.0, 3.0, 4.0]]))
    shown = section(aggregate([plain]), ["rl2"], "profile")
    assert shown["alt"].endswith("Exceeded on half of the tasks: rl2 2.")  # 3 and 4 are above 2


def test_kept_curves_are_pooled_by_name(tmp_path) -> None:
    file = tmp_path / "curves.json"
    kept = {"a-0": {"steps": [1, 3], "return": [0, 2]}, "a-1": {"steps": [1, 2], "return": [2, 3]}}
    file.write_text(json.dumps(kept | {"b": {"steps": [5], "return": [1]}}))
    found = kept_curves(file)
    assert {name: len(runs) for name, runs in found.items()} == {"a": 2, "b": 1}
    curve = pooled("a", found["a"])
    assert curve.mean.x.tolist() == [1, 2]  # as far as both have come
    assert curve.mean.mean.tolist() == [1, 2]  # of 0 and 2, of 1 and 3
    assert np.isnan(curve.mean.low).all()  # of two seeds


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        '{"a-0": {"steps": [1]}}',
        '{"a-0": {"steps": [], "return": []}}',
        '{"a-0": {"steps": [1, 2], "return": [1]}}',
        '{"a-0": {"steps": [2, 2], "return": [1, 1]}}',
        '{"a-0": {"steps": [1], "return": [NaN]}}',
    ],
)
def test_files_that_are_no_curves_are_refused(tmp_path, content: str) -> None:
    (tmp_path / "curves.json").write_text(content)
    with pytest.raises(UserError, match=r"curves\.json holds no learning curves \(.*as benchmarks keep"):
        kept_curves(tmp_path / "curves.json")
    with pytest.raises(UserError, match="holds no learning curves"):
        kept_curves(tmp_path / "missing.json")
