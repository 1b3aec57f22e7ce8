"""What is not trained on: what a source gives, without tasks whose simulation keeps diverging and those held out."""

import math
from typing import Any

from agents.training.held_out import HeldOut
from registry.errors import UserError
from taskgen.batch import TaskBatch
from taskgen.borders import asked
from taskgen.engines.faults import Faulting
from taskgen.family import TaskFamily
from taskgen.source import TaskSource
from taskgen.spec import TaskSpec

PATIENCE = 10
"""A source may give this many times as many quarantined tasks in a row as there are, before it counts as dry."""
CHANCE = 0.02
"""Share of a round's tasks, but one at least, that may be held out: that many a source may meet by chance."""


def ask(
    source: TaskSource,
    n: int,
    batch: TaskBatch | None,
    family: TaskFamily[Any] | None = None,
    held_out: HeldOut | None = None,
) -> tuple[list[TaskSpec], int]:
    """`n` tasks of `source`, in its order, without those not to be trained on; how many held-out ones were passed over.

    Those are tasks that the faults of `batch`, if there is one, have put into quarantine, and tasks that are
    `held_out`: each is replaced by a further ask, so that four tasks are still four times one. What is given is valid
    in `family`. Raises `UserError` when the source gives nothing but quarantined tasks, or more that are held out than
    `CHANCE` says.
    """
    log = batch.faults if isinstance(batch, Faulting) else None
    kept, refused, passed = list[TaskSpec](), 0, 0
    specs = asked(source, n, family)
    while True:
        for spec in specs:
            if held_out is not None and held_out.holds(spec):
                passed += 1
                if passed > math.ceil(CHANCE * n):
                    held_out.refuse([spec])
                continue
            refused = refused + 1 if log is not None and log.quarantined(spec.id) else 0
            if not refused:
                kept.append(spec)
        if len(kept) == n:
            return kept, passed
        if log is not None and refused > PATIENCE * len(log.quarantine):
            reasons = ", ".join(f"{reason} ({count})" for reason, count in log.reasons.items())
            raise UserError(
                f"the last {refused} tasks of the source are all in quarantine, because each diverged {log.strikes} "
                f"times: {reasons}. They are in the run's quarantine/; give `source` tasks with milder bodies."
            )
        specs = asked(source, n - len(kept), family)
