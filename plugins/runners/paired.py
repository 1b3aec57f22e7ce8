"""PAIRED: a teacher makes tasks that the protagonist fails at and an antagonist can do.

N tasks an iteration are made at once by the teacher, placement by placement (`taskgen.engines.design`), and played by
both students; each of the three learns from its own trials, the teacher from one reward at the end of every design:

    regret:   max over the antagonist's episodes of U - mean over the protagonist's of U    (PAIRED)
    minimax:  - mean over the protagonist's episodes of U                                   (adversarial training)
    random:   placements are drawn at random and nobody teaches                             (domain randomisation)

U is the undiscounted return of an episode in the family's own reward, by which every design is paid. With "minimax" and
"random" there is no antagonist. A design that the family refuses is no task: nobody plays it, and every U counts as
zero, as where the goal cannot be reached.

Reference: Dennis et al. 2020, "Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design",
algorithm 1 and sections 4 and 5.

Differences from the paper: the students are agents of the catalogue, which may adapt over the episodes of a trial; the
teacher is a feed-forward PPO by default, where the paper has a convolutional network with an LSTM.

Axes: N tasks, E episodes of a trial.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

import registry
from registry.config import Config, Part
from registry.errors import CheckpointError, TaskError
from taskgen.batch import TaskBatch
from taskgen.borders import state_of
from taskgen.engines.design import DesignConfig, DesignFamily, figures_of
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent, Metrics, Trial
from taskgen.interaction.build import build_agent, problem_of, refuse_unadapted
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import learned_from, planned
from taskgen.interaction.score import Solvable
from taskgen.record import Record
from taskgen.runner import Assignment
from taskgen.spec import TaskSpec
from taskgen.streams import child


class PairedConfig(Config):
    """Settings of `Paired`."""

    teacher_objective: Literal["regret", "minimax", "random"] = Field(
        "regret", description="What the teacher is paid: regret (PAIRED), the protagonist's failure; or no teacher."
    )
    teacher: Part = Field(
        Part.model_validate({"name": "ppo", "discount": 0.995, "epochs": 4, "minibatches": 4}),
        description="Who makes tasks, where the objective is not random.",
        json_schema_extra={"kind": "agents"},
    )
    antagonist: Part | None = Field(
        default=None,
        description="The other student, where the objective is regret; left out: one like the protagonist.",
        json_schema_extra={"kind": "agents"},
    )
    design: DesignConfig = Field(default=DesignConfig(), description="How tasks are made.")
    archived: int = Field(512, ge=0, description="Designs kept with their scores, spread over the run.")


class Paired:
    """A `Runner`. The agent that is judged is the protagonist; the experiment's source gives held-out tasks alone."""

    def __init__(self, config: PairedConfig, *, assignment: Assignment) -> None:
        """Raises `ConfigError` for a design that does not fit the family."""
        self.config = config
        self._assignment = assignment
        self._designs = DesignFamily(config.design, assignment.family)
        self._desk = self._designs.batch(assignment.tasks, assignment.device)
        objective = config.teacher_objective
        part = Part(name="random") if objective == "random" else config.teacher
        self._teacher = self._build("teacher", part, self._designs, episodes=1)
        self.agent: Agent = self._build("protagonist", assignment.agent, assignment.family, assignment.episodes)
        self._antagonist: Agent | None = None
        if objective == "regret":
            other = config.antagonist or assignment.agent
            self._antagonist = self._build("antagonist", other, assignment.family, assignment.episodes)
            if config.antagonist is not None:  # one like the protagonist is checked where the protagonist is
                refuse_unadapted(self._antagonist, assignment.episodes, "training.episodes (runner.antagonist)")
        self._batch: TaskBatch | None = None
        self._iterations = 0
        self._placements = 0
        self._kept: list[tuple[int, TaskSpec, dict[str, float]]] = []

    def iterate(self) -> Metrics:
        """Make tasks, play them, pay the teacher; everybody learns."""
        self._iterations += 1
        designed, contexts = self._design()
        seeds = self._draw("tasks")
        specs = [self._task(context, seed) for context, seed in zip(contexts, seeds, strict=True)]
        tasks = [number for number, spec in enumerate(specs) if spec is not None]
        playable = [spec for spec in specs if spec is not None]
        self._assignment.announce(playable)
        noise = self._draw("noise")
        students = {"protagonist": self.agent, "antagonist": self._antagonist}
        trials = {
            who: self._play(student, playable, [noise[number] for number in tasks])
            for who, student in students.items()
            if student is not None and playable
        }
        returns = {who: trial.episode_returns() for who, trial in trials.items()}  # each [E, tasks]
        reward = torch.zeros(len(specs), device=self._assignment.device)
        if playable:
            reward[tasks] = self._reward(returns)
        metrics = self._figures(contexts, len(playable), returns, reward)
        self._keep(playable, returns, reward[tasks].tolist())
        metrics |= self._learn(designed, reward, trials)
        if playable:
            metrics["meta/trial_return"] = float(returns["protagonist"].sum(0).mean())
        metrics["charts/batch_steps"] = float(sum(trial.played() for trial in trials.values()))
        self._placements += designed.played()
        if self.config.teacher_objective != "random":
            metrics["charts/teacher_steps"] = float(self._placements)
        return metrics

    def records(self) -> Iterable[Record]:
        """The designs that were kept, in the order in which they were made."""
        item = registry.catalogue().get("runners", "builtin/paired")
        return [
            Record(spec, item.full_name, item.version, (), iteration, "train", scores)
            for iteration, spec, scores in self._kept
        ]

    def state_dict(self) -> dict[str, Any]:
        """All who learn, the numbers of iterations and of placements, the designs that were kept."""
        kept = [[iteration, spec.to_json(), scores] for iteration, spec, scores in self._kept]
        return {
            **{who: state_of(agent) for who, agent in self._agents()},
            "iterations": self._iterations,
            "placements": self._placements,
            "kept": kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` where others had learned."""
        agents = dict(self._agents())
        if set(state) - {"placements"} != {*agents, "iterations", "kept"}:  # older states have none
            raise CheckpointError(f"state of paired: expected the agents {', '.join(agents)}, found {sorted(state)}")
        for who, agent in agents.items():
            agent.load_state_dict(state[who])
        self._iterations, self._placements = state["iterations"], state.get("placements", 0)
        self._kept = [(iteration, TaskSpec.from_json(text), dict(scores)) for iteration, text, scores in state["kept"]]

    def close(self) -> None:
        """Nothing is held."""

    def _agents(self) -> list[tuple[str, Agent]]:
        found = (("teacher", self._teacher), ("protagonist", self.agent), ("antagonist", self._antagonist))
        return [(who, agent) for who, agent in found if agent is not None]

    def _build(self, who: str, part: Part, family: TaskFamily[Any], episodes: int) -> Agent:
        seed = int(child(self._assignment.seed, who).generate_state(1, np.uint64)[0] >> 1)
        updates, device = self._assignment.iterations, self._assignment.device
        return build_agent(part, problem_of(family, episodes=episodes, seed=seed, device=device, updates=updates))

    def _draw(self, name: str) -> list[int]:
        """A seed for every task of this iteration."""
        sequence = child(self._assignment.seed, name, self._iterations)
        return np.random.Generator(np.random.PCG64(sequence)).integers(0, 2**53, self._assignment.tasks).tolist()

    def _design(self) -> tuple[Trial, list[dict[str, Any]]]:
        """The teacher's turns, and the contexts that came of them."""
        blank = [self._designs.spec()] * self._assignment.tasks
        trial = collect(self._teacher, self._desk, blank, plan=planned(self._teacher, 1), seeds=self._draw("designs"))
        return trial, self._designs.contexts(self._desk)

    def _task(self, context: dict[str, Any], seed: int) -> TaskSpec | None:
        """The task that a design is, if it is one."""
        try:
            return self._assignment.family.spec(context, seed=seed)
        except TaskError:
            return None

    def _play(self, student: Agent, specs: Sequence[TaskSpec], seeds: Sequence[int]) -> Trial:
        plan = planned(student, self._assignment.episodes)
        slots = len(specs) * plan.slots
        if self._batch is None or self._batch.slots != slots:
            self._batch = self._assignment.family.batch(slots, self._assignment.device)
        return collect(student, self._batch, specs, plan=plan, seeds=seeds)

    def _reward(self, returns: dict[str, Tensor]) -> Tensor:
        """[tasks] what the teacher is paid for designs that were played."""
        protagonist = returns["protagonist"].mean(0)
        return returns["antagonist"].amax(0) - protagonist if "antagonist" in returns else -protagonist

    def _learn(self, designed: Trial, reward: Tensor, trials: dict[str, Trial]) -> Metrics:
        """Each from its own trials: the protagonist's metrics as they are, the others' under their names."""
        metrics: Metrics = {}
        if self.config.teacher_objective != "random":
            (rollout,) = designed.rounds
            paid = torch.zeros_like(rollout.reward)
            paid[-1] = reward
            lesson = replace(designed, rounds=[replace(rollout, reward=paid)])
            metrics |= _named("teacher", learned_from(self._teacher, lesson))
        if "antagonist" in trials and self._antagonist is not None:
            metrics |= _named("antagonist", learned_from(self._antagonist, trials["antagonist"]))
        return metrics | (learned_from(self.agent, trials["protagonist"]) if trials else {})

    def _figures(
        self, contexts: Sequence[dict[str, Any]], played: int, returns: dict[str, Tensor], reward: Tensor
    ) -> Metrics:
        """What was made, and how it went."""
        family = self._assignment.family
        found = [figures_of(family, context) for context in contexts]
        columns = {name: [row[name] for row in found if name in row] for name in {key for row in found for key in row}}
        metrics = {f"tasks/{name}": sum(values) / len(values) for name, values in sorted(columns.items())}
        metrics["tasks/refused"] = 1 - played / len(contexts)
        for who, values in returns.items():
            metrics[f"meta/{who}_return"] = float(values.mean())
            if isinstance(family, Solvable):
                metrics[f"meta/{who}_solved"] = float((values >= family.solved_return).double().mean())
        if self.config.teacher_objective != "random":
            metrics[f"tasks/{self.config.teacher_objective}"] = float(reward.mean())
        return metrics

    def _keep(self, specs: Sequence[TaskSpec], returns: dict[str, Tensor], reward: Sequence[float]) -> None:
        """The first designs of every so many iterations, as many as keep within `archived`."""
        archived, iterations = self.config.archived, self._assignment.iterations
        if archived == 0 or self._iterations % math.ceil(iterations / archived):
            return
        for place, spec in enumerate(specs[: max(1, archived // iterations)]):
            scores = {f"{who}_return": float(values[:, place].mean()) for who, values in returns.items()}
            if self.config.teacher_objective != "random":
                scores[self.config.teacher_objective] = reward[place]
            self._kept.append((self._iterations, spec, scores))


def _named(who: str, metrics: Metrics) -> Metrics:
    """ "losses/policy_loss" of the teacher is "losses/teacher_policy_loss"."""
    return {name.replace("/", f"/{who}_", 1): value for name, value in metrics.items()}
