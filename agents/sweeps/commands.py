"""The verbs before and beyond one run: `plan`, `sweep`, `pack`, `unpack`.

Heavy imports wait until a verb runs.
"""

import json
import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from agents.training.progress import Progress
from registry.discovery import typed


def plan(
    experiment: Annotated[
        str, typer.Argument(help="A shipped experiment (`taskgen list experiments`) or a TOML file.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as agent.learning_rate=1e-3.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Train a few iterations and throw them away, to estimate the time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
) -> None:
    """Say what a run will be: its parts, environment steps, memory and, by a probe, its time. Nothing is written."""
    import torch

    from agents.sweeps.outlook import outlook
    from agents.training.experiment import load_experiment

    torch.set_num_threads(threads)
    found = outlook(load_experiment(experiment, overrides or ()), probe=probe)
    if as_json:
        typer.echo(json.dumps(found.summary(), indent=1))
        return
    for line in found.lines():
        typer.echo(line)


def sweep(
    experiment: Annotated[
        str, typer.Argument(help="A shipped experiment (`taskgen list experiments`) or a TOML file.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=A,B,C]...",
            help="Values of a setting, or one for all runs; with --samples also a range, KEY=LOW..HIGH or "
            "KEY=log:LOW..HIGH.",
        ),
    ] = None,
    run: Annotated[Path, typer.Option("--run", help="Directory of the sweep; every run gets one in it.")] = Path(
        "sweep"
    ),
    seeds: Annotated[str, typer.Option(help="Every combination is run with each of them: 0-4, or 0,3,7.")] = "0",
    workers: Annotated[int, typer.Option(min=0, help="Runs side by side, a core each; 0: one for every core.")] = 0,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on the Ray cluster there; `local`: Ray on this machine.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="So many samples of the settings; 0: all combinations.")] = 0,
    search: Annotated[
        Literal["random", "latin"], typer.Option(help="How they are sampled: independently, or as a Latin hypercube.")
    ] = "random",
    search_seed: Annotated[int, typer.Option(min=0, help="Which samples.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch in the comparison at the end.")] = 1,
) -> None:
    """Run an experiment with every combination of settings and seeds, and compare what came of it.

    The same command goes on with a sweep that was stopped or cut: finished runs are kept, others go on from their
    checkpoints, what died is done again. Runs are the same whatever the number of workers.
    """
    import torch

    from agents.evaluation.watch import Stopped
    from agents.reports import comparison_report
    from agents.sweeps import search as searching
    from agents.sweeps.sweep import FOREVER, Interrupted, SweepDirectory, carry_out, compared, planned
    from taskgen.maps import OnRay, Processes

    torch.set_num_threads(threads)
    fixed, axes = searching.axes(settings or ())
    seeds_wanted = searching.numbers(seeds)
    chosen = {"samples": samples, "search": search, "search_seed": search_seed} if samples else {}
    points = searching.sampled(axes, samples, search, search_seed) if samples else searching.combinations(axes)
    runs = planned(experiment, fixed, points, seeds_wanted, axes=[axis.text for axis in axes], **chosen)
    words = ["sweep", experiment, *(settings or ()), "--seeds", seeds, "--run", str(run)]
    words += ["--samples", str(samples), "--search", search, "--search-seed", str(search_seed)] if samples else []
    words += ["--workers", str(workers)] if workers else []
    again = typed(shlex.join(words + ([] if ray is None else ["--ray", ray])))
    crew = Processes(workers, FOREVER) if ray is None else OnRay(workers, FOREVER, "" if ray == "local" else ray)
    place = SweepDirectory(run)
    try:
        with Progress(stopping="the sweep") as progress:
            try:
                carry_out(runs, place, crew, progress, again)
            finally:
                crew.close()
        with Progress(stopping="the comparison") as progress:
            found = compared(runs, place, progress)
    except (Interrupted, Stopped):
        typer.echo(
            f"Stopped; finished runs are kept, the others go on from their checkpoints. Go on with: {again}", err=True
        )
        raise typer.Exit(130) from None
    if not found:
        typer.echo(f"All runs are finished; none has an agent to compare: see {typed('report')} {run}/runs/NAME")
        return
    for comparison in found.values():
        for line in comparison_report.table(comparison):
            typer.echo(line)
    typer.echo(f"Report: {run / 'comparison.html'}")


def pack(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write, such as bandit.zip.")],
) -> None:
    """Pack a run into one file: weights, configuration, report, evaluation, curves; with hashes, without code."""
    from agents.sweeps import packing

    files, left_out = packing.pack(run, output)
    typer.echo(
        f"{output}: {files} files, {output.stat().st_size / 2**20:.2f} MiB; {typed('unpack')} {output} --run NEW"
    )
    if left_out:
        typer.echo(f"Left out, since no command reads it: {', '.join(left_out[:5])}{', ...' * (len(left_out) > 5)}")


def unpack(
    file: Annotated[Path, typer.Argument(help="What `taskgen pack` has written.")],
    run: Annotated[Path, typer.Option("--run", help="The run directory to make.")],
) -> None:
    """Make a run directory of a packed run, once all of it was looked at: names, sizes, hashes."""
    from agents.sweeps import packing

    files = packing.unpack(file, run)
    typer.echo(f"{run}: {files} files; {typed(f'evaluate {run}')}")
