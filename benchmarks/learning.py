"""What learning benchmarks share: train an experiment over seeds, evaluate it beside its players, record."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from agents.reports.courses import averaged, course
from agents.reports.report import write_report
from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.progress import Progress
from agents.training.records import RETURN
from agents.training.run import RunDirectory
from benchmarks.harness import Row, record, row, seeds_row

RUNS = Path("runs") / "benchmarks"
CURVE_POINTS = 200
"""Of a learning curve that is kept beside a result, a seed."""


def inline(value: object) -> str:
    """`value` as an inline TOML value, for overrides."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def train_seed(name: str, experiment: str, seed: int, overrides: Sequence[str]) -> RunDirectory:
    """The run of one seed, trained to its end: trained, resumed or found."""
    plan = load_experiment(experiment, [*overrides, f"seed={seed}", f"name={name}"])
    run = RunDirectory(RUNS / f"{name}-{seed}")
    if run.config.exists():
        plan = run.same(plan)
    else:
        run.create(plan)
    with Progress() as progress:
        if not train(plan, run, progress):
            raise SystemExit(f"stopped; run again to go on from {run.path}")
    return run


def run_seed(name: str, experiment: str, seed: int, overrides: Sequence[str]) -> RunDirectory:
    """The finished run of one seed, evaluated beside its players."""
    run = train_seed(name, experiment, seed, overrides)
    if not (run.path / "evaluation.json").exists():
        evaluate_run(run)
    return run


def played(run: RunDirectory, tasks: str, player: str) -> NDArray[np.float64]:
    """Returns [K, N] of a player in the run's last evaluation on a set of tasks, the same N for all seeds."""
    return np.asarray(safetensors.numpy.load_file(run.path / "evaluation.safetensors")[f"{tasks}/{player}"], np.float64)


def trials(run: RunDirectory, tasks: str, player: str) -> NDArray[np.float64]:
    """Returns [N] of whole trials."""
    return played(run, tasks, player).sum(0)


def curves(runs: Iterable[RunDirectory]) -> dict[str, dict[str, list[float]]]:
    """The learning curve of each run by its directory's name, averaged into `CURVE_POINTS` points at most.

    `steps` are environment steps, `return` the mean return of a trial of training, five figures each.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        band = averaged(course(run.path, (RETURN,)), RETURN, points=CURVE_POINTS)
        columns = {"steps": band.x, "return": band.mean}
        found[run.path.name] = {name: [float(f"{x:.5g}") for x in column] for name, column in columns.items()}
    return found


def measure(
    name: str,
    experiment: str,
    *,
    seeds: Sequence[int],
    target: str,
    source: str,
    overrides: Sequence[str] = (),
    training_seconds: str | None = None,
    anchors: Mapping[str, float] | None = None,
) -> None:
    """Record mean trial return over `seeds` against `target`, beside every player's; write a report."""
    torch.set_num_threads(1)
    runs = [run_seed(name, experiment, seed, overrides) for seed in seeds]
    summaries = [json.loads((run.path / "evaluation.json").read_text()) for run in runs]
    agent = load_experiment(experiment).config.agent.name.partition("/")[2]
    rows: list[Row] = []
    for player in summaries[0]["sets"]["held-out"]["players"]:
        anchor = None if anchors is None else anchors.get(player)
        learned = player == agent
        rows.append(
            seeds_row(
                f"{player}: mean trial return",
                [trials(run, "held-out", player) for run in runs],
                target=target if learned else anchor,
                source=source if learned else "exact planning or large Monte-Carlo",
            )
        )
    last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in runs]
    times = [line["seconds"] for line in last]
    rows.append(seeds_row(f"{agent}: seconds of training, one thread", times, training_seconds, "budget"))
    rows.append(row(f"{agent}: environment steps", last[0]["steps"]))
    for line in (runs[0].path / "evaluations.jsonl").read_text().splitlines():
        point = json.loads(line)
        what = f"{agent}, seed {seeds[0]}: after {point['steps']:,} steps and {point['seconds']:.0f} s"
        rows.append(
            row(what, point["trial"]["mean"], point["trial"]["low"], point["trial"]["high"], target=None, source="")
        )
    record(name, rows, seeds=seeds, curves=curves(runs))
    write_report([run.path for run in runs], RUNS / f"{name}.html")
