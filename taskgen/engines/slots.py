"""`Slots`: a `TaskBatch` under Gymnasium's rules for tasks, seeds and NumPy values, for both Gymnasium faces."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from registry.errors import TaskError
from taskgen.batch import Transition
from taskgen.build import family_of
from taskgen.engines.faults import Faulting
from taskgen.family import Animated
from taskgen.spec import TaskSpec
from taskgen.streams import integer_seed

Array = NDArray[Any]


class Slots:
    """B slots with a task each. A new task waits for the next reset of its slot; a seed decides the noise from then on.

    What happens in a slot is a function of its seed, tasks and actions alone: one slot by itself and the same slot
    among thousands agree bit for bit. Raises `TaskError` for tasks that are invalid or of different structure.
    """

    def __init__(self, tasks: Sequence[TaskSpec], device: str = "cpu") -> None:
        if not tasks:
            raise TaskError("no tasks were given: one per slot is needed")
        self.family = family_of(tasks[0])
        self._check(tasks)
        self.tasks = list(tasks)
        """The task of the current episode of every slot."""
        self.ids: Array = np.array([task.number for task in tasks], dtype=np.int64)
        """[B] `TaskSpec.number` of each."""
        self.seeded = np.zeros(len(tasks), dtype=np.bool_)
        """[B] whether a slot was ever given a seed."""
        self.notes: dict[str, tuple[Array, NDArray[np.bool_]]] = {}
        """What there is to say of the last step beside its outcome: values [B] by name, and for which slots [B]."""
        self.faults: dict[int, str] = {}
        """Why the last step cut an episode short, by slot."""
        self._batch = self.family.batch(len(tasks), device)
        self._batch.set_tasks(tasks)
        self._log = self._batch.faults if isinstance(self._batch, Faulting) else None
        self._started = False
        self._next: dict[int, TaskSpec] = {}
        self._seeds = [0] * len(tasks)
        self._changes = [0] * len(tasks)

    def set_tasks(self, tasks: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """Give slot `slots[i]` (all slots when None) the task `tasks[i]` from its next reset on.

        Raises `TaskError` for slots that there are not, and tasks that do not fit the batch or its family.
        """
        slots = range(len(self.tasks)) if slots is None else slots
        if len(tasks) != len(slots):
            raise TaskError(f"{len(tasks)} tasks for {len(slots)} slots: give one per slot")
        for slot in slots:
            if not 0 <= slot < len(self.tasks):
                raise TaskError(f"slot {slot}: there are slots 0 to {len(self.tasks) - 1}")
        self._check(tasks)
        self._next.update(zip(slots, tasks, strict=True))

    def reset(self, where: NDArray[np.bool_], seeds: Mapping[int, int] | None = None) -> Array:
        """Start an episode in the slots where `where` [B] is true; `seeds` by slot restart the noise of those.

        Without a seed the noise goes on, and under a new task it goes on with other noise than under the last one.
        Returns the current observation of all slots, a new array [B, ...].
        """
        seeds = seeds or {}
        fresh = self._change_tasks(where)
        for slot, seed in seeds.items():
            self._seeds[slot], self._changes[slot], self.seeded[slot] = seed, 0, True
            fresh[slot] = True
        if fresh.any():
            known = zip(fresh, self._seeds, self._changes, strict=True)
            noise = [_noise_seed(seed, changes) if restart else 0 for restart, seed, changes in known]
            observation = self._batch.reset(self._mask(fresh), noise)
        else:
            observation = None
        self._started = True
        rest = where & ~fresh
        if observation is None or rest.any():
            observation = self._batch.reset(self._mask(rest))
        return self._observation(observation)

    def step(self, action: Array) -> tuple[Array, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Observation [B, ...], reward, terminated, truncated [B]: new arrays. `action` is [B, ...]."""
        known = 0 if self._log is None else self._log.count
        outcome = self._batch.step(torch.tensor(action, device=self._batch.device))
        faults = {} if self._log is None else self._log.since(known)
        self.faults = {slot: fault.reason for slot, fault in faults.items()}
        self.notes = self._noted(outcome)
        reward = outcome.reward.cpu().numpy().astype(np.float64)
        terminated, truncated = outcome.terminated.cpu().numpy().copy(), outcome.truncated.cpu().numpy().copy()
        if self.family.horizon == 1:  # Gymnasium's checker: what ends at its first step is complete, not cut short
            terminated, truncated = terminated | truncated, np.zeros_like(truncated)
        return self._observation(outcome.observation), reward, terminated, truncated

    def drawn(self, slot: int, mode: str) -> Array | str:
        """What is to see in a slot: in "rgb_array" the episode as it stands, where the family is `Animated`.

        Before the first reset, as text, and of all other families it is the task.
        """
        task, batch = self.tasks[slot], cast(Any, self._batch)
        if mode == "rgb_array" and self._started and isinstance(self.family, Animated):
            return self.family.frame(task, batch.state(slot))
        return self.family.render(task)

    def _noted(self, outcome: Transition) -> dict[str, tuple[Array, NDArray[np.bool_]]]:
        """See `notes`."""
        notes: dict[str, tuple[Array, NDArray[np.bool_]]] = {}
        if self.faults:
            cut = np.array([slot in self.faults for slot in range(len(self.tasks))])
            notes["fault"] = (cut, cut)
        if outcome.family_reward is not None:
            replaced = np.array([task.reward is not None for task in self.tasks])
            notes["family_reward"] = (outcome.family_reward.cpu().numpy().astype(np.float64), replaced)
        if outcome.success is not None:
            notes["success"] = (outcome.success.cpu().numpy().copy(), np.ones(len(self.tasks), dtype=np.bool_))
        return notes

    def _change_tasks(self, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Put waiting tasks into the slots that are reset. Returns [B] which ones."""
        changed = np.zeros_like(where)
        slots = [slot for slot in self._next if where[slot]]
        if slots:
            tasks = [self._next.pop(slot) for slot in slots]
            self._batch.set_tasks(tasks, slots)
            for slot, task in zip(slots, tasks, strict=True):
                self.tasks[slot], self.ids[slot] = task, task.number
                self._changes[slot] += 1
            changed[slots] = True
        return changed

    def _observation(self, value: torch.Tensor) -> Array:
        seen = value.cpu().numpy()
        return seen.astype(self.family.observation_space.dtype or seen.dtype)  # a copy, whatever the type

    def _mask(self, where: NDArray[np.bool_]) -> torch.Tensor | None:
        return None if where.all() else torch.tensor(where, device=self._batch.device)

    def _check(self, tasks: Sequence[TaskSpec]) -> None:
        for number, task in enumerate(tasks):
            try:
                self.family.check(task)
            except TaskError as error:
                of_many = f"task {number} of {len(tasks)}: " if len(tasks) > 1 else ""
                raise TaskError(f"{of_many}{error}") from None


def _noise_seed(seed: int, changes: int) -> int:
    """The engine's noise seed: the seed itself, another one after every change of task."""
    return seed % 2**63 if changes == 0 else integer_seed(seed, "task", changes)
