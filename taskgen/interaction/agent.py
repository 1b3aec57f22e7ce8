"""The agent protocol: `begin_trial`, `act`, `adapt`, `learn`, and the values that flow through them.

Axes: T time, B slots. Arrays are time-major `[T, B, ...]`. Four boundary flags: `terminated[t]` and `truncated[t]` are
the outcome of step t; `episode_start[t]` and `trial_start[t]` are true *before* step t.

A trial has one slot, or E of them where its plan plays E episodes side by side. Then slots are task-major, those of
trial i are E * i ... E * i + E - 1, while the carry keeps the trials as its leading axis: `values.view(T, -1, E)` are
the values by time, trial and place.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import torch
from torch import Tensor

from taskgen.borders import border, inherit, state_of
from taskgen.spec import TaskSpec

Carry: TypeAlias = Any
"""All of an agent's adaptation state: a tree of tensors, leading axis trials. Row i never depends on row j."""
Metrics: TypeAlias = dict[str, float]
RewardOf: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""(observation, action, next observation, descriptor or None), each [N, ...] -> reward [N], without gradient."""


@dataclass(frozen=True)
class Problem:
    """What an agent is told about the tasks before it is built."""

    observation_space: gym.Space[Any]
    """The family's; observations stand in tensors as `taskgen.spaces` says."""
    action_space: gym.Space[Any]
    """What the agent answers in: the `taskgen.spaces.played_space` of the family's, Discrete counted from 0, Box [k],
    MultiDiscrete [m], or a Tuple of the latter two, packed.
    """
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
    cue: tuple[int, ...] = ()
    """Entries of the flattened observation that say which situation this is; none where the family is silent."""


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
    """int64, the episode's number in the trial, from 0; a slot that waits has the number of its next one already."""
    descriptor: Tensor | None = None
    """[B, D] or [T, B, D]; only for agents with `needs_descriptor`."""


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent does: `value` [B, ...] goes to the environment, `record` is kept for `learn`."""

    value: Tensor
    """In `Problem.action_space`; numbers beyond a Box are clipped on their way to the family, not here."""
    record: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True, slots=True)
class Rollout:
    """Consecutive steps of all slots, time-major."""

    observation: Tensor
    """[T, B, ...] before the step."""
    action: Tensor
    """[T, B, ...] what the agent answered; the family was given what `taskgen.interaction.acting` makes of it."""
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    next_observation: Tensor
    """[T, B, ...] after the step; at an episode's end the true last observation, not the reset one."""
    episode_start: Tensor
    trial_start: Tensor
    episode_index: Tensor
    valid: Tensor
    """[T, B] bool: false where a slot had already played all its episodes of the round."""
    record: Mapping[str, Tensor]
    descriptor: Tensor | None = None
    """[B, D]; only for agents with `needs_descriptor`."""
    family_reward: Tensor | None = None
    """[T, B]: the family's own reward, where tasks with a reward of their own have replaced it in `reward`."""
    success: Tensor | None = None
    """[T, B] bool: whether the task counts as done after the step, where the family tells."""

    def of(self, slots: Tensor) -> "Rollout":
        """The steps of the slots `slots` [b] int64 alone: [T, b, ...]."""
        chosen: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in chosen.items():
            if isinstance(value, Tensor):
                chosen[name] = value[slots] if name == "descriptor" else value[:, slots]
        chosen["record"] = {name: value[:, slots] for name, value in self.record.items()}
        return Rollout(**chosen)

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
class CollectionPlan:
    """How a trial is played: `rounds` of `episodes_per_round` episodes with an `adapt` between rounds.

    The episodes of a round are played one after another in one slot, or side by side in a slot each: agents that do
    not adapt within a round need not wait. An episode has the same number in the trial either way.
    """

    rounds: int
    episodes_per_round: int
    side_by_side: bool = False

    @property
    def episodes(self) -> int:
        """Episodes of a trial."""
        return self.rounds * self.episodes_per_round

    @property
    def slots(self) -> int:
        """Slots of a batch that one trial takes."""
        return self.episodes_per_round if self.side_by_side else 1


