"""The report of an agent that measures its optimism tells it; of any other it says nothing."""

import json
from pathlib import Path

import pytest

from agents.reports.report import write_report
from agents.training.records import OPTIMISM, read_record
from tests.agents.reports.made_up_run import make_run


def with_optimism(path: Path, late: float) -> Path:
    """A run that logs -1 at first and `late` in the last tenth of 50 iterations."""
    make_run(path, iterations=50)
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        line["metrics"][OPTIMISM] = late if number >= 45 else -1.0
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("late", [0.375, 0.0])
def test_the_last_tenth_of_training_is_told(tmp_path: Path, late: float) -> None:
    run = with_optimism(tmp_path / "run", late)
    assert read_record(run).optimism == pytest.approx(late)
    write_report([run], tmp_path / "report.html")
    text = " ".join((tmp_path / "report.html").read_text().split())
    assert f"that was {late:.3f} above what then followed, on average" in text


def test_others_say_nothing(tmp_path: Path) -> None:
    assert read_record(make_run(tmp_path / "run", iterations=50)).optimism is None
    write_report([tmp_path / "run"], tmp_path / "report.html")
    assert "above what" not in (tmp_path / "report.html").read_text()
