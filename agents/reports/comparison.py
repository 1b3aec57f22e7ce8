"""Several runs' agents on the same tasks: `taskgen compare`.

Every agent plays each task for one trial, its parameters frozen, as in an evaluation; tasks and their luck are the same
for all. Runs that differ only in their seed are one agent, judged by all its runs. What an agent earns is told by
stretches of episodes that it plays in the same state of adaptation: each episode by itself, or the episodes of a round
side by side, of which the mean one counts.

Axes: S seeds, K episodes, P stretches, N tasks.

Longer than most files here: who may be compared and what comes of it are told apart by one set of words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.aggregates import share
from agents.evaluation.luck import Plays, plays
from agents.evaluation.play import SUCCESS, json_end, play_ranking
from agents.evaluation.statistics import Interval, after_exploration, basis, intervals
from agents.evaluation.tail import Ranked, ranked, tail_interval
from agents.evaluation.told import refuse_untold
from agents.evaluation.watch import Watch
from agents.reference.guest import Policy
from agents.reports.aggregates import LAST, TRIAL, Aggregates, Scores, aggregate
from agents.reports.courses import kept_curves, learned
from agents.reports.figures import Band, Curve
from agents.reports.results import grouped, pooled, thinned
from agents.reports.settings import differing
from agents.training.budget import BY_CLOCK
from agents.training.judge import Onlooker, evaluation_sets, reference_players, trials, watch_over, welcomed
from agents.training.run import RunDirectory
from agents.training.trained import Trained, load_trained, trained_on
from registry.errors import UserError
from taskgen.build import task_key
from taskgen.family import TaskFamily, same_structure
from taskgen.interaction.agent import Agent, Problem, judged
from taskgen.interaction.guard import exploration_of, planned
from taskgen.spec import TaskSpec


@dataclass(frozen=True)
class Contender:
    """A run that takes part."""

    path: Path
    trained: Trained

    @property
    def config(self) -> Mapping[str, Any]:
        """The experiment."""
        return self.trained.experiment.model_dump(mode="json")

    @property
    def seed(self) -> int:
        """Root seed of the run."""
        return self.trained.experiment.seed

    @property
    def agent(self) -> str:
        """Short name of the agent."""
        return self.trained.experiment.agent.name.partition("/")[2]

    @property
    def family(self) -> TaskFamily[Any]:
        """What the agent was trained on."""
        return self.trained.parts.family

    @property
    def episodes(self) -> int:
        """Of a trial, where nothing else is asked for: as the run evaluates."""
        return self.trained.experiment.evaluation.episodes or self.trained.parts.problem.episodes

    @property
    def trained_episodes(self) -> int:
        """Of a trial of training."""
        return self.trained.parts.problem.episodes


@dataclass(frozen=True)
class Course:
    """What one player earned on one set of tasks."""

    name: str
    trained: bool
    """Whether it is an agent of the runs, not a reference player."""
    told: bool
    """Whether it is told the task's descriptor."""
    seeds: int
    basis: str
    """What the intervals are over, or why there are none."""
    episodes: int
    mean: tuple[Interval, ...]
    """[P] of an episode of each stretch."""
    middle: tuple[Interval, ...]
    """[P] the interquartile means."""
    trial: Interval
    """Mean return of all K episodes."""
    samples: NDArray[np.float64]
    """[S, P, N] of an episode of each stretch, on each task."""
    trials: NDArray[np.float64]
    """[S, N] of all K episodes."""
    faults: int
    """Episodes cut short because their simulation diverged."""
    tail: Interval | None = None
    """Mean return of all K episodes on the share of tasks where it is lowest; None where that was not measured."""
    success: tuple[Interval, ...] = ()
    """Shares of tasks on which the last episode succeeds: after any step, and after its last; () where nobody tells."""
    exploitation: Interval | None = None
    """Mean return of the episodes after those in which any player explores; None where nobody does or none are left."""

    @property
    def abreast(self) -> int:
        """Episodes of a stretch."""
        return self.episodes // len(self.mean)

    @property
    def by_round(self) -> bool:
        """Whether the agent adapts between rounds of several episodes."""
        return self.abreast > 1 and len(self.mean) > 1


