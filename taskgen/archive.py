"""The archive: tasks with where they came from, in one SQLite file. One writer, many readers.

Every row carries the SHA-256 of its content, checked whenever it is read. Opening runs nothing that is stored in the
file: a file whose schema is not exactly the one below is refused.
"""

import fcntl
import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

from registry.errors import TaskError, brief
from taskgen import artefacts
from taskgen.build import task_key
from taskgen.files import sync_directory
from taskgen.record import Record
from taskgen.spec import TaskSpec
from taskgen.taskset import MAX_LINE, read_tasks, write_tasks

_APPLICATION = int.from_bytes(b"TGar", "big")
_VERSION = 1
_SCHEMA = (
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
_TASK = "SELECT number, id, spec, generator, version, parents, generation, split, sha256 FROM task"
_SCORE = "SELECT task, name, step, value, sha256 FROM score"
_INSERT = {
    "task": "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "score": "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?)",
}


class Archive:
    """An archive opened for reading, or with `write` for both (a missing file is then created). Use it in a `with`.

    Raises `TaskError` for a file that is missing, damaged or not an archive (which is left as it is), and when another
    process is writing it.
    """

    def __init__(self, path: str | Path, *, write: bool = False) -> None:
        self.path = Path(path)
        self._lock: BinaryIO | None = None
        self._database: sqlite3.Connection | None = None
        self._taken: dict[str, str] = {}
        """The split of every task that has one, by key; filled when it is first asked for."""
        try:
            if write:
                self._lock = _lock(self.path)
            with self._guarded():
                self._database = _open(self.path, create=write)
        except BaseException:
            self.close()
            raise
        artefacts.look_beside(self.path)

    def close(self) -> None:
        """Close the file and let others write it."""
        if self._database is not None:
            self._database.close()
        if self._lock is not None:
            self._lock.close()

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
            (before,) = database.execute("SELECT count(*) FROM task").fetchone()
            number = before
            for spec in specs:
                row = self._find(database, spec.id)
                if split is not None and (row is None or row[7] != split):
                    self._take(database, spec, split)
                if row is None:
                    number += 1
                    lineage = json.dumps(list(parents))
                    row = (number, spec.id, spec.canonical(), generator, version, lineage, int(generation), split)
                    artefacts.bring([spec], self.path.parent)
                    _insert(database, "task", row)
                elif split is not None and row[7] is None:
                    _insert(database, "task", (*row[:7], split))
                _add_scores(database, spec.id, scores or {}, generation)
            return number - before

    def add_scores(self, scores: Mapping[str, Mapping[str, float]], *, step: int = 0) -> None:
        """Add scores by task id and score name, all or nothing; a score of the same name and step is replaced.

        Raises `TaskError` for a task that is not in the archive.
        """
        with self._transaction() as database:
            for id_, values in scores.items():
                if self._find(database, id_) is None:
                    raise TaskError(f"task {id_!r} is not in {self.path}")
                _add_scores(database, id_, values, step)

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
                (count,) = self._connection().execute("SELECT count(*) FROM task").fetchone()
                raise TaskError(f"task {brief(id_)} is not among the {count} tasks of {self.path}")
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
        """Everything that is wrong with the file, one sentence each: structure, every row, every reference."""
        database = self._connection()
        try:
            found = [str(row[0]) for row in database.execute("PRAGMA integrity_check")]
            problems = [] if found == ["ok"] else [f"SQLite: {line}" for line in found]
            ids: set[str] = set()
            parents: set[str] = set()
            count = highest = 0
            for row in database.execute(f"{_TASK} ORDER BY number"):
                count, highest = count + 1, row[0]
                try:
                    record = self._record(row)
                except TaskError as error:
                    problems.append(str(error))
                else:
                    ids.add(record.spec.id)
                    parents.update(record.parents)
                    problems += artefacts.problems(record.spec)
            if count != highest:
                problems.append(f"{highest - count} tasks are missing: numbers go up to {highest}, {count} are there")
            problems += [f"parent {parent!r} is missing" for parent in sorted(parents - ids)]
            orphans = database.execute("SELECT DISTINCT task FROM score WHERE task NOT IN (SELECT id FROM task)")
            return problems + [f"task {task!r} has scores but no record" for (task,) in orphans]
        except sqlite3.DatabaseError as error:
            return [f"SQLite: {error}"]

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
        *content, digest = row
        if _digest(table, content) != digest:
            raise TaskError(f"{self.path}: {table} {row[0]!r} is damaged (its hash does not match): restore a backup")
        return (*content,)

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise TaskError(f"{self.path}: the archive is closed")
        return self._database

    @contextmanager
    def _guarded(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            hint = "if it is damaged, restore a backup"
            raise TaskError(f"{self.path}: not a readable archive: {error}; {hint}") from None

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """All or nothing, also when the process is killed."""
        database = self._connection()
        if self._lock is None:
            raise TaskError(f"{self.path} is open for reading; open it with Archive(path, write=True) to change it")
        with self._guarded():
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                self._taken.clear()
                raise
            database.execute("COMMIT")


def _insert(database: sqlite3.Connection, table: str, content: tuple[Any, ...]) -> None:
    database.execute(_INSERT[table], (*content, _digest(table, content)))


def _add_scores(database: sqlite3.Connection, id_: str, scores: Mapping[str, float], step: int) -> None:
    for name, value in scores.items():
        if not math.isfinite(value):
            raise TaskError(f"score {name!r} of task {id_} = {value!r}: expected a finite number")
        _insert(database, "score", (id_, name, int(step), float(value) + 0.0))  # SQLite keeps no negative zero


def _digest(table: str, content: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([table, *content], default=repr).encode()).hexdigest()


def _open(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection to what has been checked to be an archive; writable, and to a new one if need be, with `create`."""
    if not path.exists():
        if not create:
            raise TaskError(f"{path}: there is no such archive")
        _create(path)
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
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30.0)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_LINE)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = OFF", "synchronous = NORMAL"):
        database.execute(f"PRAGMA {pragma}")
    return database


def _create(path: Path) -> None:
    """A new archive, which takes its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.staging")
    try:
        database = sqlite3.connect(staging, isolation_level=None)
        for statement in (f"PRAGMA application_id = {_APPLICATION}", f"PRAGMA user_version = {_VERSION}", *_SCHEMA):
            database.execute(statement)
        database.execute("PRAGMA journal_mode = WAL")
        database.close()
        staging.replace(path)
        sync_directory(path.parent)
    finally:
        staging.unlink(missing_ok=True)


def _refuse_foreign(path: Path, database: sqlite3.Connection) -> None:
    """Raise `TaskError` unless this is an archive of our version with exactly our tables and nothing that could run."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise TaskError(f"{path}: a SQLite file, but not a task archive")
    if version != _VERSION:
        raise TaskError(f"{path}: archive format {version}; this version of the program reads format {_VERSION}")
    stored = {sql for (sql,) in database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if stored != set(_SCHEMA):
        raise TaskError(f"{path}: the tables are not those of an archive; it was altered")
    (problem,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if problem != "ok":
        raise TaskError(f"{path}: damaged: {problem}")


def _lock(path: Path) -> BinaryIO:
    """The lock of the one writer; the system frees it when its process ends, however that happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f"{path.name}.lock").open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read(20).decode(errors="replace") or "unknown"
        file.close()
        raise TaskError(
            f"{path} is being written by process {holder}; wait until it ends, or open the archive for reading"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file
