"""Players on one set of tasks in a few figures, for comparisons and reports alike; see `agents.evaluation.aggregates`.

Axes: S seeds, N tasks, P thresholds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.aggregates import NO_ENDS, improvement, optimality_gap, profile, scale, thresholds
from agents.evaluation.play import json_end
from agents.evaluation.statistics import Interval, basis, intervals
from agents.reports.figures import profile_figure
from agents.reports.results import band

TRIAL, LAST = "return of a whole trial", "mean return of the last episode, or round of episodes"
"""What a score is: the second where players have trials of different lengths."""
ONE_TASK = "on one task nobody can say how often"
"""Why a probability has no interval where there is one."""
RANDOM = ("random", "random (as new)")
"""What the player goes by that the scale of optimality gaps begins at."""


@dataclass(frozen=True)
class Scores:
    """What one player earned."""

    name: str
    trained: bool
    """Whether it is an agent of the runs, not a reference player."""
    told: bool
    """Whether it is told the task's descriptor."""
    samples: NDArray[np.float64]
    """[S, N] a score for each task, the same tasks for all players."""


@dataclass(frozen=True)
class Aggregates:
    """All players on one set of tasks, in the order given."""

    score: str
    """What a score is."""
    middle: Mapping[str, Interval]
    """Interquartile means by player."""
    gap: Mapping[str, Interval]
    """Optimality gaps by player; none where there is no scale."""
    normalised: str
    """What gaps are measured in, or why there are none, in a sentence."""
    at: NDArray[np.float64]
    """[P] scores at which profiles are looked at."""
    profiles: Mapping[str, tuple[Interval, ...]]
    """By player, [P] shares of tasks on which it earns more, as the mean of its runs."""
    improvement: Mapping[str, Mapping[str, Interval]]
    """By agent, the probability that it earns more on a task than each other player."""
    without: Mapping[str, Sequence[str]]
    """By reason, the pairs of players whose probability has no interval."""

    def summary(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "score": self.score,
            "iqm": _json(self.middle),
            "optimality_gap": _json(self.gap),
            "normalised": self.normalised,
            "thresholds": self.at.tolist(),
            "profile": {name: [_ends(found) for found in row] for name, row in self.profiles.items()},
            "improvement": {agent: _json(row) for agent, row in self.improvement.items()},
            "without_interval": {reason: list(pairs) for reason, pairs in self.without.items()},
        }


def aggregate(players: Sequence[Scores], score: str = TRIAL) -> Aggregates:
    """The aggregates of all `players`, whose samples are what `score` says."""
    samples = {player.name: player.samples for player in players}
    at = thresholds(*samples.values())
    zero_and_one, normalised = _scale(players)
    better = {
        agent.name: {name: improvement(agent.samples, x) for name, x in samples.items() if name != agent.name}
        for agent in players
        if agent.trained
    }
    return Aggregates(
        score=score,
        middle={name: intervals(x)[1] for name, x in samples.items()},
        gap={name: optimality_gap(x, *zero_and_one) for name, x in samples.items()} if zero_and_one else {},
        normalised=normalised,
        at=at,
        profiles={name: profile(x, at) for name, x in samples.items()},
        improvement=better,
        without=_without(better, samples),
    )


