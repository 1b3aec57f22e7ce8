"""The curriculum in a report: what is drawn of which metrics, the tasks worth a look, and runs that have none."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.reports.curriculum_report import curriculum_section, heats
from agents.reports.report import write_report
from agents.reports.results import group
from agents.training.records import read_record
from registry.errors import CheckpointError
from taskgen.archive import Archive
from taskgen.build import build_family
from taskgen.source import Elites
from taskgen.spec import TaskSpec
from tests.agents.reports.made_up_run import make_run

MAZES = [build_family("maze", {"size": 4}).spec(seed=seed) for seed in range(3)]


def curriculum_run(path: Path, *, seed: int = 0, specs: list[TaskSpec] | None = None, iterations: int = 40) -> Path:
    """A run whose replay share rises to one, and whose tasks worth a look are `specs`, child after parent."""
    run = make_run(path, seed=seed, iterations=iterations)
    specs = MAZES if specs is None else specs
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for i, line in enumerate(lines):
        told = {"replay_share": float(i >= iterations / 2), "generation": i / 10, "mean_walls": 3.0 + i, "empty": 0.0}
        told |= {"score_low": 0.1, "score_median": 0.2, "score_high": 0.3}
        line["metrics"] |= {f"tasks/{name}": value for name, value in told.items()}
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Archive(run / "archive.sqlite", write=True) as archive:
        for generation, spec in enumerate(specs):
            parents = [specs[generation - 1].id] if generation else []
            archive.add([spec], generator="builtin/accel", parents=parents, generation=generation)
            archive.add_scores({spec.id: {"learnability": 0.25, "replays": generation}}, step=20)
        archive.mark("highlights.jsonl", 40)
    kinds = {"hardest": [specs[2].id, specs[0].id], "most replayed": [specs[1].id]}
    kept = [{"iteration": i, "highlights": kinds} for i in (20, 40)]
    (run / "highlights.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    return run


def section(*runs: Path) -> dict[str, Any] | None:
    (experiment,) = group([read_record(run) for run in runs])
    return curriculum_section(experiment, "c")


def test_what_a_curriculum_told_is_drawn(tmp_path: Path) -> None:
    drawn = section(curriculum_run(tmp_path / "a"))
    assert drawn is not None
    assert drawn["panels"] == [
        "share of replays",
        "score of levels: the median, and 10% to 90% of them",
        "mean walls",
        "generation",
    ]
    assert drawn["alt"].startswith("share of replays from 0 to 1; score of levels: the median")
    assert "mean walls from 3 to 42" in drawn["alt"]
    assert list(drawn["kinds"]) == ["hardest", "most replayed"]
    first, second = drawn["kinds"]["hardest"]
    assert first.lines == ("learnability 0.25", "replays 2", "generation 2", MAZES[2].id[:8])
    assert second.lines == ("learnability 0.25", "replays 0", MAZES[0].id[:8])
    assert first.image.startswith("data:image/png;base64,")
    assert (first.width, first.height) == (128, 128)
    assert drawn["strip"]["title"] == "most replayed"
    assert [iteration for iteration, _ in drawn["strip"]["points"]] == [20, 40]
    assert [shown.lines[-1] for shown in drawn["ancestry"]] == [spec.id[:8] for spec in MAZES]


def test_the_page_shows_it_and_several_seeds_share_it(tmp_path: Path) -> None:
    runs = [curriculum_run(tmp_path / f"run-{seed}", seed=seed) for seed in (0, 1)]
    write_report(runs, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h2>Curriculum</h2>") == 1
    assert page.count("data:image/png") == 3 + 2 + 3
    assert "thick the run with seed 0, thin the others" in page
    assert "Hardest, after iteration 40" in page


def with_elites(run: Path, elites: Elites) -> Path:
    lines = [json.loads(line) for line in (run / "highlights.jsonl").read_text().splitlines()]
    lines[-1]["elites"] = {"elites by regret": asdict(elites)}
    (run / "highlights.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_an_archive_of_elites_is_drawn_over_every_two_measures(tmp_path: Path) -> None:
    """Of the cells (0, 1, 0) and (0, 1, 2), which differ in the third measure alone, the better one is seen."""
    ends = {"walls": (0.0, 6.0), "shortest_path": (0.0, 9.0), "turns": (0.0, 3.0)}
    elites = Elites(ends, 3, ((0, 1, 0), (0, 1, 2), (2, 2, 2)), (0.5, 0.75, -1.0))
    first, second, third = heats(elites)
    assert (first.across, first.up, first.ends) == ("walls", "shortest path", ((0.0, 6.0), (0.0, 9.0)))
    nan = np.nan
    np.testing.assert_equal(first.values, [[nan, nan, nan], [0.75, nan, nan], [nan, nan, -1.0]])
    np.testing.assert_equal(second.values, [[0.5, nan, nan], [nan, nan, nan], [0.75, nan, -1.0]])
    np.testing.assert_equal(third.values, [[nan, 0.5, nan], [nan, nan, nan], [nan, 0.75, -1.0]])
    (line,) = heats(Elites({"walls": (0.0, 6.0)}, 3, ((1,),), (0.5,)))
    np.testing.assert_equal(line.values, [[nan, 0.5, nan]])
    run = with_elites(curriculum_run(tmp_path / "a"), elites)
    drawn = section(run)
    assert drawn is not None
    (archive,) = drawn["archives"]
    assert archive["title"] == "elites by regret"
    assert archive["filled"] == "3 of 27 cells filled"
    assert archive["alt"].endswith("over walls, shortest_path, turns: 3 of 27 cells filled, scores from -1 to 0.75")
    write_report([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<h3>Elites by regret, after iteration 40</h3>" in page
    assert "3 of 27 cells filled: of every kind of task" in page
    (flat,) = section(with_elites(run, Elites({"walls": (0.0, 6.0)}, 3, ((1,),), (0.5,))))["archives"]  # type: ignore[index]
    assert "<svg" in flat["svg"]
    assert not flat["best"]


def test_a_run_without_a_curriculum_has_no_such_part(tmp_path: Path) -> None:
    run = make_run(tmp_path / "plain", iterations=6)
    assert section(run) is None
    write_report([run], tmp_path / "report.html")
    assert "<h2>Curriculum" not in (tmp_path / "report.html").read_text()


def test_tasks_that_cannot_be_drawn_are_told_in_words(tmp_path: Path) -> None:
    """A family that renders text, and one that is not installed."""
    bandits = [build_family("bandit").spec(seed=seed) for seed in range(2)]
    drawn = section(curriculum_run(tmp_path / "a", specs=[*bandits, TaskSpec("gone/world", {"depth": 3}, seed=1)]))
    assert drawn is not None
    gone, known = drawn["kinds"]["hardest"]
    assert gone.text == "depth = 3"
    assert known.text.startswith("arm 0  0.500")
    assert gone.image == known.image == ""


@pytest.mark.parametrize(
    ("lines", "said"), [(0, "is missing or empty, which went up to iteration 40"), (1, "ends at iteration 20 of 40")]
)
def test_what_is_gone_of_it_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, lines: int, said: str) -> None:
    run = curriculum_run(tmp_path / "a")
    file = run / "highlights.jsonl"
    section(run)
    assert caplog.text == ""
    kept = file.read_text().splitlines(keepends=True)[:lines]
    file.write_text("".join(kept)) if kept else file.unlink()
    section(run)
    assert f"{file} {said}" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"iteration": 40, "highlights": {"hardest": ["0123456789abcdef"]}}', "0123456789abcdef"),
        ('{"iteration": 40}', "highlights"),
        ("no JSON", "highlights.jsonl is damaged: line 1"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, line: str, message: str) -> None:
    run = curriculum_run(tmp_path / "a")
    (run / "highlights.jsonl").write_text(line + "\n")
    with pytest.raises(CheckpointError, match=message):
        section(run)
