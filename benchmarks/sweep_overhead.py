"""What a sweep costs beside its runs: `python -m benchmarks.sweep_overhead [--runs 200] [--iterations 300]`.

The time of the whole sweep, without the comparison at its end, against the sum of what its runs took by themselves,
shared by the workers. Workers start, runs are handed out, logs are looked at: that is to be 2% at most.
"""

import argparse
import tempfile
import time
from pathlib import Path

from agents.sweeps.sweep import FOREVER, SweepDirectory, carry_out, planned, seconds
from benchmarks.harness import Row, record, row
from taskgen.maps import Processes

WORKERS = 2
RUNS = 200
ITERATIONS = 300
"""Some 20 seconds a run."""


class _Quiet:
    """Shows nothing."""

    def say(self, text: str) -> None:
        pass

    def played(self, share: float, what: str) -> None:
        pass

    def stop_requested(self) -> bool:
        return False


def measured(runs: int, iterations: int, workers: int, place: Path) -> list[Row]:
    """Rows of a sweep of so many runs."""
    fixed = [
        f"training.iterations={iterations}",
        "training.tasks=100",
        "training.evaluate_every=0",
        "evaluation.players=[]",
    ]
    sweep = planned("rl2-bandit", fixed, [()], range(runs))
    crew, directory = Processes(workers, FOREVER), SweepDirectory(place)
    began = time.perf_counter()
    carry_out(sweep, directory, crew, _Quiet(), "again")
    whole = time.perf_counter() - began
    crew.close()
    own = sum(seconds(sweep, directory)) / workers
    what = f"{runs} runs, {workers} workers"
    return [
        row(f"{what}: the runs by themselves, seconds", own),
        row(f"{what}: the sweep, seconds", whole),
        row(f"{what}: overhead, % of the runs' time", 100 * (whole / own - 1), target="<= 2", source="budget"),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and record; a smaller sweep than the whole one is printed alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep_overhead", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--workers", type=int, default=WORKERS)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        rows = measured(given.runs, given.iterations, given.workers, Path(place) / "sweep")
    if (given.runs, given.iterations, given.workers) == (RUNS, ITERATIONS, WORKERS):
        record("sweep_overhead", rows, seeds=list(range(RUNS)))
        return
    for each in rows:
        print(f"{each['what']}: {each['value']:.2f}")


if __name__ == "__main__":
    main()
