"""`charts/steps`: what was played, in the loop and in runners."""

import json

import pytest

from agents.training import loop
from agents.training.experiment import load_experiment
from agents.training.run import RunDirectory
from tests.agents.training.test_loop import Quiet

QUICK = (
    *("training.iterations=2", "training.tasks=6", "training.episodes=3", "training.evaluate_every=1"),
    *("evaluation.tasks=2", "evaluation.final_tasks=2", "evaluation.players=['random']"),
    *("family={name='cartpole', horizon=60}", "agent.network.hidden_size=4"),
)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_steps_are_those_that_were_played(tmp_path, monkeypatch):
    """Cart-poles fall at different times; who has fallen for the last time waits, which counts nothing."""
    trials, collect = [], loop.collect_shared

    def kept(*arguments, **settings):
        trials.append(collect(*arguments, **settings))
        return trials[-1]

    monkeypatch.setattr(loop, "collect_shared", kept)
    plan = load_experiment("rl2-bandit", QUICK)
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert loop.train(plan, run, Quiet())
    valid = [int(trial.rollout.valid.sum()) for trial in trials]
    assert all(valid[i] < trials[i].rollout.valid.numel() for i in range(2))
    metrics = [line["metrics"] for line in lines(run.path / "metrics.jsonl")]
    assert [line["charts/steps"] for line in metrics] == [valid[0], valid[0] + valid[1]]
    assert [line["steps"] for line in lines(run.path / "evaluations.jsonl")] == [valid[0], valid[0] + valid[1]]
    for count, line in zip(valid, metrics, strict=True):
        seconds = sum(value for name, value in line.items() if name.startswith("time/"))
        assert line["charts/SPS"] == pytest.approx(count / seconds)
