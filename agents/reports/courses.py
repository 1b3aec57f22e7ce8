"""How a run's metrics went: values over environment steps, averaged into points to draw."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.reports.figures import Band
from agents.training.records import STEPS, Line, json_lines

Floats = NDArray[np.float64]
Course = dict[str, Floats]

POINTS = 100
"""Points that a run's iterations are averaged into."""


def course(path: Path, prefixes: Iterable[str]) -> Course:
    """[I] environment steps and every metric that begins so, NaN where an iteration of the run has none.

    Raises `CheckpointError` for damaged files.
    """
    begins = tuple(prefixes)
    lines = [line.metrics for line in json_lines(path, "metrics.jsonl", Line)]
    lines = [line for line in lines if line.get(STEPS) is not None]
    names = dict.fromkeys(name for line in lines for name in line if name.startswith(begins))
    found = {name: np.array([_number(line.get(name)) for line in lines]) for name in (STEPS, *names)}
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def averaged(course: Course, name: str, *, around: tuple[str, str] | None = None, points: int = POINTS) -> Band:
    """A metric over environment steps, with the metrics `around` it, where there are, as the ends of its interval."""
    low, high = around or (name, name)
    columns = [course[STEPS], *(course.get(key, course[name]) for key in (name, low, high))]
    present = np.isfinite(columns[1])
    parts = [np.array_split(column[present], min(points, int(present.sum()))) for column in columns]
    x, mean, below, above = (np.array([part.mean() for part in column]) for column in parts)
    none = np.full_like(mean, np.nan)
    return Band(x, mean, below, above) if low in course and low != name else Band(x, mean, none, none)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
