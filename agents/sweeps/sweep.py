"""Many runs of one experiment, side by side: what they are, where they lie, and how they are brought to their end.

sweep.json           what the sweep is, and all its runs with their settings
runs/NAME            a run directory each, as `taskgen train` leaves it
finished/NAME.json   seconds that the run took; there once it is trained and judged
comparison.html      when all are

A run is a function of its configuration and computed with one thread, so that runs are the same whatever the number of
workers, and however often the sweep was ended. One that is not finished goes on from its newest checkpoint.
"""

import errno
import json
import re
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agents.reports.comparison import Comparison, compare
from agents.reports.comparison_report import write_comparison
from agents.reports.report import write_report
from agents.training import configuration
from agents.training.budget import spent
from agents.training.experiment import Experiment, load_experiment
from agents.training.judge import Onlooker, evaluate_run
from agents.training.lock import Lock
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.start import started
from registry import catalogue
from registry.config import differing, parse, to_toml
from registry.errors import CheckpointError, UserError
from registry.plan import resolve
from taskgen import seals
from taskgen.files import read_regular, write_atomically
from taskgen.maps import Crew, Failed

FOREVER = 1e8
"""Seconds that a run may take."""
_LONGEST = 60
"""Signs of a run's name that say its settings."""


@dataclass(frozen=True)
class Cell:
    """A run of a sweep."""

    name: str
    overrides: tuple[str, ...]
    """What tells it from the others, its seed last."""


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep."""

    identity: Mapping[str, Any]
    """What makes it this sweep and no other: the settings that all share, and how the others were chosen."""
    cells: tuple[Cell, ...]
    configurations: Mapping[str, str]
    """By a run's name its complete configuration, as TOML."""


class Shown(Onlooker, Protocol):
    """Whoever shows progress, and may ask for the sweep to stop."""

    def say(self, text: str) -> None:
        """Something worth a line."""
        ...


class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt
    """Somebody asked for the sweep to stop; what is finished is kept, the others go on from their checkpoints."""


def planned(
    experiment: str,
    fixed: Sequence[str],
    points: Sequence[Sequence[str]],
    seeds: Sequence[int],
    **what: Any,
) -> Sweep:
    """The sweep of `experiment` over `points`, overrides each, with every seed; `what` says how they were chosen.

    Raises `ConfigError` for a key that is not there or a value that is none of its, `UserError` where two runs would be
    the same.
    """
    base = load_experiment(experiment, fixed)
    cells: list[Cell] = []
    configurations: dict[str, str] = {}
    known: dict[str, Sequence[str]] = {}
    places = len(str(len(points) * len(seeds) - 1))
    for point in points:
        tables = load_experiment(experiment, [*fixed, *point]).config.model_dump(mode="json", exclude_none=True)
        for seed in seeds:
            text = to_toml(parse(Experiment, {**tables, "seed": seed}))
            if text in known:
                raise UserError(f"{' '.join(point)} and {' '.join(known[text])} make the same run: give one of them")
            known[text] = point
            name = f"{len(cells):0{places}}-{_slug(point)}seed={seed}"
            configurations[name] = text
            cells.append(Cell(name, (*point, f"seed={seed}")))
    started_with = configuration.kept(tomllib.loads(to_toml(base.config)), base.incidental)
    shared = configuration.essential(started_with)["tables"]
    return Sweep({"experiment": shared, **what, "seeds": list(seeds)}, tuple(cells), configurations)


def _slug(point: Sequence[str]) -> str:
    """What a directory is called that holds a run with these overrides, as far as signs and length allow."""
    words = [f"{word.partition('=')[0].rpartition('.')[2]}={word.partition('=')[2]}" for word in point]
    text = re.sub(r"[^A-Za-z0-9_.=+-]+", "_", ",".join(words).replace(",", "~")).replace("~", "_")[:_LONGEST]
    return f"{text.strip('_.')}-" if text else ""


