"""The archive: provenance, splits, one writer, and files that are damaged or not archives."""

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.families.bandit import Bandit, BanditConfig
from registry.errors import TaskError
from taskgen import archive as archive_module
from taskgen.archive import Archive
from taskgen.spec import TaskSpec
from taskgen.taskset import TaskSet

FAMILY = Bandit(BanditConfig(arms=2), name="builtin/bandit")
SPECS = [FAMILY.spec({"probabilities": [0.5, seed / 10]}, seed=seed) for seed in range(10)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive of three generations: tasks 0 and 1, their child 2, its child 3."""
    path = tmp_path / "archive.sqlite"
    with Archive(path, write=True) as archive:
        archive.add(SPECS[:2], generator="builtin/domain-randomization", version="1.0", split="train")
        archive.add([SPECS[2]], generator="mutation", parents=[SPECS[0].id, SPECS[1].id], generation=1, scores={"x": 1})
        archive.add([SPECS[3]], generator="mutation", parents=[SPECS[2].id], generation=2)
    return path


def test_records_come_back_in_order(path: Path) -> None:
    with Archive(path) as archive:
        records = list(archive.records())
    assert [record.spec for record in records] == SPECS[:4]
    assert [record.generation for record in records] == [0, 0, 1, 2]
    assert records[0].split == "train"
    assert (records[0].generator, records[0].version) == ("builtin/domain-randomization", "1.0")
    assert records[2].parents == (SPECS[0].id, SPECS[1].id)
    assert records[2].scores == {"x": 1.0}


def test_records_by_split_and_generator(path: Path) -> None:
    with Archive(path) as archive:
        assert [record.spec for record in archive.records(split="train")] == SPECS[:2]
        assert [record.spec for record in archive.records(generator="mutation")] == SPECS[2:4]
        assert list(archive.records(split="train", generator="mutation")) == []
        assert archive.splits() == {None: 2, "train": 2}


def test_lineage_is_nearest_first(path: Path) -> None:
    with Archive(path) as archive:
        ids = [record.spec.id for record in archive.lineage(SPECS[3].id)]
    assert ids == [SPECS[3].id, SPECS[2].id, SPECS[0].id, SPECS[1].id]


def test_get_names_what_is_missing(path: Path) -> None:
    with Archive(path) as archive:
        assert archive.get(SPECS[1].id).spec == SPECS[1]
        with pytest.raises(TaskError, match="task 'nothing' is not among the 4 tasks of"):
            archive.get("nothing")


def test_adding_again_keeps_the_first_provenance(path: Path) -> None:
    with Archive(path, write=True) as archive:
        assert archive.add(SPECS[:5], generator="other") == 1
        assert archive.get(SPECS[0].id).generator == "builtin/domain-randomization"
        assert archive.get(SPECS[0].id).split == "train"
        assert archive.check() == []


def test_a_task_is_in_one_split_only_and_nothing_is_half_added(path: Path) -> None:
    with Archive(path, write=True) as archive:
        with pytest.raises(TaskError, match=f"task {SPECS[0].id} is in split 'train' and cannot also be in 'held-out'"):
            archive.add([*SPECS[5:8], SPECS[0]], generator="g", split="held-out")
        assert len(list(archive.records())) == 4
        archive.add([SPECS[2]], generator="g", split="held-out")  # had none
        assert archive.get(SPECS[2].id).split == "held-out"
        assert archive.get(SPECS[2].id).scores == {"x": 1.0}
        assert [record.spec for record in archive.records()] == SPECS[:4]


def test_parents_must_be_there(path: Path) -> None:
    with Archive(path, write=True) as archive, pytest.raises(TaskError, match="parent 'nobody' is not in"):
        archive.add([SPECS[5]], generator="g", parents=["nobody"])


def test_the_latest_score_counts(path: Path) -> None:
    with Archive(path, write=True) as archive:
        archive.add_scores({SPECS[0].id: {"regret": 0.5, "x": 1}}, step=10)
        archive.add_scores({SPECS[0].id: {"regret": 0.25}}, step=20)
        archive.add_scores({SPECS[0].id: {"regret": 0.75}}, step=5)
        assert archive.get(SPECS[0].id).scores == {"regret": 0.25, "x": 1.0}
        with pytest.raises(TaskError, match="expected a finite number"):
            archive.add_scores({SPECS[0].id: {"x": 2.0}, SPECS[1].id: {"regret": float("nan")}}, step=30)
        assert archive.get(SPECS[0].id).scores["x"] == 1.0
        with pytest.raises(TaskError, match="task 'nobody' is not in"):
            archive.add_scores({"nobody": {"x": 1.0}})


def test_json_lines_out_and_in(path: Path, tmp_path: Path) -> None:
    with Archive(path) as archive:
        assert archive.export(tmp_path / "all.jsonl") == 4
        assert archive.export(tmp_path / "train.jsonl", split="train") == 2
        with pytest.raises(TaskError, match="exists"):
            archive.export(tmp_path / "all.jsonl")
    assert list(TaskSet.read(tmp_path / "all.jsonl")) == SPECS[:4]
    with Archive(tmp_path / "second.sqlite", write=True) as second:
        assert second.import_(tmp_path / "all.jsonl", split="test") == 4
        assert second.import_(tmp_path / "train.jsonl") == 0
        assert second.splits() == {"test": 4}
    (tmp_path / "all.jsonl").write_text("broken\n")
    with Archive(tmp_path / "third.sqlite", write=True) as third:
        with pytest.raises(TaskError, match="1 of 1 lines is broken"):
            third.import_(tmp_path / "all.jsonl")
        assert third.splits() == {}


def test_one_writer_many_readers(path: Path) -> None:
    with Archive(path, write=True) as writer, Archive(path) as reader, Archive(path) as second:
        with pytest.raises(TaskError, match="is being written by process .*; wait until it ends, or open"):
            Archive(path, write=True)
        writer.add([SPECS[5]], generator="g")
        assert reader.get(SPECS[5].id) == second.get(SPECS[5].id)
        with pytest.raises(TaskError, match="open for reading"):
            reader.add([SPECS[6]], generator="g")
    with Archive(path, write=True) as archive:
        assert archive.check() == []


def test_a_killed_writer_loses_only_what_was_not_committed(path: Path) -> None:
    script = f"""
import os, signal
from taskgen.archive import Archive
from taskgen.spec import TaskSpec
archive = Archive({str(path)!r}, write=True)
archive.add([TaskSpec("f", {{"x": 1}})], generator="g")
def specs():
    yield TaskSpec("f", {{"x": 2}})
    os.kill(os.getpid(), signal.SIGKILL)
archive.add(specs(), generator="g")
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    with Archive(path, write=True) as archive:
        assert archive.check() == []
        assert [record.spec.context.get("x") for record in archive.records()][4:] == [1]


def test_a_closed_archive_says_so(path: Path) -> None:
    archive = Archive(path)
    archive.close()
    with pytest.raises(TaskError, match="closed"):
        archive.get(SPECS[0].id)


def damage(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE task SET generator = 'forged' WHERE number = 2", r"task 2 is damaged \(its hash does not match"),
        ("UPDATE task SET split = NULL WHERE number = 1", "task 1 is damaged"),
        ("UPDATE task SET spec = replace(spec, '0.5', '0.6') WHERE number = 1", "task 1 is damaged"),
        ("UPDATE score SET value = value + 1e-12", "score '.*' is damaged"),
        ("DELETE FROM task WHERE number = 1", "damaged: 1 of 4 tasks are missing; restore a backup"),
        ("UPDATE task SET number = 9 WHERE number = 4", "task 9 is damaged"),
        ("DELETE FROM task WHERE number > 1", "3 of 4 tasks are missing"),
        ("DELETE FROM score", "1 of 1 scores are missing"),
        ("DELETE FROM seal WHERE name = 'score'", "its scores are not those it was left with"),
        ("UPDATE seal SET number = 5 WHERE name = 'task'", "1 of 5 tasks are missing"),
        ("UPDATE seal SET total = replace(total, '0', '1') WHERE name = 'task'", "its tasks are not those"),
        (f"UPDATE task SET id = '{SPECS[9].id}' WHERE number = 4", "task 4 is damaged"),
    ],
)
@pytest.mark.parametrize("write", [False, True])
def test_a_changed_row_is_noticed(path: Path, statement: str, message: str, write: bool) -> None:
    damage(path, statement)
    before = path.read_bytes()
    with pytest.raises(TaskError, match=message):
        Archive(path, write=write)
    assert path.read_bytes() == before


def test_a_swapped_row_is_noticed(path: Path, tmp_path: Path) -> None:
    """Whole and sound, but of another archive: the count is the same, the sum is not."""
    with Archive(tmp_path / "other.sqlite", write=True) as other:
        other.add(SPECS[5:9], generator="g")
    with sqlite3.connect(path) as database:
        row = sqlite3.connect(tmp_path / "other.sqlite").execute("SELECT * FROM task WHERE number = 4").fetchone()
        database.execute("DELETE FROM task WHERE number = 4")
        database.execute("INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    with pytest.raises(TaskError, match="its tasks are not those it was left with"):
        Archive(path)


def test_the_seal_goes_with_the_rows(path: Path) -> None:
    """However rows come, are replaced or are not taken: the sum over them is that of the seal."""

    def seals() -> dict[str, tuple[int, int]]:
        with sqlite3.connect(path) as database:
            hashes = {
                table: [int(digest, 16) for (digest,) in database.execute(f"SELECT sha256 FROM {table}")]
                for table in ("task", "score")
            }
            stored = {name: (n, int(total, 16)) for name, n, total in database.execute("SELECT * FROM seal")}
        assert stored == {table: (len(found), sum(found) % 2**256) for table, found in hashes.items()}
        return stored

    assert {name: number for name, (number, _) in seals().items()} == {"task": 4, "score": 1}
    with Archive(path, write=True) as archive:
        archive.add([SPECS[2], SPECS[4]], generator="g", split="test", scores={"x": 2.0, "y": 1.0})
        archive.add_scores({SPECS[2].id: {"y": 5.0}})
        archive.add_scores({SPECS[2].id: {"y": 6.0}})
        with pytest.raises(TaskError, match="is in split"):
            archive.add([SPECS[6], SPECS[0]], generator="g", split="test", scores={"x": 1.0})
        with pytest.raises(TaskError, match="finite"):
            archive.add_scores({SPECS[0].id: {"x": 2.0, "y": float("inf")}})
        archive.add([SPECS[5]], generator="g")
    assert {name: number for name, (number, _) in seals().items()} == {"task": 6, "score": 5}


def everything(path: Path) -> list[object]:
    """All that can be asked of an archive, also for what is not there."""
    with Archive(path) as archive:
        records = list(archive.records())
        answers: list[object] = [records, archive.splits(), archive.check()]
        answers += [list(archive.records(split=split)) for split in ("train", "test", "none")]
        answers += [list(archive.records(generator=generator)) for generator in ("g", "mutation", "none")]
        answers += [archive.lineage(record.spec.id) for record in records]
        with pytest.raises(TaskError, match="is not among"):
            archive.get(SPECS[9].id)
    return answers


@pytest.mark.parametrize("flips", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_told_or_changes_no_answer(path: Path, flips: int) -> None:
    """Bits drawn from the whole file: rows, scores, indices, headers, free space."""
    with Archive(path, write=True) as archive:
        archive.add(SPECS[4:8], generator="g", split="test", scores={"regret": 0.5, "x": 2.0})
        archive.add_scores({spec.id: {"x": 0.25 * n, "y": -1.0} for n, spec in enumerate(SPECS[:8])}, step=3)
    expected, good = everything(path), path.read_bytes()
    copy = path.with_name("flipped.sqlite")
    told = 0
    rng = random.Random(7)
    used = [place for place, byte in enumerate(good) if byte or rng.random() < 0.05]  # pages are mostly free
    for _ in range(flips):
        place, bit = rng.choice(used), rng.randrange(8)
        flipped = bytearray(good)
        flipped[place] ^= 1 << bit
        copy.write_bytes(flipped)
        try:
            assert everything(copy) == expected, f"byte {place}, bit {bit}"
        except TaskError:
            told += 1
    assert told > 0.7 * flips


def test_an_archive_of_the_first_format_is_read_and_sealed_when_it_is_written(path: Path) -> None:
    with Archive(path) as archive:
        records = list(archive.records())
    damage(path, "DROP TABLE seal")
    damage(path, "PRAGMA user_version = 1")
    with Archive(path) as archive:
        assert list(archive.records()) == records
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    with Archive(path, write=True) as archive:
        archive.add([SPECS[7]], generator="g")
    damage(path, "DELETE FROM task WHERE number = 5")
    with pytest.raises(TaskError, match="1 of 5 tasks are missing"):
        Archive(path)


def test_who_has_written_last_need_not_look_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening to write is cheap for the process that left the archive as it is; anybody's change is looked at."""
    looks: list[Path] = []
    looked = archive_module._refuse_damaged
    monkeypatch.setattr(archive_module, "_refuse_damaged", lambda p, *a, **k: looks.append(p) or looked(p, *a, **k))
    for number in (5, 6):
        with Archive(path, write=True) as archive:
            archive.add([SPECS[number]], generator="g")
    assert looks == []
    Archive(path).close()
    assert looks == [path]
    damage(path, "UPDATE task SET generator = 'forged' WHERE number = 2")
    with pytest.raises(TaskError, match="task 2 is damaged"):
        Archive(path, write=True)


def foreign(path: Path) -> None:
    damage(path, "CREATE TABLE t (x)")


def newer(path: Path) -> None:
    Archive(path, write=True).close()
    damage(path, "PRAGMA user_version = 3")


def with_trigger(path: Path) -> None:
    Archive(path, write=True).close()
    damage(path, "CREATE TRIGGER t AFTER INSERT ON task BEGIN DELETE FROM task; END")


def with_view(path: Path) -> None:
    Archive(path, write=True).close()
    damage(path, "CREATE VIEW v AS SELECT 1")


def truncated(path: Path) -> None:
    with Archive(path, write=True) as archive:
        archive.add([TaskSpec("f", {"x": number}) for number in range(200)], generator="g")
    path.write_bytes(path.read_bytes()[: -4096 * 3])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.touch(), "not a task archive"),
    "text": (
        lambda path: path.write_text("hello\n" * 1000),
        "file is not a database; if it is damaged, restore a backup",
    ),
    "a foreign database": (foreign, "a SQLite file, but not a task archive"),
    "a newer format": (newer, "archive format 3; this version of the program reads formats 1 to 2"),
    "a trigger": (with_trigger, "it was altered"),
    "a view": (with_view, "it was altered"),
    "truncated": (truncated, "malformed|damaged"),
    "a directory": (lambda path: path.mkdir(), "not a readable archive"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("write", [False, True])
def test_what_is_no_archive_is_refused_and_left_as_it_is(tmp_path: Path, kind: str, write: bool) -> None:
    make, message = BAD[kind]
    path = tmp_path / "bad.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(TaskError, match=message):
        Archive(path, write=write)
    assert (path.read_bytes() if path.is_file() else None) == before
    with pytest.raises(TaskError, match=message):  # the lock is free again, the reason the same
        Archive(path, write=write)


def test_a_missing_archive_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="there is no such archive"):
        Archive(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_names_with_odd_characters(tmp_path: Path) -> None:
    path = tmp_path / "a ?mode=memory#%41.sqlite"
    with Archive(path, write=True) as archive:
        archive.add(SPECS, generator='it\'s "quoted"; DROP TABLE task')
    assert path.is_file()
    shutil.copy(path, tmp_path / "copy.sqlite")
    with Archive(tmp_path / "copy.sqlite") as archive:
        assert len(list(archive.records(generator='it\'s "quoted"; DROP TABLE task'))) == 10


def test_a_score_of_negative_zero_is_read_back(tmp_path: Path) -> None:
    spec = Bandit(BanditConfig(), name="builtin/bandit").spec()
    with Archive(tmp_path / "archive.sqlite", write=True) as archive:
        archive.add([spec], generator="builtin/test", scores={"regret": -0.0})
        (record,) = archive.records()
    assert record.scores == {"regret": 0.0}
