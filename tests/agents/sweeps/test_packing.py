"""Packs: a run that was sent round is judged and reported as before, and what is no pack of ours is refused by name."""

import json
import shutil
import stat
import zipfile

import pytest

from agents.sweeps import packing
from agents.training.judge import evaluate_run
from agents.training.run import RunDirectory
from registry.cli import main
from registry.errors import CheckpointError, ConfigError, UserError
from taskgen import seals
from tests.agents.training.test_loop import QUICK


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("packing") / "run"
    assert main(["train", "rl2-bandit", *QUICK, "evaluation.tail=0", "--run", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory):
    file = tmp_path_factory.mktemp("packs") / "run.zip"
    packing.pack(run, file)
    return file


def test_what_was_packed_is_judged_and_reported_as_before(run, packed, tmp_path, capsys):
    assert main(["unpack", str(packed), "--run", str(tmp_path / "there")]) == 0
    there = RunDirectory(tmp_path / "there")
    assert "taskgen evaluate" in capsys.readouterr().out
    assert evaluate_run(there) == evaluate_run(RunDirectory(run))
    assert main(["report", str(there.path), "-o", str(tmp_path / "again.html")]) == 0


def test_a_pack_holds_the_newest_checkpoint_and_no_code(packed, run):
    names = set(zipfile.ZipFile(packed).namelist())
    assert {
        "pack.json",
        "config.toml",
        "report.html",
        "evaluation.json",
        "evaluation.safetensors",
        "metrics.jsonl",
    } < names
    assert {name.partition("/")[2] for name in names if "/" in name} == {
        f"000000006/{file}" for file in ("manifest.json", "state.json", "tensors.safetensors")
    }
    assert {name.rpartition(".")[2] for name in names} <= {
        "json",
        "jsonl",
        "toml",
        "safetensors",
        "sqlite",
        "sqlite-wal",
        "html",
    }
    manifest = seals.loaded(zipfile.ZipFile(packed).read("pack.json"))
    assert manifest["files"]["config.toml"]["size"] == (run / "config.toml").stat().st_size


def test_the_same_run_makes_the_same_pack(run, packed, tmp_path):
    assert main(["pack", str(run), "-o", str(tmp_path / "again.zip")]) == 0
    first, second = (
        dict(seals.loaded(zipfile.ZipFile(each).read("pack.json"))["files"])
        for each in (packed, tmp_path / "again.zip")
    )
    del (
        first["evaluation.json"],
        second["evaluation.json"],
        first["evaluation.safetensors"],
        second["evaluation.safetensors"],
    )
    assert first == second


def test_a_run_that_is_not_trained_or_judged_is_not_packed(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "evaluation.json").unlink()
    with pytest.raises(UserError, match="is not judged yet: `taskgen evaluate"):
        packing.pack(copy, tmp_path / "x.zip")
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(UserError, match="no intact checkpoint to pack"):
        packing.pack(copy, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_a_run_that_is_there_is_not_replaced(packed, run):
    with pytest.raises(UserError, match="already holds a run"):
        packing.unpack(packed, run)


def rewritten(packed, file, change):
    """`packed` as `file`, after `change(members, facts)`; pack.json then says what is there."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("pack.json"))
    change(members, manifest["files"])
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pack.json", json.dumps(seals.sealed(manifest)))
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def refused(file, tmp_path, said):
    with pytest.raises(CheckpointError, match=said):
        packing.unpack(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*.staging"))


@pytest.mark.parametrize(
    "name",
    [
        "/config.toml",
        "../config.toml",
        "checkpoints/../config.toml",
        "C:\\config.toml",
        "notes.txt",
        "artefacts/.x",
        "lock",
    ],
)
def test_names_that_no_run_has_are_refused(name, packed, tmp_path):
    def add(members, facts):
        members[name] = b"harmless"
        facts[name] = facts["config.toml"]

    refused(rewritten(packed, tmp_path / "p.zip", add), tmp_path, "refused: .*: no run has a file of that name")


def test_what_is_too_large_is_refused(packed, tmp_path, monkeypatch):
    with zipfile.ZipFile(packed) as archive:
        whole = sum(member.file_size for member in archive.infolist())
    monkeypatch.setenv("TASKGEN_PACK_BYTES", str(whole - 1))
    refused(packed, tmp_path, f"its files have {whole:,} bytes, more than {whole - 1:,}. Raise TASKGEN_PACK_BYTES")
    monkeypatch.setenv("TASKGEN_PACK_BYTES", str(whole))
    packing.unpack(packed, tmp_path / "new")


def test_what_is_left_out_is_said(packed, tmp_path, capsys):
    packing.unpack(packed, tmp_path / "run")
    (tmp_path / "run" / "lines.txt").write_text("of a tracker")
    assert main(["pack", str(tmp_path / "run"), "-o", str(tmp_path / "again.zip")]) == 0
    assert "Left out, since no command reads it: lines.txt" in capsys.readouterr().out
    assert main(["unpack", str(tmp_path / "again.zip"), "--run", str(tmp_path / "run")]) == 2
    assert "already holds a run: choose another directory" in capsys.readouterr().err


def test_a_budget_that_is_no_number_is_told(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKGEN_PACK_BYTES", "4 GiB")
    with pytest.raises(ConfigError, match="TASKGEN_PACK_BYTES = '4 GiB': expected a whole number, 1 or more"):
        packing.unpack(packed, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_too_many_files_are_refused(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MEMBERS", 3)
    refused(packed, tmp_path, "files, more than 3")


def test_other_content_than_the_hashes_say_is_refused(packed, tmp_path):
    def swap(members, facts):
        members["config.toml"] = members["config.toml"].replace(b"1", b"2", 1)

    refused(rewritten(packed, tmp_path / "p.zip", swap), tmp_path, "'config.toml': it is not the file that pack.json")

    def shorten(members, facts):
        members["report.html"] = members["report.html"][:-1]

    refused(rewritten(packed, tmp_path / "q.zip", shorten), tmp_path, "'report.html': it is not the file")

    def lengthen(members, facts):
        members["report.html"] += b" "

    refused(rewritten(packed, tmp_path / "r.zip", lengthen), tmp_path, "'report.html': it has .* bytes, more than")


def test_missing_and_unnamed_files_are_refused(packed, tmp_path):
    refused(
        rewritten(packed, tmp_path / "p.zip", lambda members, _: members.pop("metrics.jsonl")),
        tmp_path,
        "'metrics.jsonl': it is missing",
    )
    refused(
        rewritten(packed, tmp_path / "q.zip", lambda _, facts: facts.pop("metrics.jsonl")),
        tmp_path,
        "'metrics.jsonl': pack.json does not name it",
    )


def test_a_damaged_manifest_another_version_and_other_files_are_refused(packed, tmp_path):
    for manifest, said in (
        ({"format": "other", "version": 1, "files": {}}, "it is not one of ours"),
        ({"format": packing.FORMAT, "version": 2, "files": {}}, "is a pack of version 2; this taskgen reads version 1"),
        ({"format": packing.FORMAT, "version": 1, "files": {"config.toml": {"size": 1}}}, "'pack.json': it is damaged"),
    ):
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
            archive.writestr("pack.json", json.dumps(seals.sealed(manifest)))
        refused(tmp_path / "p.zip", tmp_path, said)
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("config.toml", "")
    refused(tmp_path / "p.zip", tmp_path, "is no pack: it has no pack.json")
    (tmp_path / "p.zip").write_text("no zip")
    refused(tmp_path / "p.zip", tmp_path, "is no pack, or damaged")
    with pytest.raises(UserError, match="cannot be read"):
        packing.read(tmp_path / "absent.zip")


def test_links_and_files_that_are_there_twice_are_refused(packed, tmp_path, recwarn):
    for twice in (False, True):
        shutil.copy(packed, tmp_path / "p.zip")
        with zipfile.ZipFile(tmp_path / "p.zip", "a") as archive:
            member = zipfile.ZipInfo("config.toml" if twice else "highlights.jsonl")
            member.external_attr = ((stat.S_IFREG if twice else stat.S_IFLNK) | 0o644) << 16
            archive.writestr(member, "report.html")
        refused(tmp_path / "p.zip", tmp_path, "it is there twice" if twice else "it is no plain file")


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_damage_anywhere_is_told(place, packed, tmp_path):
    data = bytearray(packed.read_bytes())
    data[int(len(data) * place)] ^= 0x55
    (tmp_path / "p.zip").write_bytes(data)
    refused(tmp_path / "p.zip", tmp_path, "p.zip is")


def test_a_disk_that_refuses_leaves_nothing(packed, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "write_durably", full)
    with pytest.raises(UserError, match=r"new cannot hold the run \(No space left on device\)"):
        packing.unpack(packed, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
