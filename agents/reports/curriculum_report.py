"""The part of a report that draws a curriculum over time: what was replayed, at what scores, how hard, which tasks.

Read from a run: the metrics "tasks/..." of metrics.jsonl, highlights.jsonl, and the archive's records of the tasks
named there. A run whose source says nothing of the kind has no such part.
"""

import io
import itertools
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from agents.reports.courses import POINTS, Course, averaged, course
from agents.reports.figures import Band, Heat, Panel, data_uri, heats_figure, panels_figure
from agents.reports.results import Experiment
from agents.training.highlights import FILE
from agents.training.records import STEPS, Stored, archive_of, json_lines, remark_end
from registry.errors import CheckpointError, TaskError
from taskgen.archive import Archive
from taskgen.build import family_of
from taskgen.pictures import frame_picture
from taskgen.record import Record
from taskgen.source import Elites

SHARE_POINTS = 25
"""Points of shares, which are 0 or 1 in a single iteration."""
THUMBNAILS = 6
"""Tasks shown of each kind."""
SIDE = 128
"""Pixels that a thumbnail fits into."""
TEXT = (28, 9)
"""Columns and lines of a text that stands for a picture."""
SHOWN = 12
"""Panels drawn at most."""
PAIRS = 6
"""Grids drawn at most of an archive of elites."""
_MEAN = "tasks/mean_"
_SHARES = ("tasks/replay_share",)
_TITLES = {
    "tasks/replay_share": "share of replays",
    "tasks/score_median": "score of levels: the median, and 10% to 90% of them",
}
_NOT_TOLD = (STEPS, "tasks/score_low", "tasks/score_high", "tasks/family_return", "tasks/n_quarantined")


class _Highlights(Stored):
    """A line of highlights.jsonl."""

    iteration: int
    highlights: dict[str, list[str]] = Field(description="Ids of tasks by what they are.")
    elites: dict[str, Elites] = Field({}, description="Archives of elites by title.")


@dataclass(frozen=True)
class Thumbnail:
    """A task in small."""

    lines: tuple[str, ...]
    """What is known of it, and its id."""
    image: str = ""
    """PNG as a data URI; none for a family that renders text."""
    width: int = 0
    height: int = 0
    text: str = ""


def curriculum_section(experiment: Experiment, name: str) -> dict[str, Any] | None:
    """What the template needs to draw the curriculum of `experiment`, or None where it had none.

    Raises `CheckpointError` for damaged files.
    """
    panels = _panels([course(run.path, ["tasks/"]) for run in experiment.runs])
    path = experiment.first.path
    kept = list(json_lines(path, FILE, _Highlights)) if (path / FILE).exists() else []
    until, _ = experiment.first.marks.get(FILE, (0, ""))
    remark_end(path / FILE, kept[-1].iteration if kept else 0, until)
    if not panels and not kept:
        return None
    return {
        "svg": panels_figure(panels, "environment steps", name) if panels else None,
        "alt": "; ".join(_told(panel) for panel in panels),
        "panels": [panel.title for panel in panels],
        "archives": [
            _archive(title, elites, f"{name}-archive-{number}")
            for number, (title, elites) in enumerate(kept[-1].elites.items() if kept else ())
        ],
        "kinds": _kinds(path, kept[-1]) if kept else {},
        "iteration": kept[-1].iteration if kept else None,
        "strip": _strip(path, kept),
        "ancestry": _ancestry(path, kept[-1]) if kept else [],
    }


def _panels(courses: Sequence[Course]) -> list[Panel]:
    """One for each thing that a curriculum tells: first what replay curricula tell, then the rest by name."""
    told = dict.fromkeys(name for course in courses for name in course if name not in _NOT_TOLD)
    means = [name for name in told if name.startswith(_MEAN)]
    titles = _TITLES | {name: f"mean {_spoken(name.removeprefix(_MEAN))}" for name in means}
    titles |= {name: _spoken(name) for name in told if name not in titles}
    panels: list[Panel] = []
    for name, title in titles.items():
        lines = [_band(course, name) for course in courses if name in course]
        if any(line.mean.any() for line in lines):  # what is zero throughout is not there
            panels.append(Panel(title, lines, share=name in _SHARES))
    return panels[:SHOWN]


def _band(course: Course, name: str) -> Band:
    """A metric over environment steps; with the quantiles around a median."""
    around = (name.replace("median", "low"), name.replace("median", "high"))
    return averaged(course, name, around=around, points=SHARE_POINTS if name in _SHARES else POINTS)


def _spoken(name: str) -> str:
    return name.removeprefix("tasks/").replace("/", ": ").replace("_", " ")


