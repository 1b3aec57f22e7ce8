"""Archives where they cannot be written, where there is no room, and where something else lies in their place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import TaskError
from taskgen.archive import Archive
from taskgen.spec import TaskSpec
from tests.places import as_nobody, open_to_all

SPECS = [TaskSpec("f", {"x": number}) for number in range(2000)]


def made(path: Path) -> Path:
    with Archive(path, write=True) as archive:
        archive.add(SPECS[:3], generator="g")
    return path


def test_an_archive_in_a_folder_that_cannot_be_written_is_read() -> None:
    with open_to_all() as folder:
        path = made(folder / "archive.sqlite")
        path.chmod(0o444)
        folder.chmod(0o555)
        before = sorted(folder.iterdir())
        with as_nobody():
            with Archive(path) as archive:
                assert [record.spec for record in archive.records()] == SPECS[:3]
            with pytest.raises(TaskError, match=r"cannot be written: .* does not allow it \(Permission denied\)"):
                Archive(path, write=True)
            with pytest.raises(TaskError, match=r"new.sqlite cannot be written: .* does not allow it"):
                Archive(folder / "new.sqlite", write=True)
        assert sorted(folder.iterdir()) == before
        folder.chmod(0o755)


def test_an_archive_that_cannot_be_read_is_told_as_that() -> None:
    with open_to_all() as folder:
        path = made(folder / "archive.sqlite")
        path.chmod(0o000)
        with (
            as_nobody(),
            pytest.raises(TaskError, match="cannot be used here .*: it takes write permission for it and"),
        ):
            Archive(path)


FULL = """
import resource, sys
from taskgen.archive import Archive
from taskgen.spec import TaskSpec
from registry.errors import TaskError
path, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    with Archive(path, write=True) as archive:
        archive.add((TaskSpec("f", {"x": number}) for number in range(3, 2000)), generator="g")
except TaskError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [10, 8_000, 60_000, 200_000])
@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_is_told_as_that_and_nothing_is_lost(tmp_path: Path, limit: int, exists: bool) -> None:
    """A limit on files stands for a full disk: in the making of the archive, or of what is added to it."""
    path = tmp_path / "archive.sqlite"
    if exists:
        made(path)
    command = [sys.executable, "-c", FULL, str(path), str(limit)]
    said = subprocess.run(command, stdout=-1, stderr=-1, text=True, timeout=60, check=True).stdout
    assert str(path) in said
    assert "make room or mend" in said
    assert "backup" not in said
    assert not list(tmp_path.glob(".*staging*"))
    with Archive(path, write=True) as archive:
        assert [record.spec for record in archive.records()] == (SPECS[:3] if exists else [])


@pytest.mark.parametrize(
    "name", ["archive.sqlite", "archive.sqlite-wal", "archive.sqlite-journal", "archive.sqlite.lock"]
)
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "archive.sqlite")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(TaskError, match="is not a regular file|cannot be written"):
        Archive(path, write=True)
    if not name.endswith("lock"):
        with pytest.raises(TaskError, match=f"{name} is not a regular file"):
            Archive(path)