@dataclass(frozen=True)
class Comparison:
    """All players on all sets."""

    agents: Mapping[str, Sequence[Contender]]
    """The runs behind each agent, seeds ascending."""
    tasks: Mapping[str, int]
    """Number of distinct tasks of each set."""
    plays: Mapping[str, int]
    """And how often they are played in all."""
    sets: Mapping[str, Sequence[Course]]
    """By set: agents and reference players, those who end best first."""
    aggregates: Mapping[str, Aggregates]
    """The same in a few figures, by set."""
    remarks: Sequence[str]
    """What a reader has to know before believing the figures."""
    tail: float = 0.0
    """The share of tasks of `Course.tail`."""
    explorers: Mapping[str, int] = field(default_factory=dict[str, int])
    """By player that explores first: in how many episodes of a trial it does not mean to earn."""
    learning: Sequence[Curve] = ()
    """Mean trial return of training over environment steps, of the agents and of curves that were kept."""

    @property
    def exploration(self) -> int:
        """Episodes that `Course.exploitation` leaves out: those in which any player explores."""
        return max(self.explorers.values(), default=0)

    @property
    def family(self) -> str:
        """Short name of the family."""
        return next(iter(self.agents.values()))[0].family.name.partition("/")[2]

    @property
    def settings(self) -> Mapping[str, Sequence[str]]:
        """Settings in which the agents' experiments differ, with the value in each."""
        return differing([runs[0].config for runs in self.agents.values()])

    def summary(self) -> dict[str, Any]:
        """The same as JSON values."""
        agents = {
            name: {
                "runs": [str(run.path) for run in runs],
                "seeds": [run.seed for run in runs],
                "experiment": runs[0].trained.experiment.name,
                "steps": [run.trained.steps for run in runs],
            }
            for name, runs in self.agents.items()
        }
        sets = {
            name: {
                "tasks": self.tasks[name],
                "plays": self.plays[name],
                "players": {course.name: _summary(course) for course in courses},
                "aggregates": self.aggregates[name].summary(),
            }
            for name, courses in self.sets.items()
        }
        return {
            "agents": agents,
            "settings": {key: dict(zip(agents, values, strict=True)) for key, values in self.settings.items()},
            "tail": self.tail,
            "exploration": dict(self.explorers),
            "sets": sets,
            "learning": {curve.label: _line(curve.mean) for curve in self.learning},
            "remarks": list(self.remarks),
        }


