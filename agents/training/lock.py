"""The lock of a run directory: one process at a time trains a run.

While a run is trained its directory holds the file `lock`, which says by whom: host, process, start time. The system
frees the lock when its process ends, however that happens, so a dead owner loses it and nobody clears up after it.
"""

import fcntl
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any, BinaryIO, Self

from registry.errors import CheckpointError, UserError, brief

NAME = "lock"
_log = logging.getLogger(__name__)


class Lock:
    """The lock of the directory at `path`, held until it is released. Use it in a `with`.

    Raises `UserError`, with who holds it, where another process does; and where there is no such directory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._take()
        left = _owner(self._file)
        if left and left.get("host") != platform.node():
            _log.warning("%s was left locked by %s, which is gone as far as can be told from here", path, _named(left))
        self._file.truncate(0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        owner = {"host": platform.node(), "process": os.getpid(), "started": started}
        self._file.write(json.dumps(owner).encode())
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it; the file goes."""
        if not self._file.closed:
            if self._in_place():
                (self._path / NAME).unlink(missing_ok=True)
            self._file.close()

    def refuse_lost(self) -> None:
        """Raise `CheckpointError` where the directory was deleted, moved or replaced since: nothing is written then."""
        if not self._in_place():
            raise CheckpointError(
                f"{self._path} was deleted, moved or replaced while its run went on: nothing more is written. Put it "
                "back and go on with --resume, or train anew."
            )

    def _take(self) -> BinaryIO:
        while True:
            try:
                file = (self._path / NAME).open("a+b")
            except FileNotFoundError:
                raise UserError(f"{self._path} is no run directory: `RunDirectory.create` begins one") from None
            except OSError as error:
                raise UserError(
                    f"{self._path} cannot be written ({error.strerror or error}): no run can go on there"
                ) from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _named(_owner(file))
                file.close()
                raise UserError(
                    f"{self._path} is being trained by {owner}: wait until it ends or stop it, or choose another --run"
                ) from None
            except OSError as error:
                _log.warning("%s cannot be locked (%s): let nobody else train it", self._path, error.strerror or error)
            self._file = file
            if self._in_place():  # else its owner has just let go of it, and removed it
                return file
            file.close()

    def _in_place(self) -> bool:
        mine = os.fstat(self._file.fileno())
        try:
            there = (self._path / NAME).stat()
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _owner(file: BinaryIO) -> dict[str, Any]:
    """Who wrote the file, as far as it tells."""
    file.seek(0)
    try:
        found = json.loads(file.read(4096))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process"
    process, host, started = (brief(owner.get(key)).strip("'") for key in ("process", "host", "started"))
    return f"process {process} on {host}, started {started}"
