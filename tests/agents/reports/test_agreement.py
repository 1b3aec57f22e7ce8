"""`taskgen evaluate`, `report` and `compare` and the benchmarks say the same of the same runs, to the digit."""

import json
import math

import numpy as np
import pytest

from agents.evaluation.aggregates import improvement, optimality_gap, profile
from agents.evaluation.statistics import Interval, intervals
from agents.reports.comparison import compare
from agents.reports.report import aggregates, write_report
from agents.reports.results import group, standings
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run, evaluation_sets
from agents.training.loop import train
from agents.training.records import read_record
from agents.training.run import RunDirectory
from benchmarks.harness import seeds_row
from benchmarks.learning import played, trials
from registry.cli import main
from taskgen.build import build_family
from tests.agents.training.test_loop import QUICK, Quiet

SHORT = (*QUICK, "training.iterations=2", "training.evaluate_every=0")
ROUNDS = (
    *(setting for setting in SHORT if not setting.startswith(("agent.", "evaluation.players"))),
    'evaluation.players=["random", "greedy", "bandit-oracle"]',
    'agent={name = "maml", hidden = [4], trajectories = 2}',
    "name=gradient",
    "training.episodes=4",
)


def trained(path, *overrides):
    plan = load_experiment("rl2-bandit", overrides)
    run = RunDirectory(path)
    run.create(plan)
    assert train(plan, run, Quiet())
    evaluate_run(run)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds of an agent that is judged by rounds."""
    directory = tmp_path_factory.mktemp("agreement")
    return [trained(directory / f"maml-{seed}", *ROUNDS, f"seed={seed}") for seed in (0, 1, 2)]


def reported(paths):
    """Every player's figures by a report: trial, course, its interquartile means, what they are over."""
    rows = standings(group([read_record(path) for path in paths]), "held-out")
    return {row.name: (row.trial, row.course, row.rounds_middle or row.middle, row.basis) for row in rows}


def compared(paths):
    courses = compare(paths).sets["held-out"]
    return {course.name: (course.trial, course.mean, course.middle, course.basis) for course in courses}


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_report_and_compare_agree_to_the_digit(runs, seeds) -> None:
    told, found = reported(runs[:seeds]), compared(runs[:seeds])
    assert told.keys() == found.keys() == {"maml", "random", "greedy", "bandit-oracle"}
    for player, (trial, course, middle, over) in found.items():
        assert repr(told[player]) == repr((trial, course, middle, over))
    assert {over for *_, over in found.values()} == {
        1: {"over the tasks of this run alone; says nothing of other seeds"},
        2: {"none: two seeds are too few, it takes 3"},
        3: {"over seeds and tasks"},
    }[seeds]
    assert math.isnan(found["maml"][0].low) is (seeds == 2)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_aggregates_of_reports_comparisons_and_python_agree_to_the_digit(runs, seeds) -> None:
    told = aggregates(group([read_record(path) for path in runs[:seeds]]), "held-out")
    found = compare(runs[:seeds]).aggregates["held-out"]
    assert told is not None
    for name in ("middle", "gap", "profiles"):
        assert repr(sorted(getattr(told, name).items())) == repr(sorted(getattr(found, name).items()))
    assert repr(sorted(told.improvement["maml"].items())) == repr(sorted(found.improvement["maml"].items()))
    assert (told.normalised, told.at.tolist(), told.score) == (found.normalised, found.at.tolist(), found.score)
    trials = {
        player: np.stack([played(RunDirectory(run), "held-out", player).sum(0) for run in runs[:seeds]])
        for player in found.middle
    }
    ends = trials["random"], trials["bandit-oracle"]
    for player, x in trials.items():
        assert repr(found.middle[player]) == repr(intervals(x)[1])
        assert repr(found.gap[player]) == repr(optimality_gap(x, *ends))
        assert repr(found.profiles[player]) == repr(profile(x, found.at))
        if player != "maml":
            assert repr(found.improvement["maml"][player]) == repr(improvement(trials["maml"], x))
    assert math.isnan(found.gap["maml"].low) is (seeds == 2)


def test_evaluate_agrees_with_compare(runs) -> None:
    players = evaluate_run(RunDirectory(runs[1]))["sets"]["held-out"]["players"]
    for player, (trial, course, middle, _) in compared(runs[1:2]).items():
        figures = players[player].get("rounds", players[player]["returns"])
        assert trial == Interval(*(players[player]["trial"][name] for name in ("mean", "low", "high")))
        assert course == tuple(map(Interval, figures["mean"], figures["low"], figures["high"]))
        assert middle == tuple(map(Interval, figures["iqm"], figures["iqm_low"], figures["iqm_high"]))


def test_benchmarks_agree_with_reports(runs) -> None:
    for player, (trial, course, _, _) in reported(runs).items():
        row = seeds_row("return", [trials(RunDirectory(run), "held-out", player) for run in runs])
        assert (row["value"], row["low"], row["high"]) == pytest.approx(trial, rel=1e-12)
        returns = np.stack([played(RunDirectory(run), "held-out", player) for run in runs])
        of_rounds = returns.reshape(3, len(course), -1, returns.shape[2]).mean(2)
        for place, interval in enumerate(course):
            assert intervals(of_rounds[:, place])[0] == interval


def test_pages_and_tables_hold_the_same_figures(runs, tmp_path, capsys) -> None:
    assert main(["compare", *map(str, runs), "-o", str(tmp_path / "c.html")]) == 0
    table = capsys.readouterr().out
    write_report(runs, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for player, (_, course, _, _) in reported(runs).items():
        assert f"[{course[-1].low:.3f}, {course[-1].high:.3f}]" in table, player
    assert "over seeds and tasks" in page
    assert "95% intervals of" in table


def test_all_seeds_are_judged_on_the_same_tasks(runs) -> None:
    sets = []
    for run in runs:
        experiment = RunDirectory(run).open().config
        family = build_family(experiment.family.name, experiment.family.settings)
        sets.append([spec.id for spec in evaluation_sets(experiment, family)["held-out"]])
    assert sets[0] == sets[1] == sets[2]
    contents = {json.loads((run / "evaluation.json").read_text())["sets"]["held-out"]["content"] for run in runs}
    assert len(contents) == 1


def test_runs_on_tasks_of_their_own_are_judged_over_seeds(runs, tmp_path) -> None:
    """As runs of earlier builds were, and runs whose evaluation was told so."""
    others = [trained(tmp_path / str(n), *ROUNDS, f"seed={n}", f"evaluation.seed={n}", "name=own") for n in (0, 1, 2)]
    records = [read_record(path) for path in others]
    assert len({record.evaluation.sets["held-out"].content for record in records}) == 3
    for path in runs:  # as it was written before tasks were hashed
        summary = json.loads((path / "evaluation.json").read_text())
        del summary["sets"]["held-out"]["content"], summary["digest"], summary["returns_sha256"]
        (path / "evaluation.json").write_text(json.dumps(summary))
    assert aggregates(group(records), "held-out") is aggregates(group(map(read_record, runs)), "held-out") is None
    rows = standings(group([read_record(path) for path in runs]), "held-out")
    assert {row.basis for row in rows} == {"over seeds, each with tasks of its own"}
    means = [record.evaluation.sets["held-out"].players["maml"].trial.mean for record in map(read_record, runs)]
    (lead,) = (row for row in rows if row.lead)
    assert lead.trial.value == pytest.approx(np.mean(means))
    half = 4.302653 * np.std(means, ddof=1) / math.sqrt(3)  # Student's t with 2 degrees of freedom
    assert lead.trial.high - lead.trial.value == pytest.approx(half, rel=1e-5)