@dataclass(frozen=True)
class SweepDirectory:
    """Where a sweep lies."""

    path: Path

    def run(self, name: str) -> RunDirectory:
        """The run `name`."""
        return RunDirectory(self.path / "runs" / name)

    def mark(self, name: str) -> Path:
        """What says that the run is finished."""
        return self.path / "finished" / f"{name}.json"

    def finished(self, name: str) -> bool:
        """Whether the run is trained and judged, and there."""
        return self.mark(name).is_file() and self.run(name).config.is_file()

    def begin(self, sweep: Sweep) -> None:
        """Put the sweep down, or find it there.

        Raises `UserError` where another sweep lies here, or anything else; `CheckpointError` for damage.
        """
        file = self.path / "sweep.json"
        if file.exists():
            try:
                stored = seals.loaded(read_regular(file))["sweep"]
            except (ValueError, KeyError) as error:
                raise CheckpointError(
                    f"{file} is damaged: {error}. Restore it from a copy; nothing was changed"
                ) from None
            now = json.loads(json.dumps(sweep.identity))
            if paths := differing(stored, now):
                raise UserError(
                    f"{self.path} holds another sweep: {configuration.told(paths, stored, now)}. Give this one another "
                    "--run, or go on with that one by its own settings"
                )
            return
        try:
            there = sorted(self.path.iterdir()) if self.path.exists() else []
            if found := [each.name for each in there if not _begun(each)]:
                raise UserError(
                    f"{self.path} is no sweep: it holds {', '.join(found[:5])}{', ...' * (len(found) > 5)} but no "
                    "sweep.json. Choose another directory with --run, or empty it"
                )
            (self.path / "runs").mkdir(parents=True, exist_ok=True)
            (self.path / "finished").mkdir(exist_ok=True)
            runs = {cell.name: list(cell.overrides) for cell in sweep.cells}
            text = json.dumps(seals.sealed({"sweep": sweep.identity, "runs": runs}), indent=1)
            write_atomically(file, f"{text}\n".encode())
        except OSError as error:
            raise UserError(
                f"{self.path} cannot hold a sweep ({error.strerror}): choose another place with --run, or make room"
            ) from error


def _begun(path: Path) -> bool:
    """Whether a sweep that was ended while it was put down has left this: as good as nothing."""
    empty = path.name in ("runs", "finished") and path.is_dir() and not any(path.iterdir())
    return empty or path.name == "lock" or path.name.endswith(".staging")


def carry_out(sweep: Sweep, place: SweepDirectory, crew: Crew, shown: Shown, again: str) -> None:
    """Bring every run of `sweep` to its end with `crew`; finished ones are left alone.

    Raises:
        UserError: runs that could not be finished, one line for one cause, or a full disk, with what to type then:
            `again`.
        Interrupted: `shown` asked for it.
    """
    try:
        place.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{place.path} cannot hold a sweep ({error.strerror}): choose another place with --run"
        ) from None
    with Lock(place.path):
        place.begin(sweep)
        left = [cell.name for cell in sweep.cells if not place.finished(cell.name)]
        if done := len(sweep.cells) - len(left):
            shown.say(f"{done} of {len(sweep.cells)} runs are finished and kept")
        if not left:
            return
        watch = _Watch(sweep, place, left, shown)
        crew.heard, crew.tick = watch.heard, watch.tick
        try:
            crew(
                one_run,
                *zip(*((sweep.configurations[name], str(place.path.resolve()), name) for name in left), strict=True),
            )
        except _FullError as error:
            raise UserError(
                f"no room is left on the disk of {place.path} ({error}): {watch.finished()} of {len(sweep.cells)} runs "
                f"are finished and kept. Make room, then go on with: {again}"
            ) from None
        if watch.failed:
            raise UserError(_failures(watch.failed, len(sweep.cells), again))


def _failures(failed: Mapping[str, str], runs: int, again: str) -> str:
    """One line for one cause, and what to do."""
    causes: dict[str, list[str]] = {}
    for name, reason in failed.items():
        causes.setdefault(reason, []).append(name)
    lines = [
        f"  {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in causes.items()
    ]
    head = f"{len(failed)} of {runs} runs are not finished; the others are, and are kept"
    return "\n".join([head, *lines, f"Once the cause is mended, do these again with: {again}"])


class _FullError(Exception):
    """A disk is full."""


