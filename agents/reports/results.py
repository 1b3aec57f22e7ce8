"""What runs say together: seeds of one experiment pooled, players ranked, learning curves averaged.

Runs whose configurations differ only in their seed, and in what changes no result, are one experiment. Its intervals
are those of `agents.evaluation.statistics` over the returns that the runs recorded, as in a comparison.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.aggregates import share
from agents.evaluation.statistics import Interval, after_exploration, basis, intervals, seeds_interval
from agents.evaluation.tail import tail_interval
from agents.reports.figures import Band, Curve
from agents.reports.settings import labelled
from agents.training.records import Estimate, Record, Returns, essential_of
from registry.errors import CheckpointError, UserError
from taskgen.spec import TaskSpec

CURVE_POINTS = 120
"""Points a learning curve is averaged into."""


@dataclass(frozen=True)
class Experiment:
    """Runs that differ only in their seed."""

    label: str
    runs: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The run that stands for what all have in common."""
        return self.runs[0]

    @property
    def lead(self) -> str:
        """The player that was trained."""
        players = next(iter(self.first.evaluation.sets.values())).players
        return self.first.agent if self.first.agent in players else next(iter(players))

    @property
    def problem(self) -> str:
        """What has to be equal for returns to be comparable."""
        config, episodes = self.first.config, self.first.evaluation.episodes
        return json.dumps([config["family"], config["training"].get("episodes"), episodes], sort_keys=True, default=str)


