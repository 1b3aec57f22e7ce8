"""A small sample of the damage that `benchmarks.reliability` does, and that it notices what is wrong."""

import json
from pathlib import Path
from random import Random

import pytest

from benchmarks import damage, damaged_inputs, damaged_runs, harness, million_tasks, reliability
from benchmarks.damage import Found, Said, drawn_once
from benchmarks.damaged_runs import Bench
from benchmarks.reliability import PARTS, SIZES, table, together, tried
from taskgen.spec import TaskSpec


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize(
    ("part", "count"),
    [("flips", 3), ("configurations", 3), ("directories", 3), ("plugins", 3), ("task-lines", 300), ("experiments", 30)],
)
def test_damage_is_told_or_changes_nothing(bench: Bench, part: str, count: int) -> None:
    numbers = range(count)
    with drawn_once():
        found = tried(bench, part, numbers, seed=0)
    assert (found.tried, found.silent, found.traceback, found.wait) == (len(numbers), [], [], [])


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bytes(bench: Bench) -> None:
    found = tried(bench, "kills", range(2), seed=0)
    assert (found.silent, found.traceback, found.wait) == ([], [], [])


def test_what_is_wrong_is_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that shrugs, one that breaks, one that waits: each is found out."""

    def shrugs(words: list[str]) -> int:
        print("all is well")
        return 0

    def breaks(words: list[str]) -> int:
        raise KeyError(words[0])

    def waits(words: list[str]) -> int:
        while True:
            pass

    found = Found()
    with bench.copy("plain") as path:
        bench.judge(found, "nothing", path, ("evaluate",))
    assert (found.tried, found.right) == (1, 1)
    monkeypatch.setattr(damage, "PATIENCE", 0.2)
    for command in (shrugs, breaks, waits):
        monkeypatch.setattr(damage, "taskgen", command)
        with bench.copy("plain") as path:
            bench.judge(found, command.__name__, path, ("evaluate",))
    assert found.silent == ["plain: shrugs"]
    assert found.traceback == ["plain: breaks: KeyError: 'evaluate'"]
    assert found.wait == ["plain: waits"]
    assert (found.tried, found.right) == (4, 1)
    assert table({"flips": found})[1].split() == ["flips", "4", "1", "1", "1", "1"]
    twice = together([vars(found), vars(found)])
    assert (twice.tried, twice.right, len(twice.silent)) == (8, 2, 2)


def test_the_first_message_counts_and_a_refusal_needs_one() -> None:
    usual = Said(0, "", "50% of the evaluation\n")
    assert damaged_runs._told(Said(2, "", "error: damaged\n"), usual)
    assert damaged_runs._told(Said(0, "", "skipped: checkpoint\n50% of the evaluation\n"), usual)
    assert not damaged_runs._told(Said(2, "", ""), usual)
    assert not damaged_runs._told(Said(0, "", "50% of the evaluation\n"), usual)


def test_tries_are_a_function_of_seed_part_and_number(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    monkeypatch.setitem(PARTS, "drawn", lambda _, number, rng, found: drawn.append(rng.random()))  # type: ignore[misc]
    tried(bench, "drawn", range(4), 0)
    tried(bench, "drawn", range(2, 4), 0)
    tried(bench, "drawn", range(1), 1)
    assert drawn[4:6] == drawn[2:4]
    assert len(set(drawn)) == 5
    assert Random("0 drawn 0").random() == drawn[0]


def test_figures_that_are_drawn_once_are_those_that_are_drawn_anew(bench: Bench) -> None:
    def page() -> str:
        with bench.copy("curriculum") as path:
            return damaged_runs._command(path, "report")[1]

    anew = page()
    with drawn_once():
        assert page() == page() == anew != ""


def test_processes_share_the_tries_and_the_last_call_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []

    def part(_: Bench, number: int, rng: Random, found: Found) -> None:
        made.append(number)
        found.enter(f"{number}", [], right=number != 7)

    monkeypatch.setattr(harness, "PROGRESS", tmp_path / "runs")
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setitem(PARTS, "toy", part)  # type: ignore[misc]
    words = ["--parts", "toy", "--sizes", "toy=130"]
    reliability.main([*words, "--share", "1/2"])
    reliability.main([*words, "--share", "2/2"])
    assert sorted(made) == list(range(130))
    assert not (tmp_path / "results").exists()
    found = reliability.main(words)
    assert (len(made), found["toy"].tried, found["toy"].silent) == (130, 130, ["7"])
    rows = json.loads((tmp_path / "results" / "reliability.json").read_text())["rows"]
    assert [row["met"] for row in rows] == [False, False, True, True]
    assert list((tmp_path / "runs").iterdir()) == []
    for wrong in ("0/2", "3/2", "2", "a/b"):
        with pytest.raises(SystemExit):
            reliability.main(["--share", wrong])
    assert "expected I/N" in capsys.readouterr().err


def test_every_way_to_break_a_plugin_is_tried() -> None:
    assert SIZES["plugins"] == len(damaged_inputs.broken()) >= 66


def test_what_a_line_says_is_read_apart_from_the_platform() -> None:
    spec = TaskSpec("f", {"a": (1, 2.0)}, None, 3)
    said = damaged_inputs._task_of
    assert said(spec.to_json().encode()) == spec.canonical()
    assert said(b'{"context":{"a":[1,2.0]},"family":"f","seed":3}') == spec.canonical()
    assert said(b'{"context":{"a":[1,2]},"family":"f","seed":3}') != spec.canonical()
    wrong = [
        spec.to_json().replace('"seed":3', '"seed":4'),
        '{"context":{"a":1,"a":1},"family":"f"}',
        '{"context":{"a":NaN},"family":"f"}',
        '{"context":{"a":1e999},"family":"f"}',
        '{"context":{},"family":"f","more":1}',
        '{"context":{}}',
        "[]",
        "{",
    ]
    assert [said(line.encode()) for line in wrong] == [None] * len(wrong)


@pytest.mark.parametrize(
    ("given", "planned", "right"),
    [
        ({"agent": "rl2"}, {"agent": {"name": "builtin/rl2", "a": 1}}, True),
        ({"agent": {"name": "rl2", "a": 1}}, {"agent": {"name": "builtin/rl2", "a": 1.0}}, True),
        ({"agent": {"name": "rl2", "a": 1}}, {"agent": {"name": "builtin/rl2", "a": True}}, False),
        ({"agent": {"name": "rl2", "a": 1}}, {"agent": {"name": "builtin/rl2"}}, False),
        ({"agent": "rl"}, {"agent": {"name": "builtin/rl2"}}, False),
        ({"players": ["a", "b"]}, {"players": [{"name": "builtin/a"}]}, False),
        ({"a": {"b": 1}}, {"a": 1}, False),
    ],
)
def test_what_is_planned_is_what_is_written(given: object, planned: object, right: bool) -> None:
    assert damaged_inputs._as_written(given, planned) is right


def test_a_million_tasks_are_judged_by_time_and_memory() -> None:
    now, before = million_tasks.Cost(10.0, 300.0), million_tasks.Cost(40.0, 600.0)
    rows = {row["what"]: row for row in million_tasks.rows({"split": (now, before)}, 1000)}
    shares = [row for what, row in rows.items() if "share" in what]
    assert [(row["value"], row["met"]) for row in shares] == [(0.25, True), (0.5, False)]
