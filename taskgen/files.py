"""Writing files so that a reader, a killed process or a full disk never sees half of one."""

import errno
import os
import stat
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` to `path` and have the disk confirm it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Have the disk confirm the names in the directory `path`, so that a rename survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file `path` by one holding `data`: the old content or all of the new, never a mixture."""
    staging = path.with_name(f".{path.name}.{os.getpid()}.staging")
    try:
        write_durably(staging, data)
        staging.replace(path)
    except OSError:
        staging.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def read_regular(path: Path) -> bytes:
    """The content of a file. Raises `OSError` as reading does, and for a pipe or device, which would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read()
    finally:
        os.close(descriptor)