class Seeded(Protocol):
    """A run, as far as it decides which runs are one experiment."""

    @property
    def path(self) -> Path:
        """Its directory."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """Its complete configuration, as written."""
        ...

    @property
    def agent(self) -> str:
        """Full name of the agent that it trained."""
        ...

    @property
    def seed(self) -> int:
        """Root of its random streams."""
        ...


R = TypeVar("R", bound=Seeded)


def grouped(runs: Iterable[R]) -> dict[str, list[R]]:
    """The runs by configuration, in the order given, seeds ascending, each group under a label of its own.

    Raises `UserError` where two runs are the same experiment with the same seed.
    """
    found: dict[str, list[R]] = {}
    for run in runs:
        same = {key: value for key, value in essential_of(run.path, run.config).items() if key != "seed"}
        if isinstance(looked := same.get("evaluation"), Mapping):  # how many tasks it was looked at with on the way
            same["evaluation"] = {key: value for key, value in looked.items() if key != "tasks"}
        found.setdefault(json.dumps(same, sort_keys=True, default=str), []).append(run)
    firsts = [members[0] for members in found.values()]
    labels = labelled(firsts)
    labels = [
        label if labels.count(label) == 1 else f"{label} ({run.path.name})"
        for label, run in zip(labels, firsts, strict=True)
    ]  # settings that read alike, such as 1 and "1"
    for members in found.values():
        members.sort(key=lambda run: run.seed)
        for one, other in itertools.pairwise(members):
            if one.seed == other.seed:
                raise UserError(
                    f"{one.path} and {other.path} are the same experiment with the same seed: give one of them"
                )
    return dict(zip(labels, found.values(), strict=True))


def group(records: Iterable[Record]) -> list[Experiment]:
    """The experiments of the runs; see `grouped`."""
    experiments = [Experiment(label, tuple(runs)) for label, runs in grouped(records).items()]
    for experiment in experiments:
        for one, other in itertools.pairwise(experiment.runs):
            _refuse_mismatch(one, other)
    return experiments


@dataclass(frozen=True)
class Standing:
    """One player on one set of tasks, over all runs of an experiment."""

    name: str
    lead: bool
    """Whether it is an agent that was trained, not a reference player."""
    trial: Interval
    episodes: tuple[Interval, ...]
    middle: tuple[Interval, ...]
    """Interquartile means per episode."""
    rounds: tuple[Interval, ...] = ()
    """Of the mean episode of each round, for players that adapt between rounds of several episodes."""
    rounds_middle: tuple[Interval, ...] = ()
    tail: Interval | None = None
    """Of a trial, on the share of tasks where it is lowest; None where that was not measured."""
    basis: str = ""
    """What the intervals are over, or why there are none."""
    exploitation: Interval | None = None
    """Of a trial without the first episodes, where any of those beside it explores in them."""
    success: tuple[Interval, ...] = ()
    """Shares of tasks on which the last episode succeeds: after any step, and after its last; () where nobody tells."""

    @property
    def course(self) -> tuple[Interval, ...]:
        """What adaptation looks like: by round where there are rounds, else by episode."""
        return self.rounds or self.episodes

    @property
    def last_middle(self) -> Interval:
        """Interquartile mean of the last round or episode."""
        return (self.rounds_middle or self.middle)[-1]


def standings(experiments: Sequence[Experiment], tasks: str) -> list[Standing]:
    """All players on the set `tasks`, best first: the agents of all experiments, and each reference player once.

    Several experiments: an agent goes by the experiment's label, and of a reference player the first one counts.
    """
    found: dict[str, Standing] = {}
    first = exploration(experiments, tasks)
    for experiment in experiments:
        for player in experiment.first.evaluation.sets[tasks].players:
            lead = player == experiment.lead
            name = experiment.label if lead and len(experiments) > 1 else player
            found.setdefault(name, _standing(name, experiment.runs, tasks, player, first, lead=lead))
    return sorted(found.values(), key=lambda standing: -standing.trial.value)


def exploration(experiments: Sequence[Experiment], tasks: str) -> int:
    """Episodes at the start of a trial in which any player on the set `tasks` explores and does not mean to earn."""
    sets = [experiment.first.evaluation.sets[tasks] for experiment in experiments]
    return max(figures.exploration for played in sets for figures in played.players.values())


def _standing(name: str, runs: Sequence[Record], tasks: str, player: str, explored: int, *, lead: bool) -> Standing:
    """What the runs' evaluations amount to: over seeds and tasks where all played the same tasks, else over seeds."""
    sets = [run.evaluation.sets[tasks] for run in runs]
    players = [played.players[player] for played in sets]
    same = len({played.content for played in sets}) == 1 and sets[0].content is not None
    count = sets[0].tasks or runs[0].evaluation.tasks
    over = basis(len(runs), count, same_tasks=same)
    tail = _tail(runs, tasks, player, same=same)
    if same and len(runs) > 1:
        returns = np.stack([run.played(tasks, player) for run in runs])
        trial, _ = intervals(returns.sum(1))
        courses = [*_crossed(returns)]
        if players[0].rounds is not None:
            rounds = len(players[0].rounds.mean)
            courses += _crossed(returns.reshape(len(runs), rounds, -1, returns.shape[2]).mean(2))
        rest = after_exploration(returns, explored)
        success = _success(runs, tasks, player, same=same)
        return Standing(name, lead, trial, *courses, tail=tail, basis=over, exploitation=rest, success=success)
    trial = _trial([figures.trial for figures in players])
    returns = _means_and_middles([figures.returns for figures in players])
    rounds = _means_and_middles([figures.rounds for figures in players if figures.rounds is not None])
    apart = [after_exploration(run.played(tasks, player)[None], explored) for run in runs] if explored else []
    rests = [rest for rest in apart if rest is not None]
    rest = seeds_interval([rest.value for rest in rests]) if len(rests) > 1 else (rests or [None])[0]
    success = _success(runs, tasks, player, same=same)
    return Standing(name, lead, trial, *returns, *rounds, tail=tail, basis=over, exploitation=rest, success=success)


def _crossed(returns: NDArray[np.float64]) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Means and interquartile means of returns [S, K, N] by episode."""
    means, middles = zip(*(intervals(returns[:, k]) for k in range(returns.shape[1])), strict=True)
    return means, middles


def _means_and_middles(runs: Sequence[Returns]) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Means and interquartile means over runs, which may be none."""
    return _over_runs(runs, "mean", "low", "high"), _over_runs(runs, "iqm", "iqm_low", "iqm_high")


def _over_runs(runs: Sequence[Returns], value: str, low: str, high: str) -> tuple[Interval, ...]:
    if len(runs) == 1:
        figures = runs[0].model_dump()
        return tuple(itertools.starmap(_interval, zip(figures[value], figures[low], figures[high], strict=True)))
    return tuple(map(seeds_interval, zip(*(run.model_dump()[value] for run in runs), strict=True)))


def _interval(value: float, low: float | None, high: float | None) -> Interval:
    return Interval(value, math.nan if low is None else low, math.nan if high is None else high)


