"""From what an agent answers to what a family gets, which lies in its action space whoever plays. Axes: B slots."""

from typing import Any

import gymnasium as gym
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


class UniformActions:
    """Actions in the `played_space` `space`, drawn as Gymnasium's `sample` draws them.

    Choices and bounded numbers are uniform; a number with one bound is at an exponential distance from it; one without
    is standard normal.
    """

    def __init__(self, space: gym.Space[Any], device: torch.device | str = "cpu") -> None:
        box, choices = numbers_and_choices(space)
        self._single = choices[0] if isinstance(space, gym.spaces.Discrete) else 0
        self._choices = torch.tensor(choices, device=device) if choices and not self._single else None
        self._bounds: tuple[Tensor, Tensor] | None = None
        if box is not None:
            self._bounds = torch.tensor(box.low, device=device), torch.tensor(box.high, device=device)
        self._bounded = box is not None and box.is_bounded()

    def __call__(self, batch: int, generator: torch.Generator) -> Tensor:
        """[batch, ...] on the device."""
        device = generator.device
        if self._single:
            return torch.randint(self._single, (batch,), generator=generator, device=device)
        parts = list[Tensor]()
        if self._bounds is not None:
            parts.append(self._numbers(*self._bounds, batch, generator))
        if self._choices is not None:
            shape = (batch, len(self._choices))
            share = torch.rand(shape, dtype=torch.float64, generator=generator, device=device)
            chosen = (share * self._choices).to(torch.int64)
            parts.append(chosen.to(torch.float32) if parts else chosen)
        return torch.cat(parts, dim=1)

    def _numbers(self, low: Tensor, high: Tensor, batch: int, generator: torch.Generator) -> Tensor:
        share = torch.rand((batch, len(low)), generator=generator, device=generator.device)
        if self._bounded:
            return low + share * (high - low)
        normal = torch.randn(share.shape, generator=generator, device=generator.device)
        away = -torch.log1p(-share)
        below, above = low.isfinite(), high.isfinite()
        drawn = torch.where(below, low + away, torch.where(above, high - away, normal))
        return torch.where(below & above, low + share * (high - low), drawn)