@dataclass(frozen=True, slots=True)
class Trial:
    """Complete trials, one per task."""

    specs: Sequence[TaskSpec]
    rounds: Sequence[Rollout]
    """What was played in each round."""
    plan: CollectionPlan

    @property
    def rollout(self) -> Rollout:
        """All rounds, one after another along time."""
        if len(self.rounds) == 1:
            return self.rounds[0]
        kept = [field.name for field in fields(Rollout) if field.name not in ("record", "descriptor")]
        names = [name for name in kept if getattr(self.rounds[0], name) is not None]
        joined = {name: torch.cat([getattr(rollout, name) for rollout in self.rounds]) for name in names}
        record = {name: torch.cat([rollout.record[name] for rollout in self.rounds]) for name in self.rounds[0].record}
        return Rollout(**joined, record=record, descriptor=self.rounds[0].descriptor)

    def of(self, trials: Sequence[int]) -> "Trial":
        """The trials with these numbers alone."""
        if len(trials) == len(self.specs):
            return self
        device = self.rounds[0].reward.device
        first = torch.tensor(trials, dtype=torch.int64, device=device) * self.plan.slots
        slots = (first[:, None] + torch.arange(self.plan.slots, device=device)).flatten()
        return Trial([self.specs[i] for i in trials], [rollout.of(slots) for rollout in self.rounds], self.plan)

    def played(self) -> int:
        """Environment steps that were played, those of slots that only waited left out. One host sync."""
        return int(torch.stack([rollout.valid.sum() for rollout in self.rounds]).sum())

    def episode_returns(self) -> Tensor:
        """[episodes, trials] undiscounted return of every episode, in the reward that the tasks pay."""
        return self._returns([rollout.reward for rollout in self.rounds])

    def family_returns(self) -> Tensor:
        """[episodes, trials] undiscounted return of every episode in the family's own reward, whatever tasks pay."""
        own = [rollout.family_reward for rollout in self.rounds]
        return self._returns([r.reward if other is None else other for r, other in zip(self.rounds, own, strict=True)])

    def successes(self) -> Tensor | None:
        """[2, episodes, trials] bool: whether the task was done after any step of an episode, and after its last one.

        None of a family that does not tell.
        """
        told = [rollout.success for rollout in self.rounds if rollout.success is not None]
        if len(told) < len(self.rounds):
            return None
        ends = [rollout.terminated | rollout.truncated for rollout in self.rounds]
        last = [done & end for done, end in zip(told, ends, strict=True)]
        return torch.stack([self._returns([done.float() for done in kind]) > 0 for kind in (told, last)])

    def _returns(self, rewards: Sequence[Tensor]) -> Tensor:
        """[episodes, trials] sums of `rewards`, [T, B] a round."""
        episodes = self.plan.episodes
        reward = torch.cat([paid * rollout.valid for paid, rollout in zip(rewards, self.rounds, strict=True)])
        index = torch.cat([rollout.episode_index for rollout in self.rounds]).clamp(max=episodes)
        returns = torch.zeros(episodes + 1, reward.shape[1], dtype=reward.dtype, device=reward.device)
        returns.scatter_add_(0, index, reward)
        return returns[:episodes].view(episodes, -1, self.plan.slots).sum(2)  # each was played in one of the slots


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
        """Adaptation state of `batch` trials that are about to begin, leading axis `batch`."""
        ...

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """Choose an action for every slot; recurrent inner loops advance here."""
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
class Demanding(Protocol):
    """An agent that adapts between episodes, not within them: a trial that is too short shows no adaptation."""

    def least_episodes(self) -> tuple[int, str]:
        """Fewest episodes of a trial of which some are played adapted; and, in words, which setting makes it so many,
        such as "two rounds of agent.trajectories = 20".
        """
        ...


@runtime_checkable
class Decoupled(Protocol):
    """An agent that explores first: the first episodes of a trial are there to find out about the task, not to earn.

    Reports count what is earned both ways, with these episodes and without. Trials have more episodes than these.
    """

    exploration_episodes: int
    """How many."""


