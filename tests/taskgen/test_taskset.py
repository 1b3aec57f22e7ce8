"""Task sets: files in and out, hash splits, and files with something wrong in them."""

import json
import os
import re
from pathlib import Path

import pytest

from plugins.families.bandit import Bandit, BanditConfig
from registry.errors import TaskError
from taskgen import taskset
from taskgen.spec import TaskSpec
from taskgen.taskset import TaskSet, check_disjoint, hash_fraction, write_tasks

FAMILY = Bandit(BanditConfig(arms=2), name="builtin/bandit")


def tasks(n: int, first: int = 0) -> TaskSet:
    return TaskSet(
        tuple(FAMILY.spec({"probabilities": [0.25, seed / 10_000]}, seed=seed) for seed in range(first, first + n))
    )


def test_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tasks.jsonl"
    tasks(5).write(path)
    assert TaskSet.read(path) == tasks(5)
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [spec.id for spec in tasks(5)]
    assert [item.name for item in path.parent.iterdir()] == ["tasks.jsonl"]


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    tasks(5).write(path)
    with pytest.raises(TaskError, match="exists"):
        tasks(2).write(path)
    assert len(TaskSet.read(path)) == 5
    tasks(2).write(path, overwrite=True)
    assert len(TaskSet.read(path)) == 2


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def specs() -> object:
        yield tasks(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tasks(tmp_path / "tasks.jsonl", specs())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_sequence() -> None:
    five = tasks(5)
    assert five[1].seed == 1
    assert five[1:3] == tasks(2, first=1)
    assert [spec.seed for spec in five] == [0, 1, 2, 3, 4]


def test_filter() -> None:
    assert tasks(4).filter(lambda spec: spec.seed % 2 == 1) == TaskSet((tasks(4)[1], tasks(4)[3]))


def test_hash_fraction_is_the_documented_hash() -> None:
    # printf '/abc' | sha256sum begins with aaaea3613df9
    assert hash_fraction("abc") == int("aaaea3613df9", 16) / 2**48


def test_split_is_disjoint_complete_and_about_the_fraction() -> None:
    train, held_out = tasks(2000).split(0.2)
    check_disjoint(train, held_out)
    assert len(train) + len(held_out) == 2000
    assert len(held_out) == pytest.approx(400, abs=5 * (2000 * 0.2 * 0.8) ** 0.5)


def test_adding_tasks_moves_none() -> None:
    train, held_out = tasks(200).split(0.3)
    more_train, more_held_out = tasks(400).split(0.3)
    assert {spec.id for spec in train} <= {spec.id for spec in more_train}
    assert {spec.id for spec in held_out} <= {spec.id for spec in more_held_out}


def test_salts_give_independent_splits() -> None:
    _, held_out = tasks(2000).split(0.5)
    again, _ = held_out.split(0.5, salt="second")
    assert 0.4 < len(again) / len(held_out) < 0.6


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan"), 2.0])
def test_bad_fractions(fraction: float) -> None:
    with pytest.raises(TaskError, match="more than 0 and less than 1"):
        tasks(3).split(fraction)


def test_check_disjoint_names_what_is_shared() -> None:
    check_disjoint(tasks(3), tasks(3, first=3))
    with pytest.raises(TaskError, match=f"1 tasks are in both sets: {tasks(3)[2].id}"):
        check_disjoint(tasks(3), tasks(3, first=2))


def test_no_more_than_five_are_named() -> None:
    for shared, more in ((5, "$"), (6, ", ...$")):
        with pytest.raises(TaskError, match=rf"^{shared} tasks are in both sets: (\w{{16}}, ){{4}}\w{{16}}{more}"):
            check_disjoint(tasks(shared), tasks(shared))


def test_a_line_may_be_as_long_as_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end counts: of 400 bytes 399 are text."""
    monkeypatch.setattr(taskset, "MAX_LINE", 400)
    path = tmp_path / "tasks.jsonl"
    text = tasks(1)[0].to_json()
    path.write_text(text.ljust(399) + "\n" + text)
    assert len(TaskSet.read(path)) == 2
    path.write_text(text.ljust(400) + "\n" + text)
    with pytest.raises(TaskError, match="1 of 2 lines is broken\n  line 1: longer than 400 bytes"):
        TaskSet.read(path)


def test_duplicates() -> None:
    assert TaskSet((*tasks(3), *tasks(1), *tasks(1))).duplicates() == {tasks(1)[0].id: 3}
    assert tasks(3).duplicates() == {}


BROKEN = {
    "no JSON": (b"{", "not valid JSON"),
    "not UTF-8": (b'{"family":"\xff"}', "not UTF-8 text"),
    "unknown family": (TaskSpec("builtin/bandid", {"arms": 2}).to_json().encode(), "bandid"),
    "out of range": (
        TaskSpec("builtin/bandit", {"arms": 2, "pulls": 1, "probabilities": (0.5, 1.5)}).to_json().encode(),
        r"probabilities\[1\] = 1.5: allowed range is 0 to 1",
    ),
    "incomplete": (TaskSpec("builtin/bandit", {"arms": 2}).to_json().encode(), "the context lacks"),
    "bad structure": (TaskSpec("builtin/bandit", {"arms": 0}).to_json().encode(), "arms"),
    "structure of another type": (TaskSpec("builtin/bandit", {"arms": {"a": (1,)}}).to_json().encode(), "arms"),
    "wrong id": (tasks(1)[0].to_json().replace('"id":"', '"id":"0').encode(), "the task was altered"),
    "NaN": (tasks(1)[0].to_json().replace("0.25", "NaN").encode(), "NaN"),
    "5000 digits": (tasks(1)[0].to_json().replace("0.25", "1" * 5000).encode(), "not valid JSON"),
    "deep": (b'{"family":"builtin/bandit","context":{"arms":' + b"[" * 900 + b"]" * 900 + b"}}", "nested too deeply"),
    "very deep": (b"[" * 200_000, "nested too deeply"),
    "duplicate key": (b'{"family":"a","family":"b","context":{}}', "appears twice"),
    "null bytes": (b"\0\0\0", "not valid JSON"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_line_is_named_and_the_rest_counted(tmp_path: Path, kind: str) -> None:
    line, message = BROKEN[kind]
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"".join([tasks(1)[0].to_json().encode() + b"\n", b"\n", line + b"\n", b"\r\n"]))
    with pytest.raises(TaskError, match=message) as caught:
        TaskSet.read(path)
    assert f"{path}: 1 of 2 lines is broken\n  line 3: " in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_every_broken_line_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(f'{{"family": {n}}}\n' for n in range(30)) + tasks(1)[0].to_json())
    with pytest.raises(TaskError, match=r"30 of 31 lines are broken\n  line 1: (?s:.*)line 20: .*\n  and 10 more$"):
        TaskSet.read(path)


def test_a_line_that_is_too_long_does_not_hide_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taskset, "MAX_LINE", 400)
    path = tmp_path / "tasks.jsonl"
    path.write_text("x" * 1201 + "\n" + tasks(1)[0].to_json() + "\ny\n")
    with pytest.raises(
        TaskError, match=r"2 of 3 lines are broken\n  line 1: longer than 400 bytes\n  line 3: not valid"
    ):
        TaskSet.read(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    tasks(3).write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TaskError, match="1 of 3 lines is broken\n  line 3: not valid JSON"):
        TaskSet.read(path)


def test_unreadable_and_unwritable_paths(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="cannot be read: No such file"):
        TaskSet.read(tmp_path / "missing.jsonl")
    with pytest.raises(TaskError, match="cannot be read: Is a directory"):
        TaskSet.read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(TaskError, match="cannot be written"):
        tasks(1).write(tmp_path / "file" / "tasks.jsonl")


@pytest.mark.parametrize(("arms", "refused"), [("2", False), ("2.0", True), ("true", True), ("3", True)])
def test_a_family_that_was_seen_is_not_taken_for_one_of_other_settings(
    tmp_path: Path, arms: str, refused: bool
) -> None:
    """Where the settings are equal but not the same, or the knobs do not fit them: the line is told."""
    line = tasks(1)[0].to_json()
    other = re.sub(r'"id":"[^"]*",', "", line).replace('"arms":2', f'"arms":{arms}')
    (tmp_path / "tasks.jsonl").write_text(f"{line}\n{other}\n{line}\n")
    if refused:
        with pytest.raises(TaskError, match="1 of 3 lines is broken\n  line 2: "):
            TaskSet.read(tmp_path / "tasks.jsonl")
    else:
        assert len(TaskSet.read(tmp_path / "tasks.jsonl")) == 3


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tasks.jsonl")
    with pytest.raises(TaskError, match="tasks.jsonl: it is a pipe"):
        TaskSet.read(tmp_path / "tasks.jsonl")


def test_unchecked_reading_needs_no_family(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(TaskSpec("nobody/nothing", {"x": 1}).to_json())
    assert len(TaskSet.read(path, check=False)) == 1


def test_equal_reasons_are_given_once(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("[]\n" * 6 + "{}\n" + "1\n" * 2)
    with pytest.raises(TaskError) as refusal:
        TaskSet.read(path)
    title, *lines = str(refusal.value).splitlines()
    assert title.endswith("9 of 9 lines are broken")
    assert [line.partition(":")[0] for line in lines] == ["  lines 1, 2, 3 and 3 more", "  line 7", "  lines 8 and 9"]
