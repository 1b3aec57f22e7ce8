"""Runs on tasks by reward: trained on them, judged on the family's own, resumed with their artefacts."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from taskgen import artefacts

TINY = (
    "agent.network.hidden_size=8",
    "training.iterations=4",
    "training.tasks=4",
    "training.episodes=2",
    "training.checkpoint_every=2",
    "family.horizon=5",
    "evaluation.tasks=4",
    "evaluation.final_tasks=4",
)
DIAYN = ("source.iterations=1", "source.slots=6", "source.skills=3", "source.least_accuracy=1e-9")


class Quiet:
    """Asks to stop after `stop_after` iterations."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.done = 0

    def iteration(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self.done = done

    def say(self, text: str) -> None:
        pass

    def stop_requested(self) -> bool:
        return self.stop_after is not None and self.done >= self.stop_after


def digest(run: RunDirectory) -> dict[str, bytes]:
    """The files of the newest checkpoint."""
    return {file.name: file.read_bytes() for file in sorted(max(run.checkpoints.iterdir()).iterdir())}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path / "store"))
    monkeypatch.setattr(artefacts, "_known", {})
    artefacts.load.cache_clear()
    return tmp_path / "store"


@pytest.mark.parametrize(("name", "overrides"), [("uml-random", ()), ("uml-diayn", DIAYN)])
def test_a_run_keeps_what_the_family_would_have_paid(name: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    plan = load_experiment(name, [*TINY, *overrides])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert train(plan, run, Quiet())
    lines = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert -15.0 < line["tasks/family_return"] < 0.0  # five distances, each of at most some 2.5
        assert line["tasks/family_return"] != line["charts/episodic_return"]
    summary = evaluate_run(run)
    assert set(summary["sets"]["held-out"]["players"]) >= {"rl2", "random"}


def test_a_run_goes_on_with_the_discriminator_it_began_with(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = RunDirectory(tmp_path / "whole")
    plan = load_experiment("uml-diayn", [*TINY, *DIAYN])
    whole.create(plan)
    assert train(plan, whole, Quiet())
    cut = RunDirectory(tmp_path / "cut")
    cut.create(plan)
    assert not train(plan, cut, Quiet(stop_after=2))
    # elsewhere the artefact beside the run is all there is, and it is not learned again
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path / "nowhere"))
    monkeypatch.setattr(artefacts, "_known", {})
    artefacts.load.cache_clear()
    assert train(cut.same(plan), cut, Quiet())
    assert digest(cut) == digest(whole)
    assert not (tmp_path / "nowhere").exists()
