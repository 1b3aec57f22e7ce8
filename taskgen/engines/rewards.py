"""`SlotRewards`: the reward functions of a batch's tasks, for every engine."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taskgen.family import TaskFamily
from taskgen.reward import RewardFunction, build_rewards
from taskgen.spec import RewardSpec, TaskSpec


class SlotRewards:
    """What the slots of a batch are paid: by their task's `RewardSpec`, or by the family where it has none."""

    def __init__(self, family: TaskFamily[Any], slots: int, device: torch.device) -> None:
        self._family = family
        self._device = device
        self._rewards: list[RewardSpec | None] = [None] * slots
        self._functions: list[tuple[RewardFunction, Tensor | None]] = []

    @property
    def active(self) -> bool:
        """Whether any slot has a reward of its own."""
        return bool(self._functions)

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """Take the rewards of `specs` for the slots `slots` (all when None). Raises `TaskError` for unfit ones."""
        before = list(self._rewards)
        for slot, spec in zip(range(len(specs)) if slots is None else slots, specs, strict=True):
            self._rewards[slot] = spec.reward
        if self._rewards != before:
            self._build()

    def __call__(self, observation: Tensor, action: Tensor, next_observation: Tensor, own: Tensor) -> Tensor:
        """[B] rewards of a step; `own` [B] are the family's."""
        reward = own
        for function, rows in self._functions:
            if rows is None:
                reward = function(observation, action, next_observation)
            else:
                paid = function(observation[rows], action[rows], next_observation[rows])
                reward = reward.index_copy(0, rows, paid)
        return reward

    def beside(self, descriptor: Tensor) -> Tensor:
        """[B, D + D'] `descriptor` [B, D] with what an oracle may see of the rewards, zero where a slot has none."""
        parts = [descriptor]
        for function, rows in self._functions:
            seen = function.descriptor()
            if rows is not None:
                seen = seen.new_zeros(len(self._rewards), seen.shape[1]).index_copy(0, rows, seen)
            parts.append(seen.to(descriptor.device))
        return torch.cat(parts, dim=1) if self.active else descriptor

    def _build(self) -> None:
        """One function for each entry that is used."""
        groups: dict[str, list[int]] = {}
        for slot, reward in enumerate(self._rewards):
            if reward is not None:
                groups.setdefault(reward.name, []).append(slot)
        self._functions = []
        for _, rows in sorted(groups.items()):
            rewards = [reward for row in rows if (reward := self._rewards[row]) is not None]
            everywhere = len(rows) == len(self._rewards)
            index = None if everywhere else torch.tensor(rows, device=self._device)
            self._functions.append((build_rewards(rewards, self._family, self._device), index))
