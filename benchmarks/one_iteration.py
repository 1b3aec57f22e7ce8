"""A run of one iteration, start to report, and the evaluation at its end: CPU seconds, and peak memory.

    python -m benchmarks.one_iteration [--turns 5]                    about a minute
    python -m benchmarks.one_iteration --beside ../before             also another build's, in turns with this one's

Each run is a process of its own, `taskgen train rl2-bandit training.iterations=1`: it reads the experiment, trains
once, evaluates the agent beside six players on 20,000 held-out tasks and writes the report. Then another process does
that evaluation twice, and the second one counts: no imports. `--beside` names the source tree of another build, such as
a worktree of an older commit, run by the same Python; then nothing is recorded. CPU seconds of user and system
together, medians of turns with their range.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT, Row, record, row

TURNS = 5
_TRAIN = "import sys; from registry.cli import main; sys.exit(main())"
_EVALUATE = """
import pathlib, sys, time, torch
from {judge} import evaluate_run
from {run} import RunDirectory

torch.set_num_threads(1)
run = RunDirectory(pathlib.Path(sys.argv[1]))
for _ in range(2):
    began = time.process_time()
    evaluate_run(run)
print(time.process_time() - began)
"""


def trained(tree: Path, place: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of a run of one iteration with the build in `tree`."""
    command = [sys.executable, "-c", _TRAIN, "train", "rl2-bandit", "training.iterations=1", "--run", str(place)]
    process = subprocess.Popen(command, cwd=tree, env=_environment(tree), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the run of {tree} failed: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def evaluated(tree: Path, place: Path) -> float:
    """CPU seconds of the evaluation of that run with the same build."""
    level_2 = (tree / "agents" / "training").is_dir()
    names = {"judge": "agents.training.judge", "run": "agents.training.run"}
    program = _EVALUATE.format(**names if level_2 else {"judge": "agents.loop", "run": "agents.run"})
    command = [sys.executable, "-c", program, str(place)]
    return float(subprocess.run(command, cwd=tree, env=_environment(tree), stdout=subprocess.PIPE, check=True).stdout)


def _environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}


def measured(trees: Sequence[Path], turns: int) -> dict[Path, Mapping[str, NDArray[np.float64]]]:
    """By tree, what each turn gave; trees take turns."""
    found: dict[Path, list[tuple[float, float, float]]] = {tree: [] for tree in trees}
    for _ in range(turns):
        for tree in trees:
            with tempfile.TemporaryDirectory() as directory:
                place = Path(directory) / "run"
                seconds, peak = trained(tree, place)
                found[tree].append((seconds, peak, evaluated(tree, place)))
    names = (
        "run of one iteration, start to report, CPU seconds",
        "run of one iteration, peak MiB",
        "evaluation of 20,000 bandit trials beside six players, CPU seconds",
    )
    return {tree: dict(zip(names, np.array(rows).T, strict=True)) for tree, rows in found.items()}


def main(arguments: list[str] | None = None) -> None:
    """Measure and record; beside another build the ratios are printed alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_iteration", description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--beside", type=Path, help="source tree of another build")
    given = parser.parse_args(arguments)
    trees = [ROOT] if given.beside is None else [ROOT, given.beside.resolve()]
    ours, *others = measured(trees, given.turns).values()
    rows = [_row(what, values) for what, values in ours.items()]
    rows += [_row(f"{what}, times the other build's", ours[what] / other[what]) for other in others for what in ours]
    if given.beside is None and given.turns == TURNS:
        record("one_iteration", rows, [0])


def _row(what: str, values: NDArray[np.float64]) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:90} {middle:10.2f}   ({low:.2f} to {high:.2f})", flush=True)
    return row(what, middle, low, high)


if __name__ == "__main__":
    main()
