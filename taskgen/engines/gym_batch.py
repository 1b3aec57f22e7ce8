"""Batches of environments that others wrote for Gymnasium: one environment a slot, in this process or in workers.

Every episode is begun by `reset(seed=...)`, the seed drawn from the slot's noise seed and the number of the episode: an
environment that follows its seed meets the promise of `TaskBatch` that a slot depends on its task, seed and actions
alone. What an environment does beyond its seed, to the bit of its floating point, no batch of it can promise.
"""

import weakref
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from registry.config import INCIDENTAL, Config
from taskgen.batch import Transition
from taskgen.engines import noise
from taskgen.engines.faults import Fault, FaultLog
from taskgen.engines.gym_env import Host
from taskgen.engines.gym_reading import Failure, Outcome
from taskgen.engines.gym_recipe import Numbers, Recipe
from taskgen.engines.gym_workers import Crew
from taskgen.engines.rewards import SlotRewards
from taskgen.family import TaskFamily, same_structure
from taskgen.spaces import Array
from taskgen.spec import TaskSpec

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

_BITS = 2**31
"""Seeds are below it, since many environments hand theirs on to what takes no larger ones."""


class Hosts(Protocol):
    """Environments by slot: a `Host`, or a `Crew` of them."""

    def give(self, slots: Sequence[int], numbers: Sequence[Numbers]) -> None:
        """From their next reset on the slots play the knobs `numbers`."""
        ...

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> Outcome:
        """Begin an episode in each of `slots`."""
        ...

    def step(self, slots: Sequence[int], actions: Array) -> Outcome:
        """One step of each of `slots`."""
        ...

    def posture(self, slot: int) -> Any:
        """What the environment of a slot says by its method `posture`."""
        ...

    def close(self) -> None:
        """Let go of all environments."""
        ...


class HostedConfig(Config):
    """Settings that say where environments live; none changes a result."""

    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Processes that host the environments; 0: this one, which none may hang or end.",
        json_schema_extra=INCIDENTAL,
    )
    deadline: float = Field(
        60.0,
        gt=0,
        description="Seconds after which an environment in a worker counts as hung.",
        json_schema_extra=INCIDENTAL,
    )


C = TypeVar("C", bound=HostedConfig)


