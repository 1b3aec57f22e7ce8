"""Metrics as TensorBoard events, beside the run's other files: `tensorboard --logdir RUN`. Needs no torch."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field

from registry.config import Config
from registry.errors import PluginError


class TensorBoardConfig(Config):
    """When events reach the disk."""

    flush_seconds: int = Field(30, gt=0, description="Longest time an event waits before it is written.")


class TensorBoard:
    """Tracker that writes scalar events to `tensorboard/`. Raises `PluginError` where the package is missing."""

    def __init__(self, config: TensorBoardConfig, *, directory: Path) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ModuleNotFoundError as error:
            raise PluginError(
                f"tracker tensorboard needs the package {error.name!r}, which is not installed: "
                'pip install "taskgen-metarl[tensorboard]", or leave the tracker out.'
            ) from error
        self._event, self._summary, self._tensor = event_pb2, summary_pb2, tensor_pb2
        self._writer = EventFileWriter(str(directory / "tensorboard"), flush_secs=config.flush_seconds)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add one scalar event per metric."""
        values = [self._summary.Summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()]
        summary = self._summary.Summary(value=values)
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=step, summary=summary))

    def evaluated(self, step: int, summary: Mapping[str, Any]) -> None:
        """Add the mean return of a trial on held-out tasks, and its interval where there is one."""
        trial = summary["trial"]
        values = {f"evaluation/trial_return_{name}": trial[name] for name in ("mean", "low", "high")}
        self.log(step, {name: value for name, value in values.items() if value is not None})

    def configured(self, config: Mapping[str, Any]) -> None:
        """Add the configuration as text."""
        text = "```toml\n" + tomli_w.dumps(config) + "```"
        tensor = self._tensor.TensorProto(dtype="DT_STRING", string_val=[text.encode()])
        tensor.tensor_shape.dim.add(size=1)
        known = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        value = self._summary.Summary.Value(
            tag="configuration", metadata=self._summary.SummaryMetadata(plugin_data=known), tensor=tensor
        )
        summary = self._summary.Summary(value=[value])
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=0, summary=summary))

    def truncate_after(self, step: int) -> None:
        """Have readers drop what was logged after `step`, which a resumed run is about to log again."""
        session = self._event.SessionLog(status=self._event.SessionLog.START)
        self._writer.add_event(self._event.Event(wall_time=time.time(), step=step + 1, session_log=session))

    def close(self) -> None:
        """Write what is waiting and close the file."""
        self._writer.close()
