"""Sweeps: the same runs however they come about, none lost or done twice, and one message for whatever goes wrong."""

import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from agents.sweeps import sweep as sweeps
from agents.sweeps.sweep import FOREVER, Interrupted, SweepDirectory, carry_out, compared, one_run, planned, seconds
from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.start import started
from registry.cli import main
from registry.errors import CheckpointError, UserError
from taskgen import maps
from taskgen.maps import Failed, Processes
from tests.agents.training.test_loop import QUICK, Quiet

FEW = [*QUICK, "evaluation.tail=0", "evaluation.players=[]"]
RATES = [("agent.learning_rate=1e-3",), ("agent.learning_rate=4e-3",)]


class Here:
    """A crew of this process."""

    def __init__(self):
        self.heard = self.tick = None
        self.done = []

    def __call__(self, function, *iterables):
        for index, unit in enumerate(zip(*iterables, strict=True)):
            self.tick()
            self.done.append(unit[2])
            self.heard(index, maps._call(function, unit))
        return []


class Screen:
    """Shows nothing, remembers all; asks to stop after so many looks."""

    def __init__(self, looks=None):
        self.looks, self.said, self.shares = looks, [], []

    def say(self, text):
        self.said.append(text)

    def played(self, share, what):
        self.shares.append(share)

    def stop_requested(self):
        if self.looks is not None:
            self.looks -= 1
        return self.looks is not None and self.looks < 0


def small(points=RATES, seeds=(0, 1), **what):
    return planned("rl2-bandit", FEW, points, seeds, **what)