class Lender(TaskFamily[C]):
    """A family that has environments to lend."""

    def __init__(self, config: C, *, name: str) -> None:
        super().__init__(config, name=name)
        self._idle: list[Crew] = []
        """Workers of batches that are gone."""

    @cached_property
    @abstractmethod
    def recipe(self) -> Recipe:
        """How its environments are made."""

    def numbers(self, spec: TaskSpec) -> Numbers:
        """What an environment is made with for a task: by default its knobs."""
        return {name: spec.context[name] for name in self.context_space.knobs}

    def features(self, spec: TaskSpec) -> list[float]:
        """The descriptor of a task: by default its knobs in order, each by its range from 0 to 1; or one 0 for none."""
        return self.context_space.scaled(spec.context).tolist() or [0.0]

    def hosts(self) -> Hosts:
        """Environments for one batch, in this process or in workers, those of a batch that is gone where there are."""
        spaces = self.observation_space, self.action_space
        if not self.config.workers:
            return Host(self.recipe, *spaces)
        if self._idle:
            return self._idle.pop()
        return Crew(self.recipe, *spaces, workers=self.config.workers, deadline=self.config.deadline)

    def take_back(self, hosts: Hosts) -> None:
        """The batch that had them is gone: workers are kept for the next."""
        if isinstance(hosts, Crew):
            self._idle.append(hosts)
        else:
            hosts.close()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes, which start workers of their own; read-only mappings know neither."""
        return {name: value for name, value in {**self.__dict__, "_idle": list[Crew]()}.items() if name != "structure"}


class GymBatch:
    """A `TaskBatch` over environments that `family` lends.

    An environment that fails, in whatever way, costs an episode: it is truncated with reward 0 and its last good
    observation (`first` where there was none), and recorded in `faults`. With `levels`, all episodes of a task are
    reset with the seed of the task.
    """

    on_host = True

    def __init__(
        self,
        family: Lender[Any],
        slots: int,
        device: torch.device | str = "cpu",
        *,
        first: Array,
        levels: bool,
    ) -> None:
        self.slots = slots
        self.device = torch.device(device)
        self.family = family
        self.faults = FaultLog()
        """Episodes that were cut short because their environment failed."""
        self._lender, self._levels = family, levels
        self._rewards = SlotRewards(family, slots, torch.device("cpu"))
        self._specs: list[TaskSpec] = []
        self._observation: Array = np.repeat(first[None], slots, axis=0)
        self._blank = first
        self._resting = np.ones(slots, dtype=np.bool_)
        """Where an episode has ended, or nobody looks."""
        self._broken = np.zeros(slots, dtype=np.bool_)
        """Where an episode could not even begin, which its next step says."""
        self._time = np.zeros(slots, dtype=np.int64)
        self._episode = torch.zeros(slots, dtype=torch.int64)
        self._seed_key = torch.zeros(slots, dtype=torch.int64)
        self._reset_with: Array = np.zeros(slots, dtype=np.int64)
        self._done: list[list[Array]] = [[] for _ in range(slots)]
        """The actions of the episode."""
        self._open()

    def _open(self) -> None:
        """Get environments of the family's; whoever makes the next batch may have them after this one."""
        self._hosts = self._lender.hosts()
        weakref.finalize(self, self._lender.take_back, self._hosts)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: all but the environments themselves, which nobody knows how to copy."""
        return {name: value for name, value in self.__dict__.items() if name != "_hosts"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the environments again and do what was done in their episodes.

        Raises `TypeError` where that shows something else: of an environment that does not follow its seed there is no
        copy.
        """
        self.__dict__.update(state)
        self._open()
        if not self._specs:
            return
        self._hosts.give(range(self.slots), [self._lender.numbers(spec) for spec in self._specs])
        rows: list[int] = np.flatnonzero(~self._resting & ~self._broken).tolist()
        shown = self._hosts.reset(rows, self._reset_with[rows].tolist()).observation
        for time in range(max((len(self._done[row]) for row in rows), default=0)):
            places = [place for place, row in enumerate(rows) if len(self._done[row]) > time]
            on = [rows[place] for place in places]
            shown[places] = self._hosts.step(on, np.stack([self._done[row][time] for row in on])).observation
        if not np.array_equal(shown, self._observation[rows]):
            raise TypeError(
                f"{self.family.name}: the environment does not do the same again from the same seed, so there is no "
                "copy of it; make another one"
            )

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """See `TaskBatch.set_tasks`. Raises `ValueError` for other numbers of tasks than of slots."""
        same_structure(specs, self.family)
        rows = list(range(self.slots) if slots is None else slots)
        if len(specs) != len(rows):
            raise ValueError(f"{len(specs)} tasks for {len(rows)} slots")
        if slots is None:
            self._specs = list(specs)
        elif not self._specs:
            raise ValueError("the first set_tasks of a batch fills all slots")
        self._rewards.set_tasks(specs, slots)
        for slot, spec in zip(rows, specs, strict=True):
            self._specs[slot] = spec
        self._hosts.give(rows, [self._lender.numbers(spec) for spec in specs])
        index = torch.tensor(rows, dtype=torch.int64)
        self._seed_key[index] = noise.keys([spec.seed for spec in specs])
        self._episode[index] = 0

    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """See `TaskBatch.reset`."""
        mask = np.ones(self.slots, dtype=np.bool_) if where is None else where.cpu().numpy()
        rows = np.flatnonzero(mask).tolist()
        if rows:
            index = torch.tensor(rows, dtype=torch.int64)
            if seeds is not None:
                self._seed_key[index] = noise.keys([seeds[row] for row in rows])
                self._episode[index] = 0
            drawn: Array = noise.child(self._seed_key[index], self._episode[index]).numpy() % _BITS
            self._episode[index] += 1
            if self._levels:
                drawn = np.array([self._specs[row].seed % _BITS for row in rows])
            self._reset_with[rows] = drawn
            outcome = self._hosts.reset(rows, drawn.tolist())
            self._observation = self._observation.copy()
            self._observation[rows] = outcome.observation
            self._time[rows], self._resting[rows], self._broken[rows] = 0, False, False
            for row in rows:
                self._done[row] = []
            for place, failure in outcome.failures.items():
                slot = rows[place]
                self._observation[slot], self._broken[slot] = self._blank, True
                self._record(slot, failure)
        return torch.from_numpy(self._observation).to(self.device)

    def step(self, action: Tensor) -> Transition:
        """See `TaskBatch.step`. Environments whose episode has ended rest until their next reset."""
        actions: Array = action.detach().cpu().numpy()
        playing = ~self._resting & ~self._broken
        rows = np.flatnonzero(playing).tolist()
        outcome = self._hosts.step(rows, actions[rows])
        for row in rows:
            self._done[row].append(actions[row].copy())
        observation = self._observation.copy()
        observation[rows] = outcome.observation
        reward = np.zeros(self.slots, dtype=np.float32)
        terminated, truncated, success = np.zeros((3, self.slots), dtype=np.bool_)
        reward[rows], terminated[rows], truncated[rows] = outcome.reward, outcome.terminated, outcome.truncated
        success[rows] = outcome.success
        self._time += 1
        truncated |= (self._time >= self.family.horizon) | self._broken
        own = reward
        if self._rewards.active:
            seen = (self._observation, actions, observation, own)
            reward = self._rewards(*map(torch.from_numpy, seen)).numpy().copy()
        for place, failure in outcome.failures.items():
            slot = rows[place]
            observation[slot], reward[slot], own[slot] = self._observation[slot], 0.0, 0.0
            terminated[slot], truncated[slot], success[slot] = False, True, False
            self._record(slot, failure)
        self._resting |= terminated | truncated
        self._observation = observation
        paid = (reward, own) if self._rewards.active else (reward,)
        kinds = (observation[None], np.stack((terminated, truncated, success)), np.stack(paid))
        (shown,), flags, rewards = (torch.from_numpy(x).to(self.device).unbind() for x in kinds)
        own_reward = rewards[1] if self._rewards.active else None
        told = flags[2] if self._lender.tells_success else None
        return Transition(shown, rewards[0], flags[0], flags[1], own_reward, told)

    def rest(self, where: Tensor) -> None:
        """See `Resting.rest`."""
        self._resting |= where.cpu().numpy()

    def state(self, slot: int) -> Any:
        """What the environment of `slot` says of itself by its method `posture`, for families that draw it."""
        return self._hosts.posture(slot)

    def descriptor(self) -> Tensor:
        """[B, D]: see `Lender.features`."""
        rows = [self._lender.features(spec) for spec in self._specs]
        return self._rewards.beside(torch.tensor(rows, dtype=torch.float32)).to(self.device)

    def _record(self, slot: int, failure: Failure) -> None:
        """Keep with the fault what repeats it: the seed of the reset, in an environment of the task."""
        state = np.array([self._reset_with[slot], self._episode[slot].item() - 1], dtype=np.float64)
        step = int(self._time[slot])
        self.faults.record(Fault(slot, self._specs[slot], step, failure.reason, failure.blame, state))
