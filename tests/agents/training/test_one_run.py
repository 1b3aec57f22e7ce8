"""A run is one thing: what it was started with, where it lies, who trains it, what goes on from it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

import registry
from agents.reports.report import write_report
from agents.training.configuration import remark
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.provenance import provenance
from agents.training.records import plugin_files, read_record
from agents.training.run import RunDirectory
from agents.training.start import started
from agents.training.trained import beginning_with, load_trained, trained_on
from registry.catalogue import build
from registry.cli import main
from registry.config import INCIDENTAL, differing
from registry.discovery import AUTOLOAD_VARIABLE, FILES_VARIABLE, discover, typed
from registry.errors import CheckpointError, ConfigError, UserError
from tests.agents.training.test_loop import QUICK, Quiet, digest, start


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run."""
    shutil.copytree(finished_run.path, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def told(run, attempt) -> str:
    """What the refusal of `attempt` says; nothing in the run has changed."""
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        attempt()
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    return str(caught.value)


ATTEMPTS = {
    "load": load_trained,
    "evaluate": evaluate_run,
    "report": lambda run: write_report([run.path], run.path / "report.html"),
    "resume": lambda run: train(run.open(), run, Quiet()),
    "play": lambda run: main(["play", str(run.path), "--debug"]),
}
ALTERED = {
    "seed": ("seed = 0", "seed = 1", "seed = 1, was 0"),
    "rate": ("learning_rate = 0.002", "learning_rate = 0.003", "agent.learning_rate = 0.003, was 0.002"),
    "tasks": ("tasks = 8", "tasks = 9", "training.tasks = 9, was 8"),
    "judge": ("final_tasks = 32", "final_tasks = 64", "evaluation.final_tasks = 64, was 32"),
    "kind": ("seed = 0", "seed = 0.0", "seed = 0.0, was 0"),
    "added": ('name = "builtin/bandit"', 'name = "builtin/bandit"\nhorizon = 3', "family.horizon = 3, new"),
}


@pytest.mark.parametrize("attempt", ["load", "evaluate", "report", "resume"])
@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_configuration_is_refused_by_name(run, what, attempt):
    old, new, message = ALTERED[what]
    text = run.config.read_text()
    assert old in text
    run.config.write_text(text.replace(old, new, 1))
    assert f"does not say what its run was started with: {message} (according to" in told(
        run, lambda: ATTEMPTS[attempt](run)
    )


def test_every_cut_is_refused_by_name_or_changes_nothing(run):
    """Cut after each of its lines and in the middle of each: what is completed by defaults is another experiment."""
    text, whole = run.config.read_text(), tomllib.loads(run.config.read_text())
    ends = [match.end() for match in re.finditer(r"\n", text)]
    cuts = [0, *ends[:-1], *(end - 3 for end in ends)]
    same = []
    for cut in cuts:
        run.config.write_text(text[:cut])
        try:
            found = run.open().config.model_dump(mode="json", exclude_none=True)
        except ConfigError as error:
            assert str(run.config) in str(error)  # noqa: PT017
        except CheckpointError as error:
            assert re.search(r"(is missing|, was )", str(error))  # noqa: PT017
        else:
            same.append(text[cut:])
            assert differing(found, whole) == []
    assert all(
        not tomllib.loads(rest) or set(tomllib.loads(rest)) <= {"evaluation"} for rest in same if "=" not in rest
    )
    assert len(same) <= 4  # empty tables and the last newline


def test_without_provenance_the_checkpoint_tells(run):
    (run.path / "provenance.json").unlink()
    run.config.write_text(run.config.read_text().replace("learning_rate = 0.002", "learning_rate = 0.003"))
    assert re.search(
        r"agent.learning_rate = 0.003.*according to .*checkpoints/000000006", told(run, lambda: load_trained(run))
    )


def test_checkpoints_of_another_run_are_refused(run, tmp_path):
    other = start(tmp_path / "other", "seed=7")[1]
    shutil.copytree(run.checkpoints, other.checkpoints)
    for attempt in ("load", "resume"):
        assert "seed = 7, was 0 (according to" in told(other, lambda attempt=attempt: ATTEMPTS[attempt](other))


INCIDENTALS = ["device=auto", "training.evaluate_every=3", "training.checkpoint_every=3", "trackers=[]"]


def test_what_changes_no_result_may_change(finished_run, tmp_path, caplog):
    """From the command line without a word; in config.toml with one. The checkpoint does not depend on it by a byte."""
    remark.cache_clear()
    plan, run = start(tmp_path / "run")
    assert not train(plan, run, Quiet(3))
    changed = load_experiment("rl2-bandit", [*QUICK, *INCIDENTALS])
    assert not train(changed, run, Quiet(4))
    assert caplog.records == []
    run.config.write_text(run.config.read_text().replace("checkpoint_every = 2", "checkpoint_every = 6"))
    assert train(run.open(), run, Quiet())
    remarks = [record.getMessage() for record in caplog.records]
    assert remarks == [f"{run.config}: not as the run was started: training.checkpoint_every; that changes no result"]
    assert digest(run) == digest(finished_run)


def test_incidental_settings_are_declared_where_they_stand():
    plan = load_experiment("poet-cartpole", [])
    assert plan.incidental == {
        *("device", "trackers", "training.evaluate_every", "training.checkpoint_every", "training.compile"),
        *("training.deadline", "runner.map", "runner.workers", "runner.deadline", "runner.address"),
    }
    assert INCIDENTAL == {"incidental": True}


@pytest.mark.parametrize(
    ("left", "allowed"),
    [
        ("checkpoints/000000004/state.json", False),
        ("metrics.jsonl", False),
        ("notes.txt", False),
        ("provenance.json", True),
        ("lock", True),
        (".provenance.json.77.staging", True),
    ],
)
def test_a_new_run_begins_where_nothing_lies(tmp_path, left, allowed):
    """What a run that was ended while it was created has left is nothing."""
    path = tmp_path / "run" / left
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    plan, run = load_experiment("rl2-bandit", QUICK), RunDirectory(tmp_path / "run")
    if allowed:
        run.create(plan)
        assert run.open().config == plan.config
        return
    for attempt in (lambda: run.create(plan), lambda: started(plan, run, resume=True), lambda: started(plan, run)):
        with pytest.raises(UserError, match=rf"not empty and no run: it holds {left.split('/')[0]} but no config.toml"):
            attempt()
    assert [path.name for path in run.path.iterdir()] == [left.split("/")[0]]


def test_a_file_in_the_place_of_a_run_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match=r"run cannot hold a run \(Not a directory\)"):
        start(tmp_path / "run")


