"""`Runner`: an outer loop of another shape than ask, collect, learn, tell, such as POET's pairs or PAIRED's game."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from registry.config import Part
from taskgen.borders import asked
from taskgen.family import TaskFamily
from taskgen.record import Record
from taskgen.source import TaskSource
from taskgen.spec import TaskSpec

if TYPE_CHECKING:
    import numpy as np
    import torch

    from taskgen.interaction.agent import Agent, Metrics


def _unheard(specs: Sequence[TaskSpec]) -> None:
    """For a runner outside of a run."""


@dataclass(frozen=True)
class Assignment:
    """What an experiment gives its runner to work with."""

    family: TaskFamily[Any]
    source: Part
    """Where first tasks come from (`taskgen.build.build_source`)."""
    agent: Part
    """Who learns (`taskgen.interaction.build.build_agent`): as many of them as the runner wants."""
    iterations: int
    tasks: int
    """Tasks per iteration, for runners that play batches of tasks."""
    episodes: int
    """Episodes per trial."""
    seed: "np.random.SeedSequence"
    """Root of every random stream of the runner."""
    device: "torch.device"
    announce: Callable[[Sequence[TaskSpec]], None] = _unheard
    """To be told the tasks that a runner makes itself and the judged `agent` is about to be trained on, before it is.

    Raises `UserError` for those that it is judged on.
    """
    ask: Callable[[TaskSource, int], list[TaskSpec]] = asked
    """So many tasks of a source to train the judged `agent` on.

    Those that it is judged on, which a source may meet by chance, are passed over. Raises `UserError` where they are
    more than chance.
    """


@runtime_checkable
class Runner(Protocol):
    """Built as `Target(config, assignment=assignment)`; driven, logged and checkpointed by `taskgen train`.

    Everything that decides the next iteration is in `state_dict`, so that a run that was cut goes on identically.
    """

    agent: "Agent | None"
    """Who is judged on the held-out tasks; None where the runner's figures speak for themselves."""

    def iterate(self) -> "Metrics":
        """One iteration. The metrics hold "charts/batch_steps", the environment steps it took.

        "meta/trial_return", where there is one, is what reports draw over these steps.
        """
        ...

    def records(self) -> Iterable[Record]:
        """All tasks made so far with their provenance, parents before children, for the run's archive.

        Where they have none, a sample of them: reports show those whose split is "train".
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on identically: a tree of dicts, lists, tensors and JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        ...

    def close(self) -> None:
        """Let go of workers and the like."""
        ...


@runtime_checkable
class Population(Protocol):
    """A runner whose tasks have an agent each, and who says in `records()` what `taskgen.lineage` names."""

    def agent_of(self, task: str) -> "Agent":
        """The agent of the task with this id. Raises `UserError` where it has none."""
        ...

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        """Tasks worth a look, by what they are ("longest to solve"), for the report."""
        ...
