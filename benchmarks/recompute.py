"""Intervals and `met` of recorded results by today's rules, from the values by seed that they keep: no training.

    python -m benchmarks.recompute [--check]

Rewrites `benchmarks/results/*.json` where something changes and names every row that does; with `--check` only says so,
with exit code 1. Then names the results whose rows over several seeds were recorded before values were kept: a changed
interval needs them recorded anew.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, recomputed
from taskgen.files import write_atomically


def changes(result: dict[str, Any]) -> Iterator[str]:
    """Recompute the rows of a recorded result in place, and name those that change."""
    for place, old in enumerate(result["rows"]):
        new = recomputed(old)
        if new != old:
            result["rows"][place] = new
            told = ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in new if old.get(key) != new.get(key))
            yield f"{result['benchmark']}: {old['what']}: {told}"


def lacking(result: dict[str, Any]) -> int:
    """How many rows of a result over several seeds have an interval and no values by seed."""
    several = len(result["seeds"]) > 1
    return sum(several and row["low"] is not None and "values" not in row for row in result["rows"])


def main(arguments: list[str] | None = None, results: Path = RESULTS) -> int:
    """Recompute or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recompute", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if something would change")
    check, found = parser.parse_args(arguments).check, 0
    for path in sorted(results.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        lines = list(changes(result))
        print(*lines, sep="\n", end="\n" if lines else "")
        found += len(lines)
        if lines and not check:
            write_atomically(path, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
        if count := lacking(result):
            print(f"{path.stem}: {count} of {len(result['rows'])} rows over seeds keep no values; record it anew")
    return int(check and found > 0)


if __name__ == "__main__":
    sys.exit(main())
