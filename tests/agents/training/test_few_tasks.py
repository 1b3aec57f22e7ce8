"""Runs judged on few tasks: on the distinct ones, each with fresh luck; one task is enough to be judged on."""

import json

import pytest

from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.cli import main
from taskgen.build import build_family
from taskgen.taskset import write_tasks
from tests.agents.training.test_loop import QUICK, Quiet


@pytest.fixture(scope="module")
def family():
    return build_family("bandit")


def few(family):
    return [family.spec({"probabilities": [0.1 * (n + 1)] * 5}, seed=1000 + n) for n in range(5)]


def test_a_finite_source_is_judged_on_its_distinct_tasks(family, tmp_path, capsys) -> None:
    write_tasks(tmp_path / "few.jsonl", few(family))
    source = f'evaluation.source={{name = "task-set", path = "{tmp_path / "few.jsonl"}"}}'
    plan = load_experiment("rl2-bandit", [*QUICK, "training.iterations=1", source, "evaluation.final_tasks=20"])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert train(plan, run, Quiet())
    summary = evaluate_run(run)
    assert summary["tasks"] == 5
    assert (summary["sets"]["held-out"]["tasks"], summary["sets"]["held-out"]["plays"]) == (5, 20)
    assert main(["evaluate", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "held-out: 5 tasks, played 20 times in all with fresh luck, 3 episodes each; 95% intervals over" in out


def test_one_task_may_be_judged_and_has_no_interval_over_tasks(family, tmp_path, capsys) -> None:
    plan = load_experiment("rl2-bandit", [*QUICK, "training.iterations=1", "evaluation.tasks=1"])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert train(plan, run, Quiet())
    checkup = json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1])
    assert checkup["trial"]["low"] is None
    write_tasks(tmp_path / "one.jsonl", [family.spec(seed=5)])
    assert main(["evaluate", str(run.path), "--tasks", str(tmp_path / "one.jsonl")]) == 0
    out = capsys.readouterr().out
    assert "tasks: 1 task, 3 episodes each; 95% intervals none: one run, one task" in out
    (tmp_path / "none.jsonl").write_text("")
    assert main(["evaluate", str(run.path), "--tasks", str(tmp_path / "none.jsonl")]) == 2
    assert "holds no task" in capsys.readouterr().err
