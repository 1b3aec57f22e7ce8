"""A run that an earlier build left (API level 1, commit bd7b8b7) still loads, is judged, goes on and is reported."""

import shutil
from pathlib import Path

import pytest

from agents.reports.report import write_report
from agents.training.checkpoint import latest
from agents.training.configuration import remark_old
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from registry.errors import CheckpointError
from tests.agents.training.test_loop import Quiet


@pytest.fixture
def old(tmp_path) -> RunDirectory:
    shutil.copytree(Path(__file__).parent / "old_run", tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def test_it_loads_and_is_judged(old, caplog) -> None:
    remark_old.cache_clear()
    assert load_trained(old).iteration == 6
    sets = evaluate_run(old)["sets"]["held-out"]["players"]
    assert set(sets) == {"rl2", "random", "greedy"}
    write_report([old.path], old.path / "report.html")
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"{old.config}: the run is of before runs kept their settings; whether it was altered cannot be told"
    ]


def test_state_of_another_experiment_does_not_fit(old) -> None:
    old.config.write_text(old.config.read_text().replace("hidden_size = 8", "hidden_size = 16"))
    with pytest.raises(CheckpointError, match=r"agent's state does not fit"):
        evaluate_run(old)


def test_it_is_reported_as_it_was_judged_then(old) -> None:
    write_report([old.path], old.path / "report.html")
    assert "fixture" in (old.path / "report.html").read_text()


def test_it_goes_on_from_its_first_checkpoint(old) -> None:
    shutil.rmtree(old.checkpoints / "000000006")
    assert train(old.open(), old, Quiet())
    assert latest(old.checkpoints) == old.checkpoints / "000000006"
    old.config.write_text(old.config.read_text().replace("learning_rate = 0.002", "learning_rate = 0.003"))
    with pytest.raises(CheckpointError, match=r"agent.learning_rate = 0.003, was 0.002 \(according to .*/000000006"):
        load_trained(old)  # from now on it is known
