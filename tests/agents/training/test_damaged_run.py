"""What a command reads of a run: bits flipped in it, pipes in its place, places that cannot be written."""

import json
import os
import random
import re
import shutil
from contextlib import contextmanager

import pytest

from agents.training.judge import NotKept, evaluate_run
from agents.training.loop import train
from agents.training.records import read_lines, read_record
from agents.training.run import RunDirectory
from registry.cli import main
from registry.errors import CheckpointError, UserError
from tests.agents.training.test_loop import Quiet, start
from tests.places import as_nobody, open_to_all


@pytest.mark.parametrize(
    "name", ["evaluation.json", "evaluations.jsonl", "metrics.jsonl", "provenance.json", "evaluation.safetensors"]
)
def test_flipped_bits_are_told_by_file_or_change_no_figure(finished_run, tmp_path, name):
    """What a report reads. Times are in no figure of it, but they are told all the same."""
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(finished_run.path, run.path)
    record = read_record(run.path)
    expected = {player: record.played("held-out", player).tolist() for player in ("rl2", "random", "greedy")}
    rng, good, told = random.Random(5), (run.path / name).read_bytes(), list[str]()
    for _ in range(60):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (run.path / name).write_bytes(data)
        try:
            found = read_record(run.path)
            assert {player: found.played("held-out", player).tolist() for player in expected} == expected
        except CheckpointError as error:
            told.append(str(error))
        else:
            same = ("config", "provenance", "checkups", "evaluation", "specs")
            changed = [field for field in same if getattr(found, field) != getattr(record, field)]
            assert (changed, found.returns.tolist(), found.steps.tolist()) == (
                [],
                record.returns.tolist(),
                record.steps.tolist(),
            )
    assert len(told) > 50
    assert all(str(run.path / name) in text for text in told)


@pytest.mark.parametrize("name", ["evaluation.json", "provenance.json"])
def test_an_object_that_has_lost_its_digest_is_no_old_one(finished_run, tmp_path, name):
    shutil.copytree(finished_run.path, tmp_path / "run")
    file = tmp_path / "run" / name
    file.write_text(file.read_text().replace('"digest"', '"eigest"'))
    with pytest.raises(CheckpointError, match=f"{name} is damaged: its digest is missing"):
        read_record(tmp_path / "run")


def test_a_run_goes_on_only_from_lines_that_are_whole(finished_run, tmp_path):
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(finished_run.path, run.path)
    file = run.path / "evaluations.jsonl"
    file.write_text(file.read_text().replace('"iteration": 4', '"iteration": 5'))
    with pytest.raises(CheckpointError, match=r"evaluations.jsonl is damaged: line 2: its content does not match"):
        train(run.open(), run, Quiet())


