"""What every benchmark shares: rows, the file they are recorded in, and parts that survive a kill.

rows = [harness.seeds_row("mean trial return", [6.62, 6.63, 6.64], target=">= 6.62", source="Duan et al. 2016")]
harness.record("rl2_bandit", rows, seeds=[0, 1, 2])

What "met" means: ">= 6.62" by the mean over seeds, its interval beside it (`seeds_row`); "this is ahead of that" when
the interval of the difference, seed by seed, is above 0 (`ahead_row`), which takes 3 seeds or more.
"""

import json
import math
import operator
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from agents.evaluation.statistics import LEAST_SEEDS, Spread, basis, seeds_interval, spread_of
from agents.training.provenance import commit, machine, versions
from registry.errors import UserError
from taskgen.files import write_atomically

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PROGRESS = ROOT / "runs" / "benchmarks"

Row = dict[str, Any]
Target = str | float | tuple[float, float] | None
PartOf = Callable[[str], str]

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def row(
    what: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    target: Target = None,
    source: str = "",
    *,
    met: bool | None = None,
) -> Row:
    """One measured figure.

    Args:
        what: what was measured, with its unit.
        value: the figure; `low` and `high` are the ends of its interval, None or NaN where it has none.
        target: ">= 6.62" (or >, <=, <), a range (low, high), or a bare number to stand beside the figure.
        source: where the target is from.
        met: whether a bare number counts as met, where the benchmark has a rule of its own.

    Raises:
        ValueError: a figure that is not finite, or a target that is none of these.
    """
    low, high = (_end(end) for end in (low, high))
    for name, number in (("value", value), ("low", low), ("high", high)):
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{what}: {name} = {number} is not a figure")
    return {
        "what": what,
        "value": float(value),
        "low": low,
        "high": high,
        "target": list(target) if isinstance(target, tuple) else target,
        "source": source,
        "met": met if met is not None else meets(float(value), target),
    }


def seeds_row(what: str, values: Sequence[ArrayLike], target: Target = None, source: str = "") -> Row:
    """A figure over seeds, judged by its mean, its interval beside it; the values are kept, for `recomputed`.

    Args:
        what: as in `row`.
        values: one for each seed, in the order of the result's `seeds`: a number, or [N] numbers of the N tasks that
            all seeds share. Then the interval is over seeds and tasks, as in a report; else over seeds.
        target: as in `row`.
        source: as in `row`.
    """
    kept: Row = {"values": [float(np.mean(np.asarray(value))) for value in values]}
    if all(np.ndim(value) for value in values):
        spread = spread_of(np.stack([np.asarray(value, dtype=np.float64) for value in values]))
        kept |= {} if spread is None else {"spread": list(spread)}
    return recomputed({**row(what, 0.0, target=target, source=source), **kept})


def ahead_row(
    what: str,
    values: Sequence[ArrayLike],
    others: Sequence[ArrayLike] | None = None,
    source: str = "",
    *,
    claim: bool = True,
) -> Row:
    """By how much one is ahead of another, seed by seed: a claim is met when the interval of the difference is above 0.

    Args:
        what: as in `row`.
        values: as in `seeds_row`.
        others: as many of what is to be beaten, paired with them; left out: 0.
        source: as in `row`.
        claim: whether it is a claim; else the difference is only shown.
    """
    pairs = [(value, 0.0) for value in values] if others is None else zip(values, others, strict=True)
    differences = [np.subtract(one, other) for one, other in pairs]
    shown = seeds_row(what, differences, "> 0" if claim else None, source)
    return recomputed({**shown, "ahead": True}) if claim else shown


def recomputed(old: Row) -> Row:
    """The row with interval and `met` as its kept values and today's rules have them.

    A row without values of 2 seeds or more keeps its figures; that of a claim to be ahead is met by its interval.
    """
    new = {key: value for key, value in old.items() if key != "why"}
    values = old.get("values", ())
    if len(values) > 1 or (values and old["low"] is None):
        value, *ends = seeds_interval(values, Spread(*old["spread"]) if "spread" in old else None)
        new |= {"value": value, **{name: _end(end) for name, end in zip(("low", "high"), ends, strict=True)}}
        if len(values) < LEAST_SEEDS:
            new["why"] = "no interval: " + basis(len(values), 1).removeprefix("none: ")
    target = tuple(old["target"]) if isinstance(old["target"], list) else old["target"]
    if new.get("ahead"):
        new["met"] = new["low"] is not None and new["low"] > 0
        new |= {"why": "no interval was recorded"} if new["low"] is None and not values else {}
    elif values:
        new["met"] = meets(new["value"], target)
    return new


