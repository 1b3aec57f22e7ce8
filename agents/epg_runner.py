"""The runner `epg`: losses that evolve over a map, all of them learned by on the same tasks with the same luck.

An iteration asks for `training.tasks` tasks. On each, a life by every member of the agent `epg` (`agents/epg.py`): they
begin with the same policy and meet the same luck, so that what they earn differs by their losses alone. A unit of work
is the lives on a few of the tasks, `unit` of them, whatever the map: the results of all maps are the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field

import registry
from agents.epg import CENTRE, EPG, Outcome
from registry.config import Part
from registry.errors import UserError, brief
from taskgen.borders import asked, border, broken, checked_metrics, state_of
from taskgen.build import SOURCES, build_source, family_of
from taskgen.interaction.agent import Metrics
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import planned
from taskgen.maps import Failed, MapConfig
from taskgen.record import Record
from taskgen.runner import Assignment
from taskgen.spec import TaskSpec
from taskgen.streams import child

_SAMPLED = 256
"""Tasks kept, to show their distribution."""


class EPGRunnerConfig(MapConfig):
    """Settings of `EPGRunner`."""

    unit: int = Field(4, ge=1, description="Tasks of a unit of work, which are played at once.")


@dataclass(frozen=True, slots=True)
class Lives:
    """A unit of work: lives by all members on some tasks."""

    agent: Part
    state: dict[str, Any]
    tasks: tuple[str, ...]
    """As JSON."""
    luck: tuple[int, ...]
    """A noise seed for each task."""
    seed: int
    """Of first policies and actions."""
    episodes: int
    device: str


@dataclass(frozen=True, slots=True)
class Lived:
    """What came of it."""

    outcome: Outcome
    steps: int
    """Environment steps."""


def live(work: Lives) -> Lived:
    """Play and learn, members side by side. Raises `PluginError` where the agent breaks its contract."""
    agent = _built(work.agent, work.tasks[0], work.episodes, torch.device(work.device))
    agent.load_state_dict(work.state)
    agent.generator.manual_seed(work.seed)
    specs = [TaskSpec.from_json(task) for task in work.tasks for _ in range(agent.members)]
    plan = planned(agent, work.episodes)
    batch = family_of(specs[0]).batch(len(specs) * plan.slots, work.device)
    seeds = [luck for luck in work.luck for _ in range(agent.members)]
    trial = collect(agent, batch, specs, plan=plan, seeds=seeds)
    with border(agent, "outcome"):
        outcome: object = agent.outcome(trial)
    if not isinstance(outcome, Outcome):
        raise broken(agent, "outcome", f"{brief(outcome)}, a {type(outcome).__name__}", "an Outcome")
    return Lived(outcome, trial.played())


def _built(part: Part, example: str, episodes: int, device: torch.device, seed: int = 0) -> EPG:
    spec = TaskSpec.from_json(example)
    agent = build_agent(part, problem_of(family_of(spec), episodes=episodes, seed=seed, device=device, example=spec))
    if not isinstance(agent, EPG):
        raise UserError(f"the runner epg evolves the loss of agent epg, not of {part.name}: set agent to epg")
    return agent


class EPGRunner:
    """A `Runner`. The agent that is judged learns by the loss as it has evolved."""

    def __init__(self, config: EPGRunnerConfig, *, assignment: Assignment) -> None:
        """Raises `UserError` for another agent than `epg`."""
        self.config = config
        self._assignment, self._seed = assignment, assignment.seed
        self._source = build_source(assignment.source, assignment.family, child(self._seed, "source"))
        if self._source.feedback:
            raise UserError(
                f"the runner epg does not say how tasks went, and {assignment.source.name} decides by that: give it a "
                "source that does not, or leave the runner out"
            )
        example = asked(build_source(assignment.source, assignment.family, child(self._seed, "source")), 1)[0]
        first = _integers(child(self._seed, "agent"), 1)[0]
        self.agent: EPG = _built(assignment.agent, example.to_json(), assignment.episodes, assignment.device, first)
        self._iteration = 0
        self._sample: list[TaskSpec] = []
        self._map = config.open_map()

    def iterate(self) -> Metrics:
        """All members live on new tasks; the loss makes a step. Raises `UserError` where a unit of work fails."""
        assignment = self._assignment
        self._iteration += 1
        specs = assignment.ask(self._source, assignment.tasks)
        self._sample = self._sample or specs[:_SAMPLED]
        seeds = child(self._seed, "environment", self._iteration)
        luck = _integers(child(seeds, "luck"), len(specs))
        starts = range(0, len(specs), self.config.unit)
        state = state_of(self.agent)
        work = [
            Lives(
                assignment.agent,
                state,
                tuple(spec.to_json() for spec in specs[start : start + self.config.unit]),
                tuple(luck[start : start + self.config.unit]),
                seed,
                assignment.episodes,
                str(assignment.device),
            )
            for start, seed in zip(starts, _integers(child(seeds, "lives"), len(starts)), strict=True)
        ]
        lived: list[Lived] = []
        for done in self._map(live, work):
            if isinstance(done, Failed):
                raise UserError(f"lives could not be lived: {done.reason}")
            lived.append(done)
        outcome = Outcome(*(torch.cat(columns) for columns in zip(*(one.outcome for one in lived), strict=True)))
        earned = outcome.earned[outcome.member == CENTRE].mean()
        if not earned.isfinite():
            raise UserError(
                "the lives by the loss as it stands never had a finite return: is the family's reward finite?"
            )
        with border(self.agent, "evolve"):
            evolved = checked_metrics(self.agent, "evolve", self.agent.evolve(outcome))
        return {
            **evolved,
            "meta/trial_return": float(earned),
            "charts/episodic_return": float(earned) / assignment.episodes,
            "charts/batch_steps": float(sum(one.steps for one in lived)),
        }

    def records(self) -> Iterable[Record]:
        """The tasks of the first iteration."""
        source = self._assignment.source.name
        version = registry.catalogue().get(SOURCES, source).version
        return [Record(spec, source, version, (), 0, "train", {}) for spec in self._sample]

    def state_dict(self) -> dict[str, Any]:
        """Agent, source, the tasks kept."""
        return {
            "iteration": self._iteration,
            "agent": state_of(self.agent),
            "source": state_of(self._source),
            "sample": [spec.to_json() for spec in self._sample],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._iteration = state["iteration"]
        self.agent.load_state_dict(state["agent"])
        self._source.load_state_dict(state["source"])
        self._sample = [TaskSpec.from_json(text) for text in state["sample"]]

    def close(self) -> None:
        """Let go of the map's workers."""
        self._map.close()


def _integers(seed: np.random.SeedSequence, count: int) -> list[int]:
    """Seeds from 0 to 2**53 - 1."""
    return (seed.generate_state(count, np.uint64) >> np.uint64(11)).tolist()
