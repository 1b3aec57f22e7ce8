"""Curricula over physical parameters of cart-poles: automatic domain randomisation and ALP-GMM beside uniform tasks.

    python -m benchmarks.cartpole_adr               about a minute a run on one thread, three seeds of each kind
    python -m benchmarks.cartpole_adr adr-0 ...     trains these runs alone, to be recorded later

A policy without memory learns to balance poles whose force, mass, length and gravity it is not told. It is judged on
tasks uniform over the full range, and outside of it: all four numbers below, or all four above. All kinds come to the
ceiling of 200 within a fifth of the steps, so what sets them apart is how often a seed falls short of it outside. Runs
go to runs/benchmarks/cartpole_adr-KIND-SEED and are resumed where they stopped.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.reports.report import write_report
from agents.training.run import RunDirectory
from benchmarks.harness import Row, ahead_row, record, seeds_row
from benchmarks.learning import RUNS, inline, run_seed, trials

NAME, EXPERIMENT, SEEDS = "cartpole_adr", "ppo-cartpole", (0, 1, 2)
FULL = {"force": (2.0, 30.0), "half_length": (0.1, 1.5), "pole_mass": (0.02, 1.0), "gravity": (2.0, 30.0)}
BELOW = {"force": (1.0, 2.0), "half_length": (0.05, 0.1), "pole_mass": (0.01, 0.02), "gravity": (1.0, 2.0)}
ABOVE = {"force": (30.0, 45.0), "half_length": (1.5, 2.5), "pole_mass": (1.0, 2.0), "gravity": (30.0, 45.0)}
SETS = {"held-out": "full range", "below": "all below", "above": "all above"}


def _uniform(ranges: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    vary = {name: {"kind": "uniform", "low": low, "high": high} for name, (low, high) in ranges.items()}
    return {"name": "domain-randomization", "vary": vary}


_LIMITS = {name: {"low": low, "high": high} for name, (low, high) in FULL.items()}
KINDS: dict[str, dict[str, Any]] = {
    "uniform": _uniform(FULL),
    "adr": {
        "name": "adr",
        "ranges": _LIMITS,
        "queue": 20,
        "step": 0.1,
        "widen_above": 150.0,
        "narrow_below": 75.0,
    },
    "alp-gmm": {"name": "alp-gmm", "ranges": _LIMITS},
}
"""What tasks each kind of run is trained on."""


def run(kind: str, seed: int) -> RunDirectory:
    """The finished run of one seed of one kind."""
    others = {"below": _uniform(BELOW), "above": _uniform(ABOVE)}
    changes = [
        f"source={inline(KINDS[kind])}",
        f"evaluation.source={inline(_uniform(FULL))}",
        f"evaluation.out_of_distribution={inline(others)}",
    ]
    return run_seed(f"{NAME}-{kind}", EXPERIMENT, seed, changes)


def returns(runs: Sequence[RunDirectory], tasks: str, player: str) -> list[NDArray[np.float64]]:
    """Returns [N] of `player` on a set of tasks, per seed."""
    return [trials(run, tasks, player) for run in runs]


def rows_of(runs: Mapping[str, Sequence[RunDirectory]]) -> list[Row]:
    """Returns of every kind, what each curriculum adds per seed, and the reference players."""
    rows: list[Row] = []
    for tasks, title in SETS.items():
        rows += [
            seeds_row(f"{kind}: return, {title} (of 200)", returns(found, tasks, "ppo")) for kind, found in runs.items()
        ]
        for player in ("random", "cartpole-oracle"):
            rows.append(seeds_row(f"{player}: return, {title}", returns(runs["uniform"], tasks, player)))
        plain = returns(runs["uniform"], tasks, "ppo")
        for kind in ("adr", "alp-gmm"):
            what = f"{kind} less uniform per seed, {title}"
            rows.append(ahead_row(what, returns(runs[kind], tasks, "ppo"), plain, "it must help"))
    for kind, found in runs.items():
        last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in found]
        rows.append(seeds_row(f"{kind}: seconds of training, one thread", [line["seconds"] for line in last]))
        rows.append(seeds_row(f"{kind}: environment steps", [float(line["steps"]) for line in last]))
    return rows


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    names = sys.argv[1:]
    for name in names:
        kind, _, seed = name.rpartition("-")
        run(kind, int(seed))
    if names:
        return
    runs = {kind: [run(kind, seed) for seed in SEEDS] for kind in KINDS}
    record(NAME, rows_of(runs), seeds=SEEDS)
    write_report([one.path for found in runs.values() for one in found], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main()