@pytest.mark.parametrize(("name", "last"), [("metrics.jsonl", 5), ("metrics.jsonl", 1), ("evaluations.jsonl", 4)])
def test_lines_that_are_gone_from_an_end_are_told(finished_run, tmp_path, caplog, name, last):
    run = tmp_path / "run"
    shutil.copytree(finished_run.path, run)
    read_record(run)
    assert caplog.text == ""
    lines = (run / name).read_text().splitlines(keepends=True)
    (run / name).write_text("".join(lines[: last if name == "metrics.jsonl" else last // 2]))
    read_record(run)
    (told,) = caplog.records
    assert told.getMessage().startswith(
        f"{run / name} ends at iteration {last} of 6: what is drawn of it lacks its end"
    )


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl"])
def test_lines_of_another_run_are_told(finished_run, tmp_path, name):
    """Whole and sound, of the same length: but not of this run."""
    plan, other = start(tmp_path / "run", "seed=4")
    assert train(plan, other, Quiet())
    evaluate_run(other)
    read_record(other.path)
    shutil.copy(finished_run.path / name, other.path / name)
    with pytest.raises(CheckpointError, match=f"{name} is damaged: line 1: its content does not match its digest"):
        read_record(other.path)


def test_the_evaluation_of_another_run_is_told(finished_run, tmp_path):
    plan, other = start(tmp_path / "other", "seed=5")
    train(plan, other, Quiet())
    evaluate_run(other)
    for name in ("evaluation.json", "evaluation.safetensors"):
        shutil.copytree(finished_run.path, tmp_path / name)
        shutil.copy(other.path / "evaluation.json", tmp_path / name)
        if "safetensors" in name:  # both of them
            shutil.copy(other.path / name, tmp_path / name)
        with pytest.raises(
            CheckpointError, match=r"evaluation.json cannot be read \(it is that of another run\): write"
        ):
            read_record(tmp_path / name)
    evaluate_run(RunDirectory(tmp_path / name))
    read_record(tmp_path / name)


def test_the_archive_of_another_run_is_told(finished_run, tmp_path):
    plan, other = start(tmp_path / "run", "seed=4")
    assert train(plan, other, Quiet())
    evaluate_run(other)
    shutil.copy(finished_run.archive, other.archive)
    with pytest.raises(CheckpointError, match=r"archive.sqlite is the archive of another run"):
        read_record(other.path)
    with pytest.raises(UserError, match=r"archive.sqlite is the archive of another run"):
        evaluate_run(other)


@pytest.mark.parametrize(("kept", "said"), [(0, "is missing or empty"), (1, "ends at iteration 2 of 6")])
def test_evaluations_that_are_gone_are_told_when_a_run_goes_on(finished_run, tmp_path, caplog, kept, said):
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(finished_run.path, run.path)
    file = run.path / "evaluations.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:kept]) + lines[kept][:9]) if kept else file.unlink()
    assert train(run.open(), run, Quiet())
    assert f"{file} {said}" in caplog.text
    assert [line["iteration"] for line in read_lines(run.path, "evaluations.jsonl")] == [*[2, 4, 6][:kept], 6]


def test_lines_are_read_by_everybody(finished_run):
    """Beside the digest each is what it was: a line of a table for pandas, which has a column more."""
    lines = [json.loads(line) for line in (finished_run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [set(line) for line in lines] == [{"step", "time", "metrics", "digest"}] * 6
    assert [line["iteration"] for line in read_lines(finished_run.path, "evaluations.jsonl")] == [2, 4, 6]


@contextmanager
def suppress_into(told: list[str]):
    """What a `UserError` says, if there is one."""
    try:
        yield
    except UserError as error:
        told.append(str(error))


READ_BY_A_REPORT = ["provenance.json", "metrics.jsonl", "evaluations.jsonl", "evaluation.json", "archive.sqlite"]


@pytest.mark.parametrize("name", ["config.toml", "evaluation.safetensors", "checkpoints", "lock", *READ_BY_A_REPORT])
def test_a_pipe_in_a_run_directory_is_not_waited_for(finished_run, tmp_path, name):
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(finished_run.path, run.path)
    path = run.path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    os.mkfifo(path)
    attempts = [lambda: read_record(run.path).played("held-out", "rl2"), lambda: evaluate_run(run)]
    attempts.append(lambda: train(run.open(), run, Quiet()))
    told: list[str] = []
    for attempt in attempts:
        with suppress_into(told):
            attempt()
    assert told or name == "checkpoints"
    assert all(re.search(rf"{name}|{run.path}", text) for text in told)


def test_evaluate_prints_what_a_run_that_cannot_be_written_does_not_keep(finished_run, capsys):
    with open_to_all() as folder:
        shutil.copytree(finished_run.path, folder / "run")
        before = (folder / "run" / "evaluation.json").read_bytes()
        (folder / "run").chmod(0o555)
        with as_nobody():
            assert main(["evaluate", str(folder / "run")]) == 2
            out, err = capsys.readouterr()
            assert "held-out: 32 tasks" in out
            assert "rl2" in out
            assert "run could not keep this evaluation (Permission denied)" in err
            with pytest.raises(NotKept) as caught:
                evaluate_run(RunDirectory(folder / "run"))
            with pytest.raises(UserError, match="cannot be written"):
                train(RunDirectory(folder / "run").open(), RunDirectory(folder / "run"), Quiet())
        assert set(caught.value.summary["sets"]["held-out"]["players"]) == {"rl2", "random", "greedy"}
        assert (folder / "run" / "evaluation.json").read_bytes() == before
        (folder / "run").chmod(0o755)
