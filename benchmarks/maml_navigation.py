"""MAML and ProMP on 2D navigation: return after 0, 1, 2 and 3 gradient steps over 3 seeds, beside reference players.

    python -m benchmarks.maml_navigation           minutes a seed and agent on one thread

The two differ in their outer loop, TRPO or PPO, and have the same number of environment steps. Runs go to
runs/benchmarks/maml_navigation-SEED and maml_navigation-promp-SEED and are resumed where they stopped.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.reports.report import write_report
from agents.training.run import RunDirectory
from benchmarks.harness import Row, Target, ahead_row, record, row, seeds_row, source_commit
from benchmarks.learning import RUNS, curves, played, run_seed

NAME, SEEDS = "maml_navigation", (0, 1, 2)
AGENTS = {"maml": NAME, "promp": f"{NAME}-promp"}
"""And what their runs are called."""
PAPER = "MAML's paper (Finn et al. 2017, table of appendix C): "
TARGETS: tuple[tuple[Target, str], ...] = (
    (-40.41, PAPER + "-40.41"),
    (">= -13", PAPER + "-11.68"),
    (-3.33, PAPER + "-3.33; a plain reproduction got -15.7"),
    (-3.23, PAPER + "-3.23; a plain reproduction got -9.5"),
)
"""By gradient steps."""


def _course(run: RunDirectory, agent: str) -> NDArray[np.float64]:
    """Return [rounds, N] of a round's mean episode on each task: after 0, 1, ... gradient steps."""
    returns = played(run, "held-out", agent)
    return returns.reshape(len(TARGETS), -1, returns.shape[1]).mean(1)


def _course_rows(agent: str, courses: Sequence[NDArray[np.float64]]) -> Iterator[Row]:
    for steps, (target, source) in enumerate(TARGETS):
        returns = [course[steps] for course in courses]
        yield seeds_row(f"{agent}: mean return after {steps} gradient steps", returns, target, source)
    for steps in (2, 3):
        further, one = ([course[place] for course in courses] for place in (steps, 1))
        yield ahead_row(f"{agent}: gain of {steps} gradient steps over 1", further, one, "further steps must improve")


def _player_rows(players: Sequence[dict[str, Any]]) -> Iterator[Row]:
    for player in sorted(set(players[0]) - {"maml"}):
        found = [some[player]["trial"]["mean"] / len(some[player]["returns"]["mean"]) for some in players]
        oracle = player == "point-navigation-oracle"
        yield seeds_row(f"{player}: mean return", found, -0.504 if oracle else None, "exact" if oracle else "")


def _cost_rows(agent: str, runs: Sequence[RunDirectory]) -> Iterator[Row]:
    last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in runs]
    seconds = [line["seconds"] for line in last]
    yield seeds_row(f"{agent}: seconds of training, one thread", seconds, "<= 1200", "budget")
    yield row(f"{agent}: environment steps", last[0]["steps"])


def _rows(runs: Mapping[str, Sequence[RunDirectory]]) -> Iterator[Row]:
    players = {
        agent: [json.loads((run.path / "evaluation.json").read_text())["sets"]["held-out"]["players"] for run in those]
        for agent, those in runs.items()
    }
    courses = {agent: [_course(run, agent) for run in those] for agent, those in runs.items()}
    for agent in AGENTS:
        yield from _course_rows(agent, courses[agent])
    for steps in (1, 2, 3):
        promp, maml = ([course[steps] for course in courses[agent]] for agent in ("promp", "maml"))
        yield ahead_row(f"promp above maml after {steps} gradient steps, same tasks", promp, maml, claim=False)
    yield from _player_rows(players["maml"])
    for agent in AGENTS:
        yield from _cost_rows(agent, runs[agent])


def _notes(runs: Sequence[RunDirectory]) -> str:
    """Which runs were trained at another commit than the present one."""
    begun = {run.path.name: json.loads((run.path / "provenance.json").read_text())["commit"] for run in runs}
    others = {name: commit for name, commit in begun.items() if commit != source_commit()}
    return "; ".join(f"{name} was trained at commit {commit}" for name, commit in others.items())


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    runs = {
        agent: [run_seed(name, f"{agent}-navigation", seed, ()) for seed in SEEDS] for agent, name in AGENTS.items()
    }
    every = [run for those in runs.values() for run in those]
    record(NAME, list(_rows(runs)), seeds=SEEDS, notes=_notes(every), curves=curves(every))
    write_report([run.path for run in every], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main()
