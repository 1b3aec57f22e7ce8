"""Metrics as JSON lines: `metrics.jsonl` in the run directory, the source of truth for reports.

One object a line: `{"step": 3, "time": 1767225600.123, "metrics": {"meta/train_return": 6.1, ...}, "digest": "..."}`,
`time` in seconds since 1970; the digest tells damage (`taskgen.seals`). A line is handed to the system as soon as it is
logged, so a killed process loses none.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from registry.config import Config
from registry.errors import UserError
from taskgen.files import write_atomically
from taskgen.seals import KEY, first, seal_of, sealed


class JsonLinesConfig(Config):
    """No settings."""


class JsonLines:
    """Tracker that appends to `metrics.jsonl`. Raises `UserError` where the file cannot be written."""

    def __init__(self, config: JsonLinesConfig, *, directory: Path) -> None:
        del config
        self._first = first(directory)
        self._path = directory / "metrics.jsonl"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file, self._seal = _open(self._path, self._first)
        except OSError as error:
            raise self._refusal(error) from error

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a line. NaN and infinities, which JSON lacks, become null. Raises `UserError` if it cannot be written."""
        values = {name: _number(value) for name, value in metrics.items()}
        line = sealed({"step": step, "time": round(time.time(), 3), "metrics": values}, self._seal)
        try:
            self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._refusal(error) from error
        self._seal = line[KEY]

    def truncate_after(self, step: int) -> None:
        """Forget what was logged after `step`, which a resumed run is about to log again. Raises like `log`."""
        try:
            self._file.close()
            lines = self._path.read_bytes().splitlines(keepends=True)
            write_atomically(self._path, b"".join(line for line in lines if not _is_after(line, step)))
            self._file, self._seal = _open(self._path, self._first)
        except OSError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _refusal(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write metrics to {self._path}: {error.strerror or error}. Mend it and resume the run."
        )


def _open(path: Path, first: str) -> tuple[BinaryIO, str]:
    """The file, open at its end, and the digest of its last line; before there is one, what the `first` covers."""
    file = path.open("a+b")
    if not file.tell():
        return file, first
    file.seek(0)
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    file.truncate(len(whole))  # a line cut short by a kill would swallow the next one
    return file, seal_of(whole.splitlines()[-1]) if whole else first


def _is_after(line: bytes, step: int) -> bool:
    try:
        record: Any = json.loads(line)
        return bool(record["step"] > step)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False  # damaged, and not ours to throw away: the report names it


def _number(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
