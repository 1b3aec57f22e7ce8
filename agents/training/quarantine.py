"""Tasks whose simulation keeps diverging are not trained on: what a source gives, without what is in quarantine."""

from typing import Any

from registry.errors import UserError
from taskgen.batch import TaskBatch
from taskgen.borders import asked
from taskgen.engines.faults import Faulting
from taskgen.family import TaskFamily
from taskgen.source import TaskSource
from taskgen.spec import TaskSpec

PATIENCE = 10
"""A source may give this many times as many quarantined tasks in a row as there are, before it counts as dry."""


def ask(source: TaskSource, n: int, batch: TaskBatch, family: TaskFamily[Any] | None = None) -> list[TaskSpec]:
    """`n` tasks of `source`, in its order, that the faults of `batch` have put into no quarantine; valid in `family`.

    Every quarantined task is replaced by a further ask, so that four tasks are still four times one. Raises `UserError`
    when the source gives nothing but quarantined tasks.
    """
    specs = asked(source, n, family)
    if not isinstance(batch, Faulting):
        return specs
    log, kept, refused = batch.faults, list[TaskSpec](), 0
    while True:
        for spec in specs:
            refused = refused + 1 if log.quarantined(spec.id) else 0
            if not refused:
                kept.append(spec)
        if len(kept) == n:
            return kept
        if refused > PATIENCE * len(log.quarantine):
            reasons = ", ".join(f"{reason} ({count})" for reason, count in log.reasons.items())
            raise UserError(
                f"the last {refused} tasks of the source are all in quarantine, because each diverged {log.strikes} "
                f"times: {reasons}. They are in the run's quarantine/; give `source` tasks with milder bodies."
            )
        specs = asked(source, n - len(kept), family)
