"""The last evaluation: what it costs is fixed before the run, it survives players that cannot play, and it stops."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import registry
from agents import commands
from agents.evaluation.play import summarise
from agents.training.experiment import build_parts, load_experiment
from agents.training.judge import evaluate_run, reference_players
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from registry.cli import main
from registry.config import Part, to_toml
from registry.errors import ConfigError
from taskgen.build import build_family
from taskgen.spec import RewardSpec
from tests.agents.training.test_loop import QUICK, Quiet, start


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """With a player that can play trials of 3 episodes, and up to 10, but no longer ones."""
    directory = tmp_path_factory.mktemp("runs") / "quick"
    players = 'evaluation.players=["random", "bayes-optimal"]'
    assert main(["train", "rl2-bandit", *QUICK, players, "evaluation.final_tasks=40", "--run", str(directory)]) == 0
    return directory


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # a tenth of 1,200 x 500 x 10 episodes, by trials of 10, 7 players and a quarter on top: 6,857
        ((), 6900),
        (("evaluation.tail=0",), 8600),
        (("evaluation.episodes=20",), 3400),
        (("evaluation.episodes=20", "evaluation.players=[]"), 20_000),  # 24,000 is more than the most
        (('evaluation.out_of_distribution={far="domain-randomization"}',), 3400),
        (("training.iterations=10",), 100),  # 57 is less than the least
        (("evaluation.final_tasks=77",), 77),
    ],
)
def test_the_number_of_tasks_fits_the_training(settings, expected) -> None:
    plan = load_experiment("rl2-bandit", ["~evaluation.final_tasks", *settings])
    assert plan.config.evaluation.final_tasks == expected


def test_the_number_is_written_down_and_stays(tmp_path) -> None:
    config = load_experiment("rl2-bandit", ["~evaluation.final_tasks"]).config
    assert "final_tasks = 6900" in to_toml(config)
    (tmp_path / "config.toml").write_text(to_toml(config))
    again = load_experiment(str(tmp_path / "config.toml"), ["training.iterations=10"]).config
    assert again.evaluation.final_tasks == 6900


def test_one_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.final_tasks.*at least 2"):
        load_experiment("rl2-bandit", ["evaluation.final_tasks=1"])


def test_a_player_that_cannot_play_so_long_is_left_out_and_the_rest_is_judged(run, tmp_path, capsys) -> None:
    kept = (run / "evaluation.json").read_bytes()
    assert main(["evaluate", str(run), "--episodes", "40", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["sets"]["held-out"]["players"]) == {"rl2", "random"}
    assert "5 arms and 40 pulls have more than max_states" in summary["left_out"]["bayes-optimal"]
    commands._print_summary(summary)
    assert "\nbayes-optimal is left out: " in capsys.readouterr().out
    assert (run / "evaluation.json").read_bytes() == kept
    page = tmp_path / "page.html"
    assert main(["compare", str(run), "--episodes", "40", "-o", str(page)]) == 0
    out = capsys.readouterr().out
    assert "Note: bayes-optimal is left out: " in out
    assert "Note: rl2 was trained on trials of 3 episodes and plays 40 here." in out
    assert "trained on 3" in page.read_text()


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        ([[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]], True),
        ([[[0.5, 0.5], [2.0, 2.0]], [[0.5, 0.5], [2.0, 2.0]]], True),  # episodes may differ
        ([[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1e-9]]], False),
        ([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]], False),  # tasks differ: there is something to earn
        ([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]], False),
        ([[[0.0, 0.0], [0.0, 0.0]]], False),  # one player
        ([[[0.0], [0.0]], [[0.0], [0.0]]], False),  # one task
    ],
)
def test_returns_that_nothing_changes_are_said(returns, said, capsys) -> None:
    players = {str(player): summarise(np.array(values)) for player, values in enumerate(returns)}
    judged = {"tasks": 2, "plays": 2, "interval": "over tasks", "players": players}
    commands._print_summary({"sets": {"held-out": judged}, "episodes": 2, "left_out": {}})
    assert ("All earned the same everywhere" in capsys.readouterr().out) == said


def test_it_is_said_before_the_run_who_will_be_left_out(tmp_path, capsys) -> None:
    players = 'evaluation.players=["random", "bayes-optimal"]'
    settings = [*QUICK, players, "evaluation.episodes=40", "training.iterations=1"]
    assert main(["train", "rl2-bandit", *settings, "--run", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert out.index("bayes-optimal will be left out of the evaluation") < out.index("iteration 1/1")
    page = " ".join((tmp_path / "run" / "report.html").read_text().split())
    assert "bayes-optimal is left out: " in page
    assert "It was trained on trials of 3 episodes only" in page
    assert "last trained on" in page


def test_what_is_wrong_with_a_plugin_is_not_survived(run, monkeypatch, capsys) -> None:
    from agents.reference.bayes_optimal import BayesOptimal
    from registry.errors import PluginError

    def broken(self, config, problem):
        raise PluginError("broken")

    monkeypatch.setattr(BayesOptimal, "__init__", broken)
    assert main(["evaluate", str(run)]) == 3
    assert "broken" in capsys.readouterr().err


def test_the_sets_say_where_they_are_from(run) -> None:
    played = json.loads((run / "evaluation.json").read_text())["sets"]["held-out"]
    assert (played["source"], played["tasks"], played["plays"]) == ("domain-randomization", 40, 40)
    assert played["players"]["rl2"]["tail"]["tasks"] == 4
    assert [name for name in json.loads((run / "evaluation.json").read_text())["left_out"] if "worst" in name] == []
    easy = '{name="domain-randomization", vary={probabilities={kind="uniform", low=0.9, high=1.0}}}'
    from agents.training.judge import judged_on
    from taskgen.build import build_family

    experiment = load_experiment("rl2-bandit", [*QUICK, f"evaluation.out_of_distribution={{easy={easy}}}"]).config
    (_, (source, specs)) = judged_on(experiment, build_family("bandit", experiment.family.settings)).values()
    assert source.startswith("domain-randomization(vary=")
    assert "0.9" in source
    assert len(specs) == 32


def test_a_player_of_the_agents_own_name_does_not_stand_for_it() -> None:
    experiment = load_experiment("rl2-bandit", ["agent=random", 'evaluation.players=["random", "greedy"]']).config
    assert list(reference_players(experiment, build_parts(experiment).problem, [])[0]) == ["random (as new)", "greedy"]


def test_held_out_tasks_that_training_drew_are_not_drawn_again(run, monkeypatch) -> None:
    drawn = load_trained(RunDirectory(run)).parts.held_out
    assert len(drawn.specs) == 40
    monkeypatch.setattr("agents.training.judge.asked", lambda *_: pytest.fail("drawn again"))
    kept = json.loads((run / "evaluation.json").read_text())["sets"]
    assert evaluate_run(RunDirectory(run), drawn=drawn)["sets"] == kept


def test_a_tail_of_no_task_is_told(run) -> None:
    nine = [load_trained(RunDirectory(run)).parts.family.spec({"probabilities": [0.1 * i] * 5}) for i in range(9)]
    few = evaluate_run(RunDirectory(run), tasks=nine, with_players=False)
    told = "not one of 9 tasks (tasks) would be among them"
    assert few["left_out"] == {"mean of the worst 10% of tasks": told}
    assert "tail" not in few["sets"]["tasks"]["players"]["rl2"]


def test_a_stop_in_the_last_checkup_is_obeyed_and_made_up_for(tmp_path) -> None:
    plan, whole = start(tmp_path / "cut")
    assert not train(plan, whole, Quiet(6))
    done = [json.loads(line)["iteration"] for line in (whole.path / "evaluations.jsonl").read_text().splitlines()]
    assert done == [2, 4]
    assert train(whole.open(), whole, Quiet())
    done = [json.loads(line)["iteration"] for line in (whole.path / "evaluations.jsonl").read_text().splitlines()]
    assert done == [2, 4, 6]


def test_an_interrupt_stops_an_evaluation_and_what_was_kept_stays(run, tmp_path, monkeypatch, capsys) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    kept = {name: (copy / name).read_bytes() for name in ("evaluation.json", "evaluation.safetensors")}
    handler = signal.getsignal(signal.SIGINT)
    shown = []

    def interrupt(progress, share, what):
        shown.append(what)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(commands.Progress, "played", interrupt)
    assert main(["evaluate", str(copy), "--episodes", "300000"]) == 130
    assert shown == ["rl2"]  # not a step more
    err = capsys.readouterr().err
    assert "Stopping the evaluation; once more to stop at once." in err
    assert err.endswith(f"taskgen evaluate {copy} --episodes 300000\n")
    assert kept == {name: (copy / name).read_bytes() for name in kept}
    assert signal.getsignal(signal.SIGINT) is handler
    page = tmp_path / "page.html"
    assert main(["compare", str(copy), "--episodes", "300000", "-o", str(page)]) == 130
    assert not page.exists()


def test_an_interrupt_after_training_says_what_makes_up_for_the_evaluation(tmp_path) -> None:
    directory = tmp_path / "run"
    command = [sys.executable, "-m", "registry.cli", "train", "rl2-bandit", *QUICK, "training.iterations=1"]
    command += ["evaluation.episodes=300000", "--run", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    for line in process.stdout:
        if "Evaluating" in line:
            break
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"taskgen evaluate {directory}" in err
    assert not (directory / "evaluation.json").exists()
    assert list((directory / "checkpoints").glob("0*"))


def test_progress_and_time_left_are_told_in_a_log(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = commands.Progress(stopping="the evaluation")
    for seconds, share in ((1.0, 0.1), (16.0, 0.25), (20.0, 0.5), (32.0, 0.8)):
        now[0] = seconds
        progress.played(share, "rl2")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["25% of the evaluation: rl2, 48 s left", "80% of the evaluation: rl2, 8 s left"]


def test_the_run_directory_knows_how_far_it_was_evaluated(tmp_path) -> None:
    run = RunDirectory(tmp_path)
    assert run.evaluated() == 0
    run.append_evaluation({"iteration": 4})
    run.append_evaluation({"iteration": 6})
    assert run.evaluated() == 6


def test_players_of_a_family_are_left_out_where_tasks_pay_another_reward() -> None:
    """Every player of a family by every kind of reward: it would be shown as the best that can be had, of another."""
    items = [item for item in registry.catalogue().items("agents") if "reference" in item.entry.tags]
    of_a_family = [item for item in items if item.entry.name != "random"]
    assert len(of_a_family) > 25
    players = tuple(Part(name=item.full_name) for item in items)
    experiment = load_experiment("rl2-bandit").config
    evaluation = experiment.evaluation.model_copy(update={"players": players})
    experiment = experiment.model_copy(update={"evaluation": evaluation})
    problem = build_parts(experiment).problem
    for reward in registry.catalogue().items("rewards"):
        spec = replace(build_family("bandit").spec(), reward=RewardSpec(reward.full_name, {}))
        those, left_out = reference_players(experiment, problem, [spec])
        assert list(those) == ["random"]
        assert left_out == {
            item.entry.name: f"it plays for the family's own reward, while tasks pay {reward.full_name}"
            for item in of_a_family
        }
