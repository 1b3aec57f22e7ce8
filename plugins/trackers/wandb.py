"""Metrics, evaluations and configuration for Weights & Biases, offline unless asked: nothing leaves the machine.

`wandb sync RUN/wandb/offline-run-*` sends what was written. Needs `taskgen-metarl[wandb]`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from registry.config import Config
from registry.errors import PluginError


class WandbConfig(Config):
    """Where a run goes."""

    project: str = Field("taskgen", min_length=1, description="Project of the run.")
    entity: str = Field("", description="Team or user; empty: the one that is logged in.")
    mode: Literal["offline", "online"] = Field(
        "offline", description="Whether the run is only written beside its other files, or sent as it goes."
    )


class Wandb:
    """Tracker that writes to `wandb/` of the run directory. Raises `PluginError` where the package is missing."""

    def __init__(self, config: WandbConfig, *, directory: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise PluginError(
                f"tracker wandb needs the package wandb, which does not import ({error}): "
                'pip install "taskgen-metarl[wandb]", or leave the tracker out.'
            ) from error
        self._run: Any = wandb.init(
            project=config.project,
            entity=config.entity or None,
            name=directory.name,
            dir=str(directory),
            mode=config.mode,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_machine_info=True),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One point of every metric."""
        self._run.log(dict(metrics), step=step)

    def evaluated(self, step: int, summary: Mapping[str, Any]) -> None:
        """The mean return of a trial on held-out tasks, and its interval where there is one."""
        trial = summary["trial"]
        values = {f"evaluation/trial_return_{name}": trial[name] for name in ("mean", "low", "high")}
        self._run.log({name: value for name, value in values.items() if value is not None}, step=step)

    def configured(self, config: Mapping[str, Any]) -> None:
        """All settings of the run."""
        self._run.config.update(dict(config), allow_val_change=True)

    def close(self) -> None:
        """Write what is waiting."""
        self._run.finish()
