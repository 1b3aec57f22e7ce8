"""Two processes on two cores beside one: rates of training, and how long RL^2 takes to play bandits as it should.

    python -m benchmarks.two_cores          about a quarter of an hour; nothing else should run beside it

Runs of one process and of two, started as docs/training.md says, take turns; of each the rate of an iteration is the
median over its iterations but the first few, and the ratio that within a turn. Both play the same tasks, counts and
streams, and end with the same parameters up to rounding, which `tests/agents/training/test_sharing.py` shows. PEARL and
SAC learn from a replay buffer that is not shared among processes, and are refused.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, Resume, Row, record, row

NAME, TURNS, WARM_UP = "two_cores", 3, 5
ITERATIONS: Mapping[str, int] = {"rl2-bandit": 300, "rl2-tabular": 25, "accel-maze": 25}
SOLVED, JUDGED_ON = 6.6, 20_000
SHORT = 500
"""Iterations that `rl2-bandit` is given to reach `SOLVED`, of the 1,200 that are shipped; chosen before any run."""
SOURCE = "faster on two cores"


def trained(experiment: str, processes: int, changes: Sequence[str]) -> tuple[float, float, float]:
    """Steps per second of a run, its last evaluation, and the seconds it took from start to end."""
    launcher = ["torch.distributed.run", "--nproc-per-node", str(processes), "-m"] if processes > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", *launcher, "registry.cli", "train", experiment, "--run-directory", str(run)]
        started = time.perf_counter()
        subprocess.run([*command, *changes], cwd=ROOT, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        lines = [json.loads(line)["metrics"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        judged = json.loads((run / "evaluations.jsonl").read_text().splitlines()[-1])["trial"]["mean"]
    return float(np.median([line["charts/SPS"] for line in lines[WARM_UP:]])), judged, seconds


def pairs(experiment: str, iterations: int) -> list[list[float]]:
    """[turn, 2] steps per second of one process and of two."""
    changes = [f"training.iterations={iterations}", "training.evaluate_every=0", "seed=3", "device=cpu"]
    changes += ["evaluation.tasks=20", "evaluation.final_tasks=20", "evaluation.players=[]"]
    return [[trained(experiment, processes, changes)[0] for processes in (1, 2)] for _ in range(TURNS)]


def rows(experiment: str, rates: Sequence[Sequence[float]]) -> list[Row]:
    """Rates, and what two processes make of them."""
    found = np.asarray(rates)
    columns = {"one process, steps per second": found[:, 0], "two processes, steps per second": found[:, 1]}
    shown = [_spread(f"{experiment}: {what}", values) for what, values in columns.items()]
    return [*shown, _spread(f"{experiment}: two processes over one", found[:, 1] / found[:, 0], ">= 1.5")]


def main() -> None:
    """Measure and record."""
    resume = Resume(NAME, {"iterations": dict(ITERATIONS), "turns": TURNS, "short": SHORT})
    found: list[Row] = []
    for experiment, iterations in ITERATIONS.items():
        measure = lambda experiment=experiment, iterations=iterations: pairs(experiment, iterations)  # noqa: E731
        found += rows(experiment, resume.part(f"pairs {experiment}", measure))
    changes = [f"training.iterations={SHORT}", "training.evaluate_every=0", "seed=0", "device=cpu"]
    changes += [f"evaluation.tasks={JUDGED_ON}", f"evaluation.final_tasks={JUDGED_ON}", "evaluation.players=[]"]
    _, judged, seconds = resume.part("solved", lambda: trained("rl2-bandit", 2, changes))
    title = f"rl2-bandit, {SHORT} iterations by two processes"
    found.append(row(f"{title}: return of {JUDGED_ON:,} held-out trials", judged, target=f">= {SOLVED}", source=SOURCE))
    found.append(row(f"{title}: seconds from start to evaluation", seconds, target="<= 50", source=SOURCE))
    record(NAME, found, seeds=[0, 3], notes=resume.notes)
    resume.done()


def _spread(what: str, values: np.ndarray, target: str | None = None) -> Row:
    """The median over turns, with their range."""
    return row(what, float(np.median(values)), values.min(), values.max(), target, SOURCE if target else "")


if __name__ == "__main__":
    main()
