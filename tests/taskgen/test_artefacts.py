"""Artefacts: found by content, refused when altered, copied beside the tasks that refer to them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from registry.errors import TaskError
from taskgen import artefacts
from taskgen.archive import Archive
from taskgen.artefacts import Artefact
from taskgen.spec import RewardSpec, TaskSpec
from taskgen.taskset import read_tasks, write_tasks

NUMBERS = Artefact({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"what": "numbers"})


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place where artefacts are looked for and go."""
    monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path / "store"))
    monkeypatch.setattr(artefacts, "_known", {})
    monkeypatch.chdir(tmp_path)
    artefacts.load.cache_clear()
    return tmp_path / "store"


def referring(name: str) -> TaskSpec:
    return TaskSpec("builtin/bandit", {}, RewardSpec("mine/learned", {"artefact": name}))


def test_an_artefact_is_named_by_its_content(store: Path) -> None:
    name = artefacts.save(NUMBERS)
    path = store / f"{name}.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    assert artefacts.save(NUMBERS) == name
    loaded = artefacts.load(name)
    assert loaded.metadata == {"what": "numbers"}
    np.testing.assert_array_equal(loaded.tensors["weight"], NUMBERS.tensors["weight"])


def test_equal_artefacts_have_equal_names_whatever_the_order_of_their_parts() -> None:
    a = Artefact({"x": np.zeros(2), "y": np.ones(2)}, {str(i): "x" for i in range(9)})
    b = Artefact({"y": np.ones(2), "x": np.zeros(2)}, {str(i): "x" for i in reversed(range(9))})
    assert artefacts.save(a) == artefacts.save(b)


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_flipped_bit_is_refused(store: Path, place: int) -> None:
    name = artefacts.save(NUMBERS)
    path = store / f"{name}.safetensors"
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1
    path.write_bytes(data)
    with pytest.raises(TaskError, match=r"altered.*put a good copy"):
        artefacts.load(name)


def test_a_missing_artefact_says_where_it_was_looked_for() -> None:
    with pytest.raises(TaskError, match=r"is missing; looked in .*store, artefacts\. Copy artefacts/0{64}"):
        artefacts.load("0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/x"])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(TaskError, match="64 hexadecimal digits"):
        artefacts.load(name)


def test_a_file_that_holds_no_tensors_is_refused(store: Path) -> None:
    data = b"not tensors"
    name = hashlib.sha256(data).hexdigest()
    store.mkdir()
    (store / f"{name}.safetensors").write_bytes(data)
    with pytest.raises(TaskError, match="not a file of tensors"):
        artefacts.load(name)


def test_what_is_found_by_metadata_is_intact(store: Path) -> None:
    name = artefacts.save(NUMBERS)
    assert artefacts.find(what="numbers") == name
    assert artefacts.find(what="letters") is None
    (store / f"{name}.safetensors").write_bytes(b"")
    artefacts.load.cache_clear()
    assert artefacts.find(what="numbers") is None


def test_artefacts_go_where_task_files_and_archives_go(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = artefacts.save(NUMBERS)
    write_tasks(tmp_path / "file" / "tasks.jsonl", [referring(name)])
    with Archive(tmp_path / "archive" / "a.sqlite", write=True) as archive:
        archive.add([referring(name)], generator="mine")
        assert archive.check() == []
    monkeypatch.setenv(artefacts.VARIABLE, "")
    monkeypatch.setattr(artefacts, "_known", {})
    artefacts.load.cache_clear()
    with pytest.raises(TaskError, match="missing"):
        artefacts.load(name)
    read_tasks(tmp_path / "file" / "tasks.jsonl", check=False)
    assert artefacts.load(name).metadata == {"what": "numbers"}
    artefacts.load.cache_clear()
    (tmp_path / "file" / "artefacts" / f"{name}.safetensors").unlink()
    with Archive(tmp_path / "archive" / "a.sqlite") as archive:
        assert archive.check() == []
        (tmp_path / "archive" / "artefacts" / f"{name}.safetensors").unlink()
        artefacts.load.cache_clear()
        assert "is missing" in archive.check()[0]


def test_tasks_whose_artefact_is_missing_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="missing"):
        write_tasks(tmp_path / "tasks.jsonl", [referring("0" * 64)])
    assert not (tmp_path / "tasks.jsonl").exists()
