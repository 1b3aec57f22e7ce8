"""Trackers: what they must have is asked for before a run directory is made, what they may have is used."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from agents.reports.results import grouped
from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.records import read_record
from agents.training.run import RunDirectory
from registry.cli import main
from registry.discovery import FILES_VARIABLE
from registry.errors import ConfigError, PluginError
from registry.testing import check_plugin

TOY = Path(__file__).parents[2] / "toys" / "note_takers.py"
QUICK = (
    "agent.network.hidden_size=8",
    *("training.iterations=3", "training.tasks=4", "training.episodes=2"),
    *("training.evaluate_every=2", "training.checkpoint_every=1"),
    *("evaluation.tasks=8", "evaluation.final_tasks=8", "evaluation.players=[]"),
)


class Watcher:
    """Asks to stop after `stop` iterations, and listens."""

    def __init__(self, stop: int = 0) -> None:
        self.stop, self.done, self.said = stop, 0, []

    def iteration(self, done, total, metrics) -> None:
        self.done = done

    def say(self, text: str) -> None:
        self.said.append(text)

    def stop_requested(self) -> bool:
        return self.done == self.stop


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILES_VARIABLE, str(TOY))


def test_what_a_tracker_may_have_is_used_and_what_it_lacks_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    plan = load_experiment("rl2-bandit", [*QUICK, 'trackers=["least", "most", "jsonl"]'])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    first = Watcher(stop=1)
    assert not train(plan, run, first)
    with (run.path / "most.txt").open("a") as file:
        file.write("2\n")  # as if the process had been killed after the next iteration
    monkeypatch.setattr(RunDirectory, "logged", lambda _: 2)
    again = Watcher()
    assert train(run.open(), run, again)
    evaluations = [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in evaluations] == [2, 3]
    told = [f"evaluated {line['iteration']} {line['trial']['mean']} {line['steps']}" for line in evaluations]
    begun = "configured rl2-bandit 3"
    lines = (run.path / "most.txt").read_text().splitlines()
    assert lines == [begun, "1", begun, "2", told[0], "3", told[1], "closed"]
    assert (run.path / "least.txt").read_text().split() == ["1", "2", "3", "closed"]
    said = "tracker note_takers/least cannot forget: it has what comes after iteration 1 twice"
    assert (said in first.said, said in again.said) == (False, True)
    assert not any("most" in text for text in again.said)


def test_one_that_lacks_a_method_is_refused_before_anything_is_written(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    for _ in range(2):
        assert main(["train", "rl2-bandit", "--run", str(run), *QUICK, 'trackers=["jsonl", "mute"]']) == 3
        message = capsys.readouterr().err
        assert "note_takers/mute (trackers): note_takers:Mute lacks log(); a tracker has log(step, metrics)" in message
        assert not run.exists()
    with pytest.raises(AssertionError, match=r"note_takers:\n  - target note_takers:Mute lacks log\(\)"):
        check_plugin(TOY)


def test_one_whose_package_is_missing_is_refused_with_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    load_experiment("rl2-bandit", ['trackers=["tensorboard"]'])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'trackers: tensorboard needs the package .* pip install "taskgen-metarl\['):
        load_experiment("rl2-bandit", ['trackers=["tensorboard"]'])
    load_experiment("rl2-bandit", ['trackers=["jsonl"]'])


def test_events_hold_the_evaluations_and_the_configuration(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from plugins.trackers.tensorboard import TensorBoard, TensorBoardConfig

    log = TensorBoard(TensorBoardConfig(), directory=tmp_path)
    log.configured({"name": "mine", "training": {"iterations": 3}})
    log.evaluated(2, {"trial": {"mean": 1.5, "low": 1.0, "high": 2.0}, "steps": 80})
    log.evaluated(4, {"trial": {"mean": 2.5, "low": None, "high": None}, "steps": 160})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    means = [(event.step, event.value) for event in events.Scalars("evaluation/trial_return_mean")]
    assert means == [(2, 1.5), (4, 2.5)]
    assert [event.step for event in events.Scalars("evaluation/trial_return_low")] == [2]
    (text,) = events.Tensors("configuration")
    assert b'name = "mine"\n\n[training]\niterations = 3' in text.tensor_proto.string_val[0]


def test_a_run_is_read_and_judged_without_the_plugin_of_its_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trackers are for training alone; like looks on the way they change no result, and make no other run."""
    one, other = tmp_path / "one", tmp_path / "other"
    own = ['trackers=["least", "jsonl"]', "training.deadline=33.0", "training.evaluate_every=1"]
    assert main(["train", "rl2-bandit", *QUICK, *own, "--run", str(one)]) == 0
    assert main(["train", "rl2-bandit", *QUICK, "seed=1", "evaluation.tasks=8", "--run", str(other)]) == 0
    monkeypatch.setenv(FILES_VARIABLE, "")
    assert list(grouped([read_record(one), read_record(other)])) == ["rl2-bandit"]
    assert main(["evaluate", str(one)]) == 0
    assert main(["report", str(one), str(other), "-o", str(tmp_path / "report.html")]) == 0
    assert main(["compare", str(one), str(other), "-o", str(tmp_path / "comparison.html")]) == 0
    assert "note_takers" not in capsys.readouterr().err
    assert main(["train", str(one / "config.toml"), "--run", str(one), "--resume"]) == 2
    assert (
        "no plugin called 'note_takers' is here: install it, or name its file with --plugin" in capsys.readouterr().err
    )


@pytest.mark.parametrize("method", ["truncate_after", "configured", "log", "evaluated", "close"])
def test_what_a_tracker_raises_is_told_by_method_and_line(method: str, tmp_path: Path) -> None:
    plan = load_experiment("rl2-bandit", [*QUICK, f'trackers=[{{name="faller",method="{method}"}}, "jsonl"]'])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    line = 1 + TOY.read_text().splitlines().index("            raise KeyError(config.method)")
    told = re.escape(f"note_takers/faller: {method} raised KeyError: '{method}' (note_takers.py, line {line})")
    with pytest.raises(PluginError, match=f"^{told}"):
        train(plan, run, Watcher())