def _told(panel: Panel) -> str:
    line = panel.lines[0].mean
    return f"{panel.title} from {line[0]:.3g} to {line[-1]:.3g}"


def _archive(title: str, elites: Elites, name: str) -> dict[str, Any]:
    """Its figure, and what is to be said of it."""
    count = elites.cells ** len(elites.measures)
    filled = f"{len(elites.places):,} of {count:,} cells filled"
    scores = f"scores from {min(elites.scores):.3g} to {max(elites.scores):.3g}"
    return {
        "title": title,
        "svg": heats_figure(list(heats(elites)), title, name),
        "alt": f"{title} over {', '.join(elites.measures)}: {filled}, {scores}",
        "filled": filled,
        "best": len(elites.measures) > 2,
    }


def heats(elites: Elites) -> Iterator[Heat]:
    """An archive over every two of its measures, `PAIRS` at most: the best score of a cell, whatever the others are."""
    names, places = list(elites.measures), np.array(elites.places)
    pairs = list(itertools.combinations(range(len(names)), 2)) or [(0, None)]
    for across, up in pairs[:PAIRS]:
        values = np.full((1 if up is None else elites.cells, elites.cells), -np.inf)
        rows = np.zeros(len(places), dtype=int) if up is None else places[:, up]
        np.maximum.at(values, (rows, places[:, across]), elites.scores)
        ends = [(0.0, 1.0) if i is None else elites.measures[names[i]] for i in (across, up)]
        title = "" if up is None else _spoken(names[up])
        yield Heat(np.where(np.isinf(values), np.nan, values), _spoken(names[across]), title, (ends[0], ends[1]))


def _kinds(path: Path, last: _Highlights) -> dict[str, list[Thumbnail]]:
    """The tasks of the last checkpoint by what they are."""
    return {title: list(_thumbnails(path, ids[:THUMBNAILS])) for title, ids in last.highlights.items()}


def _strip(path: Path, kept: Sequence[_Highlights]) -> dict[str, Any] | None:
    """The first task of the last kind at checkpoints spread over the run."""
    if len(kept) < 2 or not kept[-1].highlights:
        return None
    title = list(kept[-1].highlights)[-1]
    spread = [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, THUMBNAILS).round().astype(int))]
    spread = [line for line in spread if line.highlights.get(title)]
    pictures = list(_thumbnails(path, [line.highlights[title][0] for line in spread]))
    return {"title": title, "points": [(line.iteration, shown) for line, shown in zip(spread, pictures, strict=True)]}


def _ancestry(path: Path, last: _Highlights) -> list[Thumbnail]:
    """Of the task that was edited most often: the first ancestor, some between, and the task; none without edits."""
    ids = list(dict.fromkeys(id_ for kind in last.highlights.values() for id_ in kind))
    with _opened(path) as archive:
        edited = max((archive.get(id_) for id_ in ids), key=lambda record: record.generation)
        line = archive.lineage(edited.spec.id)[::-1] if edited.parents else []
        chosen = np.unique(np.linspace(0, len(line) - 1, THUMBNAILS).round().astype(int)) if line else ()
        return [_thumbnail(line[i]) for i in chosen]


@contextmanager
def _opened(path: Path) -> Generator[Archive]:
    """The run's archive. Raises `CheckpointError` for a damaged one and for tasks that are not in it."""
    try:
        with archive_of(path) as archive:
            yield archive
    except TaskError as error:
        raise CheckpointError(f"{error}. Restore the run directory from a copy, or train again.") from None


def _thumbnails(path: Path, ids: Sequence[str]) -> Iterator[Thumbnail]:
    with _opened(path) as archive:
        for id_ in ids:
            yield _thumbnail(archive.get(id_))


def _thumbnail(record: Record) -> Thumbnail:
    lines = [f"{name} {value:.3g}" for name, value in record.scores.items()]
    lines += [f"generation {record.generation}"] if record.generation else []
    lines.append(record.spec.id[:8])
    try:
        rendered = family_of(record.spec).render(record.spec)
    except TaskError:  # a family that is not installed here
        rendered = "\n".join(f"{name} = {value}" for name, value in record.spec.context.items())
    if isinstance(rendered, str):
        text = "\n".join(line[: TEXT[0]] for line in rendered.splitlines()[: TEXT[1]])
        return Thumbnail(tuple(lines), text=text)
    picture = frame_picture(rendered)
    factor = SIDE / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    data = io.BytesIO()
    picture.resize((width, height)).save(data, format="PNG", optimize=True)
    return Thumbnail(tuple(lines), data_uri(data.getvalue(), "png"), width, height)
