"""DIAYN: tasks from skills that were learned without any reward.

A skill z is drawn for every episode; a policy pi(a|s, z) is paid for reaching states from which a discriminator D(z|s)
tells z, and the discriminator learns from where the policy goes. Skills drift apart until each owns a part of the state
space; then every `r_z(s) = log D(z|s) - log p(z)` is a task of the CMP.

    pi:  max E[ log D(z|s') - log p(z) ] + entropy      by any agent of the catalogue that sees z
    D:   max E[ log D(z|s') ]                           by Adam on the states of the same episodes

Reference: Eysenbach et al. 2019, "Diversity is All You Need", section 3 and algorithm 1; tasks from it: Gupta et al.
2018, "Unsupervised Meta-Learning for Reinforcement Learning", section 4.2 (UML-DIAYN).

Differences from the paper: D sees the next state, standardised by the states of a random policy; a skill is drawn for
every episode (the released code draws one an epoch); the learner is the setting `agent`, an on-policy one by default.

Axes: T time, B episodes side by side, K skills, F features.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from pydantic import Field, JsonValue
from torch import Tensor, nn

import registry
from plugins.generators.rewarded import Rewarded, reward_spec
from plugins.rewards.discriminator import Features, count_features
from plugins.rewards.learned_discriminator import LearnedDiscriminatorConfig
from registry.config import Config, Part, Width
from registry.errors import TaskError
from taskgen import artefacts
from taskgen.artefacts import Artefact
from taskgen.batch import ControlledMarkovProcess, TaskBatch, Transition
from taskgen.build import SOURCES
from taskgen.family import TaskFamily
from taskgen.interaction.acting import Acting, UniformActions
from taskgen.interaction.agent import Agent, Problem, Relabels, Trial, judged
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import learned_from, planned
from taskgen.progress import track
from taskgen.spaces import played_space, refuse_unreadable
from taskgen.spec import RewardSpec, TaskSpec
from taskgen.streams import integer_seed, stream, uniforms

_LEARNING = 2
"""Counts the ways in which these settings have been learned: a discriminator of another is not taken for this one."""
_HELD_OUT = 10
"""Fresh episodes of every slot that a discriminator is judged on."""


class DiaynConfig(Config):
    """Settings of `Diayn`."""

    artefact: str = Field("", description="SHA-256 of a discriminator that is there already; empty: learn one.")
    contexts: Part = Field(
        Part(name="domain-randomization"),
        description="Source of the tasks whose reward is replaced.",
        json_schema_extra={"kind": SOURCES},
    )
    fixed: dict[str, JsonValue] = Field(default={}, description="Knobs of the CMP that skills are learned on.")
    agent: Part = Field(
        Part(name="ppo"), description="Who learns the skills; it sees z.", json_schema_extra={"kind": "agents"}
    )
    skills: int = Field(10, ge=2, le=1000, description="Number of skills K (paper: 50).")
    features: tuple[int, ...] = Field((), description="Entries of the observation that D sees; none: all.")
    hidden: tuple[Width, ...] = Field(
        (64, 64), max_length=8, description="Units of each hidden layer (paper: 300, 300)."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate for D (paper: 3e-4).")
    decay: float = Field(1e-4, ge=0, description="Weight decay of D (AdamW).")
    epochs: int = Field(4, ge=1, description="Passes of D over the states of an iteration.")
    minibatch: int = Field(512, ge=1, description="States of a minibatch of D.")
    slots: int = Field(100, ge=1, description="Episodes of an iteration, side by side.")
    iterations: int = Field(200, ge=1, description="Rounds of collecting and learning.")
    learning_seed: int = Field(0, ge=0, lt=2**53, description="Root of all randomness of the learning.")
    least_accuracy: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of episodes whose last state must tell the skill; 0: twice what chance gives, or half "
        "way to all of them.",
    )


class Diayn(Rewarded[DiaynConfig]):
    """A `TaskSource`. Skills are learned at the first `ask`, once for the same family and settings.

    The discriminator becomes an artefact, `artefacts/<sha256>.safetensors`, to which tasks refer.
    """

    def __init__(self, config: DiaynConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        super().__init__(config, config.contexts, family=family, seed=seed)
        self._artefact = config.artefact
        if self._artefact:  # what does not fit is refused now
            self._family.spec(reward=_reward(self._artefact, 0))
        else:
            count_features(family.observation_space, config.features, family.name)
            self._task = family.spec(config.fixed)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Where the streams stand, and which discriminator it is."""
        return {**super().state_dict(), "artefact": self._artefact}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `TaskError` where the discriminator is missing or altered."""
        super().load_state_dict(state)
        self._artefact = state["artefact"]
        if self._artefact:
            artefacts.load(self._artefact)

    def _rewards(self, first: int, specs: Sequence[TaskSpec]) -> Sequence[RewardSpec]:
        if not self._artefact:
            recipe = _recipe(self.config, self._task)
            known = artefacts.find(recipe=recipe)
            self._artefact = known or artefacts.save(_learned(self.config, self._family, self._task, recipe))
        skills = int(artefacts.load(self._artefact).metadata["skills"])
        drawn = uniforms(self._seed, "skill", first, len(specs)) * skills
        return [_reward(self._artefact, int(skill)) for skill in drawn]


@dataclass(frozen=True)
class Skills:
    """A policy that shows skills, in a batch that pays for them, and the discriminator that tells them apart."""

    agent: Agent
    batch: "_SkillBatch"

    def play(self, turn: int | str) -> Trial:
        """An episode in every slot, of the skill it is told to show."""
        batch = self.batch
        seeds = stream(batch.config.learning_seed, "diayn", turn).integers(0, 2**53, batch.slots).tolist()
        return collect(self.agent, batch, [batch.task] * batch.slots, plan=planned(self.agent, 1), seeds=seeds)

    @torch.no_grad()
    def accuracy(self) -> float:
        """The share of fresh episodes from whose last state the discriminator tells the skill."""
        batch, told = self.batch, []
        batch.skill = torch.arange(batch.slots) % batch.config.skills
        for turn in range(_HELD_OUT):
            rollout = self.play(f"held-out {turn}").rollout
            last = rollout.valid.sum(0) - 1
            states = rollout.next_observation[last, torch.arange(batch.slots)]
            told.append(batch.discriminator(batch.discriminator.features(states)).argmax(1) == batch.skill)
        return float(torch.stack(told).double().mean())


def learn_skills(config: DiaynConfig, family: TaskFamily[Any], task: TaskSpec) -> Skills:
    """Skills learned on the CMP of `task` (algorithm 1)."""
    generator = torch.Generator().manual_seed(integer_seed(config.learning_seed, "skills"))
    batch = _SkillBatch(family.batch(config.slots), config, task)
    skills = Skills(_build_agent(config, family), batch)
    if isinstance(skills.agent, Relabels):  # what it remembers is paid by the discriminator of today
        skills.agent.reward_of = batch.pay
    batch.discriminator.standardise(_random_states(batch, generator))
    parameters = batch.discriminator.layers.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.decay)
    for iteration in track(range(config.iterations), config.iterations, "rounds of learning skills"):
        batch.skill = torch.randint(config.skills, (batch.slots,), generator=generator)
        trial = skills.play(iteration)
        learned_from(skills.agent, trial)
        states, shown = _states(batch, trial)
        for _ in range(config.epochs):
            for rows in torch.randperm(len(states), generator=generator).split(config.minibatch):
                loss = nn.functional.cross_entropy(batch.discriminator(states[rows]), shown[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
    return skills


def _learned(config: DiaynConfig, family: TaskFamily[Any], task: TaskSpec, recipe: str) -> Artefact:
    """A discriminator that tells skills apart. Raises `TaskError` where it cannot."""
    skills = learn_skills(config, family, task)
    accuracy, least = (
        skills.accuracy(),
        config.least_accuracy or min(2.0 / config.skills, (1.0 + 1.0 / config.skills) / 2),
    )
    if accuracy < least:
        raise TaskError(
            f"diayn on {family.name}: the discriminator collapsed. It tells the skill from the last state of "
            f"{accuracy:.1%} of held-out episodes (chance {1 / config.skills:.1%}, least_accuracy {least:.1%}), so its "
            "rewards are no tasks. Try more iterations, fewer skills, or `features` that the agent can change."
        )
    return skills.batch.discriminator.artefact(config, family, recipe=recipe, accuracy=f"{accuracy:.4f}")


class _Discriminator(nn.Module):
    """D(z|s): logits [B, K] of standardised features [B, F]."""

    def __init__(self, config: DiaynConfig, family: ControlledMarkovProcess) -> None:
        super().__init__()
        self.space, self.chosen = family.observation_space, config.features
        self.shift = self.scale = torch.ones((), dtype=torch.float64)
        sizes = (count_features(self.space, self.chosen, family.name), *config.hidden, config.skills)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(integer_seed(config.learning_seed, "discriminator"))
            layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
        rectified = [module for layer in layers[:-1] for module in (layer, nn.ReLU())]
        self.layers = nn.Sequential(*rectified, layers[-1])

    def standardise(self, observations: Tensor) -> None:
        """Fix mean and spread of the features to those of `observations` [N, ...]."""
        zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        features = Features(self.space, self.chosen, zero, one)(observations)
        self.shift, self.scale = features.mean(0), features.std(0).clamp(min=1e-6)

    def features(self, observations: Tensor) -> Tensor:
        """[N, F] float32."""
        return Features(self.space, self.chosen, self.shift, self.scale)(observations).to(torch.float32)

    def forward(self, features: Tensor) -> Tensor:
        """[N, K] logits."""
        return self.layers(features)

    def artefact(self, config: DiaynConfig, family: TaskFamily[Any], **metadata: str) -> Artefact:
        """What `learned-discriminator` reads."""
        tensors = {"shift": self.shift.numpy(), "scale": self.scale.numpy()}
        tensors["features"] = np.array(config.features, dtype=np.int64)
        linear = [module for module in self.layers if isinstance(module, nn.Linear)]
        for number, layer in enumerate(linear):
            tensors[f"weight.{number}"] = layer.weight.detach().numpy()
            tensors[f"bias.{number}"] = layer.bias.detach().numpy()
        known = {"family": family.name, "observation": str(family.observation_space), "skills": str(config.skills)}
        return Artefact(tensors, {**known, **metadata})


class _SkillBatch:
    """A batch of one CMP whose slots are paid for the skill each is told to show."""

    def __init__(self, batch: TaskBatch, config: DiaynConfig, task: TaskSpec) -> None:
        self.slots, self.device, self.family = batch.slots, batch.device, batch.family
        self.discriminator = _Discriminator(config, batch.family)
        self.config = config
        self.skill = torch.zeros(batch.slots, dtype=torch.int64)
        self.task = task
        self._batch = batch

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        self._batch.set_tasks(specs, slots)

    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        return self._batch.reset(where, seeds)

    def step(self, action: Tensor) -> Transition:
        outcome = self._batch.step(action)
        reward = self.pay(outcome.observation, action, outcome.observation, self.descriptor())
        return Transition(outcome.observation, reward, outcome.terminated, outcome.truncated, outcome.reward)

    @torch.no_grad()
    def pay(self, observation: Tensor, action: Tensor, next_observation: Tensor, skill: Tensor | None) -> Tensor:
        """[N] `log D(z|s') - log p(z)` by the discriminator as it is now; `skill` [N, K] is z, one-hot."""
        assert skill is not None, "_build_agent takes agents that see the descriptor"
        logits = self.discriminator(self.discriminator.features(next_observation))
        return (logits.log_softmax(1) * skill).sum(1) + math.log(self.config.skills)

    def descriptor(self) -> Tensor:
        return nn.functional.one_hot(self.skill, self.config.skills).to(torch.float32)


def _build_agent(config: DiaynConfig, family: TaskFamily[Any]) -> Agent:
    refuse_unreadable(family.observation_space, family.action_space, family.name)
    problem = Problem(
        observation_space=family.observation_space,
        action_space=played_space(family.action_space),
        horizon=family.horizon,
        episodes=1,
        descriptor_size=config.skills,
        family=family.name,
        structure=family.structure,
        seed=integer_seed(config.learning_seed, "agent"),
        device=torch.device("cpu"),
        updates=config.iterations,
    )
    item = registry.catalogue().get("agents", config.agent.name)
    agent: Agent = item.build(config.agent.settings, problem=problem)
    if not judged(agent).needs_descriptor:
        raise TaskError(
            f"diayn: agent {item.full_name} does not look at the descriptor where it plays what it has learned, so it "
            "cannot tell skills apart. Take ppo, sac or another that is told the task (`taskgen list agents`)"
        )
    return agent


def _random_states(batch: _SkillBatch, generator: torch.Generator) -> Tensor:
    """[N, ...] where uniformly random actions lead, in episodes one after another."""
    batch.set_tasks([batch.task] * batch.slots)
    batch.reset()
    acting = Acting(batch.family.action_space)
    drawn = UniformActions(acting.played)
    seen: list[Tensor] = []
    for _ in range(batch.family.horizon):
        outcome = batch.step(acting(drawn(batch.slots, generator)))
        seen.append(outcome.observation.clone())
        batch.reset(outcome.terminated | outcome.truncated)  # there are no states beyond an episode's end
    return torch.cat(seen)


def _states(batch: _SkillBatch, trial: Trial) -> tuple[Tensor, Tensor]:
    """Features [N, F] of all states that the episodes led to, and the skills [N] that were to be shown there."""
    rollout = trial.rollout
    skills = batch.skill.expand(rollout.valid.shape)
    return batch.discriminator.features(rollout.next_observation[rollout.valid]), skills[rollout.valid]


def _recipe(config: DiaynConfig, task: TaskSpec) -> str:
    """What a discriminator is a function of, as text: family, CMP and the settings of the learning."""
    settings = config.model_dump(mode="json", exclude={"artefact", "contexts", "fixed"})
    return json.dumps({"task": task.id, "family": task.family, "learning": _LEARNING, **settings}, sort_keys=True)


def _reward(artefact: str, skill: int) -> RewardSpec:
    return reward_spec("learned-discriminator", LearnedDiscriminatorConfig(artefact=artefact, skill=skill))
