"""TensorBoard events, read back by TensorBoard's own reader."""

import subprocess
import sys
from pathlib import Path

import pytest

from plugins.trackers.tensorboard import TensorBoard, TensorBoardConfig
from registry.errors import PluginError


def scalars(directory: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_scalars_come_back(tmp_path: Path) -> None:
    log = TensorBoard(TensorBoardConfig(), directory=tmp_path)
    log.log(1, {"meta/train_return": 5.5, "charts/SPS": 1e4})
    log.log(2, {"meta/train_return": 6.25})
    log.close()
    assert scalars(tmp_path, "meta/train_return") == [(1, 5.5), (2, 6.25)]
    assert scalars(tmp_path, "charts/SPS") == [(1, 10000.0)]


def test_resuming_hides_later_steps(tmp_path: Path) -> None:
    for run, steps in enumerate(([1, 2, 3, 4], [3, 4, 5])):
        log = TensorBoard(TensorBoardConfig(flush_seconds=1), directory=tmp_path)
        if run:
            log.truncate_after(2)
        for step in steps:
            log.log(step, {"x": 10 * run + step})
        log.close()
    assert scalars(tmp_path, "x") == [(1, 1), (2, 2), (3, 13), (4, 14), (5, 15)]


def test_a_missing_package_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(PluginError, match=r'pip install "taskgen-metarl\[tensorboard\]"'):
        TensorBoard(TensorBoardConfig(), directory=tmp_path)


def test_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from plugins.trackers.tensorboard import *;"
        f"log = TensorBoard(TensorBoardConfig(), directory=Path({str(tmp_path)!r})); log.log(1, {{'x': 1.0}});"
        "log.close(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