def compare(
    runs: Sequence[Path],
    *,
    tasks: Mapping[str, Sequence[TaskSpec]] | None = None,
    episodes: int | None = None,
    with_players: bool = True,
    guests: Mapping[str, Policy] | None = None,
    curves: Sequence[Path] = (),
    say: Callable[[str], None] | None = None,
    onlooker: Onlooker | None = None,
) -> Comparison:
    """The agents of `runs` on the same tasks, beside the reference players of the first run's experiment.

    Reference players take part once with each seed of the first agent's runs, as in the reports on these.

    Args:
        runs: run directories; several seeds of one experiment are one agent.
        tasks: sets of tasks by name; left out: the held-out and out-of-distribution tasks of the first run.
        episodes: of every trial; left out: as each run evaluates, and reference players as the first run.
        with_players: whether reference players take part.
        guests: policies that are not ours, by name (`agents.reference.guest`), which play along.
        curves: files of learning curves, as `benchmarks/results/curves` holds them, to draw beside those of the runs.
        say: is told who is about to play.
        onlooker: is shown how far it has come, and may stop it.

    Raises:
        UserError: no runs, a run twice or without a checkpoint, a run of another family or structure (named with what
            differs), or a set of no tasks.
        TaskError: a task of another family or structure.
        CheckpointError: a damaged run.
        Stopped: the onlooker asked for it.
    """
    if not runs:
        raise UserError("nothing to compare: give at least one run directory")
    contenders = [_contender(Path(path)) for path in runs]
    first = contenders[0]
    for other in contenders[1:]:
        _refuse_other_tasks(first, other)
    agents = _by_agent(contenders)
    if tasks is None:
        tasks = evaluation_sets(first.trained.experiment, first.family)
    for name, specs in tasks.items():
        _refuse_unfit(name, specs, contenders)
    problem = replace(first.trained.parts.problem, episodes=episodes or first.episodes)
    every = [spec for specs in tasks.values() for spec in specs]
    players, left_out = _players(next(iter(agents.values())), problem.episodes, every) if with_players else ({}, {})
    invited = welcomed(guests, first.family, problem, {*agents, *players})
    players |= {label: [guest] for label, guest in invited.items()}
    say = say or (lambda _: None)
    learning, lacking = _learning(agents, curves)
    tail = first.trained.experiment.evaluation.tail
    everybody = len(contenders) + sum(map(len, players.values()))
    distinct = {name: plays(specs) for name, specs in tasks.items()}
    watch = watch_over(onlooker, everybody * sum(trials(played, tail) for played in distinct.values()))
    explorers = _explorers(agents, players)
    explored = max(explorers.values(), default=0)
    telling = next((run.family for run in contenders if run.family.tells_success), first.family)
    sets: dict[str, list[Course]] = {}
    for name, specs in tasks.items():
        game = _Game(telling, distinct[name], ranked(distinct[name].tasks, tail), watch, explored)
        courses: list[Course] = []
        for label, members in agents.items():
            say(f"{name}: {label} plays {len(specs)} tasks with {len(members)} seed{'s' * (len(members) != 1)} ...")
            courses.append(_course(label, members, game, episodes))
        for label, seeds in players.items():
            say(f"{name}: {label} plays ...")
            courses.append(_played(label, seeds, game, problem, trained=False))
        sets[name] = sorted(courses, key=lambda course: -course.mean[-1].value)
    different = {name: len(played.tasks) for name, played in distinct.items()}
    every = {name: len(specs) for name, specs in tasks.items()}
    remarks = [f"{label} is left out: {reason}" for label, reason in left_out.items()]
    remarks += [*_overlong(agents, episodes), *_remarks(tasks, contenders)]
    remarks += [*_unused(explorers, sets), *lacking]
    aggregates = {name: _aggregates(courses) for name, courses in sets.items()}
    return Comparison(agents, different, every, sets, aggregates, remarks, tail, explorers, learning)


@dataclass(frozen=True)
class _Game:
    """What everybody plays."""

    family: TaskFamily[Any]
    plays: Plays
    ranked: Ranked
    watch: Watch | None
    exploration: int
    """Episodes in which any of them explores."""


def _contender(path: Path) -> Contender:
    """The run at `path`. Raises `UserError` where it has no agent that could be compared."""
    trained = load_trained(RunDirectory(path))
    if trained.parts.agent is None:
        raise UserError(f"{path}: its runner trains many agents, of which none stands for the run; leave it out")
    return Contender(path, trained)


def _by_agent(contenders: Sequence[Contender]) -> dict[str, list[Contender]]:
    """The runs of each agent, by the shortest name that tells agents apart."""
    groups = grouped(contenders)
    short = [members[0].agent for members in groups.values()]
    return {
        label if short.count(members[0].agent) > 1 else members[0].agent: members for label, members in groups.items()
    }


def _players(
    members: Sequence[Contender], episodes: int, specs: Sequence[TaskSpec]
) -> tuple[dict[str, list[Agent]], dict[str, str]]:
    """Reference players of an agent's experiment, one for each of its seeds, and why others cannot play `specs`."""
    found = [
        reference_players(run.trained.experiment, replace(run.trained.parts.problem, episodes=episodes), specs)
        for run in members
    ]
    return {label: [players[label] for players, _ in found] for label in found[0][0]}, found[0][1]


