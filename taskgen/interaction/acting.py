"""From what an agent answers to what a family gets, which lies in its action space whoever plays. Axes: B slots."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from taskgen.spaces import action_layout, numbers_and_choices


class Acting:
    """The way of actions from an agent, in the `played_space` of `space`, to a family with the action space `space`.

    Numbers beyond a Box are clipped to it; choices, which agents count from 0, get the space's `start`; parts come in
    the family's order. What the agent answered, and learns from, stays its own: log-probabilities are of that.
    """

    def __init__(self, space: gym.Space[Any], device: torch.device | str = "cpu") -> None:
        layout = action_layout(space)
        self.space = space
        """The family's."""
        self.played = layout.played
        """The agent's."""
        self._shape, self._whole = layout.shape, layout.whole
        in_order = layout.column == tuple(range(len(layout.column)))
        self._column = None if in_order else torch.tensor(layout.column, device=device)
        self._start = torch.tensor(layout.start, device=device) if any(layout.start) else None
        low, high = torch.tensor(layout.low), torch.tensor(layout.high)
        bounded = not layout.whole and bool((low.isfinite() | high.isfinite()).any())
        self._bounds = (low.to(device), high.to(device)) if bounded else None
        numbers, _ = numbers_and_choices(layout.played)
        self.row = () if isinstance(layout.played, gym.spaces.Discrete) else (len(layout.column),)
        """The shape of an agent's answer in one slot."""
        self.dtype = torch.int64 if numbers is None else torch.float32
        """Of an agent's answers."""

    def zeros(self, slots: int, device: torch.device) -> Tensor:
        """[B, ...] what stands for the action before the first one."""
        return torch.zeros((slots, *self.row), dtype=self.dtype, device=device)

    def __call__(self, action: Tensor) -> Tensor:
        """[B, ...] an element of `space` in each row, of the agent's `action` [B, ...]."""
        given = action.view(len(action), -1)
        if self._column is not None:
            given = given[:, self._column]
        if self._start is not None:
            given = given + self._start
        if self._bounds is not None:
            given = given.clamp(*self._bounds)
        return given.view(-1, *self._shape)


def uniform_action(space: gym.Space[Any], batch: int, generator: torch.Generator) -> Tensor:
    """[batch, ...] actions in the `played_space` `space` on the generator's device, drawn as Gymnasium's `sample` does.

    Choices and bounded numbers are uniform; a number with one bound is at an exponential distance from it; one without
    is standard normal.
    """
    box, choices = numbers_and_choices(space)
    device = generator.device
    if box is None and len(choices) == 1 and isinstance(space, gym.spaces.Discrete):
        return torch.randint(choices[0], (batch,), generator=generator, device=device)
    parts = list[Tensor]()
    if box is not None:
        parts.append(_uniform_numbers(box, batch, generator))
    if choices:
        share = torch.rand((batch, len(choices)), dtype=torch.float64, generator=generator, device=device)
        chosen = (share * torch.tensor(choices, device=device)).to(torch.int64)
        parts.append(chosen if box is None else chosen.to(torch.float32))
    return torch.cat(parts, dim=1)


def _uniform_numbers(box: "gym.spaces.Box[np.float32]", batch: int, generator: torch.Generator) -> Tensor:
    low, high = (torch.as_tensor(end, device=generator.device) for end in (box.low, box.high))
    share = torch.rand((batch, *box.shape), generator=generator, device=generator.device)
    if box.is_bounded():
        return low + share * (high - low)
    normal = torch.randn(share.shape, generator=generator, device=generator.device)
    away = -torch.log1p(-share)
    below, above = low.isfinite(), high.isfinite()
    drawn = torch.where(below, low + away, torch.where(above, high - away, normal))
    return torch.where(below & above, low + share * (high - low), drawn)
