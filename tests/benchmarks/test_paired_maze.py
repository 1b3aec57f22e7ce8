"""The benchmark of PAIRED reads everything that it describes from runs as they are."""

import json

import pytest

from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from benchmarks import paired_maze as benchmark

QUICK = (
    "agent.network.hidden_size=8",
    "runner.teacher={name='ppo', hidden=[8]}",
    "training.iterations=3",
    "training.tasks=4",
    "evaluation.tasks=4",
    "evaluation.final_tasks=4",
)


class Quiet:
    def iteration(self, done, total, metrics):
        pass

    def say(self, text):
        pass

    def stop_requested(self):
        return False


def test_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "LAST", 2)
    found, figures = {}, {}
    for teacher, (experiment, overrides) in benchmark.TEACHERS.items():
        plan = load_experiment(experiment, [*overrides, *QUICK])
        run = RunDirectory(tmp_path / teacher)
        run.create(plan)
        train(plan, run, Quiet())
        evaluate_run(run)
        found[teacher] = [benchmark.Finished(run)] * 2
        figures[teacher] = [
            json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()
        ]
    rows = {row["what"]: row for row in benchmark.rows(found)}
    for teacher, lines in figures.items():
        for metric, what in benchmark.MADE.items():
            expected = sum(line[metric] for line in lines[-2:]) / 2
            assert rows[f"{teacher}, last 2 iterations: {what}"]["value"] == pytest.approx(expected)
    expected = sum(line["tasks/regret"] for line in figures["paired"][-2:]) / 2
    assert rows["paired, last 2 iterations: regret"]["value"] == pytest.approx(expected)
    assert not any("regret" in what for what in rows if not what.startswith("paired"))
    for walls in benchmark.SETS.values():
        assert rows[f"player maze-oracle: share of mazes with {walls} solved"]["value"] == 1
        assert rows[f"paired less minimax, share solved, {walls}"]["target"] == "> 0"


def test_a_metric_that_is_missing_is_no_zero(tmp_path):
    finished = benchmark.Finished.__new__(benchmark.Finished)
    finished.metrics = [{"tasks/walls": 3.0}]
    assert finished.late(benchmark.SOLVABLE) is None
    with pytest.raises(KeyError):
        finished.late("tasks/regret")
