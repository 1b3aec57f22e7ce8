"""PAIRED on small mazes against a minimax teacher, beside random designs and the reference players, over 3 seeds.

    python -m benchmarks.paired_maze               minutes a run on one thread, nine runs
    python -m benchmarks.paired_maze minimax 1     trains one of them alone, to be recorded by the above

The protagonist is the same in all and sees as many mazes; it is judged on random mazes that can be solved: with up to
20 walls thrown on 7 x 7 cells, and, further from what any teacher makes at random, with 20 to 40. Runs go to
runs/benchmarks/paired_maze-TEACHER-SEED and are resumed where they stopped.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from agents.reports.report import write_report
from agents.training.run import RunDirectory
from benchmarks.harness import Row, ahead_row, record, row, seeds_row
from benchmarks.learning import RUNS, run_seed

NAME, SEEDS = "paired_maze", (0, 1, 2)
TEACHERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "paired": ("paired-maze", ()),
    "minimax": ("minimax-maze", ()),
    "random": ("paired-maze", ("runner.teacher_objective=random",)),
}
"""Experiment and overrides by what the teacher is paid."""
SETS = {"held-out": "up to 20 walls", "dense": "20 to 40 walls"}
PLAYERS = ("random", "maze-oracle")
LAST = 50
"""Iterations at the end whose designs are described."""
SOLVABLE = "tasks/shortest_path"
"""Not measured in an iteration without a design that can be solved."""
MADE = {
    "tasks/unsolvable": "share of designs that cannot be solved",
    SOLVABLE: "cells on the shortest path of a design that can be solved",
    "tasks/walls": "walls of a design",
    "meta/protagonist_solved": "share of designs that the protagonist solves",
}


class Finished:
    """What is read of a finished run."""

    def __init__(self, run: RunDirectory) -> None:
        self.path = run.path
        self.returns: Mapping[str, NDArray[np.float64]] = safetensors.numpy.load_file(
            run.path / "evaluation.safetensors"
        )
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
        self.metrics: list[dict[str, float]] = [json.loads(line)["metrics"] for line in lines]
        self.curve: list[dict[str, Any]] = [
            json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()
        ]

    def solved(self, tasks: str, player: str = "rl2") -> NDArray[np.float64]:
        """Share [N] of the episodes on each task that reach the goal: nothing else is paid."""
        return (self.returns[f"{tasks}/{player}"] > 0).mean(0, dtype=np.float64)

    def mean(self, tasks: str, player: str = "rl2") -> NDArray[np.float64]:
        """Mean return [N] of an episode on each task."""
        return self.returns[f"{tasks}/{player}"].mean(0, dtype=np.float64)

    def late(self, metric: str) -> float | None:
        """Mean over the last iterations; None where none had a design that could be measured."""
        values = [line[metric] for line in self.metrics[-LAST:] if metric != SOLVABLE or metric in line]
        return sum(values) / len(values) if values else None


def _results(found: Mapping[str, Sequence[Finished]]) -> Iterator[Row]:
    source = "Dennis et al. 2020: a minimax teacher makes mazes that nobody can solve"
    for tasks, walls in SETS.items():
        for teacher, runs in found.items():
            shares = [run.solved(tasks) for run in runs]
            yield seeds_row(f"{teacher}: share of mazes with {walls} solved", shares)
            yield seeds_row(f"{teacher}: mean return, {walls}", [run.mean(tasks) for run in runs])
        for other in ("minimax", "random"):
            ours, theirs = ([run.solved(tasks) for run in found[teacher]] for teacher in ("paired", other))
            what, claim = f"paired less {other}, share solved, {walls}", other == "minimax"
            yield ahead_row(what, ours, theirs, source if claim else "", claim=claim)
        for player in PLAYERS:
            shares = [run.solved(tasks, player) for run in found["paired"]]
            yield seeds_row(f"player {player}: share of mazes with {walls} solved", shares)


def _designs(found: Mapping[str, Sequence[Finished]]) -> Iterator[Row]:
    for teacher, runs in found.items():
        for metric, what in {**MADE, **({"tasks/regret": "regret"} if teacher == "paired" else {})}.items():
            values = [value for run in runs if (value := run.late(metric)) is not None]
            if values:
                seeds = f", {len(values)} of {len(runs)} seeds" if len(values) < len(runs) else ""
                yield seeds_row(f"{teacher}, last {LAST} iterations: {what}{seeds}", values)


def _budget(found: Mapping[str, Sequence[Finished]]) -> Iterator[Row]:
    for teacher, runs in found.items():
        seconds = [run.curve[-1]["seconds"] for run in runs]
        yield seeds_row(f"{teacher}: seconds of training, one thread", seconds, "<= 1200", "budget")
        yield row(f"{teacher}: environment steps, designs and antagonist included", runs[0].curve[-1]["steps"])
        for point in runs[0].curve:
            trial = point["trial"]
            what = f"{teacher}, seed {SEEDS[0]}: mean return, {SETS['held-out']}, after {point['iteration']} iterations"
            yield row(what, trial["mean"], trial["low"], trial["high"])


def rows(found: Mapping[str, Sequence[Finished]]) -> list[Row]:
    """What the finished runs, by teacher and in the order of the seeds, amount to."""
    return [*_results(found), *_designs(found), *_budget(found)]


def main(wanted: Sequence[str] = ()) -> None:
    """Train, evaluate, record; with a teacher and a seed in `wanted`, train that run alone."""
    torch.set_num_threads(1)
    teachers, seeds = ([wanted[0]], [int(wanted[1])]) if wanted else (list(TEACHERS), SEEDS)
    found: dict[str, list[Finished]] = {}
    for seed in seeds:
        for teacher in teachers:
            experiment, overrides = TEACHERS[teacher]
            run = run_seed(f"{NAME}-{teacher}", experiment, seed, overrides)
            found.setdefault(teacher, []).append(Finished(run))
    if wanted:
        return
    record(NAME, rows(found), seeds=SEEDS)
    write_report([run.path for runs in found.values() for run in runs], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main(sys.argv[1:])
