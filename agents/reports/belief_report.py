"""What a report says of agents that hold a belief about their task: how it narrows, and whether it has collapsed.

A belief that stays what it was before anything was seen tells nothing of the task, whatever it is called: posterior
collapse. It shows in no return by itself, so it is said in words.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.reports.figures import Band, Panel, panels_figure
from agents.reports.results import Experiment, thinned
from taskgen.build import task_key
from taskgen.spec import TaskSpec

SHARE = 0.1
"""Of the tasks' entropy: a belief that never held as much has collapsed ..."""
LEAST = 0.1
"""... or, where the entropy is not known, one that never held as many nats."""


def belief_section(experiment: Experiment, tasks: str, name: str) -> dict[str, Any] | None:
    """The figure of the belief's variance on the set `tasks`, and what is to be said of it; None without a belief."""
    players = [run.evaluation.sets[tasks].players[experiment.lead] for run in experiment.runs]
    courses = [player.belief for player in players if player.belief is not None]
    collapse = list(collapsed(experiment))
    if not courses and not collapse:
        return None
    if not courses:
        return {"collapse": collapse, "svg": None}
    steps = min(len(course.variance) for course in courses)
    rows = np.array([course.variance[:steps] for course in courses])
    x, none = np.arange(1, steps + 1, dtype=np.float64), np.full(steps, math.nan)
    lines = [Band(x, row, none, none) for row in (rows.mean(0), *(rows if len(rows) > 1 else ()))]
    ends = f"from {rows[:, 0].mean():.3g} at the first step to {rows[:, -1].mean():.3g} at the last"
    return {
        "collapse": collapse,
        "svg": panels_figure([Panel("mean variance of the belief", lines)], "step of the trial", name),
        "alt": f"Mean variance of the belief by step of the trial: {ends}.",
        "tasks": courses[0].tasks,
    }


def collapsed(experiment: Experiment) -> list[str]:
    """A sentence for each way in which beliefs of the runs have collapsed: from the start, or in the end."""
    entropy = entropy_of(experiment.first.specs)
    least = LEAST if entropy is None else SHARE * entropy
    measure = f"{least:.2g} nats" + ("" if entropy is None else f", a tenth of the {entropy:.3g} that tell tasks apart")
    found: dict[str, list[int]] = {}
    for run in experiment.runs:
        course = thinned(run.knowledge) if len(run.knowledge) else np.full(1, math.inf)
        if course[-1] < least:
            when = "in the whole run" if course.max() < least else "when the run ended"
            found.setdefault(when, []).append(run.seed)
    return [
        f"Posterior collapse: {when}{_seeds(seeds) if len(experiment.runs) > 1 else ''} the belief after a trial was "
        f"less than {measure}, away from what it is before anything was seen. It tells next to nothing of the task, "
        "and what was learned was learned without it. A smaller kl_weight, or rewards that tell tasks apart, may help."
        for when, seeds in found.items()
    ]


def _seeds(seeds: Sequence[int]) -> str:
    return f" with seed {', '.join(map(str, seeds))}"


def entropy_of(specs: Sequence[TaskSpec]) -> float | None:
    """Nats by which the training tasks differ, of a sample of them; None where they hardly ever repeat."""
    counts = np.array(list(Counter(map(task_key, specs)).values()), dtype=np.float64)
    if 2 * len(counts) > counts.sum():
        return None
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())
