"""A comparison as its readers see it: a table for the terminal and one self-contained HTML page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from agents.evaluation.luck import counted
from agents.reports.aggregates import ends, lines, section
from agents.reports.comparison import Comparison, Contender, Course
from agents.reports.figures import Band, adaptation_figure, learning_figure
from agents.reports.report import digits, write_page
from agents.reports.results import band
from registry.discovery import typed

_WIDE = 5
"""From so many times the episodes of another player on, episodes are drawn on a logarithmic scale."""


def write_comparison(comparisons: Mapping[str, Comparison], output: Path) -> None:
    """Write one page about comparisons by name to the file `output`, replacing it.

    Raises `UserError` where it cannot be written.
    """
    context = {
        "compare": typed("compare"),
        "comparisons": [_context(i, *pair) for i, pair in enumerate(comparisons.items())],
        "names": list(dict.fromkeys(agent for comparison in comparisons.values() for agent in comparison.agents)),
    }
    write_page("comparison.html.j2", context, output)


def figure(comparison: Comparison, tasks: str, name: str) -> Markup:
    """The adaptation curves on the set `tasks` as SVG; `name` keeps its ids apart from other figures'."""
    courses = {course.name: course for course in comparison.sets[tasks]}
    lengths = [course.episodes for course in courses.values()]
    leads = {agent: _band(courses.pop(agent)) for agent in comparison.agents}
    others = {player: _band(course) for player, course in courses.items()}
    return adaptation_figure(
        leads, others, name, logarithmic=max(lengths) >= _WIDE * min(lengths), trained=_overlong(comparison, tasks)
    )


def _overlong(comparison: Comparison, tasks: str) -> dict[int, str]:
    """By episodes of a trial of training, the agents that play more of them on the set `tasks`."""
    played = {course.name: course.episodes for course in comparison.sets[tasks]}
    found: dict[int, list[str]] = {}
    for agent, runs in comparison.agents.items():
        if played[agent] > runs[0].trained_episodes:
            found.setdefault(runs[0].trained_episodes, []).append(agent)
    return {number: ", ".join(agents) if len(found) > 1 else "" for number, agents in found.items()}


def table(comparison: Comparison) -> Iterator[str]:
    """The lines of the table for the terminal, a set after another, those who end best first."""
    for name, courses in comparison.sets.items():
        width = max(len(_called(course)) for course in courses)
        told = "; * is told the task" if any(course.told for course in courses) else ""
        tasks = counted(comparison.tasks[name], comparison.plays[name])
        yield f"{name}: {tasks}, the same for all; mean returns with 95% intervals{told}"
        columns = f"{'first':>9} {'last episode':>13}  {'':<20} {'its IQM':>9}  {'':<20} {'trial':>9}"
        columns += f"  {f'worst {comparison.tail:.0%}':>9}" if any(course.tail for course in courses) else ""
        apart = any(course.exploitation for course in courses)
        columns += f"  {'exploit':>9}" if apart else ""
        tells = any(course.success for course in courses)
        columns += f"  {'success':>8} {'at end':>8}" if tells else ""
        yield f"  {'player':<{width}} {'seeds':>5} {'episodes':>8} {columns}"
        for course in courses:
            last, middle = course.mean[-1], course.middle[-1]
            figures = f"{course.mean[0].value:>9.3f} {last.value:>13.3f}  {ends(last):<20}"
            figures += f" {middle.value:>9.3f}  {ends(middle):<20} {course.trial.value:>9.3f}"
            tails = any(other.tail for other in courses)
            figures += f"  {course.tail.value:>9.3f}" if course.tail else " " * 11 * tails
            figures += f"  {course.exploitation.value:>9.3f}" if course.exploitation else " " * 11 * apart
            figures += "  " + " ".join(f"{share.value:>8.1%}" for share in course.success) if course.success else ""
            seeds = course.seeds if course.trained else "-"
            faults = f"  {course.faults} episodes diverged" if course.faults else ""
            yield f"  {_called(course):<{width}} {seeds:>5} {course.episodes:>8} {figures}{faults}"
        yield from (f"  95% intervals {line}" for line in bases(courses))
        if tells:
            yield "  success: share of tasks done after any step of the last episode; at end: after its last step"
        if apart:
            yield f"  exploit: a trial without {left_out(comparison)}"
        yield from lines(comparison.aggregates[name])
        for course in courses:
            if course.by_round:
                steps = ", ".join(f"{interval.value:.3f}" for interval in course.mean)
                yield f"  {course.name}, mean episode after 0, 1, ... steps of adaptation: {steps}"
    for remark in comparison.remarks:
        yield f"Note: {remark}."


