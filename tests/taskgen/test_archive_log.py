"""What a killed writer has left in SQLite's log, and the marks beside an archive's rows."""

import logging
import random
import shutil
from pathlib import Path

import pytest

from plugins.families.bandit import Bandit, BanditConfig
from registry.errors import TaskError
from taskgen import archive as archive_module
from taskgen import wal
from taskgen.archive import Archive

FAMILY = Bandit(BanditConfig(arms=2), name="builtin/bandit")
SPECS = [FAMILY.spec({"probabilities": [0.5, seed / 10]}, seed=seed) for seed in range(6)]


def left(folder: Path, *, twice: bool) -> Path:
    """An archive as a writer leaves it that is killed after three transactions; with `twice`, in a log used before."""
    path = folder / "archive.sqlite"
    with Archive(path, write=True) as writer:
        if twice:
            writer.add(SPECS[:3], generator="first", scores={"x": 1.0})
            writer._connection().execute("PRAGMA wal_checkpoint(RESTART)")
        writer.add(SPECS[3:4], generator="g", split="train")
        writer.add(SPECS[4:5], generator="g", split="held-out")
        writer.add_scores({SPECS[4].id: {"y": 2.0}})
        for end in ("", "-wal", ".lock"):
            shutil.copy(f"{path}{end}", folder / f"left.sqlite{end}")
    return folder / "left.sqlite"


def read(path: Path) -> list[object]:
    archive_module._remark_lost.cache_clear()
    with Archive(path) as archive:
        return list(archive.records())


@pytest.mark.parametrize("twice", [False, True])
def test_a_log_that_is_whole_is_read_without_a_word(tmp_path: Path, caplog, twice: bool) -> None:
    path = left(tmp_path, twice=twice)
    assert wal.damage(path.with_name("left.sqlite-wal")) == ""
    assert [record.scores for record in read(path)][-1] == {"y": 2.0}
    assert caplog.text == ""


@pytest.mark.parametrize("twice", [False, True])
def test_a_flipped_bit_in_the_log_is_told_or_takes_nothing_away(tmp_path: Path, caplog, twice: bool) -> None:
    path = left(tmp_path, twice=twice)
    log = path.with_name("left.sqlite-wal").read_bytes()
    whole, rng, missing = read(path), random.Random(0), 0
    frames = range(32, len(log), 24 + 4096)
    heads = [start + byte for start in (0, *frames) for byte in range(24)]
    for place in (*heads, *(rng.randrange(len(log)) for _ in range(60))):
        copy = tmp_path / "copy" / "left.sqlite"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        flipped = bytearray(log)
        flipped[place] ^= 1 << rng.randrange(8)
        copy.with_name("left.sqlite-wal").write_bytes(flipped)
        caplog.clear()
        try:
            found = read(copy)
        except TaskError:
            found = None
        if found is not None and found != whole:
            missing += 1
            assert "left.sqlite-wal is damaged" in caplog.text, place
        shutil.rmtree(copy.parent)
    assert missing > len(heads) / 4


@pytest.mark.parametrize("kept", [None, 0, 20, 5000, -1])
def test_a_log_that_is_gone_or_cut_is_told(tmp_path: Path, caplog, kept: int | None) -> None:
    """Also for who writes next, and no more once the archive was closed."""
    path = left(tmp_path, twice=False)
    log = path.with_name("left.sqlite-wal")
    data = log.read_bytes()
    log.unlink()
    if kept is not None:
        log.write_bytes(data[:kept])
    for write in (False, True):
        caplog.clear()
        archive_module._remark_lost.cache_clear()
        with Archive(path, write=write):
            assert f"{log} is damaged (it is cut short)" in caplog.text
    caplog.clear()
    read(path)
    assert caplog.text == ""


def test_a_transaction_that_was_never_stored_is_not_missed(tmp_path: Path) -> None:
    """Killed while a frame was written: half of it is there, or a frame of an earlier course behind its head."""
    path = left(tmp_path, twice=False)
    log = path.with_name("left.sqlite-wal")
    data = log.read_bytes()
    log.write_bytes(data + data[-4120:-100])
    assert wal.damage(log) == ""
    log.write_bytes(data + b"\0" * 4120)
    assert wal.damage(log) == ""
    for cut in (1, 20):
        log.write_bytes(data[:cut])
        assert wal.damage(log) == "it is cut short"


def test_a_log_that_is_being_written_is_not_judged(tmp_path: Path, caplog) -> None:
    path = left(tmp_path, twice=False)
    log = path.with_name("left.sqlite-wal")
    data = bytearray(log.read_bytes())
    data[5000] ^= 1
    log.write_bytes(data)
    lock = archive_module._lock(path)
    with caplog.at_level(logging.WARNING):
        read(path)
        assert caplog.text == ""
        lock.close()
        read(path)
    assert "what was stored last is lost, all before is read" in caplog.text


def test_marks_are_kept_beside_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    with Archive(path, write=True) as archive:
        archive.add(SPECS[:2], generator="g")
        archive.mark("highlights.jsonl", 4)
        archive.mark("highlights.jsonl", 8, "x")
    with Archive(path) as archive:
        assert archive.marks() == {"highlights.jsonl": (8, "x")}
        assert len(list(archive.records())) == 2


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    for owner in ("a", "b", ""):
        with Archive(tmp_path / owner / "archive.sqlite", write=True, of=owner) as archive:
            archive.add(SPECS[:1], generator="g")
    for owner, others in {"a": ("a", ""), "b": ("b", ""), "": ("a", "b", "")}.items():
        for of in ("a", "b", ""):
            path = tmp_path / owner / "archive.sqlite"
            if of in others:
                with Archive(path, of=of) as archive:
                    assert len(list(archive.records())) == 1
                with Archive(path, write=True, of=of):
                    pass
            else:
                for write in (False, True):
                    with pytest.raises(TaskError, match="is the archive of another run: put the one back that belongs"):
                        Archive(path, of=of, write=write)
