"""The speed table: figures with a target, as they were recorded."""

import json

import pytest

from benchmarks import speed


def test_the_table_holds_what_has_a_target(tmp_path) -> None:
    rows = [
        {"what": "fast", "value": 41.234, "target": ">= 40", "met": True},
        {"what": "slow", "value": 0.5, "target": ">= 1", "met": False},
        {"what": "steps per second", "value": 3e6, "target": None, "met": None},
    ]
    (tmp_path / "one.json").write_text(json.dumps({"rows": rows}))
    _, *table = speed.lines(["one", "two"], tmp_path)
    assert [line.split() for line in table[:2]] == [
        ["fast", "41.23", ">=", "40", "yes"],
        ["slow", "0.50", ">=", "1", "NO"],
    ]
    assert table[2:] == ["two: not recorded"]


def test_recorded_results_are_printed_without_running(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed.subprocess, "run", None)
    speed.main(["--recorded"])
    printed = capsys.readouterr().out
    assert "64 slots: chunk of 8, cpu, times SyncVectorEnv" in printed
    assert "not recorded" not in printed
