"""PEARL on the sparse point robot: return of every episode of a trial over 3 seeds, beside the reference players.

    python -m benchmarks.pearl_sparse_point        minutes a seed on one thread

Goals lie on a half circle and pay from within 0.2. Runs go to runs/benchmarks/pearl_sparse_point-SEED and are resumed
where they stopped.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from agents.report import write_report
from agents.statistics import mean_interval
from benchmarks.harness import Row, Target, record, row
from benchmarks.learning import RUNS, run_seed

NAME, SEEDS = "pearl_sparse_point", (0, 1, 2)
EPISODES = 5
TARGETS: dict[int, tuple[Target, str]] = {
    1: ("< 3", "nothing is known of the task yet"),
    EPISODES: (">= 8", "aim 10; the oracle has 13.39"),
}
"""By episode."""
BUDGET = 1200
"""Seconds a seed: an hour for all on one core."""


def _rows(summaries: Sequence[dict[str, Any]], curves: Sequence[Sequence[dict[str, Any]]]) -> Iterator[Row]:
    players = [summary["sets"]["held-out"]["players"] for summary in summaries]
    for episode in range(1, EPISODES + 1):
        returns = mean_interval([found["pearl"]["returns"]["mean"][episode - 1] for found in players])
        target, source = TARGETS.get(episode, (None, ""))
        yield row(f"pearl: mean return of episode {episode}", *returns, target=target, source=source)
    gains = [found["pearl"]["returns"]["mean"] for found in players]
    gain = mean_interval([returns[-1] - returns[0] for returns in gains])
    yield row(f"pearl: gain from episode 1 to {EPISODES}", *gain, target="> 0", source="adaptation must help")
    for player in sorted(set(players[0]) - {"pearl"}):
        found = mean_interval([some[player]["trial"]["mean"] / EPISODES for some in players])
        oracle = player == "point-navigation-oracle"
        yield row(f"{player}: mean return", *found, target=13.39 if oracle else None, source="exact" if oracle else "")
    seconds = mean_interval([curve[-1]["seconds"] for curve in curves])
    yield row("pearl: seconds of training, one thread", *seconds, target=f"<= {BUDGET}", source="budget")
    yield row("pearl: environment steps", summaries[0]["steps"])
    for point in curves[0]:
        what = f"pearl, seed {SEEDS[0]}: trial return after {point['steps']:,} steps and {point['seconds']:.0f} s"
        trial = point["trial"]
        yield row(what, trial["mean"], trial["low"], trial["high"])


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    runs = [run_seed(NAME, "pearl-sparse-point", seed, ()) for seed in SEEDS]
    summaries = [json.loads((run.path / "evaluation.json").read_text()) for run in runs]
    curves = [[json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()] for run in runs]
    record(NAME, list(_rows(summaries, curves)), seeds=SEEDS)
    write_report([run.path for run in runs], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main()