def test_training_without_a_run_directory_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        train(load_experiment("rl2-bandit", QUICK), RunDirectory(tmp_path / "run"), Quiet())
    assert not (tmp_path / "run").exists()


def test_a_run_that_never_came_far_may_be_removed(tmp_path):
    start(tmp_path / "run")
    expected = (
        r"already holds a run, which has learned nothing yet: continue it with --resume as it was begun, remove it"
    )
    with pytest.raises(UserError, match=expected):
        start(tmp_path / "run")


@pytest.mark.parametrize(
    "verb",
    [
        "evaluate RUN",
        *(f"{verb} RUN -o x" for verb in ("report", "compare", "pack", "record")),
        "export RUN -o x.onnx",
        "train RUN/config.toml",
    ],
)
def test_a_run_that_is_not_there_is_no_damage(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(verb.replace("RUN", "away").split()) == 2
    assert "config.toml" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys
from pathlib import Path
from agents.training.lock import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_trains_a_run_at_a_time_and_a_dead_one_loses_it(run):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdin=-1, stdout=-1, text=True)
    assert holder.stdout.readline() == "held\n"
    owner = json.loads((run.path / "lock").read_text())
    assert owner["process"] == holder.pid
    said = rf"is being trained by process {holder.pid} on {re.escape(os.uname().nodename)}, started {owner['started']}"
    with pytest.raises(UserError, match=said):
        train(run.open(), run, Quiet())
    assert load_trained(run).iteration == 6  # to look at it is allowed
    holder.kill()
    holder.wait()
    assert (run.path / "lock").exists()
    assert train(run.open(), run, Quiet())
    assert not (run.path / "lock").exists()


def test_a_lock_that_another_host_has_left_is_taken_with_a_word(run, caplog):
    (run.path / "lock").write_text(json.dumps({"host": "elsewhere", "process": 7, "started": "then"}))
    with run.locked():
        assert json.loads((run.path / "lock").read_text())["process"] == os.getpid()
    assert "left locked by process 7 on elsewhere, started then" in caplog.text


class Deletes(Quiet):
    """Deletes the run, or puts another one in its place, after some iterations."""

    def __init__(self, run, after, again):
        super().__init__()
        self.run, self.after, self.again = run, after, again

    def iteration(self, done, total, metrics):
        if done == self.after:
            shutil.rmtree(self.run.path)
            if self.again:
                self.again()


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_that_is_deleted_while_it_goes_on_is_not_made_anew_by_half(tmp_path, after, replaced):
    plan, run = start(tmp_path / "run")
    watcher = Deletes(run, after, (lambda: run.create(plan)) if replaced else None)
    with pytest.raises(CheckpointError, match="was deleted, moved or replaced while its run went on"):
        train(plan, run, watcher)
    found = sorted(path.name for path in run.path.iterdir()) if run.path.exists() else []
    assert found == (["config.toml", "provenance.json"] if replaced else [])


