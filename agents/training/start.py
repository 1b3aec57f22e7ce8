"""How a run begins or goes on: what does not fit is refused before anything is written."""

from agents.common import parallel
from agents.training.experiment import (
    Experiment,
    Parts,
    build_parts,
    refuse_same_tasks,
    refuse_too_short,
    refuse_untold_sets,
)
from agents.training.repeating import refuse_unrepeatable
from agents.training.run import RunDirectory
from agents.training.sharing import refuse_unshared
from agents.training.trained import begin
from registry.errors import UserError
from registry.plan import Plan


def started(
    plan: Plan[Experiment], directory: RunDirectory, *, resume: bool = False, reported: bool = False
) -> tuple[Plan[Experiment], Parts]:
    """The plan to train, that of the run in `directory` where it goes on, and its parts; the directory is there.

    Of a run that is to be `reported` on the tracker `jsonl` writes what the report is drawn from.

    Raises `UserError` for what does not fit: a directory that is taken, other settings than the run's, an agent that
    would be judged on its training tasks or told other descriptors, trials too short to adapt; `PluginError` for a
    source that does not repeat.
    """
    if reported and all(tracker.name != "builtin/jsonl" for tracker in plan.config.trackers):
        raise UserError('trackers: "jsonl" is not among them, which writes what the report is drawn from: add it')
    refuse_unshared(plan.config)
    resumed = parallel.by_first(lambda: resume and directory.config.exists())
    if resumed:
        plan = directory.same(plan)
    else:
        parallel.by_first(directory.refuse_taken)
    parts = build_parts(plan.config)
    refuse_misfits(plan, parts)
    if not resumed:
        begin(plan.config, parts)
        parallel.by_first(lambda: directory.create(plan))
    return plan, parts


def refuse_misfits(plan: Plan[Experiment], parts: Parts) -> None:
    """Raise `UserError` for parts that each can be, but that no run should be made of; see `started`."""
    refuse_unrepeatable(plan, parts)
    refuse_same_tasks(plan.config, parts)
    refuse_too_short(plan.config, parts)
    refuse_untold_sets(plan.config, parts)
