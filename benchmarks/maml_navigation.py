"""MAML and ProMP on 2D navigation: return after 0, 1, 2 and 3 gradient steps over 3 seeds, beside reference players.

    python -m benchmarks.maml_navigation           minutes a seed and agent on one thread

The two differ in their outer loop, TRPO or PPO, and have the same number of environment steps. Runs go to
runs/benchmarks/maml_navigation-SEED and maml_navigation-promp-SEED and are resumed where they stopped.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from agents.report import write_report
from agents.statistics import mean_interval
from benchmarks.harness import Row, Target, record, row
from benchmarks.learning import RUNS, run_seed

NAME, SEEDS = "maml_navigation", (0, 1, 2)
PAPER = "MAML's paper (Finn et al. 2017, table of appendix C): "
TARGETS: tuple[tuple[Target, str], ...] = (
    (-40.41, PAPER + "-40.41"),
    (">= -13", PAPER + "-11.68"),
    (-3.33, PAPER + "-3.33; a plain reproduction got -15.7"),
    (-3.23, PAPER + "-3.23; a plain reproduction got -9.5"),
)
"""By gradient steps."""


def _rows(summaries: Sequence[dict[str, Any]], seconds: Sequence[float]) -> Iterator[Row]:
    players = [summary["sets"]["held-out"]["players"] for summary in summaries]
    courses = [found["maml"]["rounds"]["mean"] for found in players]
    for steps, (target, source) in enumerate(TARGETS):
        returns = mean_interval([course[steps] for course in courses])
        yield row(f"maml: mean return after {steps} gradient steps", *returns, target=target, source=source)
    for steps in (2, 3):
        gains = mean_interval([course[steps] - course[1] for course in courses])
        what = f"maml: gain of {steps} gradient steps over 1"
        yield row(what, *gains, target="> 0", source="further steps must improve")
    for player in sorted(set(players[0]) - {"maml"}):
        found = mean_interval(
            [some[player]["trial"]["mean"] / len(some[player]["returns"]["mean"]) for some in players]
        )
        oracle = player == "point-navigation-oracle"
        yield row(f"{player}: mean return", *found, target=-0.504 if oracle else None, source="exact" if oracle else "")
    yield row("maml: seconds of training, one thread", *mean_interval(seconds), target="<= 1200", source="budget")
    yield row("maml: environment steps", summaries[0]["steps"])


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    runs = [run_seed(NAME, "maml-navigation", seed, ()) for seed in SEEDS]
    summaries = [json.loads((run.path / "evaluation.json").read_text()) for run in runs]
    last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in runs]
    record(NAME, list(_rows(summaries, [line["seconds"] for line in last])), seeds=SEEDS)
    write_report([run.path for run in runs], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main()
