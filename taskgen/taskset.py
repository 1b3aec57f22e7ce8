"""Task sets: JSON lines in and out, filter, split by task."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, overload

from registry.config import waited_for
from registry.errors import TaskError
from taskgen import artefacts
from taskgen.build import Families, task_key
from taskgen.files import sync_directory
from taskgen.spec import TaskSpec

MAX_LINE = 16 * 2**20
"""Longest line of a task file, in bytes."""
_SHOWN = 20  # broken lines named in an error
_TASK = re.compile(r"task [0-9a-f]{16}")
"""How a reason names its task: reasons that differ in that alone are one."""


@dataclass(frozen=True, slots=True)
class TaskSet(Sequence[TaskSpec]):
    """Tasks in a fixed order. A sequence of `TaskSpec`, kept in a file with one task per line."""

    specs: tuple[TaskSpec, ...]

    @classmethod
    def read(cls, path: str | Path, *, check: bool = True) -> "TaskSet":
        """The tasks of a file; with `check`, each is checked against its family.

        Raises `TaskError` with the number and the reason of every broken line; empty lines do not count.
        """
        return cls(tuple(read_tasks(path, check=check)))

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write one task per line. Raises `TaskError` when the file exists, unless `overwrite`."""
        write_tasks(path, self.specs, overwrite=overwrite)

    def filter(self, keep: Callable[[TaskSpec], bool]) -> "TaskSet":
        """The tasks for which `keep(spec)` is true."""
        return TaskSet(tuple(spec for spec in self.specs if keep(spec)))

    def split(self, held_out: float, *, salt: str = "") -> tuple["TaskSet", "TaskSet"]:
        """Training tasks and held-out tasks, which are about the fraction `held_out`.

        The side of a task is a function of its key (`taskgen.build.task_key`) and `salt` alone: adding tasks moves
        none, and those that are the same but for their luck stay together. Raises `TaskError` unless `held_out` lies
        between 0 and 1.
        """
        refuse_fraction(held_out)
        sides = [hash_fraction(task_key(spec), salt) < held_out for spec in self.specs]
        training = tuple(spec for spec, held in zip(self.specs, sides, strict=True) if not held)
        return TaskSet(training), TaskSet(tuple(spec for spec, held in zip(self.specs, sides, strict=True) if held))

    def duplicates(self) -> dict[str, int]:
        """How often every id that occurs more than once occurs."""
        return {id_: count for id_, count in Counter(spec.id for spec in self.specs).items() if count > 1}

    @overload
    def __getitem__(self, index: int) -> TaskSpec: ...
    @overload
    def __getitem__(self, index: slice) -> "TaskSet": ...
    def __getitem__(self, index: int | slice) -> "TaskSpec | TaskSet":
        return TaskSet(self.specs[index]) if isinstance(index, slice) else self.specs[index]

    def __len__(self) -> int:
        return len(self.specs)

    def __iter__(self) -> Iterator[TaskSpec]:
        return iter(self.specs)


def refuse_fraction(held_out: float) -> None:
    """Raise `TaskError` unless `held_out` lies between 0 and 1."""
    if not 0.0 < held_out < 1.0:
        raise TaskError(f"held-out fraction = {held_out!r}: allowed is more than 0 and less than 1")


