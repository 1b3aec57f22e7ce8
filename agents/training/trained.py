"""The trained agent of a run directory."""

from dataclasses import dataclass

from agents.training.experiment import Experiment, Parts, build_parts
from agents.training.run import RunDirectory
from registry.errors import UserError


@dataclass(frozen=True)
class Trained:
    """What a run's newest checkpoint holds."""

    experiment: Experiment
    parts: Parts
    """The player with its trained parameters; the source as before training."""
    iteration: int
    steps: int
    """Environment steps of training."""


def load_trained(run: RunDirectory, device: str | None = None) -> Trained:
    """The agent of the run's newest checkpoint, on `device` or the run's own.

    Raises `UserError` for a directory without a run or a run without a checkpoint, `CheckpointError` for damage.
    """
    experiment = run.open().config
    if device is not None:
        experiment = experiment.model_copy(update={"device": device})
    tree = run.restore()
    if tree is None:
        raise UserError(f"{run.path} has no checkpoint yet: train it first (`taskgen train ... --resume`)")
    parts = build_parts(experiment)
    name = "agent" if parts.runner is None else "runner"
    run.load_into(parts.stateful[name].load_state_dict, tree[name], name)
    return Trained(experiment, parts, tree["iteration"], tree["steps"])
