"""Reports: one self-contained HTML page about one or more runs, for a reader who was not there.

The page loads nothing and runs nothing. Seeds of one experiment are pooled; experiments on the same problem share their
figures.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from agents.evaluation.luck import counted
from agents.evaluation.statistics import Interval
from agents.reports.aggregates import Aggregates, Scores, aggregate, section
from agents.reports.belief_report import belief_section
from agents.reports.curriculum_report import curriculum_section
from agents.reports.evolution import evolves
from agents.reports.evolution_report import evolution_context
from agents.reports.figures import adaptation_figure, histograms_figure, learning_figure
from agents.reports.learning_report import learning_section
from agents.reports.results import (
    CURVE_POINTS,
    Experiment,
    Standing,
    band,
    curve,
    exploration,
    group,
    standings,
    varying_knobs,
)
from agents.reports.settings import differing
from agents.training.budget import BY_CLOCK
from agents.training.records import RETURN, STEPS, plugin_files, read_record, short
from registry.config import Part
from registry.errors import CheckpointError, UserError
from taskgen.build import build_family, task_key
from taskgen.files import write_atomically

SHOWN_KNOBS = 24
"""Histograms drawn at most."""


def write_report(runs: Sequence[Path], output: Path) -> None:
    """Write a page about the run directories `runs` to the file `output`, replacing it.

    Raises:
        CheckpointError: a run directory is incomplete or damaged; names the file and the remedy.
        UserError: no runs, one run twice, or `output` cannot be written.
    """
    if not runs:
        raise UserError("a report needs at least one run directory")
    evolved = [evolves(Path(run)) for run in runs]
    if any(evolved):
        if not all(evolved):
            raise UserError("runs that evolved tasks and others make reports of their own: give them apart")
        write_page("evolution.html.j2", evolution_context([Path(run) for run in runs]), output)
        return
    experiments = group([read_record(Path(run)) for run in runs])
    write_page("report.html.j2", _context(experiments), output)


def write_page(template: str, context: Mapping[str, Any], output: Path) -> None:
    """Render a template to the file `output`, replacing it. Raises `UserError` where it cannot be written."""
    page = _environment().get_template(template).render(context).encode()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(output, page)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}. Choose another place with -o.") from error


def _context(experiments: Sequence[Experiment]) -> dict[str, Any]:
    problems: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        problems.setdefault(experiment.problem, []).append(experiment)
    labels = [experiment.label for experiment in experiments]
    return {
        "title": ", ".join(labels) if len(labels) < 4 else f"{len(labels)} experiments",
        "problems": [_problem(i, members) for i, members in enumerate(problems.values())],
        "experiments": [_experiment(i, experiment) for i, experiment in enumerate(experiments)],
        "labels": labels,
        "settings": differing([experiment.first.config for experiment in experiments]),
        "metrics": (STEPS, RETURN),
    }


def _problem(number: int, members: Sequence[Experiment]) -> dict[str, Any]:
    """Figures that experiments on the same problem share."""
    first = members[0].first
    sets = list(dict.fromkeys(name for member in members for name in member.first.evaluation.sets))
    return {
        "name": ", ".join(member.label for member in members),
        "learning": _learning(members, f"learning-{number}"),
        "sets": [_played(members, name, f"adaptation-{number}-{i}") for i, name in enumerate(sets)],
        "several": any(len(member.runs) > 1 for member in members),
        "two": any(len(member.runs) == 2 for member in members),
        "episodes": first.evaluation.episodes,
        "trained": _trained_episodes(members[0]),
        "left_out": {
            player: reason for member in members for player, reason in member.first.evaluation.left_out.items()
        },
    }


def _trained_episodes(experiment: Experiment) -> int:
    """Episodes of a trial of training."""
    return int(experiment.first.config["training"].get("episodes", experiment.first.evaluation.episodes))


def _learning(members: Sequence[Experiment], name: str) -> dict[str, Any]:
    curves = [curve(member) for member in members]
    rows = standings(members, next(iter(members[0].first.evaluation.sets)))
    length = members[0].first.config["training"].get("episodes", len(rows[0].episodes))
    references = {row.name: _first_episodes(row, length) for row in rows if not row.lead}
    ends = ", ".join(f"{curve.label} ends at {curve.mean.mean[-1]:.4g}" for curve in curves)
    lines = ", ".join(f"{label} {value:.4g}" for label, value in references.items())
    return {
        "svg": learning_figure(curves, references, name),
        "alt": f"Mean trial return against environment steps: {ends}. Dashed lines: {lines}.",
        "averaged": math.ceil(max(len(member.first.steps) for member in members) / CURVE_POINTS),
        "held_out": any(len(curve.held_out.x) for curve in curves),
        "judged_on": _called(members[0], "held-out"),
    }


def _first_episodes(row: Standing, length: int) -> float:
    """Return of a trial of `length` episodes, where the evaluation had longer ones than training."""
    whole = length >= len(row.episodes)
    return row.trial.value if whole else sum(interval.value for interval in row.episodes[:length])


def _played(members: Sequence[Experiment], tasks: str, name: str) -> dict[str, Any]:
    present = [member for member in members if tasks in member.first.evaluation.sets]
    rows = standings(present, tasks)
    bands = {row.name: band(_episodes(row), row.course) for row in rows}
    leads = [member.label if len(present) > 1 else member.lead for member in present]
    others = {label: line for label, line in bands.items() if label not in leads}
    played = present[0].first.evaluation.sets[tasks]
    tails = [player.tail for player in played.players.values() if player.tail is not None]
    found = aggregates(present, tasks)
    ends = ", ".join(f"{row.name} from {row.course[0].value:.4g} to {row.course[-1].value:.4g}" for row in rows)
    return {
        "name": _called(members[0], tasks),
        "counted": _counted(present[0], tasks),
        "basis": "; ".join(dict.fromkeys(row.basis for row in rows)),
        "rows": rows,
        "rounds": [row for row in rows if row.rounds],
        "svg": adaptation_figure(
            {label: bands[label] for label in leads}, others, name, trained={_trained_episodes(present[0]): ""}
        ),
        "from": played if played.source else None,
        "tail": tails[0] if tails else None,
        "tells": any(row.success for row in rows),
        "aggregates": None
        if found is None
        else section(found, leads, f"profile-{name}") | {"digits": digits([*found.middle.values()])},
        "explorers": [name for name, first in _explorers(present, tasks).items() if first],
        "exploration": exploration(present, tasks),
        "alt": f"Return per adaptation episode on {tasks} tasks, from the first episode to the last: {ends}.",
        **_decimals(rows),
    }


def aggregates(members: Sequence[Experiment], tasks: str) -> Aggregates | None:
    """All players' trials on the set `tasks` in a few figures; None where runs have played tasks of their own.

    Raises `CheckpointError` where the returns that runs have kept are missing or damaged.
    """
    runs = [run for member in members for run in member.runs]
    contents = {run.evaluation.sets[tasks].content for run in runs}
    if len(contents) > 1 or contents == {None}:
        return None
    scores: dict[str, Scores] = {}
    for member in members:
        for player, figures in member.first.evaluation.sets[tasks].players.items():
            lead = player == member.lead
            name = member.label if lead and len(members) > 1 else player
            trials = np.stack([run.played(tasks, player).sum(0) for run in member.runs])
            scores.setdefault(name, Scores(name, lead, figures.told, trials))
    return aggregate([scores[row.name] for row in standings(members, tasks)])


def _explorers(members: Sequence[Experiment], tasks: str) -> dict[str, int]:
    """How many episodes each player of a set explores in."""
    found: dict[str, int] = {}
    for member in members:
        for player, figures in member.first.evaluation.sets[tasks].players.items():
            name = member.label if player == member.lead and len(members) > 1 else player
            found.setdefault(name, figures.exploration)
    return found


def _counted(experiment: Experiment, tasks: str) -> str:
    """How many tasks a set has and how often they were played."""
    played = experiment.first.evaluation.sets[tasks]
    count = played.tasks or experiment.first.evaluation.tasks
    return counted(count, played.plays or count, _called(experiment, tasks))


def _episodes(row: Standing) -> NDArray[np.float64]:
    """Which episode each point of a player's course is, counted from 1; a round is at the middle of its episodes."""
    points, abreast = len(row.course), len(row.episodes) // len(row.course)
    return np.arange(points, dtype=np.float64) * abreast + (abreast + 1) / 2


