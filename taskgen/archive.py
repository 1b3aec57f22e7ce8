"""The archive: tasks with where they came from, in one SQLite file. One writer, many readers.

Every row carries the SHA-256 of its content, and the table `seal` holds how many rows each table has and the sum of
their hashes (AdHash: Bellare & Micciancio 1997), which changes in the transaction that changes the rows. Opening looks
at all of it, indices included, so that what is not found is not there, and at the log that a killed writer left. The
seal also holds marks: what the archive belongs to, and until when other files were kept. Files of format 1 have no seal
until they are written again. It runs nothing that is stored in the file: a file whose schema is not exactly the one
below is refused.

Longer than most files here: what is written and what is looked at before it is read are two sides of one format.
"""

import fcntl
import hashlib
import json
import logging
import math
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Self

from registry.errors import TaskError, brief
from taskgen import artefacts, wal
from taskgen.build import task_key
from taskgen.files import read_regular, sync_directory
from taskgen.record import Record
from taskgen.spec import TaskSpec
from taskgen.taskset import MAX_LINE, read_tasks, write_tasks

_APPLICATION = int.from_bytes(b"TGar", "big")
_VERSION = 2
_UNSEALED = (
    """CREATE TABLE task (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, spec TEXT NOT NULL, generator TEXT NOT NULL,
    version TEXT NOT NULL, parents TEXT NOT NULL, generation INTEGER NOT NULL, split TEXT, sha256 TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE score (
    task TEXT NOT NULL REFERENCES task (id), name TEXT NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL,
    sha256 TEXT NOT NULL, PRIMARY KEY (task, name, step)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX task_split ON task (split)",
    "CREATE INDEX task_generator ON task (generator)",
)
_SEAL = """CREATE TABLE seal (
    name TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL, total TEXT NOT NULL
    ) STRICT, WITHOUT ROWID"""
_SCHEMA = {1: _UNSEALED, _VERSION: (*_UNSEALED, _SEAL)}
_TASK = "SELECT number, id, spec, generator, version, parents, generation, split, sha256 FROM task"
_SCORE = "SELECT task, name, step, value, sha256 FROM score"
_ROWS = {"task": _TASK, "score": _SCORE}
_MODULUS = 1 << 256
_INSERT = {
    "task": "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "score": "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?)",
}
_OWNER = "of"
"""The mark that says what an archive belongs to."""
_log = logging.getLogger(__name__)
_left: dict[Path, tuple[int, ...]] = {}
"""How this process left the archives that it has written, by `_state`: it need not look at all of them again."""


class Archive:
    """An archive opened for reading, or with `write` for both (a missing file is then created). Use it in a `with`.

    `of` says what it belongs to, such as a run by the hash of its provenance: a new archive keeps that.

    Raises `TaskError` for a file that is missing, damaged, not an archive or of something else than `of` (which is left
    as it is), and when another process is writing it.
    """

    def __init__(self, path: str | Path, *, write: bool = False, of: str = "") -> None:
        self.path = Path(path)
        self._lock: BinaryIO | None = None
        self._database: sqlite3.Connection | None = None
        self._taken: dict[str, str] = {}
        """The split of every task that has one, by key; filled when it is first asked for."""
        self._change: dict[str, tuple[int, int]] = {}
        """By table, the rows and the sum of hashes that the present transaction adds."""
        self._checked = False
        """Whether every row there was looked at when the archive was opened."""
        self._written = _written(self.path)
        """Bytes of the log, at least, that the writer before has left; 0 where it closed the file."""
        try:
            if write:
                self._lock = _lock(self.path)
            with self._guarded():
                self._open(write)
                self._refuse_foreign(of)
        except BaseException:
            self.close()
            raise
        artefacts.look_beside(self.path)

    def close(self) -> None:
        """Close the file and let others write it."""
        if self._database is not None:
            self._database.close()
            self._database = None
            if self._lock is not None:
                with suppress(OSError):
                    _sign(self._lock)
                _left[self.path.resolve()] = _state(self.path)
        if self._lock is not None:
            self._lock.close()

    def _open(self, write: bool) -> None:
        known = write and _left.get(self.path.resolve()) == _state(self.path)
        self._database = _open(self.path, create=write, written=None if known else self._written)
        if known:
            return
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        totals = _refuse_damaged(self.path, self._database, sealed=version > 1)
        self._checked = True
        if write and version == 1:
            _seal(self._database, totals)

    def _refuse_foreign(self, of: str) -> None:
        """Raise `TaskError` where this belongs to something else than `of`; mark a new archive as its own."""
        kept = self.marks().get(_OWNER, (0, of))[1] if of else of
        if kept != of:
            raise TaskError(f"{self.path} is the archive of another run: put the one back that belongs here")
        if of and self._lock is not None and self._count() == 0:
            self.mark(_OWNER, 0, of)

    def marks(self) -> dict[str, tuple[int, str]]:
        """What was noted with `mark`, by name."""
        with self._guarded():
            try:
                found = _seals(self._connection())
            except sqlite3.OperationalError:  # format 1 has none
                return {}
        return {name: value for name, value in found.items() if name not in _ROWS}

    def mark(self, name: str, number: int, text: str = "") -> None:
        """Note a number and a text beside the rows, in place of those of before."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO seal VALUES (?, ?, ?)", (name, number, text))

    def _count(self) -> int:
        return self._connection().execute("SELECT count(*) FROM task").fetchone()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(
        self,
        specs: Iterable[TaskSpec],
        *,
        generator: str,
        version: str = "",
        parents: Sequence[str] = (),
        generation: int = 0,
        split: str | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> int:
        """Add tasks with one provenance, all or nothing, and return how many were new.

        The artefacts that they refer to are copied beside the archive.

        A task that is there already keeps its first provenance, and takes `split` if it has none. Raises `TaskError`
        for a task that is in another split, with whatever luck (`taskgen.build.task_key`), and for parents that are not
        in the archive.
        """
        with self._transaction() as database:
            for parent in parents:
                if self._find(database, parent) is None:
                    raise TaskError(f"parent {parent!r} is not in {self.path}: add it first")
            number = before = self._count()
            for spec in specs:
                row = self._find(database, spec.id)
                if split is not None and (row is None or row[7] != split):
                    self._take(database, spec, split)
                if row is None:
                    number += 1
                    lineage = json.dumps(list(parents))
                    row = (number, spec.id, spec.canonical(), generator, version, lineage, int(generation), split)
                    artefacts.bring([spec], self.path.parent)
                    self._insert(database, "task", row)
                elif split is not None and row[7] is None:
                    self._insert(database, "task", (*row[:7], split), instead=row[8])
                self._add_scores(database, spec.id, scores or {}, generation)
            return number - before

    def add_scores(self, scores: Mapping[str, Mapping[str, float]], *, step: int = 0) -> None:
        """Add scores by task id and score name, all or nothing; a score of the same name and step is replaced.

        Raises `TaskError` for a task that is not in the archive.
        """
        with self._transaction() as database:
            for id_, values in scores.items():
                if self._find(database, id_) is None:
                    raise TaskError(f"task {id_!r} is not in {self.path}")
                self._add_scores(database, id_, values, step)

    def records(self, *, split: str | None = None, generator: str | None = None) -> Iterator[Record]:
        """All records, or those of one split or one generator, in the order they were added."""
        wanted = {"split": split, "generator": generator}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in given) or "1"
        with self._guarded():
            for row in self._connection().execute(f"{_TASK} WHERE {where} ORDER BY number", (*given.values(),)):
                yield self._record(row)

    def get(self, id_: str) -> Record:
        """The record of one task. Raises `TaskError` when there is none."""
        with self._guarded():
            row = self._find(self._connection(), id_)
            if row is None:
                raise TaskError(f"task {brief(id_)} is not among the {self._count()} tasks of {self.path}")
            return self._record(row)

    def lineage(self, id_: str) -> list[Record]:
        """The task and all its ancestors, each once, nearest first."""
        records: dict[str, Record] = {}
        queue = [id_]
        for current in queue:
            if current not in records:
                records[current] = self.get(current)
                queue.extend(records[current].parents)
        return list(records.values())

    def splits(self) -> dict[str | None, int]:
        """How many tasks every split has; None stands for tasks of no split."""
        with self._guarded():
            return dict(self._connection().execute("SELECT split, count(*) FROM task GROUP BY split ORDER BY split"))

    def export(self, path: str | Path, *, split: str | None = None, overwrite: bool = False) -> int:
        """Write the tasks, of one split if given, as JSON lines, and return how many."""
        return write_tasks(path, (record.spec for record in self.records(split=split)), overwrite=overwrite)

    def import_(self, path: str | Path, *, generator: str = "import", split: str | None = None) -> int:
        """Add the tasks of a file of JSON lines, all or nothing, and return how many were new."""
        return self.add(read_tasks(path), generator=generator, split=split)

    def check(self) -> list[str]:
        """What the tasks refer to and cannot be found, one sentence each: parents, and artefacts that are not intact.

        Whether the file itself is sound was looked at when it was opened.
        """
        problems: list[str] = []
        ids: set[str] = set()
        parents: set[str] = set()
        for record in self.records():
            ids.add(record.spec.id)
            parents.update(record.parents)
            problems += artefacts.problems(record.spec)
        return problems + [f"parent {parent!r} is missing" for parent in sorted(parents - ids)]

    def _take(self, database: sqlite3.Connection, spec: TaskSpec, split: str) -> None:
        """Note that a task is about to be in `split`. Raises `TaskError` where it is in another one."""
        if not self._taken:
            for row in database.execute(f"{_TASK} WHERE split IS NOT NULL"):
                _, _, text, *_, name = self._content("task", row)
                self._taken.setdefault(task_key(TaskSpec.from_json(text)), name)
        key = task_key(spec)
        other = self._taken.setdefault(key, split)
        if other != split:
            raise TaskError(f"task {spec.id} is in split {other!r} and cannot also be in {split!r}")

    def _find(self, database: sqlite3.Connection, id_: str) -> tuple[Any, ...] | None:
        """The row of a task."""
        row = database.execute(f"{_TASK} WHERE id = ?", (id_,)).fetchone()
        if row is not None:
            self._content("task", row)
        return row

    def _record(self, row: tuple[Any, ...]) -> Record:
        number, id_, text, generator, version, parents, generation, split = self._content("task", row)
        try:
            spec = TaskSpec.from_json(text)
        except TaskError as error:
            raise TaskError(f"{self.path}: task {number}: {error}") from None
        if spec.id != id_:
            raise TaskError(f"{self.path}: task {number} is filed under {id_!r}, but its id is {spec.id!r}")
        rows = self._connection().execute(f"{_SCORE} WHERE task = ? ORDER BY name, step", (id_,)).fetchall()
        scores = {name: value for _, name, _, value in (self._content("score", row) for row in rows)}
        return Record(spec, generator, version, tuple(json.loads(parents)), generation, split, scores)

    def _content(self, table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row without its hash. Raises `TaskError` when the hash does not match."""
        if not self._checked:
            _refuse_row(self.path, table, row)
        return row[:-1]

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise TaskError(f"{self.path}: the archive is closed")
        return self._database

    @contextmanager
    def _guarded(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise TaskError(f"{self.path}: {_told(self.path, error)}") from None
        except UnicodeDecodeError:
            raise TaskError(f"{self.path}: damaged: text in it is not UTF-8; restore a backup") from None
        except OSError as error:
            raise TaskError(f"{self.path}: cannot be opened: {error.strerror or error}") from None

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """All or nothing, also when the process is killed."""
        database = self._connection()
        if self._lock is None:
            raise TaskError(f"{self.path} is open for reading; open it with Archive(path, write=True) to change it")
        with self._guarded():
            database.execute("BEGIN IMMEDIATE")
            self._change.clear()
            try:
                yield database
                for table, (number, total) in self._change.items():
                    before, sum_ = _seals(database)[table]
                    values = (table, before + number, _hex(int(sum_, 16) + total))
                    database.execute("INSERT OR REPLACE INTO seal VALUES (?, ?, ?)", values)
                database.execute("COMMIT")
                with suppress(OSError):  # what is stored is stored, also on a disk that takes no note of it
                    _sign(self._lock, self.path.with_name(f"{self.path.name}-wal").stat().st_size)
            except BaseException:
                if database.in_transaction:  # a full disk has ended it already
                    database.execute("ROLLBACK")
                self._taken.clear()
                raise

    def _insert(
        self, database: sqlite3.Connection, table: str, content: tuple[Any, ...], instead: str | None = None
    ) -> None:
        """Write a row, perhaps `instead` of the one with that hash."""
        digest = _digest(table, content)
        database.execute(_INSERT[table], (*content, digest))
        number, total = self._change.get(table, (0, 0))
        gone = 0 if instead is None else int(instead, 16)
        self._change[table] = (number + (instead is None), total + int(digest, 16) - gone)

    def _add_scores(self, database: sqlite3.Connection, id_: str, scores: Mapping[str, float], step: int) -> None:
        for name, value in scores.items():
            if not math.isfinite(value):
                raise TaskError(f"score {name!r} of task {id_} = {value!r}: expected a finite number")
            key = (id_, name, int(step))
            old = database.execute(f"{_SCORE} WHERE task = ? AND name = ? AND step = ?", key).fetchone()
            content = (*key, float(value) + 0.0)  # SQLite keeps no negative zero
            self._insert(database, "score", content, instead=None if old is None else old[-1])


def _digest(table: str, content: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([table, *content], default=repr).encode()).hexdigest()


def _refuse_row(path: Path, table: str, row: tuple[Any, ...]) -> None:
    if _digest(table, row[:-1]) != row[-1]:
        raise TaskError(f"{path}: {table} {row[0]!r} is damaged (its hash does not match): restore a backup")


def _open(path: Path, *, create: bool, written: int | None) -> sqlite3.Connection:
    """A connection to what has been checked to be an archive; writable, and to a new one if need be, with `create`.

    Its log is looked at, of which at least `written` bytes have to be there; None: it is as this process left it.
    """
    if not path.exists():
        if not create:
            raise TaskError(f"{path}: there is no such archive")
        _create(path)
    for part in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm", "-journal"))):
        if part.exists() and not part.is_file():  # a pipe would be waited for
            raise TaskError(f"{path}: not a readable archive: {part.name} is not a regular file")
    lost = "" if written is None else wal.damage(path.with_name(f"{path.name}-wal"), written)
    if lost and (create or not _being_written(path)):
        _remark_lost(path, lost)
    database = _connect(path, "ro")
    try:
        _refuse_foreign(path, database)
        if create:
            database.close()
            database = _connect(path, "rw")
    except BaseException:
        database.close()
        raise
    return database


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    wal = path.with_name(f"{path.name}-wal")
    still = mode == "ro" and not _may_write(path.parent) and not (wal.exists() and wal.stat().st_size)
    query = f"mode={mode}&immutable=1" if still else f"mode={mode}"  # else SQLite wants to make files beside it
    database = sqlite3.connect(f"{path.resolve().as_uri()}?{query}", uri=True, isolation_level=None, timeout=30.0)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_LINE)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = OFF", "synchronous = NORMAL"):
        database.execute(f"PRAGMA {pragma}")
    return database


def _may_write(folder: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.W_OK, effective_ids=effective)


def _create(path: Path) -> None:
    """A new archive, which takes its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.staging")
    try:
        database = sqlite3.connect(staging, isolation_level=None)
        for statement in (f"PRAGMA application_id = {_APPLICATION}", *_UNSEALED):
            database.execute(statement)
        _seal(database, dict.fromkeys(_ROWS, (0, _hex(0))))
        database.execute("PRAGMA journal_mode = WAL")
        database.close()
        staging.replace(path)
        sync_directory(path.parent)
    finally:
        staging.unlink(missing_ok=True)


def _seal(database: sqlite3.Connection, totals: Mapping[str, tuple[int, str]]) -> None:
    """Make an archive of format 1, whose rows have the `totals`, one of ours; all or nothing."""
    database.execute("BEGIN IMMEDIATE")
    database.execute(_SEAL)
    for table, (number, total) in totals.items():
        database.execute("INSERT INTO seal VALUES (?, ?, ?)", (table, number, total))
    database.execute(f"PRAGMA user_version = {_VERSION}")
    database.execute("COMMIT")


def _seals(database: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    """How many rows each table should have, and the sum of their hashes."""
    found = database.execute("SELECT name, number, total FROM seal").fetchall()
    return {name: (number, total) for name, number, total in found}


def _hex(total: int) -> str:
    """A sum of hashes as the seal has it."""
    return f"{total % _MODULUS:064x}"


def _state(path: Path) -> tuple[int, ...]:
    """What changes when somebody writes the file, as far as the system tells; nothing where it is not there."""
    try:
        states = [path.stat(), *(each.stat() for each in [path.with_name(f"{path.name}-wal")] if each.exists())]
    except OSError:
        return ()
    return tuple(number for each in states for number in (each.st_ino, each.st_size, each.st_mtime_ns))


def _refuse_foreign(path: Path, database: sqlite3.Connection) -> None:
    """Raise `TaskError` unless this is an archive with exactly our tables and nothing that could run."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise TaskError(f"{path}: a SQLite file, but not a task archive")
    if version not in _SCHEMA:
        raise TaskError(f"{path}: archive format {version}; this version of the program reads formats 1 to {_VERSION}")
    stored = {sql for (sql,) in database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if stored != set(_SCHEMA[version]):
        raise TaskError(f"{path}: the tables are not those of an archive; it was altered")


def _refuse_damaged(path: Path, database: sqlite3.Connection, *, sealed: bool) -> dict[str, tuple[int, str]]:
    """By table, how many rows there are and the sum of their hashes. Raises `TaskError` where anything is damaged."""
    database.execute("BEGIN")  # one state of the file, whoever writes it meanwhile
    try:
        (problem,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok":
            raise TaskError(f"{path}: damaged: {problem}; restore a backup")
        totals: dict[str, tuple[int, str]] = {}
        for table, select in _ROWS.items():
            number = total = 0
            for row in database.execute(select):
                _refuse_row(path, table, row)
                number, total = number + 1, total + int(row[-1], 16)
            totals[table] = number, _hex(total)
        if sealed:
            _refuse_missing(path, totals, _seals(database))
    finally:
        database.execute("ROLLBACK")
    return totals


def _refuse_missing(path: Path, found: Mapping[str, tuple[int, str]], sealed: Mapping[str, tuple[int, str]]) -> None:
    for table, (number, total) in found.items():
        expected, sum_ = sealed.get(table, (number, "none"))
        if (number, total) != (expected, sum_):
            changed = f"its {table}s are not those it was left with"
            what = changed if number >= expected else f"{expected - number} of {expected} {table}s are missing"
            raise TaskError(f"{path}: damaged: {what}; restore a backup")


def _told(path: Path, error: sqlite3.Error) -> str:
    """What SQLite cannot do, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says which kind of it
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return f"the disk refused ({error}); what was stored before is as it was: make room or mend it, and do it again"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
        needed = f"write permission for it and {path.parent or '.'}, where SQLite keeps files beside it"
        return f"cannot be used here ({error}): it takes {needed}; or copy it to a place of your own"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another process has held it for long ({error}): try again when that has ended"
    return f"not a readable archive: {error}; if it is damaged, restore a backup"


@lru_cache(maxsize=64)
def _remark_lost(path: Path, lost: str) -> None:
    """Say once that what a killed writer has stored last is not there."""
    _log.warning("%s-wal is damaged (%s): what was stored last is lost, all before is read", path, lost)


def _being_written(path: Path) -> bool:
    """Whether some process has it open for writing, so that its log changes while it is looked at."""
    try:
        with path.with_name(f"{path.name}.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock(path: Path) -> BinaryIO:
    """The lock of the one writer; the system frees it when its process ends, however that happens."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f"{path.name}.lock").open("a+b")
    except OSError as error:
        reason = error.strerror or error
        raise TaskError(f"{path} cannot be written: {path.parent} does not allow it ({reason})") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read(20).decode(errors="replace").partition(" ")[0] or "unknown"
        file.close()
        raise TaskError(
            f"{path} is being written by process {holder}; wait until it ends, or open the archive for reading"
        ) from None
    try:
        _sign(file)
    except OSError as error:
        file.close()
        raise TaskError(f"{path} cannot be written: {error.strerror or error}; make room or mend the disk") from None
    return file


def _sign(lock: BinaryIO, written: int = 0) -> None:
    """Note in the lock who holds it, and how long SQLite's log is by now, which a killed writer leaves."""
    os.ftruncate(lock.fileno(), 0)
    os.write(lock.fileno(), f"{os.getpid()}{f' {written}' * bool(written)}".encode())


def _written(path: Path) -> int:
    """How long the log beside the archive at `path` was, as the lock of its last writer says, if that was killed."""
    try:
        text = read_regular(path.with_name(f"{path.name}.lock")).decode()
        return int(text.partition(" ")[2] or 0)
    except (OSError, ValueError):
        return 0
