"""Discount, trace and loss in a report: what is drawn, what is said of bounds and of a loss that is no improvement."""

import json
from pathlib import Path

import pytest

from agents.reports.learning_report import learning_section
from agents.reports.report import write_report
from agents.reports.results import group
from agents.training.records import read_record
from tests.agents.reports.made_up_run import make_run

N = 40


def told(path: Path, seed: int = 0, **columns) -> Path:
    """A run of so many updates, with metrics as functions of the update."""
    run = make_run(path, seed=seed, iterations=N)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for i, line in enumerate(lines):
        line["metrics"] |= {name.replace("_", "/", 1): float(value(i)) for name, value in columns.items()}
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def eta(stayed: int, gamma: float = 1.0):
    """gamma rises to its last value, lambda stays; at its bounds for the last `stayed` updates."""
    return {
        "eta_gamma": lambda i: gamma * i / (N - 1),
        "eta_lambda": lambda i: 0.9,
        "eta_updates_at_bounds": lambda i: max(0, i - (N - 1 - stayed)),
    }


def loss(lead):
    ahead = [sum(lead(k) > 0 for k in range(i + 1)) for i in range(N)]
    return {
        "epg_loss_return": lambda i: 5.0 + lead(i),
        "epg_ppo_return": lambda i: 5.0,
        "epg_lead": lead,
        "epg_updates_ahead": lambda i: ahead[i],
    }


def section(*runs: Path):
    (experiment,) = group([read_record(run) for run in runs])
    return learning_section(experiment, "c")


def test_what_changes_is_drawn(tmp_path: Path):
    drawn = section(told(tmp_path / "a", **eta(0, gamma=0.5)))
    assert drawn["alt"] == "gamma, the discount of what is learned from from 0 to 0.5"
    assert drawn["sentences"] == []
    assert drawn["svg"].count("gamma, the discount") == 1


@pytest.mark.parametrize(("stayed", "said"), [(3, False), (4, True), (39, True)])
def test_a_tenth_of_the_updates_at_the_bounds_is_long(tmp_path: Path, stayed, said):
    found = section(told(tmp_path / "a", **eta(stayed)))["sentences"]
    assert len(found) == said
    if said:
        assert found[0].startswith(f"Note: gamma = 1.0000 at its bounds for the last {stayed} of 40 updates")
        assert "agent.eta_rate" in found[0]


def test_of_several_runs_it_says_how_many(tmp_path: Path):
    runs = [told(tmp_path / str(seed), seed, **eta(stayed)) for seed, stayed in enumerate((0, 20, 0))]
    (sentence,) = section(*runs)["sentences"]
    assert sentence.startswith("Note, 1 of 3 runs: gamma = 1.0000")
    write_report(runs, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h2>What was learned about learning</h2>") == 1
    assert "Note, 1 of 3 runs: gamma = 1.0000 at its bounds" in page


@pytest.mark.parametrize(
    ("lead", "said"),
    [
        (lambda i: -1.0 - i / N, "Note: the evolved loss never beat PPO from scratch at as many gradient steps (-1.98"),
        (lambda i: i - 20.0, "The evolved loss is ahead of PPO from scratch at as many gradient steps: +19 an episode"),
        (lambda i: 20.0 - i, "The evolved loss was ahead of PPO from scratch for a while and is behind it now: -19"),
    ],
)
def test_what_is_said_of_a_loss(tmp_path: Path, lead, said):
    (sentence,) = section(told(tmp_path / "a", **loss(lead)))["sentences"]
    assert sentence.startswith(said)


def test_a_run_without_either_has_no_such_part(tmp_path: Path):
    run = make_run(tmp_path / "a", iterations=N)
    assert section(run) is None
    write_report([run], tmp_path / "report.html")
    assert "learned about learning" not in (tmp_path / "report.html").read_text()
