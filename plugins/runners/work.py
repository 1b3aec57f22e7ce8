"""Units of work on pairs of a task and an agent: plain data in, plain data out, so that any map gives the same result.

A unit holds all that decides its result. What a task or an agent raises is the map's to report (`taskgen.maps.Failed`).
"""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from registry.config import Part
from registry.errors import UserError
from taskgen.borders import state_of
from taskgen.build import family_of
from taskgen.interaction.agent import Agent, Anneals, Seedable, judged, take_over
from taskgen.interaction.build import build_agent, problem_of, refuse_unplanned
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import learned_from, planned
from taskgen.maps import reason_of
from taskgen.spec import TaskSpec
from taskgen.streams import integer_seed

State: TypeAlias = dict[str, Any]
"""What `Agent.state_dict` gives."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trainee:
    """How agents are built, taught and judged."""

    agent: Part
    example: str
    """A task as JSON, which says what tasks look like."""
    tasks: int
    """Trials of a step of learning."""
    episodes: int
    """Episodes of such a trial."""
    judged: int
    """Episodes of a trial that it is judged by."""
    device: str = "cpu"
    updates: int = 0
    """Steps of learning that are planned; 0 where no end is."""
    trials: int = 1
    """Trials on each task of an evaluation, each with luck of its own."""
    by_family: bool = False
    """Whether it is judged by the family's own reward where tasks are paid by another; else by what they pay."""

    def build(self, *, seed: int = 0, state: State | None = None) -> Agent:
        """An agent as new, or as it was when it gave `state`, which it does not touch."""
        spec = TaskSpec.from_json(self.example)
        problem = problem_of(
            family_of(spec),
            episodes=self.episodes,
            seed=seed,
            device=torch.device(self.device),
            updates=self.updates,
            example=spec,
        )
        agent = build_agent(self.agent, problem)
        if state is not None:
            agent.load_state_dict(copy.deepcopy(state))
        return agent

    def inherit(self, own: State, other: State, seed: int) -> State:
        """The agent of state `own` once it has taken over what `other` has learned, but not its random stream."""
        heir = self.build(state=own)
        take_over(heir, self.build(state=other), seed)
        return state_of(heir)

    def refuse_unadapted(self) -> None:
        """Raise `UserError` where agents that adapt between rounds would be judged before their first adaptation."""
        agent = self.build()
        refuse_unplanned(agent, self.judged, "runner.judged_episodes")
        trained, plan = planned(agent, self.episodes), planned(agent, self.judged)
        if trained.rounds > 1 and plan.rounds == 1:
            raise UserError(
                f"runner.judged_episodes = {self.judged}: {self.agent.name} plays them in one round and is judged "
                f"before it has adapted, while a training trial has {trained.rounds} rounds of "
                f"{trained.episodes_per_round}. Leave the setting out to judge by trials as they are trained, "
                f"{self.episodes} episodes, or set it to {2 * trained.episodes_per_round} or more"
            )

    def note_constant(self) -> None:
        """Say so where no end of learning is planned and an agent would let settings fall, or rise, towards it."""
        agent = self.build()
        if not self.updates and isinstance(agent, Anneals) and agent.annealed_settings:
            names = ", ".join(sorted(agent.annealed_settings))
            _log.warning(
                "no end of learning is planned: of agent %s these stay as they begin: %s", self.agent.name, names
            )


@dataclass(frozen=True, slots=True)
class Practice:
    """Let an agent learn, then judge it."""

    trainee: Trainee
    state: State
    tasks: tuple[tuple[str, ...], ...]
    """[steps, trials] as JSON: what is learned from."""
    seeds: tuple[tuple[int, ...], ...]
    """[steps, trials] their noise seeds."""
    exam: tuple[str, ...]
    """As JSON: what it is judged on."""
    luck: tuple[int, ...]
    """A noise seed for each task of the exam."""
    start: State | None = None
    """Of another agent, which is taken over first."""
    seed: int = 0
    """Of the random stream that is the agent's own from then on."""


