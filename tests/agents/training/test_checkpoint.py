"""Checkpoints: whole or not at all, every damage seen, never a half written one."""

import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.training import checkpoint
from registry.errors import CheckpointError


def make_tree(value: float = 0.5) -> dict:
    model = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(model.weight, value)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    rng = np.random.Generator(np.random.PCG64(1))
    return {
        "agent": {"model": model.state_dict(), "optimizer": optimizer.state_dict()},
        "source": {"rng": rng.bit_generator.state, "done": (1, "two"), "scores": rng.random(3)},
        "empty": torch.zeros(0, 4),
        "flag": torch.tensor(True),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "best": float("-inf"),
    }


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def resign(path: Path, change: Callable[[dict], object]) -> None:
    """Rewrite the manifest with a valid digest, as somebody who means harm would."""
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    manifest["digest"] = hashlib.sha256(
        checkpoint._json({key: value for key, value in manifest.items() if key != "digest"})
    ).hexdigest()
    (path / "manifest.json").write_bytes(checkpoint._json(manifest))


def test_round_trip_resumes_an_optimizer(tmp_path: Path) -> None:
    tree = make_tree()
    path = checkpoint.save(tmp_path / "checkpoints", tree, iteration=12)
    back = checkpoint.load(path)
    assert path == tmp_path / "checkpoints" / "000000012"
    assert sorted(contents(path)) == ["manifest.json", "state.json", "tensors.safetensors"]
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model.load_state_dict(back["agent"]["model"])
    optimizer.load_state_dict(back["agent"]["optimizer"])
    assert torch.equal(model.weight, tree["agent"]["model"]["weight"])
    assert back["agent"]["optimizer"]["state"].keys() == {0, 1}
    assert back["source"]["rng"] == tree["source"]["rng"]
    assert back["source"]["done"] == (1, "two")
    assert back["empty"].shape == (0, 4)
    assert back["flag"].shape == ()
    assert back["flag"].item() is True
    assert back["half"].dtype == torch.bfloat16
    assert back["best"] == float("-inf")
    back["source"]["scores"] += 1  # arrays and tensors are ours to write to
    back["half"].zero_()


def test_equal_trees_give_equal_bytes(tmp_path: Path) -> None:
    first = checkpoint.save(tmp_path / "a", make_tree(), iteration=3)
    again = checkpoint.save(tmp_path / "b", dict(reversed(make_tree().items())), iteration=3)
    assert contents(first) == contents(again)
    assert contents(first) == contents(checkpoint.save(tmp_path / "c", checkpoint.load(first), iteration=3))


