"""The verbs train, evaluate and report as a user meets them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import agents.api
from registry.cli import main
from registry.errors import UserError
from tests.agents.training.test_loop import QUICK


def _train(directory, *extra):
    return main(["train", "rl2-bandit", *QUICK, *extra, "--run", str(directory)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "quick"
    assert _train(directory) == 0
    return directory


def test_train_leaves_a_run_that_its_own_config_repeats(run, tmp_path, capsys):
    assert (run / "report.html").stat().st_size > 10_000
    assert main(["train", str(run / "config.toml"), "--run", str(tmp_path / "again")]) == 0
    out = capsys.readouterr().out
    assert "iteration 6: held-out: trial return" in out
    assert "greedy" in out
    newest = "checkpoints/000000006/tensors.safetensors"
    assert (tmp_path / "again" / newest).read_bytes() == (run / newest).read_bytes()


def test_a_second_run_in_the_same_place_is_refused(run, capsys):
    assert _train(run) == 2
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize("score", ["gea", "regret"])
def test_parts_that_do_not_fit_leave_no_run_behind(tmp_path, score):
    assert _train(tmp_path / "run", f"source={{name = 'plr', score = '{score}'}}") == 2
    assert not (tmp_path / "run").exists()


def test_resuming_with_other_settings_is_refused(run, capsys):
    assert _train(run, "agent.learning_rate=0.5", "--resume") == 2
    assert "other settings: agent.learning_rate = 0.5, was 0.002." in capsys.readouterr().err


def test_evaluate_prints_a_table_or_json(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "4"]) == 0
    assert "held-out: 32 tasks, 4 episodes each" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["sets"]["held-out"]["players"]) == {"rl2", "random", "greedy"}


def test_evaluate_on_a_task_file(run, tmp_path, capsys):
    tasks = tmp_path / "tasks.jsonl"
    assert main(["generate", "domain-randomization", "--family", "bandit", "-n", "10", "-o", str(tasks)]) == 0
    assert main(["evaluate", str(run), "--tasks", str(tasks)]) == 0
    assert "tasks: 10 tasks" in capsys.readouterr().out
    other = tmp_path / "other.jsonl"
    assert main(["generate", "domain-randomization", "--family", "tabular-mdp", "-n", "10", "-o", str(other)]) == 0
    assert main(["evaluate", str(run), "--tasks", str(other)]) == 4
    assert (
        "other.jsonl, task 0: expected tasks of builtin/bandit, found one of builtin/tabular-mdp"
        in capsys.readouterr().err
    )


def test_evaluate_something_that_is_no_run(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "no config.toml" in capsys.readouterr().err


def test_damaged_checkpoint_is_skipped_and_without_another_refused(run, tmp_path, capsys):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for checkpoint in (copy / "checkpoints").iterdir():
        tensors = checkpoint / "tensors.safetensors"
        data = bytearray(tensors.read_bytes())
        data[len(data) // 2] ^= 1
        tensors.write_bytes(data)
    before = {path: path.read_bytes() for path in copy.rglob("*.safetensors")}
    for command in (["evaluate", str(copy)], ["train", str(copy / "config.toml"), "--run", str(copy), "--resume"]):
        assert main(command) == 4
        assert "every checkpoint is damaged" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in copy.rglob("*.safetensors")}


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupt_checkpoints_and_says_how_to_go_on(tmp_path, number):
    directory = tmp_path / "run"
    command = [sys.executable, "-m", "registry.cli", "train", "rl2-bandit", *QUICK, "training.iterations=400"]
    command += ["training.evaluate_every=0", "--seed", "5", "--run", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    deadline = time.monotonic() + 120
    while not (directory / "checkpoints").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Stopping after this iteration" in err
    resume = out.split("Go on with: taskgen ")[1].split()
    assert resume == ["train", f"{directory}/config.toml", "--run", str(directory), "--resume"]
    assert subprocess.run([*command[:3], *resume], stdout=subprocess.PIPE, timeout=240, check=False).returncode == 0
    assert list((directory / "checkpoints").glob("0*"))


def test_what_the_report_is_drawn_from_is_not_left_out(tmp_path, capsys):
    said = 'trackers: "jsonl" is not among them'
    assert _train(tmp_path / "run", "trackers=[]") == 2
    assert said in capsys.readouterr().err
    with pytest.raises(UserError, match=said):
        agents.api.train("rl2-bandit", *QUICK, "trackers=[]", run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert main(["sweep", "rl2-bandit", *QUICK, "trackers=[]", "--workers", "1", "--run", str(tmp_path / "sweep")]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "sweep" / "runs").iterdir())
    agents.api.train("rl2-bandit", *QUICK, "trackers=[]", run=tmp_path / "run", judge=False)


def test_problems_of_the_experiment_and_of_its_parts_are_told_together(tmp_path, capsys):
    wrong = ["training.iteration=3", "agent.lerning_rate=1", "famly=bandit", "agent.network=7"]
    wrong += ['evaluation.players=[{name="randm"}, {name="greedy", x=1}]']
    assert _train(tmp_path / "run", *wrong) == 2
    said = capsys.readouterr().err
    for word in ("training.iteration:", "agent.lerning_rate:", "famly:", "agent.network = 7", "randm"):
        assert said.count(word) == 1, said
    assert not (tmp_path / "run").exists()


def test_settings_that_contradict_each_other_are_told_without_their_table(tmp_path, capsys):
    assert _train(tmp_path / "run", "training.steps=10") == 2
    said = capsys.readouterr().err
    assert "training: " in said
    assert "{" not in said


def test_where_checkpoints_are_gone_it_is_said_that_training_begins_again(run, tmp_path, caplog):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert main(["train", str(tmp_path / "run" / "config.toml"), "--run", str(tmp_path / "run"), "--resume"]) == 0
    assert "checkpoints has no checkpoint: training begins at iteration 1 again" in caplog.text


def test_a_run_that_is_judged_before_its_first_evaluation_is_reported(run, tmp_path, caplog):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "evaluations.jsonl").unlink()
    assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "page.html")]) == 0
    assert "evaluations.jsonl is missing or empty, which went up to iteration 6" in caplog.text
