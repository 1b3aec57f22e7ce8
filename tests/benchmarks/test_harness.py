"""Benchmark results: rows judged, recorded as agreed, resumed, listed and put into the documents."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from agents.training.run import RunDirectory
from benchmarks import __main__ as listing
from benchmarks import harness, recompute, table
from benchmarks.learning import CURVE_POINTS, curves
from registry.errors import UserError
from tests.agents.reports.made_up_run import make_run

KEYS = ["benchmark", "commit", "date", "machine", "versions", "seeds", "rows"]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results and progress in a folder of the test's own."""
    for module in (harness, table, listing):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(harness, "PROGRESS", tmp_path / "runs")
    monkeypatch.setattr(harness.os, "getloadavg", lambda: (9.0, 1.0, 9.0))
    return tmp_path / "results"


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (6.62, ">= 6.62", True),
        (6.61, ">= 6.62", False),
        (6.62, "> 6.62", False),
        (180, "<= 180", True),
        (180, "< 180", False),
        (1.0, (0.5, 1.0), True),
        (1.1, (0.5, 1.0), False),
        (6.6, 6.6, None),
        (6.6, None, None),
    ],
)
def test_targets_are_judged(value: float, target: harness.Target, met: bool | None) -> None:
    assert harness.row("x", value, target=target)["met"] is met


def test_rows_hold_what_was_agreed() -> None:
    row = harness.row("return", 6, 5.5, 6.5, (5.0, 7.0), "a paper")
    assert row == {
        "what": "return", "value": 6.0, "low": 5.5, "high": 6.5, "target": [5.0, 7.0], "source": "a paper", "met": True
    }  # fmt: skip
    assert harness.row("x", 1.0, target=1.01, met=True)["met"] is True
    assert harness.row("x", 1.0, math.nan, math.nan)["low"] is None
    for figures in ((math.nan,), (1.0, -math.inf, 2.0)):
        with pytest.raises(ValueError, match=r"x: (value|low) = (nan|-inf) is not a figure"):
            harness.row("x", *figures)
    for wrong in ("about 6", ">=6", "= 6", ">= six"):
        with pytest.raises(ValueError, match=r"target|could not convert"):
            harness.row("x", 1.0, target=wrong)


def test_results_are_recorded_as_agreed(results: Path) -> None:
    path = harness.record("toy", [harness.row("x", 1.0, target="> 0")], seeds=range(3))
    assert path == results / "toy.json"
    result = json.loads(path.read_text())
    assert list(result) == KEYS
    assert result["seeds"] == [0, 1, 2]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?)?", result["commit"])
    assert {"processor", "cores", "memory_gib", "accelerator", "system"} <= result["machine"].keys()
    assert str(Path.cwd()) not in path.read_text()
    assert "torch" in result["versions"]
    assert json.loads(harness.record("toy", result["rows"], [], "short run").read_text())["notes"] == "short run"
    with pytest.raises(ValueError, match="measured nothing"):
        harness.record("toy", [], [])