def digests(place):
    files = sorted((place.path / "runs").glob("*/checkpoints/*/tensors.safetensors"))
    return {str(file.relative_to(place.path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = SweepDirectory(tmp_path_factory.mktemp("sweep") / "whole")
    carry_out(small(), place, Here(), Screen(), "again")
    return place


def test_every_combination_with_every_seed_is_a_run_like_any(whole, tmp_path):
    names = [cell.name for cell in small().cells]
    assert names == [
        "0-learning_rate=1e-3-seed=0",
        "1-learning_rate=1e-3-seed=1",
        "2-learning_rate=4e-3-seed=0",
        "3-learning_rate=4e-3-seed=1",
    ]
    alone = RunDirectory(tmp_path / "alone")
    plan, parts = started(load_experiment("rl2-bandit", [*FEW, "agent.learning_rate=4e-3", "seed=1"]), alone)
    train(plan, alone, Quiet(), parts)
    newest = "checkpoints/000000006/tensors.safetensors"
    assert (whole.run(names[3]).path / newest).read_bytes() == (alone.path / newest).read_bytes()
    assert len(set(digests(whole).values())) == 8  # two checkpoints each
    assert all((whole.run(name).path / "report.html").exists() for name in names)
    assert all(second > 0 for second in seconds(small(), whole))


def test_finished_runs_are_not_done_again_and_those_that_are_gone_are(whole, tmp_path):
    place = SweepDirectory(tmp_path / "copy")
    shutil.copytree(whole.path, place.path)
    screen, crew = Screen(), Here()
    carry_out(small(), place, crew, screen, "again")
    assert crew.done == []
    assert screen.said == ["4 of 4 runs are finished and kept"]
    name = small().cells[1].name
    shutil.rmtree(place.run(name).path)
    carry_out(small(), place, crew, screen, "again")
    assert crew.done == [name]
    assert digests(place) == digests(whole)


def test_one_that_was_finished_by_another_worker_is_left_alone(whole, monkeypatch):
    monkeypatch.setattr(sweeps, "started", None)
    cell = small().cells[0]
    assert one_run(small().configurations[cell.name], str(whole.path), cell.name) is None


def test_stopped_and_begun_again_it_ends_the_same(whole, tmp_path):
    place = SweepDirectory(tmp_path / "cut")
    for done in (2, 1):
        with pytest.raises(Interrupted):
            carry_out(small(), place, Here(), Screen(looks=done), "again")
    sweep, crew = small(), Here()
    begun, parts = started(
        load_experiment("rl2-bandit", [*FEW, *sweep.cells[3].overrides]), place.run(sweep.cells[3].name)
    )
    train(begun, place.run(sweep.cells[3].name), Quiet(2), parts)  # killed in the middle
    carry_out(sweep, place, crew, Screen(), "again")
    assert crew.done == [sweep.cells[3].name]
    assert digests(place) == digests(whole)


def test_another_sweep_is_refused_by_what_differs(whole):
    for other, said in (
        (small(seeds=(0, 1, 2)), r"seeds = \[0, 1, 2\], was \[0, 1\]"),
        (planned("rl2-bandit", [*FEW, "training.tasks=9"], RATES, (0, 1)), r"experiment.training.tasks = 9, was 8"),
    ):
        with pytest.raises(UserError, match=f"holds another sweep: {said}. Give this one another --run"):
            carry_out(other, whole, Here(), Screen(), "again")


def test_one_that_was_ended_while_it_was_put_down_begins(tmp_path):
    for name in ("runs", "finished"):
        (tmp_path / name).mkdir()
    (tmp_path / ".sweep.json.7.staging").touch()
    SweepDirectory(tmp_path).begin(small())
    SweepDirectory(tmp_path).begin(small())
    assert len(json.loads((tmp_path / "sweep.json").read_text())["runs"]) == 4


def test_what_changes_no_result_does_not_make_another_sweep(whole):
    carry_out(planned("rl2-bandit", [*FEW, "device=cpu"], RATES, (0, 1)), whole, Here(), Screen(), "again")


def test_a_directory_with_something_else_and_a_damaged_sweep_are_refused(whole, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.toml").write_text("")
    with pytest.raises(UserError, match=r"is no sweep: it holds config.toml but no sweep.json"):
        carry_out(small(), SweepDirectory(tmp_path / "other"), Here(), Screen(), "again")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").mkdir()
    with pytest.raises(UserError, match=r"is no sweep: it holds .*runs but no sweep.json"):
        SweepDirectory(tmp_path).begin(small())
    place = SweepDirectory(tmp_path / "damaged")
    place.path.mkdir()
    (place.path / "sweep.json").write_text((whole.path / "sweep.json").read_text().replace("0.9", "0.8"))
    with pytest.raises(CheckpointError, match=r"sweep.json is damaged: its content does not match its digest"):
        carry_out(small(), place, Here(), Screen(), "again")


def test_a_place_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "sweep"):
        with pytest.raises(UserError, match=r"cannot hold a sweep \(.*\): choose another place with --run"):
            carry_out(small(), SweepDirectory(place), Here(), Screen(), "again")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("agent.learning_rat=1,2", r"agent.learning_rat: unknown key. Did you mean 'learning_rate'"),
        ("evaluation.seed=1,many", r"evaluation.seed = 'many'"),
        ("agent=rl2,rl3", r"rl3"),
    ],
)
def test_unknown_keys_and_values_of_wrong_types_are_refused_before_anything_is_there(word, said, tmp_path, capsys):
    assert main(["sweep", "rl2-bandit", *FEW, word, "--run", str(tmp_path / "sweep")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("error:") == 1
    assert not (tmp_path / "sweep").exists()


def test_a_run_that_is_there_twice_is_refused():
    with pytest.raises(UserError, match=r"agent.learning_rate=0.001 and agent.learning_rate=1e-3 make the same run"):
        small([*RATES, ("agent.learning_rate=0.001",)])


def test_a_full_disk_is_one_message_and_loses_nothing(whole, tmp_path, monkeypatch):
    place, crew, write = SweepDirectory(tmp_path / "full"), Here(), sweeps.write_atomically

    def full(path, data):
        if path.name.startswith("1-"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(sweeps, "write_atomically", full)
    with pytest.raises(
        UserError, match=r"^no room is left on the disk.*: 1 of 4 runs are finished and kept. Make room, "
    ):
        carry_out(small(), place, crew, Screen(), "again")
    assert len(crew.done) == 2  # the others were not even tried
    monkeypatch.undo()
    again = Here()
    carry_out(small(), place, again, Screen(), "again")
    assert len(again.done) == 3
    assert digests(place) == digests(whole)


@pytest.mark.parametrize("where", ["agents.training.run.write_atomically", "agents.training.checkpoint.write_durably"])
def test_a_full_disk_is_told_wherever_it_is_met(where, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, full)
    cell = small().cells[0]
    assert "No space left on device" in one_run(small().configurations[cell.name], str(tmp_path), cell.name)


def test_runs_that_fail_are_told_by_cause_and_the_others_are_finished(tmp_path, monkeypatch):
    place, real = SweepDirectory(tmp_path / "failing"), sweeps.train

    def failing(plan, *rest):
        if plan.config.seed:
            raise UserError("training diverged")
        return real(plan, *rest)

    monkeypatch.setattr(sweeps, "train", failing)
    with pytest.raises(UserError) as caught:
        carry_out(small(), place, Here(), Screen(), "taskgen sweep ...")
    head, cause, remedy = str(caught.value).splitlines()
    assert head == "2 of 4 runs are not finished; the others are, and are kept"
    assert cause == f"  {small().cells[1].name} and 1 more: training diverged"
    assert remedy == "Once the cause is mended, do these again with: taskgen sweep ..."
    monkeypatch.undo()
    crew = Here()
    carry_out(small(), place, crew, Screen(), "again")
    assert crew.done == [small().cells[1].name, small().cells[3].name]


def test_progress_over_all_runs(whole, tmp_path, monkeypatch):
    place = SweepDirectory(tmp_path / "going")
    shutil.copytree(whole.path, place.path)
    names = [cell.name for cell in small().cells]
    for name in names[1:]:
        place.mark(name).unlink()
    shutil.rmtree(place.run(names[2]).path)
    log = place.run(names[3]).path / "metrics.jsonl"
    log.write_text("".join(f"{line}\n" for line in log.read_text().splitlines()[:3]) + '{"step": 4, "unfin')
    screen = Screen()
    watch = sweeps._Watch(small(), place, names[1:], screen)
    watch.tick()
    assert screen.shares == [pytest.approx((1 + 0 + 3 / 6) / 3)]
    watch.tick()
    assert len(screen.shares) == 1  # not at every tick
    watch.heard(0, None)
    watch.heard(1, Failed("it died"))
    assert watch.finished() == 2
    assert screen.said == [f"2 of 4 runs finished: {names[1]}", f"{names[2]}: it died"]


def test_families_of_different_structure_are_compared_each_by_itself(tmp_path, capsys):
    words = ["family.arms=2,3", "training.iterations=1", "--seeds", "0", "--run", str(tmp_path / "sweep")]
    sweep = planned("rl2-bandit", [*FEW, "training.iterations=1"], [("family.arms=2",), ("family.arms=3",)], (0,))
    place = SweepDirectory(tmp_path / "sweep")
    carry_out(sweep, place, Here(), Screen(), "again")
    found = compared(sweep, place, Screen())
    assert list(found) == ["bandit", "bandit (2)"]
    assert (place.path / "comparison.html").stat().st_size > 10_000
    assert words


def test_samples_are_the_same_when_it_goes_on(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(sweeps, "carry_out", lambda sweep, *_: made.append(sweep))
    monkeypatch.setattr(sweeps, "compared", lambda *_: {})
    words = [
        "sweep",
        "rl2-bandit",
        *FEW,
        "agent.learning_rate=log:1e-4..1e-2",
        "--samples",
        "3",
        "--run",
        str(tmp_path),
    ]
    for _ in range(2):
        assert main([*words, "--search", "latin", "--seeds", "0-1"]) == 0
    assert made[0] == made[1]
    assert len(made[0].cells) == 6
    assert made[0].identity["search"] == "latin"


@pytest.mark.slow
def test_two_workers_one_of_which_dies_make_the_same_runs_in_one_page(whole, tmp_path):
    plugin = tmp_path / "dying.py"
    plugin.write_text(
        "import os, pathlib\n"
        "from registry import Entry, hookimpl\n"
        "from registry.config import Config\n"
        f"ONCE = pathlib.Path({str(tmp_path / 'once')!r})\n"
        "class Dying:\n"
        "    def __init__(self, config, *, directory): self.directory = directory\n"
        "    def log(self, step, metrics):\n"
        "        if step == 3 and 'seed=1' in str(self.directory) and not ONCE.exists():\n"
        "            ONCE.touch()\n"
        "            os._exit(9)\n"
        "    def close(self): pass\n"
        "@hookimpl\n"
        "def register_trackers(): return [Entry('dying', 'dying:Dying', 'Dies once.', 'dying:Settings')]\n"
        "class Settings(Config): pass\n"
    )
    command = [sys.executable, "-m", "registry.cli", "--plugin", str(plugin), "sweep", "rl2-bandit", *FEW]
    command += ["agent.learning_rate=1e-3,4e-3", "--seeds", "0-1", "--workers", "2", 'trackers=["jsonl", "dying"]']
    command += ["--run", str(tmp_path / "sweep")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "once").exists()
    assert digests(SweepDirectory(tmp_path / "sweep")) == digests(whole)
    assert "rl2-bandit (agent.learning_rate=0.004)" in done.stdout
    assert (tmp_path / "sweep" / "comparison.html").exists()


@pytest.mark.slow
def test_killed_twice_it_goes_on(whole, tmp_path):
    place = SweepDirectory(tmp_path / "sweep")
    command = [sys.executable, "-m", "registry.cli", "sweep", "rl2-bandit", *FEW, "agent.learning_rate=1e-3,4e-3"]
    command += ["--seeds", "0-1", "--workers", "1", "--run", str(place.path)]
    for wanted, number in ((1, signal.SIGKILL), (2, signal.SIGINT)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while len(list(place.path.glob("finished/*.json"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if number == signal.SIGINT else -number), err
    done = {file: file.stat().st_mtime_ns for file in place.path.glob("finished/*.json")}
    assert 2 <= len(done) < 4
    last = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert last.returncode == 0, last.stderr
    assert f"{len(done)} of 4 runs are finished and kept" in last.stderr
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert digests(place) == digests(whole)


@pytest.mark.slow
def test_a_worker_that_dies_again_is_told_and_the_others_are_finished(tmp_path, monkeypatch):
    crew = Processes(1, FOREVER)
    monkeypatch.setattr(sweeps, "one_run", _dies_with_seed_one)
    place = SweepDirectory(tmp_path / "sweep")
    with pytest.raises(UserError, match=r"2 of 4 runs are not finished(?s:.)*and 1 more: its worker died, 2 times"):
        carry_out(small(), place, crew, Screen(), "again")
    crew.close()


def _dies_with_seed_one(settings, place, name):
    import os

    if "seed=1" in name:
        os._exit(3)


@pytest.mark.slow
def test_over_a_local_ray_they_are_the_same(whole, tmp_path):
    pytest.importorskip("ray")
    words = ["sweep", "rl2-bandit", *FEW, "agent.learning_rate=1e-3,4e-3", "--seeds", "0-1", "--workers", "2"]
    place = SweepDirectory(tmp_path / "sweep")
    assert main([*words, "--ray", "local", "--run", str(place.path)]) == 0
    assert digests(place) == digests(whole)
    logged = [
        [
            {k: v for k, v in json.loads(line)["metrics"].items() if not k.startswith("time/") and k != "charts/SPS"}
            for line in file.read_text().splitlines()
        ]
        for root in (place, whole)
        for file in sorted(root.path.glob("runs/*/metrics.jsonl"))
    ]
    assert logged[:4] == logged[4:]