class _Watch:
    """Progress over all runs that were left, and what became of them."""

    def __init__(self, sweep: Sweep, place: SweepDirectory, left: Sequence[str], shown: Shown) -> None:
        self._place, self._left, self._shown, self._all = place, left, shown, len(sweep.cells)
        self._experiments = {
            name: parse(Experiment, tomllib.loads(sweep.configurations[name])).training for name in left
        }
        self._over: set[str] = set()
        self._looked = 0.0
        self.failed: dict[str, str] = {}

    def heard(self, index: int, result: Any) -> None:
        """The run at place `index` has come to an end, or to nothing."""
        name = self._left[index]
        if isinstance(result, str):
            raise _FullError(result)
        self._over.add(name)
        if isinstance(result, Failed):
            self.failed[name] = result.reason
            self._shown.say(f"{name}: {result.reason}")
        else:
            self._shown.say(f"{self.finished()} of {self._all} runs finished: {name}")

    def finished(self) -> int:
        """Runs of the sweep that are finished by now."""
        return self._all - len(self._left) + len(self._over) - len(self.failed)

    def tick(self) -> None:
        """Show how far all are."""
        if self._shown.stop_requested():
            raise Interrupted
        if (now := time.monotonic()) - self._looked < _LOOK:
            return
        self._looked = now
        shares = {name: self._share(name) for name in self._left if name not in self._over}
        active = [f"{share:.0%}" for share in shares.values() if share]
        what = f"{self.finished()} of {self._all} runs finished, at work {', '.join(active[:8]) or 'soon'}"
        if whole := (len(self._over) + sum(shares.values())) / len(self._left):
            self._shown.played(whole, what)

    def _share(self, name: str) -> float:
        """How far a run is, by the last line that it has logged."""
        line = _last_line(self._place.run(name).path / "metrics.jsonl")
        steps = int(line.get("metrics", {}).get("charts/steps") or 0)
        return min(spent(self._experiments[name], int(line.get("step", 0)), steps, 0.0), 1.0)


_LOOK = 5.0
"""Seconds between two looks at all runs."""
_TAIL = 16384
"""Bytes at the end of a log that are looked at."""


def _last_line(file: Path) -> Mapping[str, Any]:
    """The last whole line of a log; an empty one where there is none to be read."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - _TAIL))
            *_, last, _rest = b"\n", *log.read().split(b"\n")
        found = json.loads(last)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class _Silent:
    """A watcher that shows nothing: a worker has no terminal of its own."""

    def iteration(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def stop_requested(self) -> bool:
        return False


def one_run(settings: str, place: str, name: str) -> str | None:
    """A unit of work: train and judge the run `name` of the sweep at `place`, from where it stands.

    Returns what was said of a disk that is full, for then no other run gets on either; raises whatever else stops it.
    """
    began, directory = time.perf_counter(), SweepDirectory(Path(place))
    if directory.finished(name):
        return None
    run = directory.run(name)
    try:
        plan = resolve(parse(Experiment, tomllib.loads(settings), name), catalogue(), name)
        plan, parts = started(plan, run, resume=True, reported=True)
        train(plan, run, _Silent(), parts)
        if parts.agent is not None:
            evaluate_run(run)
        write_report([run.path], run.path / "report.html")
        text = json.dumps({"seconds": round(time.perf_counter() - began, 3)})
        directory.mark(name).parent.mkdir(exist_ok=True)
        write_atomically(directory.mark(name), f"{text}\n".encode())
    except Exception as error:
        if full := _no_room(error):
            return full
        raise
    return None


def _no_room(error: BaseException) -> str | None:
    """What was said of a full disk, where that is behind `error`."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return str(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def compared(sweep: Sweep, place: SweepDirectory, shown: Shown) -> dict[str, Comparison]:
    """The agents of all runs on the same tasks, those of each family and structure by themselves; also as a page.

    Runs whose runner judges its many agents itself are left out; nothing is written where none is left.
    """
    groups: dict[str, list[Path]] = {}
    for cell in sweep.cells:
        experiment = load_experiment(str(place.run(cell.name).config)).config
        if experiment.runner is None or (place.run(cell.name).path / "evaluation.json").exists():
            groups.setdefault(json.dumps(experiment.family.model_dump(), sort_keys=True), []).append(
                place.run(cell.name).path
            )
    found: dict[str, Comparison] = {}
    for runs in groups.values():
        comparison = compare(runs, say=shown.say, onlooker=shown)
        same = sum(name.partition(" (")[0] == comparison.family for name in found)
        found[f"{comparison.family} ({same + 1})" if same else comparison.family] = comparison
    if found:
        write_comparison(found, place.path / "comparison.html")
    return found


def seconds(sweep: Sweep, place: SweepDirectory) -> Iterator[float]:
    """How long each finished run took, by itself."""
    for cell in sweep.cells:
        yield float(json.loads(place.mark(cell.name).read_text())["seconds"])