@dataclass(frozen=True, slots=True)
class Practised:
    """What came of a `Practice`."""

    state: State
    score: float
    """Mean return of an episode of its exam; NaN where it failed."""
    steps: int
    """Environment steps, evaluation included."""
    failure: str = ""
    """What went wrong; then `state` is what it was before."""

    @classmethod
    def failed(cls, work: Practice, reason: str) -> "Practised":
        """What came of work that gave no result."""
        return cls(work.state, math.nan, 0, reason)


@dataclass(frozen=True, slots=True)
class Examination:
    """Judge one agent on several tasks at once."""

    trainee: Trainee
    state: State
    tasks: tuple[str, ...]
    luck: tuple[int, ...]
    """A noise seed for each task."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What came of an `Examination`."""

    scores: tuple[float, ...]
    """Mean return of an episode on each task; NaN where it could not be had."""
    steps: int
    failure: str = ""
    """What went wrong first, where something did."""


def practise(work: Practice) -> Practised:
    """Learn and be judged."""
    trainee = work.trainee
    exam = [TaskSpec.from_json(task) for task in work.exam]
    agent = trainee.build(state=work.state)
    if work.start is not None:
        take_over(agent, trainee.build(state=work.start), work.seed)
    plan = planned(agent, trainee.episodes)
    batch = family_of(exam[0]).batch(trainee.tasks * plan.slots, trainee.device)
    steps = 0
    for tasks, seeds in zip(work.tasks, work.seeds, strict=True):
        specs = [TaskSpec.from_json(task) for task in tasks]
        trial = collect(agent, batch, specs, plan=plan, seeds=seeds)
        learned_from(agent, trial)
        steps += trial.played()
    state = state_of(agent)
    scores, more = _judge(agent, exam, work.luck, trainee)
    score = sum(scores) / len(scores)
    failure = "" if math.isfinite(score) else f"its return is {score}"
    return Practised(work.state if failure else state, score, steps + more, failure)


def examine(work: Examination) -> Examined:
    """Judge on all tasks in one batch; where that raises, on one after another, to find out which it was."""
    specs = [TaskSpec.from_json(task) for task in work.tasks]
    if not specs:
        return Examined((), 0)
    try:
        agent = work.trainee.build(state=work.state)
        scores, steps = _judge(agent, specs, work.luck, work.trainee)
        return Examined(tuple(scores), steps)
    except Exception as error:  # noqa: BLE001 (whatever a task or an agent raises costs a score, not the run)
        if len(specs) == 1:
            return Examined((math.nan,), 0, reason_of(error))
    alone = [
        examine(Examination(work.trainee, work.state, (task,), (luck,)))
        for task, luck in zip(work.tasks, work.luck, strict=True)
    ]
    failure = next((one.failure for one in alone if one.failure), "")
    return Examined(tuple(one.scores[0] for one in alone), sum(one.steps for one in alone), failure)


def _judge(agent: Agent, specs: Sequence[TaskSpec], luck: Sequence[int], trainee: Trainee) -> tuple[list[float], int]:
    """Mean return per episode on each task, and the environment steps that took.

    The agent's own luck is the exam's too, each task's by itself, so that a score says what was learned: who takes it
    over earns the same, whatever else was judged beside it.
    """
    scores: list[float] = []
    steps, trials = 0, trainee.trials
    for spec, one in zip(specs, luck, strict=True):
        if isinstance(agent, Seedable):
            agent.reseed(integer_seed(one, "judged"))
        player = judged(agent)
        plan = planned(player, trainee.judged)
        seeds = [one if not turn else integer_seed(one, "trial", turn) for turn in range(trials)]
        batch = family_of(spec).batch(trials * plan.slots, trainee.device)
        trial = collect(player, batch, [spec] * trials, plan=plan, seeds=seeds)
        earned = trial.family_returns() if trainee.by_family else trial.episode_returns()
        scores.append(float(earned.double().mean()))
        steps += trial.played()
    return scores, steps


def integer(seed: np.random.SeedSequence) -> int:
    """A seed from 0 to 2**53 - 1."""
    return integers(seed, 1)[0]


def integers(seed: np.random.SeedSequence, count: int) -> list[int]:
    """Seeds from 0 to 2**53 - 1."""
    return (seed.generate_state(count, np.uint64) >> np.uint64(11)).tolist()
