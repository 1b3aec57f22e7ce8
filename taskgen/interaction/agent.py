"""The agent protocol: `begin_trial`, `act`, `adapt`, `learn`, and the values that flow through them.

Axes: T time, B slots (one trial each). Arrays are time-major `[T, B, ...]`. Four boundary flags: `terminated[t]` and
`truncated[t]` are the outcome of step t; `episode_start[t]` and `trial_start[t]` are true *before* step t.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import torch
from torch import Tensor

from taskgen.spec import TaskSpec

Carry: TypeAlias = Any
"""All of an agent's adaptation state: a tree of tensors with leading axis B. Row i never depends on row j."""
Metrics: TypeAlias = dict[str, float]
RewardOf: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""(observation, action, next observation, descriptor or None), each [N, ...] -> reward [N], without gradient."""


@dataclass(frozen=True)
class Problem:
    """What an agent is told about the tasks before it is built."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    horizon: int
    """Steps after which an episode is truncated."""
    episodes: int
    """Episodes of a trial."""
    descriptor_size: int
    family: str
    """Full name of the family."""
    structure: Mapping[str, Any]
    """The family's structural settings."""
    seed: int
    """Seeds the agent's parameters and its own sampling."""
    device: torch.device
    updates: int = 0
    """Calls of `learn` that are planned, for schedules; 0 when none are."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an agent sees before acting: [B, ...] in `act`, [T, B, ...] in `learn`."""

    observation: Tensor
    previous_action: Tensor
    """Zeros where `trial_start`."""
    previous_reward: Tensor
    """Zero where `trial_start`."""
    episode_start: Tensor
    """bool; inside a trial this is the termination of the previous step."""
    trial_start: Tensor
    """bool."""
    episode_index: Tensor
    """int64, counted from 0; a slot that has played all its episodes waits at the number of episodes."""
    descriptor: Tensor | None = None
    """[B, D] or [T, B, D]; only for agents with `needs_descriptor`."""


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent does: `value` [B, ...] goes to the environment, `record` is kept for `learn`."""

    value: Tensor
    record: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True, slots=True)
class Rollout:
    """Consecutive steps of B trials, time-major."""

    observation: Tensor
    """[T, B, ...] before the step."""
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    next_observation: Tensor
    """[T, B, ...] after the step; at an episode's end the true last observation, not the reset one."""
    episode_start: Tensor
    trial_start: Tensor
    episode_index: Tensor
    valid: Tensor
    """[T, B] bool: false where a slot had already played all its episodes."""
    record: Mapping[str, Tensor]
    descriptor: Tensor | None = None
    """[B, D]; only for agents with `needs_descriptor`."""
    family_reward: Tensor | None = None
    """[T, B]: the family's own reward, where tasks with a reward of their own have replaced it in `reward`."""

    @property
    def steps(self) -> Step:
        """The steps as `act` saw them, [T, B, ...]."""
        previous_action = torch.cat([torch.zeros_like(self.action[:1]), self.action[:-1]])
        previous_reward = torch.cat([torch.zeros_like(self.reward[:1]), self.reward[:-1]])
        descriptor = None if self.descriptor is None else self.descriptor.expand(len(self.reward), -1, -1)
        return Step(
            self.observation,
            previous_action,
            previous_reward,
            self.episode_start,
            self.trial_start,
            self.episode_index,
            descriptor,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """B complete trials, one task each: the rollout of all rounds, in order."""

    specs: Sequence[TaskSpec]
    rollout: Rollout
    episodes: int
    """Episodes of every trial."""

    def episode_returns(self) -> Tensor:
        """[episodes, B] undiscounted return of every episode."""
        rollout = self.rollout
        reward = rollout.reward * rollout.valid
        returns = torch.zeros(self.episodes + 1, reward.shape[1], dtype=reward.dtype, device=reward.device)
        return returns.scatter_add_(0, rollout.episode_index, reward)[: self.episodes]


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """How a trial is played: `rounds` of `episodes_per_round` episodes with an `adapt` after each round."""

    rounds: int
    episodes_per_round: int

    @property
    def episodes(self) -> int:
        """Episodes of a trial."""
        return self.rounds * self.episodes_per_round


@runtime_checkable
class Agent(Protocol):
    """A meta-learner, or a reference player that never learns.

    Built as `Target(config, problem)`. Bootstrapping never advances the carry; row i of a batch never depends on row j.
    """

    needs_descriptor: bool
    """Whether `act` and `learn` are given the task descriptor (oracles)."""

    def plan(self, episodes: int) -> CollectionPlan:
        """How a trial of `episodes` episodes is to be played."""
        ...

    def begin_trial(self, batch: int) -> Carry:
        """Adaptation state of `batch` trials that are about to begin."""
        ...

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """Choose actions; recurrent inner loops advance here."""
        ...

    def adapt(self, carry: Carry, rollout: Rollout) -> Carry:
        """Adapt between rounds; gradient, posterior and memory inner loops advance here."""
        ...

    def learn(self, trial: Trial) -> Metrics:
        """The outer loop: one update of the meta-parameters."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on identically: a tree of dicts, lists, tensors and JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        ...


@runtime_checkable
class Relabels(Protocol):
    """An agent that learns from stored transitions and can reward them anew whenever it draws them."""

    reward_of: RewardOf | None
    """Set by whoever drives the agent; None: transitions keep the reward they were stored with."""