def _scale(players: Sequence[Scores]) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, str]:
    """What the random and the optimal player earned, with what to say of scores between; or none, and why."""
    zero = next((player for player in players if player.name in RANDOM and not player.trained), None)
    told = [player for player in players if player.told and not player.trained]
    one = max(told, key=lambda player: float(player.samples.mean()), default=None)
    if zero is None or one is None:
        lacking = "random player" if zero is None else "reference player that is told the task"
        return None, f"There is no optimality gap: no {lacking} was judged on these tasks."
    lowest, highest = float(zero.samples.mean()), float(one.samples.mean())
    if highest <= lowest:
        less = f"{one.name}, which is told the task, earns {highest:.4g}, no more than {zero.name}, {lowest:.4g}"
        return None, f"There is no optimality gap: {less}."
    ahead = scale(zero.samples, one.samples)
    if math.isnan(ahead.low):
        luck = f"on one task nobody can say how much is luck of what {one.name} is ahead of {zero.name} by"
        return None, f"There is no optimality gap: {luck}, {ahead.value:.4g}."
    if ahead.low <= 0:
        near = f"{one.name} is ahead of {zero.name} by {ahead.value:.4g} [{ahead.low:.4g}, {ahead.high:.4g}]"
        return None, f"There is no optimality gap: {near}, so that they may be equal and make no scale."
    text = (
        f"Optimality gap: by how much scores, those above 1 counting as 1, fall short of 1 on average. 0 is what "
        f"{zero.name} earns on average on these tasks, {lowest:.4g}, and 1 what {one.name} does, which is told the "
        f"task, {highest:.4g}; one scale for all tasks. The gap of {one.name} itself is what luck and the difference "
        "between tasks make of it."
    )
    return (zero.samples, one.samples), text


def _without(
    better: Mapping[str, Mapping[str, Interval]], samples: Mapping[str, NDArray[np.float64]]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for agent, row in better.items():
        for other, interval in row.items():
            if math.isnan(interval.low):
                few = 2 in (len(samples[agent]), len(samples[other]))
                rest = NO_ENDS if samples[agent].shape[1] > 1 else ONE_TASK
                why = basis(2, 1).removeprefix("none: ") if few else rest
                found.setdefault(why, []).append(f"{agent} and {other}")
    return found


def lines(found: Aggregates) -> Iterator[str]:
    """For the terminal."""
    width = max(map(len, found.middle))
    yield f"  in the aggregate, of the {found.score}:"
    yield f"  {'player':<{width}} {'IQM':>9}  {'':<20}" + f" {'optimality gap':>14}" * bool(found.gap)
    for name, middle in found.middle.items():
        gap = f" {found.gap[name].value:>14.3f}  {ends(found.gap[name])}" if found.gap else ""
        yield f"  {name:<{width}} {middle.value:>9.3f}  {ends(middle):<20}{gap}".rstrip()
    yield f"  {found.normalised}"
    for agent, row in found.improvement.items():
        for other, chance in row.items():
            yield f"  {agent} earns more than {other} with probability {chance.value:.3f} {ends(chance)}".rstrip()
    yield from (f"  no interval of {', '.join(pairs)}: {why}" for why, pairs in found.without.items())


def ends(interval: Interval) -> str:
    """An interval in brackets, or nothing where there is none."""
    return "" if math.isnan(interval.low) else f"[{interval.low:.3f}, {interval.high:.3f}]"


def section(found: Aggregates, agents: Sequence[str], name: str) -> dict[str, Any]:
    """What the template `aggregates.html.j2` shows, `agents` in the colours of their order in other figures.

    `name` keeps the ids of its figure apart from theirs.
    """
    bands = {player: band(found.at, row) for player, row in found.profiles.items()}
    leads = {player: bands.pop(player) for player in agents}
    half = ", ".join(f"{player} {_median(found, player):.4g}" for player in found.profiles)
    return {
        "found": found,
        "players": list(found.middle),
        "no_ends": NO_ENDS,
        "svg": profile_figure(leads, bands, found.score, name),
        "alt": f"Share of tasks on which each player earns more than a score. Exceeded on half of the tasks: {half}.",
    }


def _median(found: Aggregates, player: str) -> float:
    """The lowest threshold that a player exceeds on no more than half of the tasks."""
    return float(next(at for at, share in zip(found.at, found.profiles[player], strict=True) if share.value <= 0.5))


def _json(found: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: _ends(interval) for name, interval in found.items()}


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"value": interval.value, "low": json_end(interval.low), "high": json_end(interval.high)}