def _course(label: str, members: Sequence[Contender], game: _Game, episodes: int | None) -> Course:
    problem = members[0].trained.parts.problem
    problem = replace(problem, episodes=episodes or members[0].episodes)
    return _played(label, [run.trained.parts.player for run in members], game, problem, trained=True)


def _played(label: str, agents: Sequence[Agent], game: _Game, problem: Problem, *, trained: bool) -> Course:
    """The agents of all seeds play; their returns by stretch."""
    episodes = problem.episodes
    plan = planned(agents[0], episodes)
    if game.watch is not None:
        game.watch.what = label
    played = [
        play_ranking(agent, game.family, game.plays, game.ranked, episodes, problem.device, watch=game.watch)
        for agent in agents
    ]
    returns = np.stack([did.returns for did in played])
    told = [did.success[:, -1] for did in played if did.success is not None]
    stretches = plan.rounds if plan.side_by_side else episodes
    by_stretch = returns.reshape(len(agents), stretches, -1, returns.shape[2]).mean(axis=2)
    pairs = [intervals(by_stretch[:, p]) for p in range(stretches)]
    return Course(
        name=label,
        trained=trained,
        told=judged(agents[0]).needs_descriptor,
        seeds=len(agents),
        basis=basis(len(agents), returns.shape[2]),
        episodes=episodes,
        mean=tuple(mean for mean, _ in pairs),
        middle=tuple(middle for _, middle in pairs),
        trial=intervals(returns.sum(axis=1))[0],
        samples=by_stretch,
        trials=returns.sum(axis=1),
        faults=sum(did.faults for did in played),
        tail=_tail(np.stack([did.tail for did in played]), game.ranked.share),
        success=tuple(share(np.stack([shares[kind] for shares in told])) for kind in range(2 * bool(told))),
        exploitation=after_exploration(returns, game.exploration),
    )


def _learning(agents: Mapping[str, Sequence[Contender]], files: Sequence[Path]) -> tuple[list[Curve], list[str]]:
    """The learning curves of the agents' runs and of `files`, and which runs have none."""
    found: list[Curve] = []
    lacking: list[str] = []
    for label, members in agents.items():
        runs = {run.path: learned(run.path) for run in members}
        lacking += [f"{path} kept no metrics: its learning curve is left out" for path, run in runs.items() if not run]
        drawn = [(thinned(run[0]), thinned(run[1])) for run in runs.values() if run]
        found += [pooled(label, drawn)] if drawn else []
    for file in files:
        found += [pooled(f"{name} ({file.name})", runs) for name, runs in kept_curves(file).items()]
    return found, lacking


def _line(mean: Band) -> dict[str, list[float | None]]:
    columns = {"steps": mean.x, "mean": mean.mean, "low": mean.low, "high": mean.high}
    return {name: [json_end(float(value)) for value in column] for name, column in columns.items()}


def _aggregates(courses: Sequence[Course]) -> Aggregates:
    """Of whole trials, or where these are of different lengths, of what comes last."""
    whole = len({course.episodes for course in courses}) == 1
    return aggregate(
        [Scores(c.name, c.trained, c.told, c.trials if whole else c.samples[:, -1]) for c in courses],
        TRIAL if whole else LAST,
    )


def _explorers(agents: Mapping[str, Sequence[Contender]], players: Mapping[str, Sequence[Agent]]) -> dict[str, int]:
    """Who explores first, and in how many episodes."""
    everybody = {label: runs[0].trained.parts.player for label, runs in agents.items()}
    everybody |= {label: seeds[0] for label, seeds in players.items()}
    return {label: first for label, agent in everybody.items() if (first := exploration_of(agent))}


def _unused(explorers: Mapping[str, int], sets: Mapping[str, Sequence[Course]]) -> Iterator[str]:
    """Players that play no more episodes than they explore in."""
    for course in next(iter(sets.values())):
        first = explorers.get(course.name, 0)
        if first >= course.episodes:
            yield f"{course.name} explores for {first} episode{'s' * (first != 1)} and plays no more here"