def hash_fraction(key: str, salt: str = "") -> float:
    """A number in [0, 1), uniform over keys, that depends on `key` and `salt` alone."""
    digest = hashlib.sha256(f"{salt}/{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2.0**48


def check_disjoint(first: Iterable[TaskSpec], second: Iterable[TaskSpec]) -> None:
    """Raise `TaskError` when a task is in both sets, with whatever luck (`taskgen.build.task_key`)."""
    keys = {task_key(spec) for spec in first}
    if shared := sorted({spec.id for spec in second if task_key(spec) in keys}):
        more = ", ..." if len(shared) > 5 else ""
        raise TaskError(f"{len(shared)} tasks are in both sets: {', '.join(shared[:5])}{more}")


def read_tasks(path: str | Path, *, check: bool = True) -> list[TaskSpec]:
    """The tasks of a file, checked and refused as `TaskSet.read` explains."""
    return [spec for _, spec in task_lines(path, check=check)]


def task_lines(path: str | Path, *, check: bool = True) -> Iterator[tuple[bytes, TaskSpec]]:
    """The lines of a file and their tasks one by one, so that it may be longer than the memory.

    Raises as `TaskSet.read` does, but for broken lines only at the end: until then nothing is settled.
    """
    path = Path(path)
    artefacts.look_beside(path)
    families = Families() if check else None
    intact = 0
    broken: dict[str, tuple[str, list[int]]] = {}
    if waited_for(path):
        raise TaskError(f"{path}: it is a pipe, which might be waited for: expected a file")
    try:
        with path.open("rb") as file:
            for number, line in _lines(file):
                try:
                    found = _read_line(line, families)
                except TaskError as error:
                    reason = str(error)
                    _, numbers = broken.setdefault(_TASK.sub("the task", reason), (reason, []))
                    numbers.append(number)
                else:
                    intact += 1
                    yield found
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror}") from None
    if broken:
        places = [numbers for _, numbers in broken.values()]
        count = sum(map(len, places))
        title = f"{path}: {count} of {intact + count} lines {'is' if count == 1 else 'are'} broken"
        reasons = [
            f"{_places(numbers)}: {reason if len(numbers) == 1 else alike}"
            for alike, (reason, numbers) in broken.items()
        ]
        more = sum(map(len, places[_SHOWN:]))
        shown = reasons[:_SHOWN] + ([f"and {more} more"] if more else [])
        raise TaskError("\n".join([title, *(f"  {line}" for line in shown)]))


def _places(numbers: Sequence[int]) -> str:
    """Where something is wrong: "line 3", "lines 1, 2 and 5", "lines 1, 2, 3 and 17 more"."""
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    first, last = (numbers[:3], f"{len(numbers) - 3} more") if len(numbers) > 4 else (numbers[:-1], numbers[-1])
    return f"lines {', '.join(map(str, first))} and {last}"


def write_tasks(path: str | Path, specs: Iterable[TaskSpec], *, overwrite: bool = False) -> int:
    """Write one task per line, all or nothing, and return how many. `specs` may be any iterable, drawn as written.

    The artefacts that tasks refer to are copied beside the file.

    Raises `TaskError` when the file exists, unless `overwrite`.
    """
    count = 0
    path = Path(path)
    referring: set[str] = set()
    with staged(path, overwrite=overwrite) as file:
        for spec in specs:
            file.write(spec.to_json().encode() + b"\n")
            count += 1
            referring.update(artefacts.all_referred(spec))
        artefacts.bring_names(sorted(referring), path.parent)
    return count


@contextmanager
def staged(path: Path, *, overwrite: bool = False) -> Generator[BinaryIO]:
    """A file to write that takes the name `path` only when the block ends without an exception; else nothing is there.

    Raises `TaskError` where the file exists, unless `overwrite`, or cannot be written.
    """
    if path.exists() and not overwrite:
        raise TaskError(f"{path} exists; name another file or overwrite it with --force (in Python: overwrite=True)")
    staging = path.with_name(f".{path.name}.{os.getpid()}.staging")
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise TaskError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):  # it is gone after a success
            staging.unlink()
            for folder in made:
                folder.rmdir()


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Number and content of every line that is not empty; None for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            yield number, None
        elif line.strip():
            yield number, line


def _read_line(line: bytes | None, families: Families | None) -> tuple[bytes, TaskSpec]:
    if line is None:
        raise TaskError(f"longer than {MAX_LINE} bytes")
    try:
        spec = TaskSpec.from_json(line.decode())
        if families is not None:
            families.of(spec).check(spec)
    except UnicodeDecodeError as error:
        raise TaskError(f"not UTF-8 text: byte {error.start + 1} is invalid") from None
    except RecursionError:
        raise TaskError("nested too deeply") from None
    return line, spec
