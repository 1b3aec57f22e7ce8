"""Whether config.toml still says what its run was started with.

provenance.json and every checkpoint keep the settings, as config.toml had them, and which of them are incidental: those
may change while a run goes on, all others make another run of it.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from logging import getLogger
from pathlib import Path
from typing import Any

from registry.config import differing, inside
from registry.discovery import typed
from registry.errors import CheckpointError, brief

KEY = "configuration"
"""Under which provenance.json and checkpoints keep it."""
_SHOWN = 6
"""Settings that a message names at most."""
_log = getLogger(__name__)


def kept(tables: Mapping[str, Any], incidental: Iterable[str]) -> dict[str, Any]:
    """What is kept of the `tables` of config.toml, some dotted paths of which are incidental."""
    return {"tables": dict(tables), "incidental": sorted(incidental)}


def essential(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` without its incidental settings, so that a checkpoint does not depend on them by a byte."""
    return {"tables": _without(record["tables"], record["incidental"], ""), "incidental": record["incidental"]}


def refuse_altered(file: Path, tables: Mapping[str, Any], record: Mapping[str, Any], by: Path) -> list[str]:
    """Raise `CheckpointError` where `tables`, those of `file`, differ from the `record` that `by` holds.

    Returns the dotted paths of incidental settings that differ.
    """
    started, incidental = record["tables"], record["incidental"]
    paths = differing(started, tables)
    changed = [path for path in paths if not inside(path, incidental)]
    if changed:
        raise CheckpointError(
            f"{file} does not say what its run was started with: {told(changed, started, tables)} (according to {by}). "
            f"Put it right; or, to train with other settings, begin another run: `{typed(f'train {file} --run NEW')}`, "
            f"with `--from {file.parent}` to go on from what this one has learned"
        )
    return paths


def told(paths: list[str], started: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The settings at dotted `paths`: what they are `now`, and were when the run `started`."""
    pairs = [(path, _at(started, path), _at(now, path)) for path in paths[:_SHOWN]]
    texts: list[str] = []
    for path, old, new in pairs:
        before = "new" if old is None else f"was {brief(old)}"
        texts.append(f"{path} is missing" if new is None else f"{path} = {brief(new)}, {before}")
    more = len(paths) - len(texts)
    return "; ".join(texts) + (f"; and {more} more" if more else "")


@lru_cache(maxsize=64)
def remark(file: Path, paths: tuple[str, ...]) -> None:
    """Say once that incidental settings are not those that the run of `file` was started with."""
    _log.warning("%s: not as the run was started: %s; that changes no result", file, ", ".join(paths))


@lru_cache(maxsize=64)
def remark_old(file: Path) -> None:
    """Say once that nothing tells whether `file` is what its run was started with."""
    _log.warning("%s: the run is of before runs kept their settings; whether it was altered cannot be told", file)


def _without(value: Any, paths: Iterable[str], place: str) -> Any:
    if isinstance(value, Mapping):
        inner = {key: f"{place}.{key}" if place else key for key in value}
        return {key: _without(value[key], paths, path) for key, path in inner.items() if not inside(path, paths)}
    if isinstance(value, list):
        return [_without(item, paths, f"{place}[{index}]") for index, item in enumerate(value)]
    return value


def _at(tables: Any, path: str) -> Any:
    """The value at a dotted path as `differing` writes them; None where there is none."""
    for step in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(tables, list):
            tables = tables[int(step)]
        elif isinstance(tables, Mapping):
            tables = tables.get(step)
        else:
            return None
    return tables
