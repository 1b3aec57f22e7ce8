"""The speed of the worlds: run their throughput benchmarks, record them, print what was measured beside its target.

    python -m benchmarks.speed [--recorded]       about a quarter of an hour; nothing else should run beside it

With `--recorded` nothing is run: the table is that of the recorded results.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.harness import RESULTS, ROOT

BENCHMARKS = ("mujoco_throughput", "terrain_throughput", "tensor_families")


def lines(names: Sequence[str] = BENCHMARKS, results: Path = RESULTS) -> Iterator[str]:
    """The table: every figure of the benchmarks `names` that has a target. One that is not recorded says so."""
    yield f"{'what':90} {'measured':>12}  {'target':10} met"
    for name in names:
        path = results / f"{name}.json"
        if not path.is_file():
            yield f"{name}: not recorded"
            continue
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            if row["target"] is not None:
                met = {None: "", True: "yes", False: "NO"}[row["met"]]
                yield f"{row['what']:90} {row['value']:12,.2f}  {row['target']!s:10} {met}".rstrip()


def main(arguments: list[str] | None = None) -> None:
    """Run, each benchmark in a process of its own, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--recorded", action="store_true", help="run nothing")
    if not parser.parse_args(arguments).recorded:
        for name in BENCHMARKS:
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=True)
    print("\n".join(lines()))


if __name__ == "__main__":
    main()
