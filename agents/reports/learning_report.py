"""The part of a report that draws what a run learned about learning: the discount and trace of meta-gradients, a loss.

Read from the metrics "eta/..." and "epg/..." of metrics.jsonl. A run that has none has no such part.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from agents.reports.courses import Course, averaged, course
from agents.reports.figures import Panel, panels_figure
from agents.reports.results import Experiment

_LONG = 0.1
"""The share of a run's updates that counts as long."""
_EDGE = 1e-3
"""Nearer to 0 or 1 than this, a discount or trace is at its bounds, as in `agents.meta_gradient`."""
_TITLES = {
    "eta/gamma": "gamma, the discount of what is learned from",
    "eta/lambda": "lambda, its trace",
    "epg/guidance": "weight of PPO's surrogate beside the loss",
    "epg/loss_return": "return of an episode at the end of a life by the loss alone",
    "epg/ppo_return": "the same by PPO alone, at as many gradient steps",
    "epg/lead": "lead of the loss over PPO, recent updates counting most",
    "epg/diverged": "lives that diverged, an update",
}


def learning_section(experiment: Experiment, name: str) -> dict[str, Any] | None:
    """What the template needs to draw and say what `experiment` learned about learning; None where it is nothing.

    Raises `CheckpointError` for damaged files.
    """
    courses = [course(run.path, ["eta/", "epg/"]) for run in experiment.runs]
    panels = [
        Panel(title, [averaged(one, key) for one in courses if key in one])
        for key, title in _TITLES.items()
        if any(key in one and np.nanmax(one[key]) > np.nanmin(one[key]) for one in courses)
    ]
    sentences = [sentence for said in (_bounds(courses), _leads(courses)) for sentence in said]
    if not panels and not sentences:
        return None
    return {
        "svg": panels_figure(panels, "environment steps", name) if panels else None,
        "alt": "; ".join(_told(panel) for panel in panels),
        "sentences": sentences,
    }


def _bounds(courses: Sequence[Course]) -> Iterator[str]:
    """Of discounts and traces that have stayed at their bounds."""
    key = "eta/updates_at_bounds"
    stayed = [one for one in courses if key in one and one[key][-1] >= max(2, _LONG * len(one[key]))]
    if not stayed:
        return
    first = stayed[0]
    last = {name: float(first[f"eta/{name}"][-1]) for name in ("gamma", "lambda")}
    there = [f"{name} = {value:.4f}" for name, value in last.items() if not _EDGE <= value <= 1 - _EDGE]
    what = " and ".join(there) or "a discount or trace"
    yield (
        f"{_runs(len(stayed), len(courses))}: {what} at its bounds for the last "
        f"{first[key][-1]:,.0f} of {len(first[key]):,} updates. There it hardly moves, whatever the meta-gradient "
        "says: it would go on beyond 0 or 1, or its learning rate (agent.eta_rate) is too high"
    )


def _leads(courses: Sequence[Course]) -> Iterator[str]:
    """Whether an evolved loss was worth having."""
    compared = [one for one in courses if "epg/lead" in one]
    if not compared:
        return
    leads = [float(one["epg/lead"][np.isfinite(one["epg/lead"])][-1]) for one in compared]
    never = [one for one in compared if np.nanmax(one["epg/updates_ahead"]) == 0]
    lead = f"{np.mean(leads):+.3g} an episode at the end"
    if never:
        yield (
            f"{_runs(len(never), len(compared))}: the evolved loss never beat PPO from scratch at as many gradient "
            f"steps ({lead}). It is no improvement on PPO here"
        )
    elif min(leads) > 0:
        yield f"The evolved loss is ahead of PPO from scratch at as many gradient steps: {lead}"
    else:
        yield f"The evolved loss was ahead of PPO from scratch for a while and is behind it now: {lead}"


def _runs(some: int, every: int) -> str:
    return "Note" if every == 1 else f"Note, {some} of {every} runs"


def _told(panel: Panel) -> str:
    line = panel.lines[0].mean
    return f"{panel.title} from {line[0]:.3g} to {line[-1]:.3g}"
