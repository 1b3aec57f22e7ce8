"""POET: tasks that evolve together with the agents that solve them.

Every task has an agent of its own. Again and again tasks in which agents do well have children by mutation; those that
are neither too hard nor too easy (the minimal criterion) are ranked by how new they are and get an agent; all agents
learn; agents that do better on another's task than its own take it over; the oldest tasks make room for new ones.

    loop:  children <- mutate(tasks well mastered)            every `reproduce_every` iterations
           children <- low <= score of the parent's agent <= high, most novel first
           admit while low <= score of the best agent there is, after a step of learning, <= high
           every agent learns for `steps` steps on its own task
           every pair takes over an agent that beats its own        every `transfer_every` iterations

References: Wang et al. 2019, "Paired Open-Ended Trailblazer (POET): Endlessly Generating Increasingly Complex and
Diverse Learning Environments and Their Solutions", section 3; Wang et al. 2020, "Enhanced POET: Open-Ended
Reinforcement Learning through Unbounded Invention of Learning Challenges and their Solutions" (settings `novelty =
"pata-ec"` and `transfer = "enhanced"`).

Ours is `novelty = "reach"`. Mean distance to neighbours ranks a task between others as high as one as far beyond them
all, and features of long steps rule it; by reach what lies beyond comes first, each feature in units of its own.

Differences from the papers: agents are any of the catalogue; an evaluation's luck is the same for all agents, so that
direct transfers and proposals are compared on equal episodes; `proposals` may limit whose one-step proposals are tried;
PATA-EC vectors list agents in order of creation, and those of retired tasks stay as they were when they retired. No end
of a pair's learning is planned, so what an agent would let fall towards the end of training stays as it begins.

Longer than most files here: a third of it are settings, and the loop above stands in one place.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from deap import base, tools
from pydantic import Field, model_validator

import registry
from plugins.runners.niches import Candidate, Niche, Solved, identity, records
from plugins.runners.novelty import novelty, performance_vector, reach
from plugins.runners.pairs import Offer, Pairs
from plugins.runners.transfer import Rule, threshold
from plugins.runners.work import Trainee
from registry.errors import TaskError, UserError
from taskgen.borders import asked
from taskgen.build import build_source
from taskgen.family import Describable, Mutable, TaskFamily, mutated
from taskgen.interaction.agent import Agent, Metrics
from taskgen.maps import MapConfig
from taskgen.record import Record
from taskgen.runner import Assignment
from taskgen.source import side_of
from taskgen.spec import TaskSpec
from taskgen.streams import child

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportAttributeAccessIssue=false

_NAME = "builtin/poet"
_ATTEMPTS = 20
"""Mutations tried for a child that is valid and new."""
_HALL = 6
"""Solved tasks in the hall of fame: those that took longest to solve."""
_log = logging.getLogger(__name__)


class PoetConfig(MapConfig):
    """Settings of `Poet`. Returns are mean returns of an episode of a whole trial, in units of the family's own reward.

    Agents learn from what their task pays; where that is another reward, they are judged by the family's all the same.
    """

    first_tasks: int = Field(1, ge=1, description="Tasks from the source that the run begins with.")
    steps: int = Field(1, ge=1, description="Steps of learning of every agent per iteration.")
    judged_episodes: int | None = Field(
        default=None, ge=1, description="Episodes of a trial of an evaluation; left out: those of training."
    )
    judged_trials: int = Field(
        1, ge=1, description="Trials of an evaluation on a task, each begun as new and with luck of its own."
    )
    reproduce_every: int = Field(150, ge=1, description="Iterations between rounds of children (release: 200, 150).")
    reproduce_from: float = Field(200.0, description="Return from which on a task may have children.")
    children: int = Field(8, ge=1, description="Children per round (the paper says 512, its release 8).")
    admitted: int = Field(1, ge=1, description="Children admitted per round at most.")
    max_active: int = Field(20, ge=1, description="Pairs that learn at most; the oldest retire (release: 25, 40).")
    lowest: float = Field(50.0, description="Minimal criterion: below it a task is too hard (release: 25).")
    highest: float = Field(300.0, description="Minimal criterion: above it a task is too easy (release: 340).")
    solved: float = Field(230.0, description="Return from which on a task counts as solved.")
    novelty: Literal["euclidean", "pata-ec", "reach"] = Field(
        "euclidean",
        description="Tasks compared by their features, or by how all agents rank on them (Enhanced POET); or by how "
        "far their features lie beyond those of all tasks ever admitted, so that niches climb as well as spread.",
    )
    neighbours: int = Field(
        5,
        ge=1,
        description="Nearest tasks ever admitted that novelty is the mean distance to; by reach, of those within it.",
    )
    transfer_every: int = Field(25, ge=1, description="Iterations between attempts to transfer agents.")
    transfer: Rule = Field("poet", description="What a transfer has to beat, see `plugins.runners.transfer`.")
    proposals: int = Field(
        0, ge=0, description="Agents per task, best first, whose one-step proposal is tried; 0: all."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "PoetConfig":
        if self.lowest >= self.highest:
            raise ValueError(f"lowest = {self.lowest} is not below highest = {self.highest}")
        if self.admitted > self.children:
            raise ValueError(f"admitted = {self.admitted} is more than children = {self.children}")
        return self


class Poet:
    """A `Runner`; its figures are the archive of tasks with their lineage, so no one agent is judged."""

    agent: Agent | None = None

    def __init__(self, config: PoetConfig, *, assignment: Assignment) -> None:
        self.config = config
        self._family = _fitting(assignment.family, config)
        self._seed = assignment.seed
        source = build_source(assignment.source, self._family, child(self._seed, "first tasks"))
        first = asked(source, config.first_tasks, assignment.family)
        self._toolbox = base.Toolbox()
        self._map = config.open_map()
        self._toolbox.register("map", self._map)
        self._toolbox.register("mutate", mutated, self._family, side=side_of(source))
        self._toolbox.register("select", tools.selBest)
        trainee = Trainee(
            agent=assignment.agent,
            example=first[0].to_json(),
            tasks=assignment.tasks,
            episodes=assignment.episodes,
            judged=config.judged_episodes or assignment.episodes,
            device=str(assignment.device),
            by_family=True,
            trials=config.judged_trials,
        )
        self.pairs = Pairs(
            trainee, first, self._seed, self._toolbox.map, rule=config.transfer, proposals=config.proposals
        )
        self.logbook = tools.Logbook()
        """A line for every round of children: iteration, parents, children, what became of them, their novelty."""
        self.hall = tools.HallOfFame(_HALL)
        self._tried = 0
        self._unmade = 0

    def iterate(self) -> Metrics:
        """One iteration of all pairs.

        Raises `UserError` when none is left, and where agents would be judged before they adapt.
        """
        if not self.pairs.iteration:
            self.pairs.trainee.refuse_unadapted()
            self.pairs.trainee.note_constant()
        self.pairs.iteration += 1
        self.pairs.steps = 0
        if self.pairs.iteration % self.config.reproduce_every == 0:
            parents = [niche for niche in self.pairs.active if niche.score >= self.config.reproduce_from]
            children = self._mutate(parents)
            fitting = self._criterion(children)
            ranked = self._rank(fitting)
            admitted = self._admit(ranked)
            self._retire_oldest()
            self._log_round(parents, children, ranked, admitted)
        self._optimise()
        if self.pairs.iteration % self.config.transfer_every == 0:
            self._transfer()
        return self._metrics()

    def _mutate(self, parents: Sequence[Niche]) -> list[Candidate]:
        """Children of parents drawn with replacement, each with a seed of its own, all new: fewer where none is found.

        POET's release too refuses what is in its archive or population before any agent is tried on it (`pass_dedup`).
        """
        known = {identity(niche.spec) for niche in self.pairs.niches}
        rng = np.random.Generator(np.random.PCG64(child(self._seed, "mutate", self.pairs.iteration)))
        children: list[Candidate] = []
        for place in range(self.config.children if parents else 0):
            parent = parents[int(rng.integers(len(parents)))]
            for _ in range(_ATTEMPTS):
                context = self._toolbox.mutate(parent.spec.context, rng)
                try:
                    spec = self._family.moved(parent.spec, context, seed=int(rng.integers(2**53)))
                except TaskError:
                    continue
                if identity(spec) in known:
                    continue
                known.add(identity(spec))
                children.append(
                    Candidate(spec, parent.number, self.pairs.new_agent("child", self.pairs.iteration, place))
                )
                break
            else:
                self._unmade += 1
        return children

    def _criterion(self, children: Sequence[Candidate]) -> list[Candidate]:
        """Those on which their parent's agent is neither too bad nor too good; a failed evaluation is no score."""
        broods = {parent: [c for c in children if c.parent == parent] for parent in {c.parent for c in children}}
        agents = [self.pairs.niches[parent] for parent in sorted(broods)]
        scores = self.pairs.examine(agents, {niche.number: [c.spec for c in broods[niche.number]] for niche in agents})
        for parent, brood in broods.items():
            for candidate, score in zip(brood, scores[parent], strict=True):
                candidate.score = score
        return [candidate for candidate in children if self._meets_criterion(candidate.score)]

    def _rank(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Most novel first, compared with every task ever admitted."""
        if not candidates:
            return []
        if self.config.novelty == "pata-ec":
            self._measure_performance(candidates)
        else:
            for one in (*self.pairs.niches, *candidates):
                one.vector = one.vector or self._family.descriptor(one.spec.context).tolist()
        known = [np.asarray(niche.vector) for niche in self.pairs.niches if niche.vector]
        for candidate in candidates:
            point = np.asarray(candidate.vector)
            near = novelty(point, known, self.config.neighbours)
            candidate.fitness.values = (reach(point, known), near) if self.config.novelty == "reach" else (near, 0.0)
        finite = [candidate for candidate in candidates if math.isfinite(candidate.fitness.values[0])]
        return self._toolbox.select(finite, len(finite))

    def _measure_performance(self, candidates: Sequence[Candidate]) -> None:
        """PATA-EC vectors of the active niches and the candidates: how all agents there ever were do on each."""
        measured = [*self.pairs.active, *candidates]
        able = [niche for niche in self.pairs.niches if not niche.failed]
        scores = self.pairs.examine(able, {niche.number: [one.spec for one in measured] for niche in able})
        for place, one in enumerate(measured):
            earned = [scores[i][place] if i in scores else math.nan for i in range(len(self.pairs.niches))]
            one.vector = performance_vector(earned, self.config.lowest, self.config.highest).tolist()

    def _admit(self, ranked: Sequence[Candidate]) -> list[Niche]:
        """The first of the candidates that also meet the criterion with the best agent they could begin with."""
        specs = [candidate.spec for candidate in ranked]
        direct = self.pairs.examine(self.pairs.active, {niche.number: specs for niche in self.pairs.active})
        admitted: list[tuple[Niche, float]] = []
        for place, candidate in enumerate(ranked):
            if len(admitted) == self.config.admitted:
                break
            scores = {number: scores[place] for number, scores in direct.items()}
            ((transfer, agent),) = self.pairs.best_transfers(
                [Offer(candidate.spec, candidate.agent, -math.inf, scores)]
            )
            if transfer is None or not self._meets_criterion(transfer.score):
                continue
            parent = self.pairs.niches[candidate.parent]
            niche = Niche(
                number=len(self.pairs.niches),
                spec=candidate.spec,
                agent=agent,
                parent=parent.number,
                created=self.pairs.iteration,
                generation=parent.generation + 1,
                novelty=candidate.fitness.values[0],
                vector=candidate.vector,
                history=[transfer.score],
                best=transfer.score,
            )
            self.pairs.niches.append(niche)
            admitted.append((niche, max(transfer.score, *(s for s in scores.values() if math.isfinite(s)))))
        self._look_back(admitted)
        return [niche for niche, _ in admitted]

    def _look_back(self, admitted: Sequence[tuple[Niche, float]]) -> None:
        """Whether new niches meet the criterion also with all retired agents; `admitted` with the best active score."""
        retired = [niche for niche in self.pairs.niches if not niche.active and not niche.failed]
        scores = self.pairs.examine(retired, {old.number: [niche.spec for niche, _ in admitted] for old in retired})
        for place, (niche, best) in enumerate(admitted):
            past = [found[place] for found in scores.values() if math.isfinite(found[place])]
            niche.fresh = self._meets_criterion(max([best, *past]))

    def _retire_oldest(self) -> None:
        for niche in self.pairs.active[: max(0, len(self.pairs.active) - self.config.max_active)]:
            niche.retire(self.pairs.iteration, "it was the oldest and made room")

    def _optimise(self) -> None:
        """Every agent learns on its own task and is judged there; a pair that fails is retired."""
        niches = self.pairs.active
        work = [
            self.pairs.practice(niche.spec, niche.agent, self.config.steps, ("learn", niche.number)) for niche in niches
        ]
        for niche, done in zip(niches, self.pairs.practise(work), strict=True):
            niche.agent = done.state
            if done.failure:
                niche.retire(self.pairs.iteration, done.failure, failed=True)
                _log.warning("iteration %d: task %s is retired: %s", self.pairs.iteration, niche.spec.id, done.failure)
            else:
                self._judge(niche, done.score)
        if not self.pairs.active:
            reasons = [niche.reason for niche in niches]
            raise UserError(f"every task of the run has failed; the last: {reasons[-1]}")

    def _transfer(self) -> None:
        """Every pair takes over the agent of another one, as it is or after a step of learning, if that is better."""
        niches = self.pairs.active
        specs = [niche.spec for niche in niches]
        scores = self.pairs.examine(niches, {niche.number: specs for niche in niches})
        offers = [
            Offer(
                niche.spec,
                niche.agent,
                threshold(self.config.transfer, niche.history),
                {other.number: scores[other.number][place] for other in niches if other is not niche},
            )
            for place, niche in enumerate(niches)
        ]
        self._tried += len(niches) * (len(niches) - 1)
        for niche, (transfer, agent) in zip(niches, self.pairs.best_transfers(offers), strict=True):
            if transfer is not None:
                niche.agent = agent
                source = str(transfer.source)
                niche.transfers[source] = niche.transfers.get(source, 0) + 1
                self._judge(niche, transfer.score)

    def _meets_criterion(self, score: float) -> bool:
        return self.config.lowest <= score <= self.config.highest

    def _judge(self, niche: Niche, score: float) -> None:
        unsolved = niche.solved is None
        niche.judge(score, self.pairs.iteration, self.config.solved)
        if unsolved and niche.solved is not None:
            self.hall.update([Solved.of(niche)])

    def _log_round(
        self,
        parents: Sequence[Niche],
        children: Sequence[Candidate],
        ranked: Sequence[Candidate],
        admitted: Sequence[Niche],
    ) -> None:
        statistics = tools.Statistics(lambda candidate: candidate.fitness.values[0])
        for name, figure in (("least", min), ("mean", np.mean), ("most", max)):
            statistics.register(name, lambda values, figure=figure: float(figure(values)) if values else 0.0)
        counts = {"parents": parents, "children": children, "fitting": ranked, "admitted": admitted}
        self.logbook.record(
            iteration=self.pairs.iteration,
            **{name: len(found) for name, found in counts.items()},
            **statistics.compile(ranked),
        )

    def _metrics(self) -> Metrics:
        active, solved = self.pairs.active, [niche for niche in self.pairs.niches if niche.solved is not None]
        scores = [niche.score for niche in active]
        return {
            "meta/trial_return": float(np.mean(scores)) * self.pairs.trainee.judged,
            "charts/episodic_return": float(np.mean(scores)),
            "tasks/least_return": min(scores),
            "tasks/greatest_return": max(scores),
            "tasks/active": len(active),
            "tasks/niches": len(self.pairs.niches),
            "tasks/children_not_found": self._unmade,
            "tasks/failed": sum(niche.failed for niche in self.pairs.niches),
            "tasks/solved": len(solved),
            "tasks/annecs": sum(niche.fresh for niche in solved),
            "tasks/transfers_tried": self._tried,
            "tasks/transfers": sum(sum(niche.transfers.values()) for niche in self.pairs.niches),
            "charts/batch_steps": self.pairs.steps,
        }

    def records(self) -> Iterable[Record]:
        """All niches ever, with the scores that `taskgen.lineage` names."""
        return records(self.pairs.niches, _NAME, registry.catalogue().get("runners", _NAME).version)

    def agent_of(self, task: str) -> Agent:
        """The agent of the niche whose task has this id. Raises `UserError` where there is none."""
        for niche in self.pairs.niches:
            if niche.spec.id == task:
                return self.pairs.trainee.build(state=niche.agent)
        raise UserError(f"task {task} is not among the {len(self.pairs.niches)} that the run has agents for")

    def highlights(self) -> Mapping[str, Sequence[TaskSpec]]:
        """The solved tasks that took longest."""
        return {"longest to solve": [self.pairs.niches[entry.number].spec for entry in self.hall]}

    def state_dict(self) -> dict[str, Any]:
        """Niches with their agents, the logbook, counts."""
        return {
            "iteration": self.pairs.iteration,
            "tried": self._tried,
            "unmade": self._unmade,
            "niches": [niche.state_dict() for niche in self.pairs.niches],
            "logbook": [dict(line) for line in self.logbook],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.pairs.iteration, self._tried = state["iteration"], state["tried"]
        self._unmade = state.get("unmade", 0)  # older checkpoints did not count
        self.pairs.niches = [Niche.from_state(niche) for niche in state["niches"]]
        self.logbook, self.hall = tools.Logbook(), tools.HallOfFame(_HALL)
        for line in state["logbook"]:
            self.logbook.record(**line)
        solved = [niche for niche in self.pairs.niches if niche.solved is not None]
        for niche in sorted(solved, key=lambda niche: (niche.solved or 0, niche.number)):
            self.hall.update([Solved.of(niche)])

    def close(self) -> None:
        """Let go of the map's workers."""
        self._map.close()


def _fitting(family: TaskFamily[Any], config: PoetConfig) -> Any:
    """The family. Raises `UserError` naming what it lacks."""
    if not isinstance(family, Mutable):
        raise UserError(f"poet evolves tasks, but family {family.name} has no `mutate`: choose a family that offers it")
    if config.novelty != "pata-ec" and not isinstance(family, Describable):
        raise UserError(
            f"poet compares tasks by their features, but family {family.name} has no `descriptor`: choose a family "
            "that offers it, or novelty = 'pata-ec'"
        )
    return family
