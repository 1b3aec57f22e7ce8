"""RL^2 on other people's environments: every plan stands, the class of one's own is the page's, rows by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agents.training.experiment import load_experiment
from benchmarks import environments, harness
from benchmarks.environments import SHARED, WORLDS, main, walks
from benchmarks.learning import inline

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", WORLDS)
def test_every_plan_stands(name: str) -> None:
    settings = {**SHARED, **WORLDS[name], "family.workers": 0}
    plan = load_experiment("rl2-gymnasium", [f"{key}={inline(value)}" for key, value in settings.items()])
    assert plan.config.family.settings["horizon"] == WORLDS[name]["family.horizon"]
    assert (plan.config.training.episodes, plan.config.training.tasks) == (2, 32)


def test_the_class_of_ones_own_is_the_pages() -> None:
    source = (ROOT / "benchmarks" / "hill.py").read_text().partition("\n\n")[2]
    assert source.startswith("import gymnasium")
    assert f"```python\n{source}```" in (ROOT / "docs" / "bring-your-environment.md").read_text()


def test_rows_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Returns of seed s are 10 + s and 2: ahead by 8, 9 and 10, but on the hill, where random earns as much."""

    def trained(name: str, seed: int) -> SimpleNamespace:
        path = tmp_path / f"{name}-{seed}"
        path.mkdir(exist_ok=True)
        (path / "evaluations.jsonl").write_text(f"{json.dumps({'seconds': 700.0 if name == 'DoorKey' else 60.0})}\n")
        return SimpleNamespace(path=path, name=name, seed=seed)

    def trials(run: SimpleNamespace, tasks: str, player: str) -> np.ndarray:
        equal = player == "rl2" or run.name == "Hill"
        return np.full(4, 10.0 + run.seed if equal else 2.0)

    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    for name, stand_in in (("trained", trained), ("trials", trials), ("curves", lambda runs: {})):
        monkeypatch.setattr(environments, name, stand_in)
    monkeypatch.setattr(environments, "walks", lambda count: [100.0, 102.0] * (count // 2))
    for name in ("Hill", "walker", None):  # alone, alone, and what is left
        main([name] if name else [])
    rows = {row["what"]: row for row in json.loads((tmp_path / "results" / "environments.json").read_text())["rows"]}
    assert len(rows) == 4 * len(WORLDS) + 1
    ahead = rows["Acrobot: rl2 ahead of random, trial return"]
    assert (ahead["value"], ahead["met"]) == (9.0, True)
    assert rows["Hill: rl2 ahead of random, trial return"]["met"] is False
    assert rows["DoorKey: seconds of training, two cores"]["met"] is False
    assert rows["Hill: seconds of training, two cores"]["met"] is True
    walk = rows["bipedal-heuristic: return of a walk on flat ground"]
    assert walk["value"] == 101.0
    assert 100.5 < walk["low"] < 101.0 < walk["high"] < 101.5


def test_walks_differ_by_their_push() -> None:
    first, second = walks(2)
    assert first != second


def test_one_seed_is_trained_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("benchmarks.learning.RUNS", tmp_path)
    monkeypatch.setitem(WORLDS["Hill"], "evaluation.final_tasks", 4)  # type: ignore[arg-type]
    monkeypatch.setitem(WORLDS["Hill"], "family.workers", 0)  # type: ignore[arg-type]
    main(["Hill", "7", "--iterations", "1"])
    assert "Hill, seed 7: rl2 " in capsys.readouterr().out
    assert (tmp_path / "environments-Hill-1-7" / "evaluation.json").exists()