def test_parts_are_recorded_at_a_time_of_their_own(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def part_of(what: str) -> str:
        return what.partition(",")[0]

    def write(commit: str, *figures: tuple[str, float], seeds: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
        monkeypatch.setattr(harness, "source_commit", lambda: commit)
        curve = {figures[0][0]: {"steps": [figures[0][1]], "return": [0.0]}}
        rows = [harness.row(*figure) for figure in figures]
        return json.loads(harness.record("toy", rows, seeds, curves=curve, part_of=part_of).read_text())

    first = write("a" * 40, ("near, x", 1.0), ("near, y", 2.0), ("far, x", 3.0))
    assert table._parts(first) == ""
    second = write("b" * 40, ("near, x", 4.0), ("new, x", 5.0))
    found = [(row["what"], row["value"]) for row in second["rows"]]
    assert found == [("near, x", 4.0), ("far, x", 3.0), ("new, x", 5.0)]  # what near no longer measures is gone
    assert {part: made["commit"][0] for part, made in second["parts"].items()} == {"near": "b", "far": "a", "new": "b"}
    assert table._parts(second) == f"far: {first['date']}, commit aaaaaaaaaa"
    third = write("c" * 40, ("far, x", 6.0))
    assert table._parts(third) == f"near, new: {first['date']}, commit bbbbbbbbbb"
    kept = json.loads((results / "curves" / "toy.json").read_text())
    assert {name: curve["steps"] for name, curve in kept.items()} == {"near, x": [4.0], "far, x": [6.0]}
    with pytest.raises(ValueError, match=r"recorded with seeds \[0, 1\], not \[7\]"):
        write("d" * 40, ("far, x", 6.0), seeds=(7,))
    alone = write("e" * 40, ("far, x", 1.0), ("near, x", 1.0), ("new, x", 1.0), seeds=(7,))
    assert alone["seeds"] == [7]


def test_a_crowded_machine_is_noted(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.os, "cpu_count", lambda: 2)
    for load, note in ((2.4, None), (2.5, "2.5 processes shared 2 cores"), (8.2, "8.2 processes shared 2 cores")):
        monkeypatch.setattr(harness.os, "getloadavg", lambda load=load: (0.0, load, 0.0))
        notes = json.loads(harness.record("toy", [harness.row("x", 1.0)], []).read_text()).get("notes")
        assert notes is note or notes.startswith(note)
    assert json.loads(harness.record("toy", [harness.row("x", 1.0)], [], "short").read_text())["notes"] == (
        "short; 8.2 processes shared 2 cores while this ended: seconds hold waiting, they measure nothing"
    )


def test_finished_parts_are_not_measured_again(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(key: str) -> list[str]:
        measured.append(key)
        return [key]

    monkeypatch.setattr(harness, "source_commit", lambda: "first")
    first = harness.Resume("toy", {"tasks": 10})
    assert first.part("seed 0", lambda: measure("0")) == ["0"]
    with pytest.raises(KeyboardInterrupt):
        first.part("seed 1", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(harness, "source_commit", lambda: "second")
    again = harness.Resume("toy", {"tasks": 10})
    assert again.part("seed 0", lambda: measure("0")) == ["0"]
    assert again.part("seed 1", lambda: measure("1")) == ["1"]
    assert measured == ["0", "1"]
    assert again.notes == "seed 0 measured at commit first"
    assert harness.Resume("toy", {"tasks": 20}).part("seed 0", lambda: measure("other")) == ["other"]
    again.done()
    assert harness.Resume("toy", {"tasks": 20}).part("seed 0", lambda: measure("fresh")) == ["fresh"]


def test_every_benchmark_is_listed_with_its_standing(results: Path) -> None:
    path = harness.record("engine", [harness.row("x", 1.0, target="> 0"), harness.row("y", 1.0)], [0])
    assert listing.standing(path).endswith("2 figures, 1 of 1 targets met")
    assert listing.standing(results / "other.json") == "not recorded"
    lines = listing.listing()
    names = {line.split()[0] for line in lines}
    assert "reference_players" in names
    assert names.isdisjoint({"__init__", "__main__", "harness", "recompute", "table"})
    for line in lines:
        assert re.fullmatch(r"\w+ +not recorded +\w.*\.", line), line


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a README that shows one figure of the benchmark "toy", and the page about memories."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "memory.md").write_text("<!-- memory:start -->\nold\n<!-- memory:end -->\n")
    (tmp_path / "docs" / "matrix.md").write_text("<!-- matrix:start -->\nold\n<!-- matrix:end -->\n")
    (tmp_path / "README.md").write_text("# Title\n\n<!-- figures:start -->\nold\n<!-- figures:end -->\n\nEnd.\n")
    monkeypatch.setattr(table, "HEADLINES", (table.Headline("what a trial pays", "toy", "return | trial"),))
    return tmp_path


def test_figures_with_a_page_of_their_own_stand_there(results: Path) -> None:
    path = harness.record("matrix", [harness.row("one of many", 1.5)], [0], cells={"maze sfl maml": [0]})
    kept = json.loads(path.read_text())
    assert kept["cells"] == {"maze sfl maml": [0]}
    page = table.page([kept])
    assert "Its 1 figures stand on [a page of their own](matrix.md)." in page
    assert "one of many" not in page


def test_the_documents_take_the_figures(results: Path, documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        harness.row("return | trial", 6.6312, 6.61, 6.65, ">= 6.62", "a paper"),
        harness.row("speed, steps/s", 1_234_567.8, target=(1e6, 2e6)),
        harness.row("slow", 3.0, target="< 2"),
        harness.row("exact", 5.0, target=0),
        harness.row("beside", 7.0),
    ]
    harness.record("toy", rows, [0, 1])
    harness.record("bare", [harness.row("alone", 1.0)], [])
    into = ["--into", str(documents)]
    readme, figures = documents / "README.md", documents / "docs" / "figures.md"
    assert table.main(["--check", *into]) == 1
    assert "old" in readme.read_text()
    assert not figures.exists()
    assert capsys.readouterr().err.count("out of date; run `make figures`") == 4

    assert table.main(into) == 0
    text = readme.read_text()
    assert text.startswith("# Title\n\n<!-- figures:start -->\n| what | target | measured | met | command |")
    assert text.endswith("<!-- figures:end -->\n\nEnd.\n")
    assert "| what a trial pays | >= 6.62 | 6.631 [6.61, 6.65] | yes | `python -m benchmarks.toy` |" in text
    assert "6 figures of 2 benchmarks, 2 of 3 targets met: [all figures](docs/figures.md)." in text
    assert "slow" not in text

    assert "Not recorded yet: `python -m benchmarks.matrix`." in (documents / "docs" / "matrix.md").read_text()

    text = figures.read_text()
    assert "| [toy](#toy) | 5 | 2 of 3 |" in text
    assert "| [bare](#bare) | 1 | 0 of 0 |" in text
    assert "Missed:\n\n- [toy](#toy): slow: 3, &lt; 2\n\n## bare" in text
    assert "| return \\| trial | 6.631 [6.61, 6.65] | >= 6.62 (a paper) | yes |" in text
    assert "| speed, steps/s | 1,234,568 | 1,000,000 to 2,000,000 | yes |" in text
    assert "| slow | 3 | &lt; 2 | **no** |" in text
    assert "| exact | 5 | 0 |  |" in text
    assert text.count("1 figures without a target</summary>\n\n| what | measured | target | met |") == 1
    assert "[`python -m benchmarks.toy`](../benchmarks/results/toy.json)" in text
    assert table.main(["--check", *into]) == 0

    rows[0]["value"] = 6.7
    harness.record("toy", rows, [0, 1])
    assert table.main(["--check", *into]) == 1


def test_without_results_headlines_or_markers(
    results: Path, documents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table.page([]).endswith("No benchmark has been recorded yet.\n")
    assert table.main(["--into", str(documents)]) == 2
    assert "headline 'what a trial pays': toy has no row 'return | trial'" in capsys.readouterr().err
    harness.record("toy", [harness.row("return of a trial", 1.0)], [])
    assert table.main(["--into", str(documents)]) == 2
    assert "Did you mean 'return of a trial'" in capsys.readouterr().err
    harness.record("toy", [harness.row("return | trial", 1.0)], [])
    (documents / "README.md").write_text("<!-- figures:end --> <!-- figures:start -->")
    assert table.main(["--into", str(documents)]) == 2
    assert "needs the lines <!-- figures:start --> and <!-- figures:end -->" in capsys.readouterr().err
    with pytest.raises(UserError):
        table.rewrite("no markers", "", "figures")


def test_over_seeds_the_mean_is_judged_and_values_are_kept() -> None:
    row = harness.seeds_row("return", [1.0, 2.0, 3.0], ">= 2", "a paper")
    half = 4.302653 / math.sqrt(3)  # t(0.975, 2) times the standard error
    assert (row["value"], row["met"], row["values"]) == (2.0, True, [1.0, 2.0, 3.0])
    assert (row["low"], row["high"]) == pytest.approx((2 - half, 2 + half), rel=1e-6)
    assert harness.seeds_row("return", [1.0, 2.0, 2.9], ">= 2")["met"] is False
    assert harness.seeds_row("return", [1.0, 2.0, 3.0])["met"] is None
    two = harness.seeds_row("return", [1.0, 3.0], ">= 2")
    assert (two["value"], two["low"], two["high"], two["met"]) == (2.0, None, None, True)
    assert two["why"] == "no interval: two seeds are too few, it takes 3"


def test_values_by_task_widen_the_interval_by_the_tasks() -> None:
    tasks = [0.0, 4.0, 8.0, 12.0]
    row = harness.seeds_row("return", [[seed + task for task in tasks] for seed in (1.0, 2.0, 3.0)])
    assert (row["value"], row["values"]) == (8.0, [7.0, 8.0, 9.0])
    assert row["spread"] == pytest.approx([20 / 3, 0.0, 3])  # squares of tasks about 6: 80, over 3, over 4 tasks
    weighted = (1 / 3 * 4.302653 + 20 / 3 * 3.182446) / 7  # t(0.975, 2) and t(0.975, 3)
    assert row["high"] - 8 == pytest.approx(weighted * math.sqrt(7), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "others", "met"),
    [
        ([1.0, 1.1, 1.2], None, True),
        ([-1.0, 2.0, 1.0], None, False),  # a mean above 0 whose interval holds 0
        ([5.0, 9.0, 1.0], [4.0, 8.1, 0.1], True),  # far apart each, but always ahead
        ([5.0, 9.0, 1.0], [4.0, 9.5, 0.1], False),
        ([-1.0, -1.1, -1.2], None, False),
        ([1.0, 1.1], None, False),
        ([2.0], [1.0], False),
    ],
)
def test_ahead_means_that_the_interval_of_the_difference_is(values, others, met) -> None:
    row = harness.ahead_row("gain", values, others, "a paper")
    assert (row["met"], row["target"]) == (met, "> 0")
    assert ("why" in row) is (len(values) < 3)
    assert harness.ahead_row("gain", values, others, claim=False)["met"] is None


def test_recorded_results_are_recomputed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        harness.seeds_row("return", [1.0, 2.0, 3.0], ">= 2"),
        harness.ahead_row("gain", [[1.0, 2.0], [3.0, 1.0], [2.0, 2.0]]),
        harness.row("old", 1.0, -1.0, 3.0, "> 0"),
    ]
    path = harness.record("toy", rows, [0, 1, 2])
    assert recompute.main([], results) == 0
    assert json.loads(path.read_text())["rows"] == rows
    assert capsys.readouterr().out == "toy: 1 of 3 rows over seeds keep no values; record it anew\n"
    wrong = [{**rows[0], "low": 0.0, "met": False}, {**rows[1], "met": not rows[1]["met"]}, {**rows[2], "ahead": True}]
    harness.record("toy", wrong, [0, 1, 2])
    assert recompute.main(["--check"], results) == 1
    assert json.loads(path.read_text())["rows"] == wrong
    assert "toy: old: met True -> False" in capsys.readouterr().out
    assert recompute.main([], results) == 0
    assert json.loads(path.read_text())["rows"] == [*rows[:2], {**wrong[2], "met": False}]


def test_committed_claims_to_be_ahead_are_met_by_their_intervals() -> None:
    """Of the results in the repository: each "> 0" is a claim, and its interval is above 0 where it is met."""
    for path in sorted((harness.ROOT / "benchmarks" / "results").glob("*.json")):
        for row in json.loads(path.read_text())["rows"]:
            if row["target"] == "> 0":
                assert row["met"] is (row["low"] is not None and row["low"] > 0), (path.stem, row["what"])
            assert harness.recomputed(row) == row, (path.stem, row["what"])


def test_learning_curves_are_kept_beside_a_result_thinned(results: Path, tmp_path: Path) -> None:
    made = RunDirectory(make_run(tmp_path / "toy-0", iterations=600))
    few = RunDirectory(make_run(tmp_path / "toy-1", iterations=50, seed=1))
    thinned = curves([made, few])
    assert [len(each["steps"]) for each in thinned.values()] == [CURVE_POINTS, 50]
    lines = [json.loads(line)["metrics"] for line in (made.path / "metrics.jsonl").read_text().splitlines()]
    first = sum(line["meta/trial_return"] for line in lines[:3]) / 3
    assert thinned["toy-0"]["return"][0] == pytest.approx(first, rel=1e-4)
    assert thinned["toy-0"]["steps"][-1] == pytest.approx(
        sum(line["charts/steps"] for line in lines[-3:]) / 3, rel=1e-4
    )
    path = harness.record("toy", [harness.row("x", 1.0)], seeds=[0, 1], curves=thinned)
    assert json.loads((results / "curves" / "toy.json").read_text()) == thinned
    assert list(json.loads(path.read_text())) == KEYS
    assert [result["benchmark"] for result in table.recorded()] == ["toy"]
