"""The benchmark of PBT reads what it describes from runs as they are, and its kinds differ in nothing else."""

import json

import pytest
import torch

from agents.training.experiment import build_parts, load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from benchmarks import pbt_cartpole as benchmark
from tests.agents.training.test_loop import Quiet

QUICK = ("family.horizon=10", "training.iterations=2", "training.episodes=2", "evaluation.tasks=4")


def planned(kind):
    changes = [*benchmark.changes(kind), *QUICK, "evaluation.final_tasks=4"]
    runner = [] if benchmark.KINDS[kind] is None else ["runner.population=4", "runner.judged_tasks=2"]
    return load_experiment(benchmark.EXPERIMENT, [*changes, *runner])


def test_rows(tmp_path):
    found, returns, metrics = {}, {}, {}
    for kind in benchmark.KINDS:
        plan, run = planned(kind), RunDirectory(tmp_path / kind)
        run.create(plan)
        assert train(plan, run, Quiet())
        evaluate_run(run)
        found[kind] = [benchmark.Finished(run)] * len(benchmark.SEEDS)
        players = json.loads((run.path / "evaluation.json").read_text())["sets"]["held-out"]["players"]
        returns[kind] = players["es"]["trial"]["mean"]
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
        metrics[kind] = [json.loads(line)["metrics"] for line in lines]
    rows = {row["what"]: row for row in benchmark.rows(found)}
    for kind, title in benchmark.TITLES.items():
        assert rows[f"{title}: held-out return"]["value"] == pytest.approx(returns[kind])
    gain = rows[f"PBT less {benchmark.TITLES['random search']}, per seed"]
    assert gain["value"] == pytest.approx(returns["pbt"] - returns["random search"])
    assert gain["target"] == "> 0"
    curve = rows[f"{benchmark.TITLES['pbt']}: return of the best member when judged, mean over all updates"]
    assert curve["value"] == pytest.approx(sum(line["meta/trial_return"] for line in metrics["pbt"]) / 2)
    rate = rows[f"{benchmark.TITLES['pbt']}: learning_rate of the best member, seed 2"]
    assert rate["value"] == metrics["pbt"][-1]["pbt/learning_rate"]


def test_populations_begin_alike_and_only_pbt_changes():
    pbt, search, shipped = (build_parts(planned(kind).config).runner for kind in ("pbt", "random search", "shipped"))
    for one, two, same in zip(pbt.members, search.members, shipped.members, strict=True):
        assert one.settings == two.settings
        assert set(one.settings) == set(benchmark.REACH)
        assert same.settings == {}
        assert torch.equal(one.state["parameters"], two.state["parameters"])
    assert search.config.ready_every > benchmark.ITERATIONS
    assert benchmark.ITERATIONS % pbt.config.ready_every == 0
