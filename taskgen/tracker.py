"""`Tracker`: where the metrics of a run go while it lasts."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from registry.catalogue import Item
from registry.errors import PluginError

REQUIRED = ("log", "close")


class Tracker(Protocol):
    """Built as `Target(config, directory=run_directory)` when a run begins or is resumed."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics of iteration `step`, which begins with 1."""
        ...

    def close(self) -> None:
        """The run is complete. A run that is stopped or killed closes nothing."""
        ...


@runtime_checkable
class Rewinding(Protocol):
    """A `Tracker` that can forget. Of any other a resumed run says that some iterations will be logged twice."""

    def truncate_after(self, step: int) -> None:
        """Forget what was logged after iteration `step`, which a resumed run is about to log again; 0: everything."""
        ...


@runtime_checkable
class KnowsConfiguration(Protocol):
    """A `Tracker` that keeps the run's configuration."""

    def configured(self, config: Mapping[str, Any]) -> None:
        """All of config.toml as plain values, before anything is logged; again when the run is resumed."""
        ...


@runtime_checkable
class KnowsEvaluations(Protocol):
    """A `Tracker` that keeps evaluations on held-out tasks."""

    def evaluated(self, step: int, summary: Mapping[str, Any]) -> None:
        """The line of evaluations.jsonl after iteration `step`.

        `summary["trial"]` holds the mean return of a trial and its 95% interval over tasks, "mean", "low" and "high",
        the latter two None where there is none; `summary["steps"]` the environment steps of training so far.
        """
        ...


def refuse_untracked(item: Item) -> None:
    """Raise `PluginError` for an entry whose target lacks a method of every tracker. A function is not looked into."""
    target = item.load()
    lacking = [name for name in REQUIRED if isinstance(target, type) and not callable(getattr(target, name, None))]
    if lacking:
        methods = " and ".join(f"{name}()" for name in lacking)
        raise PluginError(
            f"{item.full_name} (trackers): {item.entry.target} lacks {methods}; a tracker has log(step, metrics) and "
            "close(), see taskgen.tracker"
        )
