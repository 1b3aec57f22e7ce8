"""`TaskBatch`: the batched environment every family gives and every face is derived from. B is the number of slots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import gymnasium as gym

from taskgen.spec import TaskSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Transition:
    """Outcome of one step in all slots."""

    observation: "Tensor"
    """[B, ...]; the true next observation, also where the episode ended."""
    reward: "Tensor"
    """[B] float32."""
    terminated: "Tensor"
    """[B] bool: the MDP ended."""
    truncated: "Tensor"
    """[B] bool: the horizon was reached."""
    family_reward: "Tensor | None" = None
    """[B] float32: the family's own reward, where tasks with a reward of their own have replaced it in `reward`."""
    success: "Tensor | None" = None
    """[B] bool: whether the task counts as done after it, where the family tells (`TaskFamily.tells_success`)."""


class ControlledMarkovProcess(Protocol):
    """What batches and rewards need to know of a task family; every `taskgen.family.TaskFamily` is one."""

    name: str
    """Full name of the family, such as "builtin/bandit"."""
    observation_space: gym.Space[Any]
    """Of one slot."""
    action_space: gym.Space[Any]
    """Of one slot."""
    horizon: int
    """Steps after which an episode is truncated."""

    def batch(self, slots: int, device: "torch.device | str" = "cpu") -> "TaskBatch":
        """A batched environment of `slots` slots, each to be given a task with `set_tasks`."""
        ...


class TaskBatch(Protocol):
    """B slots, each with its own task. There is no autoreset: boundaries belong to the caller.

    Randomness is counter-based per slot: what happens in a slot is a function of its task, its noise seed and its
    actions alone, never of the other slots, the number of slots or the device.
    """

    slots: int
    device: "torch.device"

    @property
    def family(self) -> ControlledMarkovProcess:
        """The family of the tasks; where there is one, the `TaskFamily` itself."""
        ...

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """Give slot `slots[i]` (all slots when None) the task `specs[i]`, with `specs[i].seed` as noise seed.

        A reset follows. Raises `TaskError` for tasks of another family or structure.
        """
        ...

    def reset(self, where: "Tensor | None" = None, seeds: Sequence[int] | None = None) -> "Tensor":
        """Start an episode in the slots where the bool tensor `where` [B] is true (all when None).

        `seeds` (one per slot) restarts the noise of the slots that are reset; without it their noise goes on. Returns
        the current observation of *all* slots, [B, ...]; slots that were not reset keep theirs.
        """
        ...

    def step(self, action: "Tensor") -> Transition:
        """Advance all slots by `action` [B, ...], each in the action space: whoever drives a batch sees to that, as
        `collect` does for every agent. Stepping a slot past its end is allowed and meaningless.
        """
        ...

    def descriptor(self) -> "Tensor":
        """[B, D] float32: what an oracle may see of the task in each slot, its reward included."""
        ...


@runtime_checkable
class Numbered(Protocol):
    """A `TaskBatch` whose slots may play any episodes of their trials, as those side by side do. Optional."""

    def number(self, episodes: Sequence[int]) -> None:
        """The episode that slot i begins with at the next reset is number `episodes[i]` of its trial, from 0.

        For families whose trials change from episode to episode; until the next `set_tasks`.
        """
        ...


@runtime_checkable
class Resting(Protocol):
    """A `TaskBatch` that can spare slots whose outcome nobody looks at. Optional.

    One whose engine computes on the host whatever its `device` also has the attribute `on_host = True`.
    """

    def rest(self, where: "Tensor") -> None:
        """Nothing happens in the slots where the bool tensor `where` [B] is true, nor can anything go wrong there,
        until their next reset.
        """
        ...