def left_out(comparison: Comparison) -> str:
    """The episodes that "without exploration" does not count, and who explores in them."""
    first = comparison.exploration
    count = "its first episode" if first == 1 else f"its first {first} episodes"
    return f"{count}, in which {', '.join(comparison.explorers)} may explore and does not mean to earn"


def _called(course: Course) -> str:
    return f"{course.name} *" if course.told else course.name


def bases(courses: Sequence[Course]) -> list[str]:
    """What intervals are over, or why there are none, with the players of whom that is so."""
    found: dict[str, list[str]] = {}
    for course in courses:
        found.setdefault(course.basis, []).append(course.name)
    return [f"of {', '.join(names)}: {over}" for over, names in found.items()]


def _band(course: Course) -> Band:
    """One point for each episode, or two for a round: its first and its last episode."""
    starts = np.arange(len(course.mean), dtype=np.float64) * course.abreast + 1
    if course.abreast == 1:
        return band(starts, course.mean)
    x = np.stack([starts, starts + course.abreast - 1], axis=1).ravel()
    return band(x, [interval for interval in course.mean for _ in range(2)])


def _context(number: int, name: str, comparison: Comparison) -> dict[str, Any]:
    return {
        "name": name,
        "agents": [_agent(agent, runs) for agent, runs in comparison.agents.items()],
        "remarks": comparison.remarks,
        "labels": list(comparison.agents),
        "settings": comparison.settings,
        "several": any(len(runs) > 1 for runs in comparison.agents.values()),
        "learning": _learning(comparison, f"learning-{number}") if comparison.learning else None,
        "sets": [_set(tasks, comparison, f"compared-{number}-{i}") for i, tasks in enumerate(comparison.sets)],
    }


def _learning(comparison: Comparison, name: str) -> dict[str, Any]:
    """The figure of learning curves, and how long the trials of training are that it is of."""
    ends = ", ".join(f"{curve.label} ends at {curve.mean.mean[-1]:.4g}" for curve in comparison.learning)
    lengths = {agent: runs[0].trained_episodes for agent, runs in comparison.agents.items()}
    return {
        "svg": learning_figure(comparison.learning, {}, name),
        "alt": f"Mean trial return of training against environment steps: {ends}.",
        "lengths": lengths if len(set(lengths.values())) > 1 else {},
        "kept": [curve.label for curve in comparison.learning if curve.label not in comparison.agents],
        "several": any(len(curve.runs) > 1 for curve in comparison.learning),
    }


def _agent(name: str, runs: Sequence[Contender]) -> dict[str, Any]:
    first = runs[0]
    return {
        "name": name,
        "experiment": first.trained.experiment.name,
        "source": first.trained.experiment.source.name.partition("/")[2],
        "seeds": [run.seed for run in runs],
        "paths": [str(run.path) for run in runs],
        "steps": float(np.mean([run.trained.steps for run in runs])),
    }


def _set(name: str, comparison: Comparison, prefix: str) -> dict[str, Any]:
    courses, found = comparison.sets[name], comparison.aggregates[name]
    ends = ", ".join(
        f"{course.name} from {course.mean[0].value:.4g} to {course.mean[-1].value:.4g}" for course in courses
    )
    points = [interval for course in courses for interval in course.mean]
    by_episode = [course for course in courses if course.abreast == 1 and course.episodes > 1]
    return {
        "name": name,
        "tasks": comparison.tasks[name],
        "counted": counted(comparison.tasks[name], comparison.plays[name]),
        "bases": bases(courses),
        "courses": courses,
        "best": min((course for course in courses if course.trained), key=lambda course: course.told),
        "rounds": [course for course in courses if course.by_round],
        "by_episode": by_episode,
        "longest": max((course.episodes for course in by_episode), default=0),
        "tail": comparison.tail if any(course.tail for course in courses) else None,
        "left_out": left_out(comparison) if any(course.exploitation for course in courses) else None,
        "tells": any(course.success for course in courses),
        "overlong": bool(_overlong(comparison, name)),
        "dotted": len({course.episodes for course in courses}) > 1,
        "aggregates": section(found, list(comparison.agents), f"profile-{prefix}")
        | {"digits": digits([*found.middle.values()])},
        "svg": figure(comparison, name, prefix),
        "alt": f"Mean return per adaptation episode on {name} tasks, from the first to the last: {ends}.",
        "digits": digits(points),
        "trial_digits": digits([course.trial for course in courses]),
    }