def record(
    name: str,
    rows: Sequence[Row],
    seeds: Sequence[int],
    notes: str = "",
    curves: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    part_of: PartOf | None = None,
    **more: Any,
) -> Path:
    """Write `benchmarks/results/<name>.json`, `more` beside the rows, and return its path.

    Learning curves by run, as `benchmarks.learning.curves` has them, are kept beside it, in `curves/<name>.json`. Where
    more processes want to run than there are cores, the notes say so: seconds and rates are then no measure.

    A benchmark of many hours is recorded part by part: `part_of` says by a row's name which part it belongs to. What is
    recorded of other parts stays, and `parts` in the file says at which commit and on which day each was measured.

    Raises:
        ValueError: no rows, or other seeds than those of the parts that stay.
    """
    if not rows:
        raise ValueError(f"benchmark {name} measured nothing")
    result: dict[str, Any] = {
        "benchmark": name,
        "commit": source_commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "seeds": list(seeds),
        "rows": together(name, rows, part_of),
        **more,
    }
    if part_of:
        measured = {key: result[key] for key in ("commit", "date")}
        fresh, earlier = {part_of(row["what"]) for row in rows}, record_of(name)
        named = dict.fromkeys(part_of(row["what"]) for row in result["rows"])
        if named.keys() - fresh and earlier["seeds"] != result["seeds"]:
            raise ValueError(f"{name} was recorded with seeds {earlier['seeds']}, not {result['seeds']}")
        result["parts"] = {part: measured if part in fresh else earlier["parts"][part] for part in named}
        curves = curves and {**record_of(f"curves/{name}"), **curves}
    if notes := "; ".join(filter(None, (notes, _crowd(os.getloadavg()[1], os.cpu_count() or 1)))):
        result["notes"] = notes
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if curves:
        beside = path.parent / "curves" / path.name
        beside.parent.mkdir(exist_ok=True)
        lines = ",\n".join(f" {json.dumps(run)}: {json.dumps(curve, allow_nan=False)}" for run, curve in curves.items())
        write_atomically(beside, f"{{\n{lines}\n}}\n".encode())
    write_atomically(path, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    return path


def together(name: str, rows: Sequence[Row], part_of: PartOf | None) -> list[Row]:
    """`rows`, and what is recorded of parts that none of them belongs to; each part where it was."""
    earlier: list[Row] = record_of(name).get("rows", []) if part_of else []
    if not part_of or not earlier:
        return list(rows)
    fresh = {part_of(row["what"]) for row in rows}
    places = list(dict.fromkeys(part_of(row["what"]) for row in [*earlier, *rows]))
    every = [*(row for row in earlier if part_of(row["what"]) not in fresh), *rows]
    return sorted(every, key=lambda row: places.index(part_of(row["what"])))


def record_of(name: str) -> dict[str, Any]:
    """What is recorded under the name; nothing: empty. Raises `UserError` where that cannot be read."""
    path = RESULTS / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): put it back, as by git checkout, or remove it") from None


def _crowd(load: float, cores: int) -> str:
    """What is said of times where `load` processes shared so many cores over the last minutes."""
    if load < cores + 0.5:
        return ""
    return f"{load:.1f} processes shared {cores} cores while this ended: seconds hold waiting, they measure nothing"


class Resume:
    """Finished parts of a long benchmark, kept in `runs/` until it is done: started again, it goes on from there.

    Parts belong to `settings`: other settings (numbers of tasks, of steps) begin afresh. Processes that share a
    benchmark give a `share` each, under which theirs are kept; whoever comes later, under whichever, knows all.
    """

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None, share: str = "") -> None:
        self._path = PROGRESS / f"{name}{share and f'.{share}'}.json"
        self._name = name
        self._settings = json.loads(json.dumps(dict(settings or {})))
        self._commit = source_commit()
        self._parts: dict[str, dict[str, Any]] = {}
        for path in self._files():
            stored = json.loads(path.read_text())
            if stored["settings"] == self._settings:
                self._parts |= stored["parts"]

    def _files(self) -> list[Path]:
        return sorted(PROGRESS.glob(f"{self._name}.json")) + sorted(PROGRESS.glob(f"{self._name}.*.json"))

    def part(self, key: str, measure: Callable[[], Any]) -> Any:
        """The JSON value of `measure()`, or what it was when this part was finished before."""
        if key not in self._parts:
            self._parts[key] = {"commit": self._commit, "value": json.loads(json.dumps(measure(), allow_nan=False))}
            content = {"settings": self._settings, "parts": self._parts}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(content, indent=1).encode())
        return self._parts[key]["value"]

    @property
    def notes(self) -> str:
        """Which parts were measured at another commit than the present one."""
        others: dict[tuple[str, str], list[str]] = {}
        for key, part in self._parts.items():
            if part["commit"] != self._commit:
                others.setdefault((key.partition(" ")[0], part["commit"]), []).append(key)
        return "; ".join(
            f"{keys[0] if len(keys) == 1 else f'{len(keys)} parts of {kind}'} measured at commit {commit}"
            for (kind, commit), keys in others.items()
        )

    def done(self) -> None:
        """Forget the parts: the result is recorded."""
        for path in self._files():
            path.unlink(missing_ok=True)


def source_commit() -> str:
    """Commit of the source tree, with "-dirty" where tracked Python files differ from it; "" outside of git."""
    head = commit().removesuffix("-dirty")
    program = shutil.which("git")
    if not head or program is None:
        return head
    changed = subprocess.run([program, "diff", "--quiet", "HEAD", "--", "*.py"], cwd=ROOT, check=False).returncode
    return f"{head}-dirty" if changed else head


def _end(end: float | None) -> float | None:
    return None if end is None or math.isnan(end) else float(end)


def meets(value: float, target: Target) -> bool | None:
    """Whether a figure is where its target wants it; `None` where the target is none, or a bare number."""
    if isinstance(target, tuple):
        return target[0] <= value <= target[1]
    if not isinstance(target, str):
        return None
    symbol, _, number = target.partition(" ")
    if symbol not in _COMPARISONS:
        raise ValueError(f"target {target!r}: expected one of {', '.join(_COMPARISONS)}, a space and a number")
    return _COMPARISONS[symbol](value, float(number))
