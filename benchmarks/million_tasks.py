"""A million tasks, validated and split: seconds and memory beside those of the build before tasks were streamed.

    python -m benchmarks.million_tasks                    about ten minutes
    python -m benchmarks.million_tasks --tasks 20000      a try; nothing is recorded

The older build is checked out into a temporary directory, and runs with the same interpreter and libraries. Seconds are
those that the processor works, so that others on the machine matter little; every process imports all that it needs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT, Row, record, row

TASKS = 1_000_000
BEFORE = "bd7b8b7"
"""The commit that is compared with, which had the same verbs."""
LARGEST = "<= 0.3333"
"""Share of its seconds and of its memory that is aimed at."""


@dataclass(frozen=True)
class Cost:
    """Of one command."""

    seconds: float
    """Of the processor, user and system."""
    peak: float
    """MiB of memory at most."""


def cost(source: Path, *words: str) -> Cost:
    """Run `taskgen` with these words from the tree `source`. Raises `RuntimeError` where it fails."""
    process = subprocess.Popen(
        [sys.executable, "-m", "registry.cli", *words],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"taskgen {' '.join(words)} failed in {source}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@contextmanager
def checked_out(commit: str, place: Path) -> Iterator[Path]:
    """The tree of `commit`, while in here."""
    tree = place / "before"
    subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True, capture_output=True)
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True, capture_output=True)


def rows(costs: dict[str, tuple[Cost, Cost]], tasks: int) -> list[Row]:
    """What is recorded of each verb's cost, now and before."""
    found: list[Row] = []
    for verb, (now, before) in costs.items():
        what = f"{verb} {tasks:,} tasks"
        found += [
            row(f"{what}: seconds", now.seconds),
            row(f"{what}: seconds, before", before.seconds),
            row(f"{what}: share of the seconds of before", now.seconds / before.seconds, target=LARGEST),
            row(f"{what}: peak memory, MiB", now.peak),
            row(f"{what}: peak memory, MiB, before", before.peak),
            row(f"{what}: share of the memory of before", now.peak / before.peak, target=LARGEST),
        ]
    return found


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, print, and record the measure of `TASKS`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=TASKS, help="how many")
    parser.add_argument("--family", default="bandit", help="of which family")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        place, costs = Path(name), dict[str, tuple[Cost, Cost]]()
        file = str(place / "tasks.jsonl")
        number = ("-n", str(given.tasks), "--seed", "0")
        cost(ROOT, "generate", "domain-randomization", "--family", given.family, *number, "-o", file)
        with checked_out(BEFORE, place) as before:
            for verb, more in {"validate": (), "split": ("--force", "-o", str(place / "sides"))}.items():
                now, then = (cost(tree, verb, file, *more) for tree in (ROOT, before))
                costs[verb] = now, then
    found = rows(costs, given.tasks)
    for one in found:
        print(f"{one['what']:<60} {one['value']:>10.4g}")
    if given.tasks == TASKS and given.family == "bandit":
        record("million_tasks", found, [0])
    return found


if __name__ == "__main__":
    main()
