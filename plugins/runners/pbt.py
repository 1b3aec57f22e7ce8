"""PBT: a population of agents whose settings evolve while they learn, the agent-side twin of POET.

All members learn; now and then the worst take over what one of the best has learned (exploit) and its settings, a
little changed or drawn anew (explore). What comes out is an agent, and a schedule of settings that no one had to guess.

Reference: Jaderberg et al. 2017, "Population Based Training of Neural Networks", section 3 and algorithm 1; truncation
selection, factors and drawing anew: section 4.1.1 and appendix A.1.

A member is its settings and what it has learned by them, together: the best one is judged, checkpointed and reported
with both. Its fitness is the mean return of whole trials as they are trained, every episode before, during and after
adaptation: what reports and comparisons judge agents by.

Differences from the paper: all members exploit at the same time; they learn on the same tasks and are judged on the
same fresh ones with the same luck, so that chance favours nobody.
"""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from deap import base, tools
from pydantic import Field, model_validator

import registry
from plugins.runners.work import Practice, Practised, State, Trainee, integer, integers, practise
from registry.config import Config, Part
from registry.errors import ConfigError, UserError, suggest
from taskgen.borders import asked, state_of
from taskgen.build import SOURCES, build_source
from taskgen.interaction.agent import Agent, Begins, Metrics
from taskgen.maps import Failed, MapConfig
from taskgen.record import Record
from taskgen.runner import Assignment
from taskgen.spec import TaskSpec
from taskgen.streams import child

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportAttributeAccessIssue=false

_log = logging.getLogger(__name__)
_SAMPLED = 256
"""Tasks kept, to show their distribution."""


