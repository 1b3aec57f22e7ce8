"""A curriculum over the horizon: RL^2 on 5-armed, 100-pull bandits, from the start or grown 10, 20, 50, 100 pulls.

    python -m benchmarks.bandit_horizon                  minutes a run on one thread, three seeds of each kind
    python -m benchmarks.bandit_horizon staged-0 ...     trains these runs alone, to be recorded later

Both kinds get the same number of environment steps. Runs go to runs/benchmarks/bandit_horizon-KIND-SEED and are resumed
where they stopped.
"""

import json
import math
import sys
from typing import Any

import torch

from agents.reports.report import write_report
from agents.training.experiment import Experiment, load_experiment
from agents.training.run import RunDirectory
from benchmarks.harness import Row, Target, ahead_row, record, row, seeds_row
from benchmarks.learning import RUNS, run_seed, trials

NAME, EXPERIMENT, SEEDS = "bandit_horizon", "rl2-bandit-horizon", (0, 1, 2)
KINDS = ("staged", "direct")
TARGETS: dict[str, tuple[Target, str]] = {
    "staged": (">= 76", "random play scores 50, Thompson sampling 75; aim: the paper's RL^2 with 78.7"),
    "direct": (None, "random play scores 50"),
    "random": (50.0, "exact"),
    "thompson": (75.0, "large Monte-Carlo"),
    "ucb1": (78.5, "large Monte-Carlo, exploration tuned to 0.2"),
    "bandit-oracle": (83.3, "exact"),
}
BUDGET = 1200
"""Seconds a run."""


def steps_of(experiment: Experiment) -> int:
    """Environment steps of a run whose stages go by iterations."""
    training, left, total = experiment.training, experiment.training.iterations, 0
    for stage in experiment.source.settings["stages"]:
        spent = min(left, stage.get("iterations", left))
        total += spent * training.tasks * stage.get("episodes", training.episodes)
        left -= spent
    return total


def overrides(kind: str) -> list[str]:
    """What a run of this kind changes in the experiment."""
    if kind == "staged":
        return []
    staged = load_experiment(EXPERIMENT).config
    iterations = math.ceil(steps_of(staged) / staged.training.tasks / staged.training.episodes)
    often = [f"training.iterations={iterations}", f"training.evaluate_every={iterations // 3}"]
    return ["source=domain-randomization", *often]


def run(kind: str, seed: int) -> RunDirectory:
    """The finished run of one seed of one kind."""
    return run_seed(f"{NAME}-{kind}", EXPERIMENT, seed, overrides(kind))


def rows_of(kind: str, runs: list[RunDirectory]) -> list[Row]:
    """What the runs of one kind came to."""
    summaries: list[dict[str, Any]] = [json.loads((run.path / "evaluation.json").read_text()) for run in runs]
    curves = [[json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()] for run in runs]
    rows: list[Row] = []
    for player in summaries[0]["sets"]["held-out"]["players"]:
        name = kind if player == "rl2" else player
        if player != "rl2" and kind != KINDS[0]:
            continue  # the same players on the same tasks
        found = [trials(run, "held-out", player) for run in runs]
        target, source = TARGETS[name]
        rows.append(seeds_row(f"{name}: mean return of a trial of 100 pulls", found, target, source))
    seconds = [curve[-1]["seconds"] for curve in curves]
    rows.append(seeds_row(f"{kind}: seconds of training, one thread", seconds, f"<= {BUDGET}", "budget"))
    rows.append(row(f"{kind}: environment steps", summaries[0]["steps"]))
    for point in curves[0]:
        what = f"{kind}, seed {SEEDS[0]}: after {point['steps']:,} steps and {point['seconds']:.0f} s"
        rows.append(row(what, point["trial"]["mean"], point["trial"]["low"], point["trial"]["high"]))
    return rows


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    names = sys.argv[1:]
    for name in names:
        kind, _, seed = name.partition("-")
        run(kind, int(seed))
    if names:
        return
    runs = {kind: [run(kind, seed) for seed in SEEDS] for kind in KINDS}
    rows = [found for kind in KINDS for found in rows_of(kind, runs[kind])]
    staged, direct = ([trials(one, "held-out", "rl2") for one in found] for found in runs.values())
    rows.append(ahead_row("staged less direct, per seed", staged, direct, "what the curriculum is worth"))
    record(NAME, rows, seeds=SEEDS)
    write_report([one.path for found in runs.values() for one in found], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main()