def _experiment(number: int, experiment: Experiment) -> dict[str, Any]:
    first, config = experiment.first, experiment.first.config
    seconds = [run.checkups[-1].seconds for run in experiment.runs if run.checkups]
    tasks = next(iter(first.evaluation.sets))
    rows = standings([experiment], tasks)
    optimism = [run.optimism for run in experiment.runs if run.optimism is not None]
    return {
        "label": experiment.label,
        "agent": first.agent,
        "family": short(config["family"]),
        "source": short(config["source"]),
        "training": config["training"],
        "trained_episodes": _trained_episodes(experiment),
        "evaluation": first.evaluation,
        "set": _called(experiment, tasks),
        "same_tasks": _same_tasks(experiment),
        "by_clock": BY_CLOCK if "minutes" in config["training"] else None,
        "trained_on": first.evaluation.sets[tasks].trained_on,
        "counted": _counted(experiment, tasks),
        "lead": next(row for row in rows if row.lead),
        "best": next((row for row in rows if not row.lead), None),
        **_decimals(rows),
        "steps": float(np.mean([run.steps[-1] for run in experiment.runs])),
        "seconds": float(np.mean(seconds)) if seconds else None,
        "optimism": float(np.mean(optimism)) if optimism else None,
        "seeds": [run.seed for run in experiment.runs],
        "runs": [run.path.name for run in experiment.runs],
        "machine": _machine(first.provenance),
        "tasks": _tasks(number, experiment),
        "belief": belief_section(experiment, tasks, f"belief-{number}"),
        "curriculum": curriculum_section(experiment, f"curriculum-{number}"),
        "learned": learning_section(experiment, f"learned-{number}"),
        "config": first.config_text,
        "provenance": _provenance(first.provenance),
        "plugins": _foreign(first.provenance),
        "files": plugin_files(first.provenance),
    }


