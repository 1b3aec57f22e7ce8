"""What a run will be, before it begins: parts, environment steps, memory; how long it takes only where it is tried.

Nothing is trained and nothing written: one trial of one task is played, to weigh what it leaves. A probe trains a few
iterations in a directory that is gone afterwards.
"""

import math
import resource
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agents.evaluation.carry import size, weighed
from agents.evaluation.tail import PART
from agents.training.budget import BUDGETS
from agents.training.experiment import Experiment, Parts, build_parts
from agents.training.judge import called
from agents.training.loop import train
from agents.training.run import RunDirectory
from agents.training.start import refuse_misfits, started
from registry.plan import Plan
from taskgen.borders import asked, state_of
from taskgen.build import SOURCES, build_source
from taskgen.interaction.agent import Agent
from taskgen.interaction.build import build_agent
from taskgen.streams import seed_sequence

MEBIBYTE = 2**20
PROBED = (3, 200)
"""Iterations of a probe, at least and at most ..."""
PROBE_SECONDS = 5.0
"""... of which it makes no more than the least once so many seconds are over."""


@dataclass(frozen=True)
class Memory:
    """MiB on the run's device."""

    parameters: float
    """All tensors of the agent's state as it begins: parameters, statistics, replay that is there from the start."""
    carry: float
    """What it remembers at the end of the trials of one iteration."""
    batch: float
    """The steps of these trials, where every episode lasts as long as it may."""


@dataclass(frozen=True)
class Probe:
    """What a few iterations took."""

    iterations: int
    seconds: float
    """Of an iteration: the median of all but the first."""
    steps: float
    """Of an iteration: the mean."""
    training: float
    """Seconds of all iterations of the run."""
    evaluations: float | None
    """Seconds of the agent's evaluations at the pace at which it trained; None where a runner trains, or their number
    is not known. Reference players are not among them."""
    resident: float
    """MiB that the process has held at most, libraries included."""


