"""What reports say of the last evaluation: its worst tasks, where training ended, where tasks came from, units."""

import json
import math
from pathlib import Path

import numpy as np
import safetensors.numpy

from agents.evaluation.tail import tail_interval
from agents.reports.results import group, standings
from agents.training.records import read_record
from tests.agents.reports.made_up_run import PLAYERS, make_run
from tests.agents.reports.test_report import render


def evaluated(run: Path, player: dict | None = None, **settings: object) -> Path:
    """The run, its evaluation changed: of all players, and of the held-out set."""
    summary = json.loads((run / "evaluation.json").read_text())
    for figures in summary["sets"]["held-out"]["players"].values():
        figures.update(player or {})
    summary["sets"]["held-out"] |= settings
    (run / "evaluation.json").write_text(json.dumps(summary))
    return run


def test_the_worst_tasks_where_they_were_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert "on the worst" not in render(tmp_path / "old.html", run)[1].text
    measured = {"mean": 4.321, "low": 4.1, "high": 4.5, "share": 0.1, "tasks": 500, "ranked": 5000}
    evaluated(run, player={"tail": measured})
    page = render(tmp_path / "new.html", run)[1]
    assert "on the worst 10%" in page.text
    assert "4.32 [4.10, 4.50]" in page.text
    assert "are the 500 tasks of the first 5,000 on which a player earned least in a trial of other luck" in page.text
    three, players = [make_run(tmp_path / f"s{seed}", seed=seed) for seed in range(3)], ("rl2", *PLAYERS)
    for seed, run in enumerate(three):
        evaluated(run, player={"tail": measured | {"mean": 4.0 + seed}}, content="same tasks")
        returns = np.random.default_rng(seed).normal(size=(10, 200))
        safetensors.numpy.save_file({f"held-out/{name}": returns for name in players}, run / "evaluation.safetensors")

    def tail():
        records = [read_record(run) for run in three]
        return next(row for row in standings(group(records), "held-out") if row.lead).tail

    assert tail().value == 5.0
    assert math.isnan(tail().low)  # judged before the values behind it were kept
    values = np.random.default_rng(0).normal(5.0, 1.0, (3, 200))
    for run, kept in zip(three, values, strict=True):
        stored = safetensors.numpy.load_file(run / "evaluation.safetensors")
        tails = {f"tail/held-out/{name}": kept for name in players}
        safetensors.numpy.save_file(stored | tails, run / "evaluation.safetensors")
    assert tail() == tail_interval(values, 0.1)
    assert tail().low < tail().high


def test_where_training_ended_is_marked(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", episodes=20)
    equal = render(tmp_path / "equal.html", run)[1].text
    assert not any(mark in equal for mark in ("last trained on", "not trained on", "It was trained on", "grey"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace("episodes = 20", "episodes = 10"))
    text, page = render(tmp_path / "beyond.html", run)
    assert text.count("trained on 10<") == 1
    assert "episode 10 last trained on last episode" in page.text
    assert "It was trained on trials of 10 episodes only" in page.text
    assert page.text.count("not trained on") == 10
    assert "On grey ground" in page.text


def test_where_the_tasks_came_from(tmp_path: Path) -> None:
    run = evaluated(make_run(tmp_path / "a"), source="given(path=far.jsonl)", tasks=6, plays=360)
    text = render(tmp_path / "p.html", run)[1].text
    assert "The tasks are from given(path=far.jsonl) ." in text
    assert "6 held-out tasks, played 360 times in all with fresh luck" in text


def test_knobs_have_units(tmp_path: Path) -> None:
    from taskgen.build import build_family

    family = build_family("cartpole")
    specs = [family.spec({"half_length": 0.4 + 0.01 * seed}, seed=seed) for seed in range(20)]
    run = make_run(tmp_path / "a", specs=specs)
    config = run / "config.toml"
    config.write_text(config.read_text().replace('"builtin/bandit"\narms = 5\npulls = 1', '"builtin/cartpole"'))
    text, page = render(tmp_path / "p.html", run)
    unit = family.context_space.knobs["half_length"].unit
    assert unit
    assert f"half_length [{unit}]" in text
    assert any(f"half_length from 0.4 to 0.59 {unit}" in label for label in page.labels)
    gravity = family.context_space.knobs["gravity"]
    assert f"gravity {specs[0].context['gravity']} {gravity.unit}" in page.text
    config.write_text(config.read_text().replace("builtin/cartpole", "gone/cartpole"))
    assert "half_length [" not in render(tmp_path / "q.html", run)[0]