class Reach(Config):
    """Where a setting of the agent may lie."""

    low: float = Field(0.0, description="Lowest value.")
    high: float = Field(1.0, description="Highest value.")
    logarithmic: bool = Field(default=False, description="Whether it is drawn uniformly in its logarithm.")

    @model_validator(mode="after")
    def _ordered(self) -> "Reach":
        if self.low >= self.high or (self.logarithmic and self.low <= 0.0):
            raise ValueError(f"low = {self.low} must be below high = {self.high}, and positive where logarithmic")
        return self

    def draw(self, rng: np.random.Generator) -> float:
        """Any value."""
        if self.logarithmic:
            return float(np.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return float(rng.uniform(self.low, self.high))


class PbtConfig(MapConfig):
    """Settings of `Pbt`."""

    explore: dict[str, Reach] = Field(
        {"learning_rate": Reach(low=1e-4, high=1e-1, logarithmic=True)},
        description="Settings of the agent that evolve, numbers all, and their reach.",
    )
    population: int = Field(8, ge=2, description="Members (paper: 10 to 80).")
    steps: int = Field(1, ge=1, description="Steps of learning of every member per iteration.")
    ready_every: int = Field(10, ge=1, description="Iterations between rounds of exploiting and exploring.")
    share: float = Field(0.2, gt=0, le=0.5, description="Share of the worst who take over from as many best.")
    factors: tuple[float, ...] = Field((0.8, 1.2), min_length=1, description="A setting is multiplied by one of these.")
    redrawn: float = Field(0.25, ge=0, le=1, description="Probability that a setting is drawn anew instead.")
    judged_tasks: int = Field(16, ge=1, description="Fresh tasks of an evaluation.")
    judged_episodes: int | None = Field(
        default=None, ge=1, description="Episodes of a trial on each; left out: those of training."
    )


class Return(base.Fitness):
    """DEAP's fitness of a member: what its tasks paid it in its last evaluation, finite or minus infinity."""

    weights = (1.0,)


@dataclass(slots=True)
class Member:
    """An agent with settings of its own."""

    settings: dict[str, float]
    state: State
    fitness: Return = field(default_factory=Return)

    def state_dict(self) -> dict[str, Any]:
        """Plain data and the agent's state."""
        return {"settings": self.settings, "state": self.state, "score": list(self.fitness.values)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """What `state_dict` gave."""
        return cls(state["settings"], state["state"], Return(tuple(state["score"])))


class Pbt:
    """A `Runner`. `agent` plays as the member that was best when last judged."""

    def __init__(self, config: PbtConfig, *, assignment: Assignment) -> None:
        self.config = config
        self._seed = assignment.seed
        self._part, self._source_part, self._ask = assignment.agent, assignment.source, assignment.ask
        _refuse_misfits(config, assignment.agent)
        self._source = build_source(assignment.source, assignment.family, child(self._seed, "source"))
        if self._source.feedback:
            raise UserError(
                f"the runner pbt does not say how tasks went, and {assignment.source.name} decides by that: give it a "
                "source that does not, or leave the runner out"
            )
        example = asked(build_source(assignment.source, assignment.family, child(self._seed, "source")), 1)[0]
        self._trainee = Trainee(
            agent=assignment.agent,
            example=example.to_json(),
            tasks=assignment.tasks,
            episodes=assignment.episodes,
            judged=config.judged_episodes or assignment.episodes,
            device=str(assignment.device),
            updates=assignment.iterations * config.steps,
        )
        self.members = [self._new(place) for place in range(config.population)]
        self._show(self.members[0].settings, self.members[0].state)
        self._sample: list[TaskSpec] = []
        self._iteration = 0
        self._failure = ""
        self._toolbox = base.Toolbox()
        self._map = config.open_map()
        self._toolbox.register("map", self._map)
        self._toolbox.register("best", tools.selBest)
        self._toolbox.register("worst", tools.selWorst)

    def iterate(self) -> Metrics:
        """All members learn and are judged; then, where it is time, they exploit and explore.

        Raises `UserError` when every member has failed, and for settings by which nothing would be selected.
        """
        if not self._iteration:
            self._refuse_idle()
        self._iteration += 1
        steps = self._learn()
        best = self._best()
        scores = [member.fitness.values[0] for member in self.members]
        if not math.isfinite(best.fitness.values[0]):
            raise UserError(f"every member of the population has failed; the last: {self._failure}")
        self._show(best.settings, best.state)
        metrics = {
            "meta/trial_return": best.fitness.values[0],
            "charts/episodic_return": best.fitness.values[0] / self._trainee.judged,
            "pbt/median_return": float(np.median(scores)) if all(map(math.isfinite, scores)) else 0.0,
            "pbt/failed": sum(not math.isfinite(score) for score in scores),
            **{f"pbt/{name}": value for name, value in best.settings.items()},
            "charts/batch_steps": steps,
        }
        if self._iteration % self.config.ready_every == 0:
            self._exploit()
        return metrics

    def _learn(self) -> int:
        """Environment steps taken. A member that fails stays as it was, and is worst."""
        config, trials = self.config, self._trainee.tasks
        lessons = [self._ask(self._source, trials) for _ in range(config.steps)]
        exam = self._ask(self._source, config.judged_tasks)
        self._sample = self._sample or [spec for lesson in lessons for spec in lesson][:_SAMPLED]
        seeds = child(self._seed, "environment", self._iteration)
        common = Practice(
            trainee=self._trainee,
            state={},
            tasks=tuple(tuple(spec.to_json() for spec in lesson) for lesson in lessons),
            seeds=tuple(tuple(integers(child(seeds, step), trials)) for step in range(config.steps)),
            exam=tuple(spec.to_json() for spec in exam),
            luck=tuple(integers(child(seeds, "luck"), len(exam))),
        )
        work = [replace(common, trainee=self._trainee_of(one.settings), state=one.state) for one in self.members]
        steps = 0
        for member, one, done in zip(self.members, work, self._toolbox.map(practise, work), strict=True):
            result = Practised.failed(one, done.reason) if isinstance(done, Failed) else done
            member.state = result.state
            member.fitness = Return((self._trainee.judged * result.score if not result.failure else -math.inf,))
            steps += result.steps
            if result.failure:
                self._failure = result.failure
                settings = ", ".join(f"{name} = {value:g}" for name, value in member.settings.items())
                _log.warning("iteration %d: the member of %s failed: %s", self._iteration, settings, result.failure)
        return steps

    def _exploit(self) -> None:
        """Truncation selection: each of the worst takes over from one of the best, and explores."""
        rng = self._rng("exploit", self._iteration)
        count = max(1, int(self.config.share * len(self.members)))
        ranked = self._toolbox.best(self.members, len(self.members))  # one ranking, or ties would be best and worst
        best, worst = ranked[:count], ranked[: -count - 1 : -1]
        for place, member in enumerate(worst):
            chosen = best[int(rng.integers(count))]
            if chosen is member or not math.isfinite(chosen.fitness.values[0]):
                continue
            member.settings = self._explored(chosen.settings, rng)
            heir = self._trainee_of(member.settings)
            seed = integer(child(self._seed, "agent", self._iteration, place))
            member.state = heir.inherit(state_of(heir.build(seed=seed)), chosen.state, seed)

    def _explored(self, settings: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
        """Every setting changed by a factor, or drawn anew, within its reach."""
        explored: dict[str, float] = {}
        for name, reach in self.config.explore.items():
            factor = float(rng.choice(self.config.factors))
            value = reach.draw(rng) if rng.random() < self.config.redrawn else settings[name] * factor
            explored[name] = float(np.clip(value, reach.low, reach.high))
        return explored

    def records(self) -> Iterable[Record]:
        """The tasks of the first iteration."""
        version = registry.catalogue().get(SOURCES, self._source_part.name).version
        return [Record(spec, self._source_part.name, version, (), 0, "train", {}) for spec in self._sample]

    def state_dict(self) -> dict[str, Any]:
        """Members, source, the tasks kept."""
        return {
            "iteration": self._iteration,
            "members": [member.state_dict() for member in self.members],
            "agent": state_of(self.agent),
            "settings": self._settings,
            "source": state_of(self._source),
            "sample": [spec.to_json() for spec in self._sample],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._iteration = state["iteration"]
        self.members = [Member.from_state(member) for member in state["members"]]
        # Checkpoints that do not say whose settings the agent has are of the member that was best.
        self._show(state["settings"] if "settings" in state else self._best().settings, state["agent"])
        self._source.load_state_dict(state["source"])
        self._sample = [TaskSpec.from_json(text) for text in state["sample"]]

    def close(self) -> None:
        """Let go of the map's workers."""
        self._map.close()

    def _new(self, place: int) -> Member:
        rng = self._rng("settings", place)
        settings = {name: reach.draw(rng) for name, reach in self.config.explore.items()}
        seed = integer(child(self._seed, "agent", "first", place))
        return Member(settings, state_of(self._trainee_of(settings).build(seed=seed)))

    def _best(self) -> Member:
        return self._toolbox.best(self.members, 1)[0]

    def _show(self, settings: dict[str, float], state: State) -> None:
        """Have the agent that is judged be the one with these settings and this state."""
        self._settings = settings
        self.agent: Agent = self._trainee_of(settings).build(state=state)

    def _refuse_idle(self) -> None:
        """Raise `UserError` for settings that selection could not see: this is asked before anything is played."""
        self._trainee.refuse_unadapted()
        idle = self.agent.initial_settings if isinstance(self.agent, Begins) else frozenset[str]()
        problems = [
            f"explore.{name}: {self._part.name} begins with it and then learns on from there, so that a member which "
            "takes over another one's state would not have it. Explore what acts all along"
            for name in self.config.explore
            if name in idle
        ]
        if problems:
            raise ConfigError(problems, "pbt")

    def _trainee_of(self, settings: dict[str, float]) -> Trainee:
        part = Part.model_validate({"name": self._part.name, **self._part.settings, **settings})
        return replace(self._trainee, agent=part)

    def _rng(self, *stream: str | int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(child(self._seed, *stream)))


def _refuse_misfits(config: PbtConfig, agent: Part) -> None:
    """Raise `ConfigError` for settings that the agent does not have, or whose reach it does not allow."""
    item = registry.catalogue().get("agents", agent.name)
    known = item.config_class().model_fields
    problems = [
        f"explore.{name}: {agent.name} has no such setting. {suggest(name, known)}"
        for name in config.explore
        if name not in known
    ]
    if problems:
        raise ConfigError(problems, "pbt")
    for name, reach in config.explore.items():
        for value in (reach.low, reach.high):
            item.configure({**agent.settings, name: value}, prefix="runner.explore: agent.")