@runtime_checkable
class Believes(Protocol):
    """An agent that holds a belief about its task, as a distribution over a latent of which the prior is N(0, 1)."""

    def belief_variance(self, rollout: Rollout) -> Tensor:
        """[T, B] variance of the belief with which each step was played, averaged over the latent's dimensions."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """An agent that learns from trials of some lengths alone."""

    def refuse_length(self, episodes: int) -> None:
        """Raise `UserError` for trials of so many episodes, from which it cannot learn."""
        ...


@runtime_checkable
class Explores(Protocol):
    """An agent that plays otherwise in training than when it is judged, such as with noise on its parameters."""

    def frozen(self) -> Agent:
        """The agent as it is judged, as it stands now; playing it leaves this agent as it is."""
        ...


@runtime_checkable
class Portable(Protocol):
    """An agent that plays by a fixed function of tensors, so that it can be written to a file: `adapt` changes nothing.

    The function is traced. So the number of rows is read from `shape`, not by `len`; no value decides what is done; and
    rows of zeros in the parts of a carry that grow are those of a trial that begins.
    """

    def decide(self, carry: Carry, step: Step) -> tuple[Mapping[str, Tensor], Carry]:
        """What an action of `act` is drawn from, by name, each [B, ...]; and the carry as `act` leaves it.

        "logits" [B, A] of all choices, one after another; "mean" and "deviation" [B, D] of numbers, in the units of
        `Problem.action_space`; and "action" [B, ...] where an agent that is judged draws nothing.
        """
        ...


@runtime_checkable
class Heir(Protocol):
    """An agent that can go on from what another one of its kind has learned, and learn from there as if it were new.

    Of an agent that cannot, a runner that hands agents around takes the whole state.
    """

    def adopt(self, other: Any) -> None:
        """Play, when judged, as `other` does: by its parameters and by its statistics of what it has seen.

        Everything else about learning, such as the optimiser, begins anew. `other` stays as it is.
        """
        ...


@runtime_checkable
class Seedable(Protocol):
    """An agent that draws random numbers while it plays or learns."""

    def reseed(self, seed: int) -> None:
        """Draw from the stream of `seed`, 0 to 2**63 - 1, from now on; nothing else about the agent changes."""
        ...


@runtime_checkable
class Begins(Protocol):
    """An agent some of whose settings decide how it begins and no more: of an agent that has learned they say nothing.

    All other numbers among its settings act on an agent that has loaded another one's state, so they can be evolved.
    """

    initial_settings: frozenset[str]
    """Their names."""


@runtime_checkable
class Anneals(Protocol):
    """An agent some of whose settings change towards the end of training, where one is planned (`Problem.updates`)."""

    annealed_settings: frozenset[str]
    """Their names; where no end is planned they stay as they are."""


def judged(agent: Agent) -> Agent:
    """`agent` as it plays to be judged: without what it does for the sake of learning."""
    if not isinstance(agent, Explores):
        return agent
    with border(agent, "frozen"):
        return inherit(agent.frozen(), agent)


def take_over(heir: Agent, other: Agent, seed: int) -> None:
    """Let `heir` go on from what `other` has learned, by the heir's own settings and random stream.

    The stream is `seed`'s, or the one that the heir has already where it can adopt: two heirs of one agent differ.
    """
    if isinstance(heir, Heir):
        with border(heir, "adopt"):
            heir.adopt(other)
        return
    state = copy.deepcopy(state_of(other))
    with border(heir, "load_state_dict"):
        heir.load_state_dict(state)
    if isinstance(heir, Seedable):
        with border(heir, "reseed"):
            heir.reseed(seed)


@runtime_checkable
class Relabels(Protocol):
    """An agent that learns from stored transitions and can reward them anew whenever it draws them."""

    reward_of: RewardOf | None
    """Set by whoever drives the agent; None: transitions keep the reward they were stored with."""


@runtime_checkable
class Critic(Protocol):
    """An agent with a value function, as most scores of tasks need."""

    def estimates(self, rollout: Rollout, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and generalised advantages, both [T, B] in units of reward, meaningful where `rollout.valid`.

        `trace` replaces the agent's own lambda; with 0 an advantage is the one-step temporal-difference error. What a
        value looks ahead to, the rest of the episode or of the trial, is the agent's affair.
        """
        ...
