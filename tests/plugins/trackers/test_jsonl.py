"""metrics.jsonl: a line per step, none lost to a kill, none twice after a resume."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from plugins.trackers.jsonl import JsonLines, JsonLinesConfig
from registry.errors import UserError


def tracker(directory: Path) -> JsonLines:
    return JsonLines(JsonLinesConfig(), directory=directory)


def records(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_line_per_step_readable_while_the_run_goes_on(tmp_path: Path) -> None:
    before = time.time()
    log = tracker(tmp_path / "run")
    log.log(1, {"meta/train_return": 5.5, "charts/SPS": np.float32(1e4)})
    log.log(2, {"losses/policy_loss": math.nan, "best": -math.inf})
    first, second = records(tmp_path / "run")
    assert set(first) == {"step", "time", "metrics", "digest"}
    assert first["step"] == 1
    assert before - 1 <= first["time"] <= time.time() + 1
    assert first["metrics"] == {"meta/train_return": 5.5, "charts/SPS": 10000.0}
    assert second["metrics"] == {"losses/policy_loss": None, "best": None}
    log.close()


def test_resuming_drops_later_steps_and_goes_on(tmp_path: Path) -> None:
    log = tracker(tmp_path)
    for step in range(1, 6):
        log.log(step, {"x": step})
    log.close()
    resumed = tracker(tmp_path)
    resumed.truncate_after(3)
    resumed.log(4, {"x": 40})
    resumed.close()
    assert [(record["step"], record["metrics"]["x"]) for record in records(tmp_path)] == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 40),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_line_cut_by_a_kill_does_not_spoil_the_next(tmp_path: Path) -> None:
    log = tracker(tmp_path)
    log.log(1, {"x": 1})
    log.close()
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 2, "ti')
    again = tracker(tmp_path)
    again.log(2, {"x": 2})
    again.close()
    assert [record["step"] for record in records(tmp_path)] == [1, 2]


def test_damaged_lines_are_left_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\xffep"\n[3]\n{"step": 9}\n')
    log = tracker(tmp_path)
    log.truncate_after(5)
    log.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"st\xffep"\n[3]\n'


def test_where_it_cannot_write_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write metrics to .*metrics\.jsonl: .*resume"):
        tracker(tmp_path / "file")
    if Path("/dev/full").exists():
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
        with pytest.raises(UserError, match="No space left on device"):
            tracker(tmp_path).log(1, {"x": 1.0})
