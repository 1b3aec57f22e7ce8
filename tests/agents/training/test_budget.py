"""Runs that end by environment steps or by the clock: which iteration is the last, and what becomes of them later."""

import json
import math
import tomllib

import pytest

from agents.reports.comparison import compare
from agents.reports.report import write_report
from agents.training import loop
from agents.training.budget import BY_CLOCK, expected, spent
from agents.training.experiment import Training, load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.records import read_record
from agents.training.run import RunDirectory
from agents.training.start import started
from agents.training.trained import beginning_with
from registry.config import parse, to_toml
from registry.errors import ConfigError, UserError
from tests.agents.training.test_loop import QUICK, Quiet, digest

STEPS_EACH = 8 * 3
"""Of an iteration: tasks, episodes of one pull."""


def begun(path, *overrides):
    plan = load_experiment("rl2-bandit", [word for word in QUICK if "iterations" not in word] + list(overrides))
    run = RunDirectory(path)
    started(plan, run)
    return plan, run


def logged(run):
    return [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("steps", "iterations"), [(1, 1), (24, 1), (25, 2), (96, 4), (97, 5)])
def test_the_iteration_that_reaches_the_steps_is_the_last(tmp_path, steps, iterations):
    plan, run = begun(tmp_path / "run", f"training.steps={steps}")
    watcher = Quiet()
    assert train(plan, run, watcher)
    assert watcher.done == iterations
    assert [line["charts/steps"] for line in logged(run)] == [STEPS_EACH * (i + 1) for i in range(iterations)]
    assert max(int(path.name) for path in run.checkpoints.iterdir()) == iterations
    assert run.evaluated() == iterations


def test_a_run_by_steps_is_that_by_iterations_and_goes_on_identically(tmp_path):
    constant = ("agent.final_learning_rate=0.002", "agent.entropy=0")
    ended = [
        begun(tmp_path / key, f"training.{key}={value}", *constant)
        for key, value in (("iterations", 5), ("steps", 100))
    ]
    for plan, run in ended:
        assert train(plan, run, Quiet())
    tensors = [(max(run.checkpoints.iterdir()) / "tensors.safetensors").read_bytes() for _, run in ended]
    assert tensors[0] == tensors[1]
    plan, cut = begun(tmp_path / "cut", "training.steps=100", *constant)
    for stop in (1, 3):
        assert not train(plan, cut, Quiet(stop))
    assert train(cut.open(), cut, Quiet())
    assert digest(cut) == digest(ended[1][1])


class Ticking:
    """A clock by which everything that is timed takes six seconds."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 6.0
        return self.now


def test_a_run_by_minutes_counts_over_interruptions_and_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "time", Ticking())  # an iteration has five laps: half a minute
    plan, run = begun(tmp_path / "run", "training.minutes=2.5")
    assert not train(plan, run, Quiet(2))
    watcher = Quiet()
    assert train(run.open(), run, watcher)
    assert watcher.done == 5
    assert run.config.read_text().startswith(f"# {BY_CLOCK}\n")
    evaluate_run(run)
    write_report([run.path], tmp_path / "report.html")
    assert BY_CLOCK in (tmp_path / "report.html").read_text()
    remarks = compare([run.path], with_players=False).remarks
    assert remarks[0] == f"{run.path} was {BY_CLOCK}"


def test_another_run_begins_with_what_one_by_steps_has_learned(tmp_path):
    plan, run = begun(tmp_path / "first", "training.steps=40")
    train(plan, run, Quiet())
    longer, second = begun(tmp_path / "second", "training.minutes=100", *beginning_with(run.path))
    assert longer.config.training.start
    assert not train(longer, second, Quiet(1))


def test_the_end_of_a_run_by_steps_is_known_to_reports(tmp_path, caplog):
    plan, run = begun(tmp_path / "run", "training.steps=96")
    train(plan, run, Quiet())
    evaluate_run(run)
    lines = (run.path / "evaluations.jsonl").read_text().splitlines()
    (run.path / "evaluations.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    read_record(run.path)
    assert "evaluations.jsonl ends at iteration 2 of 4" in caplog.text


@pytest.mark.parametrize(
    "given", [("training.steps=5", "training.minutes=1"), ("training.iterations=3", "training.steps=5")]
)
def test_two_budgets_are_refused_by_name(given):
    with pytest.raises(ConfigError, match="each say when training ends: give exactly one of them"):
        load_experiment("rl2-bandit", given)


def test_a_budget_takes_the_place_of_the_one_in_the_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[training]\niterations = 7\ntasks = 3\n")
    training = load_experiment(str(file), ["training.minutes=0.5"]).config.training
    assert (training.iterations, training.steps, training.minutes, training.tasks) == (None, None, 0.5, 3)
    assert load_experiment(str(file), ["~training.iterations", "training.steps=9"]).config.training.steps == 9
    assert load_experiment(str(file)).config.training.iterations == 7
    assert load_experiment(str(file), ["~training.iterations"]).config.training.iterations == 1000


@pytest.mark.parametrize("wrong", ["steps=0", "minutes=0", "minutes=-1", "iterations=0", "steps=1.5"])
def test_a_budget_of_nothing_is_refused(wrong):
    with pytest.raises(ConfigError, match=f"training.{wrong.partition('=')[0]} = "):
        load_experiment("rl2-bandit", [f"training.{wrong}"])


def test_runners_plan_iterations():
    from agents.training.experiment import build_parts

    with pytest.raises(UserError, match="builtin/poet plans its iterations: give training.iterations"):
        build_parts(load_experiment("poet-cartpole", ["training.steps=1000"]).config)


def test_what_would_change_towards_an_end_that_is_not_planned_is_told(tmp_path):
    plan, run = begun(tmp_path / "run", "training.steps=20")
    heard, said = Quiet(), []
    heard.say = said.append
    train(plan, run, heard)
    assert (
        said[0]
        == "no number of iterations is planned: of agent builtin/rl2 these stay as they begin: entropy, learning_rate"
    )


@pytest.mark.parametrize(
    ("budget", "share"), [({"iterations": 8}, 0.5), ({"steps": 300}, 2 / 3), ({"minutes": 2}, 0.75), ({}, 0.004)]
)
def test_shares(budget, share):
    assert math.isclose(spent(parse(Training, budget), 4, 200, 90.0), share)


def test_what_is_to_be_expected():
    assert (expected(4, 0.5), expected(4, 1.2), expected(4, 0.0), expected(1, 0.99)) == (8, 4, 5, 2)


def test_the_number_of_tasks_judged_on_does_not_hang_on_an_unknown_number_of_iterations(tmp_path):
    plan = load_experiment("rl2-grid", ["training.steps=1000000", "evaluation.final_tasks=0"])
    assert plan.config.evaluation.final_tasks == 1000
    assert "iterations" not in tomllib.loads(to_toml(plan.config))["training"]
