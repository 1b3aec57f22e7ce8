"""What is done with pairs of a task and an agent: learn, be judged on tasks of others, take over agents of others.

Work goes through one `map`; what a unit of it does depends on the run's seed, the iteration and the pair alone.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plugins.runners.niches import Niche
from plugins.runners.transfer import Rule, Transfer, choose, proposers
from plugins.runners.work import (
    Examination,
    Examined,
    Practice,
    Practised,
    State,
    Trainee,
    examine,
    integer,
    integers,
    practise,
)
from taskgen.borders import state_of
from taskgen.maps import Failed, Map
from taskgen.spec import TaskSpec
from taskgen.streams import child

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """A task that is looking for an agent better than its own."""

    spec: TaskSpec
    own: State
    bar: float
    direct: Mapping[int, float]
    """Scores of the agents of other niches, by number."""


class Pairs:
    """All pairs there ever were, and the work on them."""

    def __init__(
        self,
        trainee: Trainee,
        tasks: Sequence[TaskSpec],
        seed: np.random.SeedSequence,
        map_: Map,
        *,
        rule: Rule,
        proposals: int,
    ) -> None:
        self.trainee = trainee
        self.seed = seed
        self._map = map_
        self._rule: Rule = rule
        self._proposals = proposals
        self.iteration = 0
        self.steps = 0
        """Environment steps taken so far."""
        self.niches = [Niche(i, spec, self.new_agent("first", i)) for i, spec in enumerate(tasks)]
        """In order of creation."""

    @property
    def active(self) -> list[Niche]:
        """Those whose agents learn."""
        return [niche for niche in self.niches if niche.active]

    def best_transfers(self, offers: Sequence[Offer]) -> list[tuple[Transfer | None, State]]:
        """For each offer the best transfer that beats its bar, and the agent's state after it."""
        rule, most = self._rule, self._proposals
        wanted = [
            (place, source)
            for place, offer in enumerate(offers)
            for source in proposers(rule, offer.bar, offer.direct, most)
        ]
        work = [
            self.practice(offers[place].spec, offers[place].own, 1, ("propose", offers[place].spec.id, source), source)
            for place, source in wanted
        ]
        proposed = dict(zip(wanted, self.practise(work), strict=True))
        answers: list[tuple[Transfer | None, State]] = []
        for place, offer in enumerate(offers):
            scores = {source: done.score for (at, source), done in proposed.items() if at == place}
            transfer = choose(rule, offer.bar, offer.direct, scores)
            if transfer is None:
                answers.append((None, offer.own))
                continue
            source = transfer.source
            learned = proposed[place, source].state if transfer.proposal else self.niches[source].agent
            seed = integer(child(self.seed, "agent", "heir", self.iteration, offer.spec.id))
            answers.append((transfer, self.trainee.inherit(offer.own, learned, seed)))
        return answers

    def examine(self, agents: Sequence[Niche], tasks: Mapping[int, Sequence[TaskSpec]]) -> dict[int, list[float]]:
        """By number of the niche, what its agent earns on each of its `tasks`: one unit of work per agent."""
        work = [
            Examination(
                self.trainee,
                niche.agent,
                tuple(spec.to_json() for spec in tasks[niche.number]),
                tuple(self.luck(spec) for spec in tasks[niche.number]),
            )
            for niche in agents
        ]
        scores: dict[int, list[float]] = {}
        for niche, done in zip(agents, self._map(examine, work), strict=True):
            nothing = (math.nan,) * len(tasks[niche.number])
            result: Examined = Examined(nothing, 0, done.reason) if isinstance(done, Failed) else done
            scores[niche.number] = list(result.scores)
            self.steps += result.steps
            if result.failure:
                task = niche.spec.id
                _log.warning("iteration %d: agent of task %s on others: %s", self.iteration, task, result.failure)
        return scores

    def practise(self, work: Sequence[Practice]) -> list[Practised]:
        """Have the work done; what failed says so."""
        done = [
            Practised.failed(one, result.reason) if isinstance(result, Failed) else result
            for one, result in zip(work, self._map(practise, work), strict=True)
        ]
        self.steps += sum(one.steps for one in done)
        return done

    def practice(
        self, spec: TaskSpec, own: State, steps: int, stream: tuple[str | int, ...], start: int | None = None
    ) -> Practice:
        """The work of learning `steps` steps on `spec`; with `start` from what the agent of that niche has learned."""
        task, trials = spec.to_json(), self.trainee.tasks
        return Practice(
            trainee=self.trainee,
            state=own,
            tasks=((task,) * trials,) * steps,
            seeds=tuple(
                tuple(integers(child(self.seed, self.iteration, *stream, step), trials)) for step in range(steps)
            ),
            exam=(task,),
            luck=(self.luck(spec),),
            start=None if start is None else self.niches[start].agent,
            seed=integer(child(self.seed, self.iteration, *stream, "agent")),
        )

    def luck(self, spec: TaskSpec) -> int:
        """Noise seed of all evaluations on a task in this iteration, whoever plays."""
        return integer(child(self.seed, "luck", self.iteration, spec.id))

    def new_agent(self, *stream: str | int) -> State:
        """The state of an agent that has learned nothing, with a random stream of its own."""
        return state_of(self.trainee.build(seed=integer(child(self.seed, "agent", *stream))))
