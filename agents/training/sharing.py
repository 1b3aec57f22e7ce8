"""Trials whose tasks are shared among several processes: each plays its own, all are given those of all."""

from collections.abc import Sequence
from dataclasses import fields, replace

import registry
from agents.common import parallel
from agents.training.experiment import Experiment
from registry.errors import UserError
from taskgen.batch import TaskBatch
from taskgen.engines.faults import Faulting, FaultLog
from taskgen.interaction.agent import Agent, CollectionPlan, Rollout, Trial
from taskgen.interaction.collect import collect
from taskgen.spec import TaskSpec

CAPABILITY = "data-parallel"
"""What the entry of an agent offers that comes out the same however many processes train it."""


def refuse_unshared(experiment: Experiment) -> None:
    """Raise `UserError` unless the processes there are can share `experiment`."""
    count, tasks = parallel.processes(), experiment.training.tasks
    if count == 1:
        return
    if experiment.runner is not None:
        raise UserError(
            f"runner = {experiment.runner.name} cannot be run by {count} processes: start it without torchrun"
        )
    catalogue = registry.catalogue()
    if CAPABILITY not in catalogue.get("agents", experiment.agent.name).entry.offers:
        able = ", ".join(item.entry.name for item in catalogue.items("agents") if CAPABILITY in item.entry.offers)
        raise UserError(
            f"{experiment.agent.name} cannot be trained by {count} processes: its entry does not offer {CAPABILITY!r}, "
            f"that their updates are those of one. Agents that do: {able}. Or start it without torchrun."
        )
    if tasks % count:
        near = " or ".join(str(n) for n in (tasks - tasks % count, tasks - tasks % count + count) if n)
        raise UserError(f"training.tasks = {tasks} cannot be shared equally by {count} processes: take {near}")
    if ":" in experiment.device:
        raise UserError(
            f"device = {experiment.device!r} is one card for {count} processes: with device=cuda each takes its own"
        )


def collect_shared(
    agent: Agent,
    batch: TaskBatch,
    specs: Sequence[TaskSpec],
    *,
    plan: CollectionPlan,
    seeds: Sequence[int],
    horizon: int | None = None,
) -> Trial:
    """As `collect`, of all `specs` and `seeds`; `batch` has the slots of this process's share of them.

    Everybody's faults are then among those of every process's batch.
    """
    if parallel.processes() == 1:
        return collect(agent, batch, specs, plan=plan, seeds=seeds, horizon=horizon)
    share = parallel.part(len(specs))
    faulting = batch if isinstance(batch, Faulting) else None
    known = FaultLog() if faulting is None else faulting.faults
    if faulting is not None:
        faulting.faults = FaultLog(known.strikes)
    with parallel.playing():
        trial = collect(
            agent,
            batch,
            specs[share],
            plan=plan,
            seeds=seeds[share],
            horizon=horizon,
            agree=lambda needed: parallel.largest(needed, batch.device),
        )
    if faulting is not None:
        for rank, state in enumerate(parallel.everybodys(faulting.faults.state_dict())):
            known.merge(state, first_slot=rank * batch.slots)
        faulting.faults = known
    return Trial(specs, [_gathered(rollout) for rollout in trial.rounds], plan)


def _gathered(rollout: Rollout) -> Rollout:
    """The rollout of all tasks from that of this process's share."""
    names = [field.name for field in fields(Rollout) if field.name not in ("record", "descriptor")]
    columns = {name: value for name in names if (value := getattr(rollout, name)) is not None}
    return replace(
        rollout,
        **{name: parallel.gathered(value, 1) for name, value in columns.items()},
        record={name: parallel.gathered(value, 1) for name, value in rollout.record.items()},
        descriptor=None if rollout.descriptor is None else parallel.gathered(rollout.descriptor, 0),
    )