def curve(experiment: Experiment) -> Curve:
    """The learning curve of an experiment, in at most `CURVE_POINTS` averages per run."""
    checkups = [{checkup.iteration: checkup for checkup in run.checkups} for run in experiment.runs]
    shared = [[found[i] for found in checkups] for i in checkups[0] if all(i in found for found in checkups)]
    held_out = [_trial([checkup.trial for checkup in found]) for found in shared]
    at = np.array([found[0].steps for found in shared], dtype=np.float64)
    runs = [(thinned(run.steps), thinned(run.returns)) for run in experiment.runs]
    return pooled(experiment.label, runs, band(at, held_out))


def pooled(
    label: str, runs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], held_out: Band | None = None
) -> Curve:
    """The learning curve of runs, each [points] environment steps and returns there: their mean as far as all came."""
    steps = min((x for x, _ in runs), key=lambda x: x[-1])
    mean = [seeds_interval(samples) for samples in zip(*(np.interp(steps, x, y) for x, y in runs), strict=True)]
    return Curve(label, band(steps, mean), runs, band(np.zeros(0), []) if held_out is None else held_out)


def _trial(estimates: Sequence[Estimate]) -> Interval:
    if len(estimates) == 1:
        return _interval(estimates[0].mean, estimates[0].low, estimates[0].high)
    return seeds_interval([estimate.mean for estimate in estimates])


def _tail(runs: Sequence[Record], tasks: str, player: str, *, same: bool) -> Interval | None:
    """Of all runs; without an interval where they were judged before the values behind it were kept."""
    tails = [tail for run in runs if (tail := run.evaluation.sets[tasks].players[player].tail) is not None]
    if len(tails) < len(runs) or len({tail.share for tail in tails}) > 1:
        return None
    if len(tails) == 1:
        return _interval(tails[0].mean, tails[0].low, tails[0].high)
    means = [tail.mean for tail in tails]
    if not same:
        return seeds_interval(means)
    values = [found for run in runs if (found := run.tail(tasks, player)) is not None]
    if len(values) < len(runs):
        return Interval(float(np.mean(means)), math.nan, math.nan)
    return tail_interval(np.stack(values), tails[0].share)


def _success(runs: Sequence[Record], tasks: str, player: str, *, same: bool) -> tuple[Interval, ...]:
    """Of all runs, in the last episode."""
    found = [run.evaluation.sets[tasks].players[player].success for run in runs]
    told = [success for success in found if success is not None]
    if len(told) < len(runs):
        return ()
    lasts = [(success.any_step, success.last_step) for success in told]
    if len(lasts) == 1:
        return tuple(_interval(kind.mean[-1], kind.low[-1], kind.high[-1]) for kind in lasts[0])
    kept = [values for run in runs if (values := run.succeeded(tasks, player)) is not None]
    if same and len(kept) == len(runs):
        return tuple(share(np.stack([values[kind, -1] for values in kept])) for kind in range(2))
    return tuple(seeds_interval([shares.mean[-1] for shares in kind]) for kind in zip(*lasts, strict=True))


def thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Averages of equal stretches, so that noise and page stay small."""
    parts = np.array_split(values, min(CURVE_POINTS, len(values)))
    return np.array([part.mean() for part in parts])


def band(x: NDArray[np.float64], intervals: Sequence[Interval]) -> Band:
    """The line through `intervals` at `x`."""
    mean, low, high = np.array(intervals, dtype=np.float64).reshape(-1, 3).T
    return Band(x, mean, low, high)


def varying_knobs(specs: Sequence[TaskSpec]) -> dict[str, NDArray[np.float64]]:
    """Numbers of every context knob that is not the same in all tasks, arrays pooled over their entries.

    A knob that varies and holds no numbers, such as a text, is there with no entries.
    """
    contexts = [spec.context for spec in specs]
    varying = [name for name in contexts[0] if any(context.get(name) != contexts[0][name] for context in contexts)]
    return {name: np.concatenate([_numbers(context.get(name)) for context in contexts]) for name in varying}


def _numbers(value: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(() if value is None else value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return np.zeros(0)


def _refuse_mismatch(first: Record, other: Record) -> None:
    if first.evaluation.episodes != other.evaluation.episodes or any(
        name not in other.evaluation.sets or played.players.keys() != other.evaluation.sets[name].players.keys()
        for name, played in first.evaluation.sets.items()
    ):
        raise CheckpointError(
            f"{other.path / 'evaluation.json'} has other task sets, players or episodes than that of {first.path}, "
            f"although the experiment is the same: write both again with `taskgen evaluate`"
        )
