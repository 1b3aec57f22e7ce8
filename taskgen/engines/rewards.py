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

    def __init__(self, family: TaskFamily[Any], slots: int, device: torch.device, shown: Tensor | None = None) -> None:
        """`shown` [S, ...] is all that is ever observed, where that is known.

        What a reward of the next observation alone pays is then looked up: a table takes S calls of it, so it is made
        where that is no more than two episodes.
        """
        self._family = family
        self._shown = shown if shown is not None and len(shown) <= 2 * family.horizon else None
        self._device = device
        self._rewards: list[RewardSpec | None] = [None] * slots
        self._functions: list[tuple[RewardFunction, Tensor | None]] = []
        self._tables: list[Tensor | None] = []

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

    def __call__(
        self,
        observation: Tensor,
        action: Tensor,
        next_observation: Tensor,
        own: Tensor,
        number: Tensor | None = None,
    ) -> Tensor:
        """[B] rewards of a step; `own` [B] are the family's, `number` [B] int64 the rows of `shown` that were seen."""
        reward = own
        for (function, rows), table in zip(self._functions, self._tables, strict=True):
            if table is not None and number is not None:
                paid = table.gather(0, (number if rows is None else number[rows])[None])[0]
                reward = paid if rows is None else reward.index_copy(0, rows, paid)
            elif rows is None:
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
        self._functions, self._tables = [], []
        for _, rows in sorted(groups.items()):
            rewards = [reward for row in rows if (reward := self._rewards[row]) is not None]
            everywhere = len(rows) == len(self._rewards)
            index = None if everywhere else torch.tensor(rows, device=self._device)
            function = build_rewards(rewards, self._family, self._device)
            self._functions.append((function, index))
            self._tables.append(self._table(function, len(rows)))

    def _table(self, function: RewardFunction, slots: int) -> Tensor | None:
        """[S, slots] what `function` pays for seeing each of `shown`, bit for bit; None where it is not looked up."""
        if self._shown is None or not getattr(function, "of_next_observation", False):
            return None
        none = torch.empty(slots, 0, device=self._device)
        return torch.stack([function(none, none, seen.expand(slots, *seen.shape)) for seen in self._shown])
