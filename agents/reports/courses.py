"""How a run's metrics went: values over environment steps, averaged into points to draw."""

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, RootModel, ValidationError, model_validator

from agents.reports.figures import Band
from agents.training.records import RETURN, STEPS, Line, Stored, json_lines
from registry.errors import UserError
from taskgen.files import read_regular

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


class Kept(Stored):
    """A learning curve that was thinned and kept: environment steps and the mean return of a trial there."""

    steps: list[float]
    returns: list[float] = Field(alias="return")

    @model_validator(mode="after")
    def _whole(self) -> "Kept":
        if not len(self.steps) == len(self.returns) > 0:
            raise ValueError(f"{len(self.steps)} steps and {len(self.returns)} returns: it takes as many, at least one")
        if any(later <= step for step, later in itertools.pairwise(self.steps)):
            raise ValueError("steps must rise from point to point")
        return self


def learned(path: Path) -> tuple[Floats, Floats] | None:
    """[I] environment steps and mean trial return of the run at `path`; None where it has kept no metrics.

    Raises `CheckpointError` for damaged files.
    """
    found = course(path, (RETURN,)) if (path / "metrics.jsonl").exists() else {}
    if RETURN not in found:
        return None
    there = np.isfinite(found[RETURN])
    return found[STEPS][there], found[RETURN][there]


def kept_curves(file: Path) -> dict[str, list[tuple[Floats, Floats]]]:
    """Learning curves in a JSON file as benchmarks keep them: of each run ("NAME-SEED") its steps and returns, by NAME.

    Raises `UserError` for a file that is none.
    """
    try:
        runs = RootModel[dict[str, Kept]].model_validate_json(read_regular(file)).root
    except (OSError, ValidationError) as error:
        problem = (
            f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}" if isinstance(error, ValidationError) else error
        )
        wanted = '{"NAME-SEED": {"steps": [...], "return": [...]}, ...}'
        raise UserError(f"{file} holds no learning curves ({problem}): expected {wanted}, as benchmarks keep") from None
    found: dict[str, list[tuple[Floats, Floats]]] = {}
    for name, run in runs.items():
        found.setdefault(re.sub(r"-\d+$", "", name), []).append((np.array(run.steps), np.array(run.returns)))
    return found


def _number(value: float | None) -> float:
    return np.nan if value is None else value