def test_every_flipped_byte_is_seen_and_nothing_is_changed(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, make_tree(), iteration=1)
    whole = contents(path)
    rng = np.random.Generator(np.random.PCG64(5))
    places = [(name, i) for name, data in sorted(whole.items()) for i in range(len(data))]
    for place in rng.choice(len(places), size=400, replace=False):
        name, position = places[place]
        damaged = bytearray(whole[name])
        damaged[position] ^= 1 << int(rng.integers(8))
        (path / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"000000001 was refused: .*Nothing in it was changed"):
            checkpoint.load(path)
        assert (path / name).read_bytes() == bytes(damaged)
        (path / name).write_bytes(whole[name])
    checkpoint.load(path)


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_truncated_long_missing_and_linked_files_are_refused(tmp_path: Path, name: str) -> None:
    path = checkpoint.save(tmp_path, make_tree(), iteration=1)
    data = (path / name).read_bytes()
    for wrong in (b"", data[:1], data[: len(data) // 2], data[:-1], data + b" "):
        (path / name).write_bytes(wrong)
        with pytest.raises(CheckpointError, match=name):
            checkpoint.load(path)
    (path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=f"no regular file {name}"):
        checkpoint.load(path)
    (tmp_path / "elsewhere").write_bytes(data)
    (path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=f"no regular file {name}"):
        checkpoint.load(path)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(CheckpointError, match=f"no regular file {name}"):
        checkpoint.load(path)


def test_missing_foreign_and_newer_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        checkpoint.load(tmp_path / "gone")
    path = checkpoint.save(tmp_path, make_tree(), iteration=1)
    resign(path, lambda manifest: manifest.update(format="somebody-else"))
    with pytest.raises(CheckpointError, match="its format is 'somebody-else'"):
        checkpoint.load(path)
    resign(path, lambda manifest: manifest.update(format=checkpoint.FORMAT, version=checkpoint.VERSION + 1))
    with pytest.raises(CheckpointError, match=r"version 2; this taskgen reads version 1\. Use"):
        checkpoint.load(path)
    for text in ("[]", "null", '{"format": 1}', "[" * 60_000, "\xff", '{"a": ' + "9" * 5000 + "}"):
        (path / "manifest.json").write_text(text)
        with pytest.raises(CheckpointError, match="damaged or not one of ours"):
            checkpoint.load(path)


@pytest.mark.parametrize(
    "state",
    ["[1]", "[" * 100_000, '{"a": {"$tensor": "/gone"}}', '{"a": {"$array": []}}', '{"a": {"$items": 3}}', "\x00"],
)
def test_a_well_signed_state_that_makes_no_sense_is_refused(tmp_path: Path, state: str) -> None:
    path = checkpoint.save(tmp_path, make_tree(), iteration=1)
    (path / "state.json").write_text(state)
    digest = hashlib.sha256(state.encode()).hexdigest()
    resign(path, lambda manifest: manifest["files"].update({"state.json": {"sha256": digest, "size": len(state)}}))
    with pytest.raises(CheckpointError, match="makes no sense"):
        checkpoint.load(path)


def test_a_manifest_cannot_name_other_files(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, make_tree(), iteration=1)
    resign(path, lambda manifest: manifest.update(files={"../../secret": {"sha256": "", "size": 1}}))
    with pytest.raises(CheckpointError, match=r"does not list tensors\.safetensors"):
        checkpoint.load(path)
    resign(path, lambda manifest: manifest.update(files={"tensors.safetensors": {"sha256": "", "size": "1"}}))
    with pytest.raises(CheckpointError, match=r"gives tensors\.safetensors the size '1'"):
        checkpoint.load(path)


def test_latest_skips_staging_and_damaged_ones_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    for iteration in (5, 10, 15, 20):
        checkpoint.save(tmp_path, make_tree(iteration), iteration=iteration)
    (tmp_path / ".staging").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "000000020" / "state.json").write_text("{}")
    shutil.rmtree(tmp_path / "000000015")
    (tmp_path / "000000015").mkdir()
    with caplog.at_level(logging.WARNING, "agents.training.checkpoint"):
        assert checkpoint.latest(tmp_path) == tmp_path / "000000010"
    assert len(caplog.records) == 2
    assert "000000020" in caplog.text
    assert "000000015" in caplog.text


def test_prune_counts_intact_checkpoints_only(tmp_path: Path) -> None:
    for iteration in range(6):
        checkpoint.save(tmp_path, make_tree(iteration), iteration=iteration)
    (tmp_path / "000000005" / "state.json").write_text("{}")
    checkpoint.prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000003", "000000004", "000000005"]
    checkpoint.prune(tmp_path, keep=3)  # only two are intact: nothing goes
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(ValueError, match="keep = 0"):
        checkpoint.prune(tmp_path, keep=0)


def test_saving_an_iteration_again_replaces_it(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, make_tree(1.0), iteration=4)
    inode = path.stat().st_ino
    assert checkpoint.save(tmp_path, make_tree(1.0), iteration=4).stat().st_ino == inode  # equal: left alone
    checkpoint.save(tmp_path, make_tree(2.0), iteration=4)
    assert checkpoint.load(path)["agent"]["model"]["weight"].mean() > 1.5
    assert [entry.name for entry in tmp_path.iterdir()] == ["000000004"]


def test_what_cannot_be_stored_is_a_checkpoint_error(tmp_path: Path) -> None:
    circle: dict = {}
    circle["itself"] = circle
    for tree, message in (
        ({"a": object()}, "/a: a value of type object"),
        ({"a": 10**5000}, "4300 digits"),
        (circle, "recursion"),
    ):
        with pytest.raises(CheckpointError, match=message):
            checkpoint.save(tmp_path, tree, iteration=1)
    assert list(tmp_path.iterdir()) == []


def test_disk_full_at_any_moment_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = checkpoint.save(tmp_path, make_tree(), iteration=1)
    before = contents(good)
    calls, fail_at = 0, 0

    def failing(real: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(Path, "mkdir", failing(Path.mkdir))
    monkeypatch.setattr(Path, "open", failing(Path.open))
    monkeypatch.setattr(Path, "rename", failing(Path.rename))
    refused = []
    for fail_at in range(1, 40):  # noqa: B007 (read by `call`)
        calls = 0
        try:
            checkpoint.save(tmp_path, make_tree(2.0), iteration=2)
            break
        except CheckpointError as error:
            refused.append(str(error))
        assert contents(good) == before
        assert checkpoint.latest(tmp_path) is not None
        shutil.rmtree(tmp_path / "000000002", ignore_errors=True)  # there only if the last fsync failed
        assert [entry.name for entry in tmp_path.iterdir()] == ["000000001"]
    monkeypatch.undo()
    assert len(refused) == 11  # 2 mkdir, 3 x (open, fsync), fsync staging, rename, fsync parent
    assert all("No space left on device" in message for message in refused)
    checkpoint.load(tmp_path / "000000002")


KILLING = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from agents.training import checkpoint

torch.set_num_threads(1)
directory = Path(sys.argv[1])
chance = random.Random(0)
seen = 0
for round in range(20):
    child = os.fork()
    if child == 0:
        iteration = 10 * round
        while True:
            tree = {"weight": torch.full((20_000,), float(iteration)), "iteration": iteration}
            checkpoint.save(directory, tree, iteration=iteration)
            checkpoint.prune(directory, keep=3)
            checkpoint.save(directory, tree | {"again": True}, iteration=iteration)
            iteration += 1
    time.sleep(chance.uniform(0.02, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for path in sorted(directory.glob("[0-9]*")):
        tree = checkpoint.load(path)
        assert tree["weight"].unique().tolist() == [tree["iteration"]] == [int(path.name)]
        seen += 1
print(seen)
"""


def test_kill_at_any_moment_never_leaves_a_corrupt_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLING, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20
