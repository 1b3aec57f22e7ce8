"""Runs whose simulations diverge: faults are counted, tasks quarantined, evaluations honest."""

import json

import numpy as np
import pytest

from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from registry.errors import UserError
from tests.agents.training.test_loop import QUICK, Quiet, digest


def test_faults_are_counted_and_quarantined_tasks_written_down(tmp_path, monkeypatch):
    """The engine reports three faults of one task in the first iteration, and none in the second."""
    from taskgen.engines.faults import Fault
    from taskgen.engines.mujoco import MujocoBatch

    settled = MujocoBatch.set_tasks
    batches = []

    def set_tasks(self, specs, slots=None):
        settled(self, specs, slots)
        if self.slots == 8 and not batches:  # the batch of training, at its first trial
            batches.append(self)
            for step in (1, 2, 3):
                self.faults.record(Fault(0, specs[0], step, "velocity is not finite", True, np.zeros(3)))

    monkeypatch.setattr(MujocoBatch, "set_tasks", set_tasks)
    family = ["family={name='half-cheetah', horizon=5}", 'evaluation.players=["random"]']
    plan = load_experiment("rl2-bandit", [*QUICK, *family, "training.iterations=2"])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    said = []
    watcher = Quiet()
    watcher.say = said.append
    assert train(plan, run, watcher)
    metrics = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["faults/count"], line["tasks/n_quarantined"]) for line in metrics] == [(3, 1), (3, 1)]
    assert next(text for text in said if "faults" in text).endswith("velocity is not finite")
    (written,) = (run.path / "quarantine").glob("*.json")
    assert json.loads(written.read_text())["task"]["id"] == written.stem


def cheetahs(path, iterations):
    """The plan of a run on a saved set of ten tasks, eight an iteration, and these tasks."""
    from taskgen.build import build_family
    from taskgen.taskset import TaskSet

    family = build_family("half-cheetah", {"horizon": 5})
    specs = tuple(family.spec({"mass": seed / 100}, seed=seed) for seed in range(100, 110))
    TaskSet(specs).write(path / "tasks.jsonl")
    elsewhere = 'evaluation.source="domain-randomization"'
    settings = ["family={name='half-cheetah', horizon=5}", 'evaluation.players=["random"]', elsewhere]
    source = f"source={{name='task-set', path='{path / 'tasks.jsonl'}'}}"
    plan = load_experiment("rl2-bandit", [*QUICK, *settings, source, f"training.iterations={iterations}"])
    return plan, specs


def diverge(monkeypatch, diverging, slots=8):
    """Make batches of `slots` slots report a fault of every task in `diverging`. Returns the seeds they are given."""
    from taskgen.engines.faults import Fault
    from taskgen.engines.mujoco import MujocoBatch

    settled, given = MujocoBatch.set_tasks, []

    def set_tasks(self, specs, where=None):
        settled(self, specs, where)
        if self.slots == slots:
            given.append([spec.seed for spec in specs])
            for slot, spec in enumerate(specs):
                if spec.id in diverging:
                    self.faults.record(Fault(slot, spec, 1, "position diverged", True, np.full(3, float(spec.seed))))

    monkeypatch.setattr(MujocoBatch, "set_tasks", set_tasks)
    return given


def test_a_quarantined_task_is_not_trained_on_again_also_after_a_stop(tmp_path, monkeypatch):
    plan, specs = cheetahs(tmp_path, 8)
    given = diverge(monkeypatch, {specs[0].id})
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    whole.create(plan)
    assert train(plan, whole, Quiet())
    times = [seeds.count(100) for seeds in given]
    assert sum(times) >= 3
    last = next(number for number in range(8) if sum(times[: number + 1]) >= 3)
    assert last < 7
    assert sum(times[last + 1 :]) == 0
    assert all(len(seeds) == 8 for seeds in given)
    uninterrupted = list(given)
    cut.create(plan)
    for stop in (1, 3, last + 1):
        assert not train(cut.open(), cut, Quiet(stop))
    assert train(cut.open(), cut, Quiet())
    assert given[8:] == uninterrupted
    assert digest(cut) == digest(whole)
    for run in (whole, cut):
        assert [path.stem for path in (run.path / "quarantine").glob("*.json")] == [specs[0].id]
        states = np.load(run.path / "quarantine" / f"{specs[0].id}.npy", allow_pickle=False)
        assert states.tolist() == [[100.0] * 3] * 3


def test_a_run_whose_tasks_are_all_in_quarantine_stops_and_says_so(tmp_path, monkeypatch):
    plan, specs = cheetahs(tmp_path, 9)
    diverge(monkeypatch, {spec.id for spec in specs})
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    with pytest.raises(UserError, match=r"all in quarantine, because each diverged 3 times: position diverged"):
        train(plan, run, Quiet())
    assert len(list((run.path / "quarantine").glob("*.json"))) == 10


def test_evaluation_reports_faults_and_leaves_no_task_out(tmp_path, monkeypatch):
    plan, specs = cheetahs(tmp_path, 1)
    run, said, watcher = RunDirectory(tmp_path / "run"), [], Quiet()
    watcher.say = said.append
    run.create(plan)
    assert train(plan, run, watcher)
    assert "faults" not in json.loads((run.path / "evaluations.jsonl").read_text())
    diverge(monkeypatch, {specs[0].id})
    players = evaluate_run(run, tasks=specs[:8])["sets"]["tasks"]["players"]
    assert {name: figures["faults"] for name, figures in players.items()} == {"rl2": 1, "random": 1}
    assert all(
        "faults" not in figures for figures in evaluate_run(run, tasks=specs[1:9])["sets"]["tasks"]["players"].values()
    )


def test_a_batch_of_another_size_goes_on_with_the_faults():
    from agents.training.loop import _with_slots
    from taskgen.build import build_family
    from taskgen.engines.faults import Fault

    family = build_family("half-cheetah", {"horizon": 5})
    batch = family.batch(2)
    batch.faults.record(Fault(1, family.spec(), 3, "position diverged", True, np.zeros(3)))
    assert _with_slots(batch, 2) is batch
    other = _with_slots(batch, 3)
    assert (other.slots, other.faults.count) == (3, 1)
    assert other.faults is batch.faults
    plain = build_family("bandit").batch(2)  # its simulation cannot diverge
    assert _with_slots(plain, 3).slots == 3