def test_a_finished_run_goes_on_as_another(run, tmp_path):
    """Its agent, with fresh counts, tasks and optimiser; by another learning rate, as long as one likes."""
    longer = load_experiment("rl2-bandit", [*QUICK, "training.iterations=9", "agent.learning_rate=0.001"])
    with pytest.raises(UserError) as caught:
        run.same(longer)
    assert "agent.learning_rate = 0.001, was 0.002; training.iterations = 9, was 6" in str(caught.value)
    assert f"by `--from {run.path}` in place of --resume" in str(caught.value)
    settings = [*QUICK, "training.iterations=1", "agent.learning_rate=1e-9", "seed=5", *beginning_with(run.path)]
    plan, other = load_experiment("rl2-bandit", settings), RunDirectory(tmp_path / "other")
    other.create(plan)
    assert train(plan, other, Quiet())
    model, before = other.restore()["agent"]["model"], run.restore()["agent"]["model"]
    assert max(float((model[name] - before[name]).abs().max()) for name in model) < 1e-6
    fresh = start(tmp_path / "fresh", "training.iterations=1", "agent.learning_rate=1e-9")[1]
    assert train(fresh.open(), fresh, Quiet())
    model = fresh.restore()["agent"]["model"]
    assert max(float((model[name] - before[name]).abs().max()) for name in model) > 1e-3
    assert load_trained(other).iteration == 1
    assert trained_on(other) > trained_on(run)  # what it was trained on before counts too


def test_what_cannot_be_begun_with_is_refused_before_anything_is_written(run, tmp_path, capsys):
    def attempt(*overrides, start_=None):
        given = [*QUICK, *(beginning_with(run.path) if start_ is None else start_), *overrides]
        with pytest.raises(UserError) as caught:
            started(load_experiment("rl2-bandit", given), RunDirectory(tmp_path / "new"), resume=False)
        assert not (tmp_path / "new").exists()
        return str(caught.value)

    message = f"what {run.path} has learned does not fit here: agent.network.hidden_size = 16, was 8"
    assert message in attempt("agent.network.hidden_size=16")
    assert f"{run.path} trained builtin/rl2, not builtin/ppo" in attempt("~agent", "agent=ppo")
    known = beginning_with(run.path)
    assert "is not the checkpoint that the run began with" in attempt(start_=[known[0], 'training.start_digest="0123"'])
    shutil.rmtree(run.checkpoints)
    assert "there is no such directory" in attempt(start_=known)
    assert main(["train", "rl2-bandit", *QUICK, "--from", str(run.path), "--run", str(tmp_path / "new")]) == 2
    assert "there is no intact checkpoint to begin with" in capsys.readouterr().err


PLUGIN = """
from registry import Entry, hookimpl

@hookimpl
def register_task_families():
    return [Entry("own", "collections:OrderedDict", "A family of one's own.")]
"""


def test_a_run_names_the_plugin_files_that_it_needs(tmp_path):
    """By name alone: where they lie is nobody's affair."""
    (tmp_path / "mine_alone.py").write_text(PLUGIN)
    found = build(discover({FILES_VARIABLE: str(tmp_path / "mine_alone.py"), AUTOLOAD_VARIABLE: "1"}))
    items = [found.get("families", "own"), registry.catalogue().get("families", "bandit")]
    told = provenance(items)
    assert told["parts"]["mine_alone/own"]["file"] == "mine_alone.py"
    assert "file" not in told["parts"]["builtin/bandit"]
    assert plugin_files(told) == " --plugin mine_alone.py"
    assert plugin_files({"parts": {"a": {"file": "a b.py"}, "b": {"file": "a b.py"}, "c": {}}}) == " --plugin 'a b.py'"
    assert plugin_files({}) == ""


def test_messages_say_how_to_go_on_with_plugin_files(run, monkeypatch):
    monkeypatch.setenv(FILES_VARIABLE, os.pathsep.join(["/x/mine.py", "/x/a b.py"]))
    assert typed("list") == "taskgen --plugin /x/mine.py --plugin '/x/a b.py' list"
    monkeypatch.setenv(FILES_VARIABLE, "/x/mine.py")
    (run.path / "evaluation.json").unlink()
    with pytest.raises(CheckpointError, match=rf"write it with `taskgen --plugin /x/mine.py evaluate {run.path}`"):
        read_record(run.path)
