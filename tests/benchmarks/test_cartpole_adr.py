"""The benchmark of curricula over physics reads what it describes from runs as they are."""

import json

import pytest

from benchmarks import cartpole_adr as benchmark
from benchmarks import learning

QUICK = (
    "agent.hidden=[4]",
    "agent.epochs=1",
    "training.iterations=1",
    "training.tasks=4",
    "training.evaluate_every=0",
    "evaluation.tasks=2",
    "evaluation.final_tasks=2",
)


def test_rows(tmp_path, monkeypatch):
    run_seed = learning.run_seed
    monkeypatch.setattr(learning, "RUNS", tmp_path)
    monkeypatch.setattr(
        benchmark,
        "run_seed",
        lambda name, experiment, seed, changes: run_seed(name, experiment, seed, [*changes, *QUICK]),
    )
    runs = {kind: [benchmark.run(kind, 0)] * 2 for kind in benchmark.KINDS}
    rows = {row["what"]: row["value"] for row in benchmark.rows_of(runs)}
    earned = {
        (kind, tasks): json.loads((found[0].path / "evaluation.json").read_text())["sets"][tasks]["players"]["ppo"][
            "trial"
        ]["mean"]
        for kind, found in runs.items()
        for tasks in benchmark.SETS
    }
    for tasks, title in benchmark.SETS.items():
        for kind in benchmark.KINDS:
            assert rows[f"{kind}: return, {title} (of 200)"] == pytest.approx(earned[kind, tasks])
        gain = earned["adr", tasks] - earned["uniform", tasks]
        assert rows[f"adr less uniform per seed, {title}"] == pytest.approx(gain)
    steps = json.loads((runs["adr"][0].path / "evaluations.jsonl").read_text().splitlines()[-1])["steps"]
    assert rows["adr: environment steps"] == steps