def _tail(values: NDArray[np.float64], share: float) -> Interval | None:
    """Of `tail_values` [S, N] of all seeds, which may be none."""
    return tail_interval(values, share) if values.size else None


def _refuse_other_tasks(first: Contender, other: Contender) -> None:
    """Raise `UserError` unless both were trained on one family and structure."""
    mine, theirs = ({"family": run.family.name, **run.family.structure} for run in (first, other))
    if mine["family"] != theirs["family"]:
        differences = [f"family = {theirs['family']} instead of {mine['family']}"]
    else:
        differences = [
            f"{name} = {theirs[name]!r} instead of {mine[name]!r}" for name in mine if mine[name] != theirs[name]
        ]
    if differences:
        raise UserError(
            f"{other.path} cannot play the tasks of {first.path}: {', '.join(differences)}. Compare runs of one family "
            "and structure, each kind by itself."
        )


def _refuse_unfit(name: str, specs: Sequence[TaskSpec], contenders: Sequence[Contender]) -> None:
    """Raise for a set that is empty or that an agent cannot be told of."""
    if not specs:
        raise UserError(f"{name} holds no task to compare on")
    same_structure(specs, contenders[0].family, name)
    for run in contenders:
        parts, remedy = run.trained.parts, "Leave the run out, or give --tasks like its own."
        refuse_untold(parts.player, parts.problem, parts.family, specs, f"{run.path}: {name} tasks", remedy)


def _overlong(agents: Mapping[str, Sequence[Contender]], episodes: int | None) -> Iterator[str]:
    """Agents that play more episodes than any trial of their training had."""
    for label, members in agents.items():
        played, trained = episodes or members[0].episodes, members[0].trained_episodes
        if played > trained:
            yield f"{label} was trained on trials of {trained} episode{'s' * (trained != 1)} and plays {played} here"


def _remarks(tasks: Mapping[str, Sequence[TaskSpec]], contenders: Sequence[Contender]) -> Iterator[str]:
    """Runs trained by the clock, and on tasks of a set, as far as the samples in their archives tell."""
    for run in contenders:
        if run.trained.experiment.training.minutes is not None:
            yield f"{run.path} was {BY_CLOCK}"
        seen = trained_on(RunDirectory(run.path))
        for name, specs in tasks.items():
            if count := sum(task_key(spec) in seen for spec in specs):
                yield f"{run.path} was trained on {count} or more of the {len(specs)} {name} tasks"


def _summary(course: Course) -> dict[str, Any]:
    points = [
        {
            "first_episode": p * course.abreast + 1,
            "last_episode": (p + 1) * course.abreast,
            **_estimate("mean", mean),
            **_estimate("iqm", middle),
        }
        for p, (mean, middle) in enumerate(zip(course.mean, course.middle, strict=True))
    ]
    return {
        "trained": course.trained,
        "told_the_task": course.told,
        "seeds": course.seeds,
        "intervals": course.basis,
        "episodes": course.episodes,
        "adapts_by": "round" if course.by_round else "episode",
        "course": points,
        "trial": _estimate("mean", course.trial),
        **({} if course.tail is None else {"tail": _estimate("mean", course.tail)}),
        **({"success": _successes(course.success)} if course.success else {}),
        **({} if course.exploitation is None else {"exploitation": _estimate("mean", course.exploitation)}),
        "faults": course.faults,
    }


def _successes(shares: Sequence[Interval]) -> dict[str, dict[str, float | None]]:
    return {kind: _estimate("mean", interval) for kind, interval in zip(SUCCESS, shares, strict=True)}


def _estimate(name: str, interval: Interval) -> dict[str, float | None]:
    return {name: interval.value, f"{name}_low": json_end(interval.low), f"{name}_high": json_end(interval.high)}
