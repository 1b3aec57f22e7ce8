"""What is written for Weights & Biases, read back from its own file; nothing is sent."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.trackers.wandb import Wandb, WandbConfig
from registry.cli import main
from registry.errors import PluginError

wandb = pytest.importorskip("wandb", reason="taskgen-metarl[wandb] is not installed")


def records(directory: Path) -> Iterator[Any]:
    """Of the run's file: blocks of 32 KiB, records with 7 bytes of head, in pieces where they cross a block."""
    from wandb.proto import wandb_internal_pb2

    (file,) = directory.rglob("*.wandb")
    data, place, pieces = file.read_bytes(), 7, b""
    while place < len(data):
        if 2**15 - place % 2**15 < 7:
            place += 2**15 - place % 2**15
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        pieces += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pieces)
            pieces = b""
            yield record


def complete(directory: Path) -> None:
    """Until wandb's own process, which outlives the run, has written how that ended."""
    for _ in range(200):
        if "exit" in {record.WhichOneof("record_type") for record in records(directory)}:
            return
        time.sleep(0.05)


def history(directory: Path) -> dict[int, dict[str, str]]:
    complete(directory)
    rows = [record.history for record in records(directory) if record.WhichOneof("record_type") == "history"]
    return {row.step.num: {".".join(item.nested_key) or item.key: item.value_json for item in row.item} for row in rows}


def test_metrics_evaluations_and_configuration_are_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "")
    log = Wandb(WandbConfig(), directory=tmp_path)
    log.configured({"name": "bandits", "agent": {"learning_rate": 0.25}})
    log.log(1, {"charts/steps": 10.0})
    log.evaluated(1, {"trial": {"mean": 2.5, "low": None, "high": 3.0}})
    log.log(2, {"charts/steps": 20.0})
    log.close()
    found = history(tmp_path)
    assert found[1]["charts/steps"] == "10"
    assert found[1]["evaluation/trial_return_mean"] == "2.5"
    assert found[1]["evaluation/trial_return_high"] == "3"
    assert "evaluation/trial_return_low" not in found[1]
    assert found[2]["charts/steps"] == "20"
    told = "".join(str(record) for record in records(tmp_path))
    assert "learning_rate" in told
    assert "0.25" in told
    assert (tmp_path / "wandb").is_dir()
    assert [path.name.startswith("offline-run-") for path in (tmp_path / "wandb").glob("*run-*")] == [True]


def test_a_run_with_it(tmp_path: Path) -> None:
    small = "training.iterations=2 training.tasks=4 evaluation.final_tasks=4 evaluation.players=[] evaluation.tail=0"
    line = f'train rl2-bandit --run {tmp_path}/run trackers=["jsonl","wandb"] training.evaluate_every=2 {small}'
    assert main([*line.split(), "evaluation.tasks=4"]) == 0
    found = history(tmp_path / "run")
    assert set(found) == {1, 2}
    assert "evaluation/trial_return_mean" in found[2]


def test_a_missing_package_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(PluginError, match=r'pip install "taskgen-metarl\[wandb\]"'):
        Wandb(WandbConfig(), directory=tmp_path)