def _same_tasks(experiment: Experiment) -> bool:
    """Whether the run was judged, by name, on tasks that it was trained on."""
    return bool(experiment.first.config.get("evaluation", {}).get("same_tasks"))


def _called(experiment: Experiment, tasks: str) -> str:
    """What the set `tasks` is called: held-out tasks that may be training tasks are called that."""
    return "training" if tasks == "held-out" and _same_tasks(experiment) else tasks


def _decimals(rows: Sequence[Standing]) -> dict[str, int]:
    return {
        "digits": digits([row.trial for row in rows]),
        "episode_digits": digits([interval for row in rows for interval in row.course]),
    }


def digits(intervals: Sequence[Interval]) -> int:
    """Decimals that show the first figure of a typical interval's half width, and one more."""
    halves = [(row.high - row.low) / 2 for row in intervals if row.high > row.low]
    return 3 if not halves else int(np.clip(1 - math.floor(math.log10(float(np.median(halves)))), 0, 4))


def _tasks(number: int, experiment: Experiment) -> dict[str, Any]:
    specs = experiment.first.specs
    if not specs:
        where = experiment.first.path / "archive.sqlite"
        raise CheckpointError(
            f"{where} holds no training tasks, which the report shows. A runner tells of them in records(), with "
            'split="train"; of any other run restore the archive from a copy, or train again'
        )
    knobs = varying_knobs(specs)
    shown = dict([(name, values) for name, values in knobs.items() if len(values)][:SHOWN_KNOBS])
    units = _units(experiment.first.config["family"])
    titles: dict[str, NDArray[np.float64]] = {}
    for name, values in shown.items():
        entries = len(values) // len(specs)
        title = f"{name} [{units[name]}]" if units.get(name) else name
        titles[title if entries == 1 else f"{title} ({entries} entries pooled)"] = values
    ranges = ", ".join(
        f"{name} from {values.min():.4g} to {values.max():.4g} {units.get(name, '')}".rstrip()
        for name, values in shown.items()
    )
    return {
        "count": len(specs),
        "distinct": len({task_key(spec) for spec in specs}),
        "svg": histograms_figure(titles, f"tasks-{number}") if shown else None,
        "alt": f"Histograms of the context knobs that vary: {ranges}.",
        "hidden": [name for name in knobs if name not in shown],
        "fixed": {
            name: f"{value} {units.get(name, '')}".rstrip()
            for name, value in specs[0].context.items()
            if name not in knobs
        },
    }


def _units(part: Any) -> dict[str, str]:
    """The unit of every knob that has one, by the family itself; of a family that is not installed none is known."""
    try:
        family = Part.model_validate(part)
        knobs = build_family(family.name, family.settings).context_space.knobs
    except UserError:
        return {}
    return {name: knob.unit for name, knob in knobs.items() if knob.unit}


def _provenance(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Dotted keys and values, short lists on one line."""
    rows: list[tuple[str, str]] = []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            for name, inner in value.items():
                details = ", ".join(f"{k} {v}" for k, v in inner.items()) if isinstance(inner, Mapping) else str(inner)
                rows.append((f"{key}: {name}", details))
        else:
            rows.append((key, str(value)))
    return rows


def _machine(provenance: Mapping[str, Any]) -> str:
    machine = provenance.get("machine")
    return str(machine.get("processor", "")) if isinstance(machine, Mapping) else ""


def _foreign(provenance: Mapping[str, Any]) -> list[str]:
    """Plugins beyond the built-in ones that the run needs, with their versions."""
    parts = provenance.get("parts")
    found = [part for part in parts.values() if isinstance(part, Mapping)] if isinstance(parts, Mapping) else []
    plugins = {f"{part.get('provider')} {part.get('version')}" for part in found if part.get("provider") != "builtin"}
    return sorted(plugins)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """One for all pages, since it keeps the templates that it has compiled."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "described": _described,
        "figure": _figure,
        "interval": _interval,
        "count": _count,
        "duration": _duration,
    }
    return environment


def _described(svg: Markup, alt: str) -> Markup:
    """The drawing with the text that stands for it where it cannot be seen."""
    return Markup('<svg role="img" aria-label="{}"').format(alt) + svg[len("<svg") :]


def _figure(value: float, digits: int = 3) -> str:
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _interval(interval: Interval, digits: int = 3) -> str:
    if math.isnan(interval.low):
        return ""
    return f"[{_figure(interval.low, digits)}, {_figure(interval.high, digits)}]"


def _count(value: float) -> str:
    """A number of things as a reader says it: 512, 20,000, 6.0 million."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
