"""The verbs before and beyond one run: `plan`.

Heavy imports wait until a verb runs.
"""

import json
from typing import Annotated

import typer


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