@dataclass(frozen=True)
class Outlook:
    """What is known of a run before it begins."""

    name: str
    parts: Mapping[str, str]
    """By what they are for: short names, with the settings that are not their defaults."""
    budget: Mapping[str, float]
    """What ends training: `{"iterations": 1200}`."""
    iteration: Mapping[str, int]
    """Its tasks, the episodes of each, the steps of an episode at most."""
    steps: int | None
    """Of training at most, since episodes may end earlier; None where a runner or the clock decides."""
    evaluation_episodes: int | None
    """Of the agent in all evaluations; None where their number is not known. Training does not count their steps."""
    agents: str
    """Whose memory this is."""
    memory: Memory
    probe: Probe | None = None

    def summary(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """The same for a reader."""
        for role, part in self.parts.items():
            yield f"{role + ':':<20} {part}"
        until = ", ".join(f"{value:,} {key}" for key, value in self.budget.items())
        tasks, episodes, horizon = self.iteration.values()
        each = f"{tasks:,} tasks an iteration, {episodes:,} episodes each, of {horizon:,} steps at most"
        yield f"{'training:':<20} {until}; {each}"
        steps = "as many as the clock or the runner allows" if self.steps is None else f"{self.steps:,} at most"
        yield f"{'environment steps:':<20} {steps}"
        if self.evaluation_episodes is not None:
            yield f"{'evaluations:':<20} {self.evaluation_episodes:,} episodes of the agent, at most"
        held = ", ".join(f"{name} {value:,.3g} MiB" for name, value in asdict(self.memory).items())
        yield f"{'memory:':<20} {held}; of {self.agents}"
        if self.probe is None:
            yield f"{'time:':<20} not known before it is tried: --probe trains a few iterations for it"
            return
        tried = f"{self.probe.iterations} iterations, {self.probe.seconds:.3g} s and {self.probe.steps:,.0f} steps each"
        judged = (
            "" if self.probe.evaluations is None else f", the agent's evaluations {_spoken(self.probe.evaluations)}"
        )
        yield f"{'time:':<20} training about {_spoken(self.probe.training)}{judged}; by {tried}"
        yield f"{'resident:':<20} {self.probe.resident:,.0f} MiB at most while that was tried"


def outlook(plan: Plan[Experiment], *, probe: bool = False) -> Outlook:
    """What the run `plan` will be; with `probe` a few iterations of it are trained, and thrown away.

    Raises `UserError` for what training would refuse; see `agents.training.start.started`.
    """
    experiment, training = plan.config, plan.config.training
    parts = build_parts(experiment)
    refuse_misfits(plan, parts)
    agent = parts.learner or build_agent(experiment.agent, parts.problem)
    a_round = training.tasks * training.episodes * parts.family.horizon
    most = training.iterations and training.iterations * a_round
    if training.steps is not None:
        most = training.steps + a_round - 1  # the iteration that reaches them is played to its end
    return Outlook(
        name=experiment.name,
        parts=_parts(experiment),
        budget={key: value for key in BUDGETS if (value := getattr(training, key)) is not None},
        iteration={"tasks": training.tasks, "episodes": training.episodes, "horizon": parts.family.horizon},
        steps=None if parts.runner is not None else most,
        evaluation_episodes=None if parts.runner is not None else _judged_episodes(experiment),
        agents="an agent" if parts.runner is None else "one agent that plays all tasks of an iteration",
        memory=_memory(experiment, parts, agent),
        probe=_probe(plan) if probe else None,
    )


def _parts(experiment: Experiment) -> dict[str, str]:
    evaluation = experiment.evaluation
    found = {"family": called(experiment.family, "families")}
    found |= {} if experiment.reward is None else {"reward": called(experiment.reward, "rewards")}
    found |= {"source": called(experiment.source, SOURCES), "agent": called(experiment.agent, "agents")}
    found |= {} if experiment.runner is None else {"runner": called(experiment.runner, "runners")}
    found |= {} if evaluation.source is None else {"held-out tasks": called(evaluation.source, SOURCES)}
    found |= {name: called(part, SOURCES) for name, part in evaluation.out_of_distribution.items()}
    return found | {"reference players": ", ".join(called(part, "agents") for part in evaluation.players) or "none"}


def _judged_episodes(experiment: Experiment) -> int | None:
    """Episodes of the agent in all evaluations: those between iterations, and the last one, its tail included."""
    training, evaluation = experiment.training, experiment.evaluation
    every = training.evaluate_every
    if every and training.iterations is None:
        return None
    # the end is one of them, whatever is left over
    during = math.ceil(training.iterations / every) if every and training.iterations else 1
    last = evaluation.final_tasks * (1 + len(evaluation.out_of_distribution))
    again = math.ceil(last / PART) if evaluation.tail else 0
    return during * evaluation.tasks * training.episodes + (last + again) * (evaluation.episodes or training.episodes)


def _memory(experiment: Experiment, parts: Parts, agent: Agent) -> Memory:
    tasks, episodes, horizon = experiment.training.tasks, experiment.training.episodes, parts.family.horizon
    source = build_source(experiment.source, parts.family, seed_sequence(experiment.seed, "source"))
    parameters = size(state_of(agent))
    carry, trial = weighed(agent, parts.family, asked(source, 1, parts.family)[0], episodes)
    longest = horizon if trial.plan.side_by_side else horizon * trial.plan.episodes_per_round
    rounds = sum(size(rollout) / len(rollout.reward) for rollout in trial.rounds)
    return Memory(parameters / MEBIBYTE, tasks * carry / MEBIBYTE, tasks * longest * rounds / MEBIBYTE)


class _Trying:
    """A watcher of a few iterations."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.playing: list[float] = []
        self.steps = 0.0

    def iteration(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self.seconds.append(sum(value for name, value in metrics.items() if name.startswith("time/")))
        self.playing.append(metrics.get("time/collect_seconds", 0.0))
        self.steps = metrics["charts/steps"]

    def say(self, text: str) -> None:
        pass

    def stop_requested(self) -> bool:
        least, most = PROBED
        return len(self.seconds) >= (least if sum(self.seconds) > PROBE_SECONDS else most)


def _probe(plan: Plan[Experiment]) -> Probe:
    experiment = plan.config
    training = experiment.training.model_copy(update={"evaluate_every": 0, "checkpoint_every": 2**31})
    evaluation = experiment.evaluation.model_copy(update={"tasks": 1})
    tried = experiment.model_copy(update={"training": training, "evaluation": evaluation, "trackers": ()})
    watcher = _Trying()
    with tempfile.TemporaryDirectory() as place:
        run = RunDirectory(Path(place) / "probe")
        begun, parts = started(replace(plan, config=tried), run)
        train(begun, run, watcher, parts)
    count = len(watcher.seconds)
    seconds = statistics.median(watcher.seconds[1:] or watcher.seconds)
    steps = watcher.steps / count
    iterations = experiment.training.iterations or math.ceil((experiment.training.steps or 0) / max(steps, 1.0))
    minutes, episodes = experiment.training.minutes, _judged_episodes(experiment)
    pace = statistics.median(watcher.playing[1:] or watcher.playing) / training.tasks / training.episodes
    return Probe(
        iterations=count,
        seconds=seconds,
        steps=steps,
        training=iterations * seconds if minutes is None else 60.0 * minutes,
        evaluations=None if experiment.runner is not None or episodes is None else episodes * pace,
        resident=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _spoken(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s"
