"""The trained agent of a run directory, to be judged or to begin another run with."""

import json
from dataclasses import dataclass
from pathlib import Path

from agents.training import checkpoint, held_out
from agents.training.configuration import told
from agents.training.experiment import Experiment, Parts, build_parts
from agents.training.run import RunDirectory
from registry.config import differing
from registry.errors import CheckpointError, UserError
from taskgen.interaction.agent import take_over


@dataclass(frozen=True)
class Trained:
    """What a run's newest checkpoint holds."""

    experiment: Experiment
    parts: Parts
    """The player with its trained parameters; the source as before training."""
    iteration: int
    steps: int
    """Environment steps of training."""


def load_trained(run: RunDirectory, device: str | None = None, path: Path | None = None) -> Trained:
    """The agent of the run's newest checkpoint, or of that at `path`, on `device` or the run's own.

    Raises `UserError` for a directory without a run or a run without a checkpoint, `CheckpointError` for damage.
    """
    experiment = run.open(trackers=False).config
    if device is not None:
        experiment = experiment.model_copy(update={"device": device})
    tree = run.restore() if path is None else run.read(path)
    if tree is None:
        raise UserError(f"{run.path} has no checkpoint yet: train it first (`taskgen train ... --resume`)")
    parts = build_parts(experiment)
    name = "agent" if parts.runner is None else "runner"
    run.load_into(parts.stateful[name].load_state_dict, tree[name], name)
    return Trained(experiment, parts, tree["iteration"], tree["steps"])


def beginning_with(run: Path) -> list[str]:
    """Overrides of an experiment that begins with what the run at `run` has learned, by its newest checkpoint.

    Raises `UserError` where there is none.
    """
    directory = RunDirectory(run)
    directory.open(trackers=False)
    newest = checkpoint.latest(directory.checkpoints)
    if newest is None:
        raise UserError(f"--from {run}: there is no intact checkpoint to begin with")
    settings = {"start": str(newest.resolve()), "start_digest": checkpoint.digest(newest)}
    return [f"training.{name}={json.dumps(value)}" for name, value in settings.items()]  # a digest can look like 1e99


def begin(experiment: Experiment, parts: Parts) -> None:
    """Let the agent of `parts` begin with what the checkpoint `training.start` has learned, if one is named.

    Raises `CheckpointError` where that checkpoint is gone, damaged or another one, `UserError` where it does not fit.
    """
    training = experiment.training
    if not training.start:
        return
    if parts.learner is None:
        raise UserError("training.start (--from) gives an agent to begin with, but a runner makes agents of its own")
    path = Path(training.start)
    if training.start_digest not in ("", checkpoint.digest(path)):
        raise CheckpointError(f"training.start = {training.start!r}: it is not the checkpoint that the run began with")
    run = RunDirectory(path.parent.parent)
    other = load_trained(run, str(parts.problem.device), path)
    if other.experiment.agent.name != experiment.agent.name:
        raise UserError(
            f"training.start (--from): {run.path} trained {other.experiment.agent.name}, not {experiment.agent.name}"
        )
    begins, ends = parts.player, other.parts.player
    try:
        run.load_into(lambda _: take_over(begins, ends, parts.problem.seed), None, "agent")
    except CheckpointError as error:
        tables = {"agent", "family", "training"}
        old, new = (one.model_dump(mode="json", include=tables) for one in (other.experiment, experiment))
        paths = [path for path in differing(old, new) if not path.startswith("training.start")]
        if not paths:
            raise
        raise UserError(
            f"training.start (--from): what {run.path} has learned does not fit here: {told(paths, old, new)}"
        ) from error


def trained_on(run: RunDirectory) -> frozenset[str]:
    """Keys of tasks that the agent of `run` was trained on, there and in runs that it began with, as far as is known.

    What is known is the sample in the runs' archives.
    """
    known, experiment = held_out.trained_on(run.path), run.open(trackers=False).config
    begun = RunDirectory(Path(experiment.training.start).parent.parent)
    return known | trained_on(begun) if experiment.training.start and begun.config.is_file() else known
