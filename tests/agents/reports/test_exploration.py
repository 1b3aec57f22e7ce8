"""Trials that begin with exploration are counted both ways, with those episodes and without, for all players alike."""

import numpy as np
import pytest

from agents.evaluation.statistics import after_exploration
from agents.reports.comparison import compare
from agents.reports.comparison_report import table, write_comparison
from agents.reports.report import write_report
from agents.reports.results import group, standings
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.records import read_record
from agents.training.run import RunDirectory
from registry.cli import main
from tests.agents.training.test_loop import Quiet

QUICK = (
    *("training.iterations=1", "training.tasks=2", "training.episodes=3", "training.evaluate_every=0", "device=cpu"),
    *("evaluation.tasks=2", "evaluation.final_tasks=6", "evaluation.tail=0", "evaluation.players=['random']"),
    "family={name='point-navigation', horizon=4}",
)
PEARL = "agent={name='pearl', exploration=2, hidden=[4], encoder_hidden=[4], batch=4, meta_batch=2, warm_up=0}"
RL2 = "agent={name='rl2', network={name='gru', hidden_size=4}}"


def trained(path, agent, seed=0):
    plan = load_experiment("rl2-bandit", [*QUICK, agent, f"seed={seed}", "name=explored"])
    run = RunDirectory(path)
    run.create(plan)
    assert train(plan, run, Quiet())
    evaluate_run(run)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("explored")
    pearls = [trained(directory / f"pearl-{seed}", PEARL, seed) for seed in range(3)]
    return [*pearls, trained(directory / "rl2", RL2)]


def test_by_hand() -> None:
    returns = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]])  # one run, three episodes, two tasks
    assert after_exploration(returns, 1).value == 9.5
    assert after_exploration(returns, 2).value == 6.0
    assert after_exploration(returns, 0) is None
    assert after_exploration(returns, 3) is None


def rest(run, player):
    return read_record(run).played("held-out", player)[2:].sum(0)


def test_report_compare_and_evaluate_leave_out_the_same_episodes(runs) -> None:
    figures = evaluate_run(RunDirectory(runs[0]))["sets"]["held-out"]["players"]
    assert figures["pearl"]["exploration"] == 2
    assert "exploration" not in figures["random"]
    compared = compare(runs).sets["held-out"]
    reported = standings(group([read_record(run) for run in runs]), "held-out")
    for course in compared:
        members = runs[:3] if course.name in ("pearl", "random") else runs[3:]
        player = course.name
        expected = np.mean([rest(run, player) for run in members])
        assert course.exploitation.value == pytest.approx(expected)
        assert course.exploitation.value != pytest.approx(course.trial.value)
        row = next(row for row in reported if player in row.name)
        assert row.exploitation == course.exploitation
    assert figures["random"]["exploitation"]["mean"] == pytest.approx(rest(runs[0], "random").mean())


def test_pages_tables_and_the_command_say_so(runs, tmp_path, capsys) -> None:
    comparison = compare(runs)
    lines = "\n".join(table(comparison))
    assert (
        "exploit: a trial without its first 2 episodes, in which pearl may explore and does not mean to earn" in lines
    )
    pearl = next(course for course in comparison.sets["held-out"] if course.name == "pearl")
    line = next(line for line in lines.splitlines() if line.strip().startswith("pearl"))
    assert line.split()[-1] == f"{pearl.exploitation.value:.3f}"
    write_comparison({"x": comparison}, tmp_path / "c.html")
    assert "without exploration</th>" in (tmp_path / "c.html").read_text()
    write_report(runs, tmp_path / "r.html")
    assert "from episode 3 on" in (tmp_path / "r.html").read_text()
    assert main(["evaluate", str(runs[0])]) == 0
    assert "pearl, without the episodes of exploration:" in capsys.readouterr().out


def test_trials_that_hold_nothing_else_are_named(runs) -> None:
    comparison = compare(runs[:1], episodes=2)
    assert comparison.sets["held-out"][0].exploitation is None
    assert "pearl explores for 2 episodes and plays no more here" in comparison.remarks


def test_of_agents_that_do_not_explore_first_nothing_is_left_out(runs) -> None:
    assert compare(runs[3:]).explorers == {}
    assert all(course.exploitation is None for course in compare(runs[3:]).sets["held-out"])
    assert "exploit" not in "\n".join(table(compare(runs[3:])))
