"""Action distributions over the last axis of what a policy head puts out, never in half precision."""

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.common.parallel import drawn
from registry.errors import UserError


@runtime_checkable
class Distribution(Protocol):
    """A batch of independent action distributions with leading axes [...]."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """[...] int64, or [..., D] float32 in units of the action space: an action per row, drawn by `generator`."""
        ...

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-probability or log-density."""
        ...

    def entropy(self) -> Tensor:
        """[...] entropy in nats."""
        ...


class Categorical:
    """Discrete actions from logits [..., A]."""

    def __init__(self, logits: Tensor) -> None:
        self.log_probabilities = _wide(logits).log_softmax(-1)

    def sample(self, generator: torch.Generator, alike: int = 1) -> Tensor:
        """[...] int64. The smallest of exponentials with rates p is drawn with probability p.

        Of the first axis so many rows, one after another, have the same luck.
        """
        waiting = _luck(self.log_probabilities, alike, lambda empty: empty.exponential_(generator=generator))
        return (self.log_probabilities - waiting.log()).argmax(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-probability of `action` [...]."""
        return self.log_probabilities.gather(-1, action[..., None])[..., 0]

    def entropy(self) -> Tensor:
        """[...] entropy."""
        return -(self.log_probabilities.exp() * self.log_probabilities).sum(-1)


class DiagonalGaussian:
    """Continuous actions from means [..., A] and log standard deviations that broadcast to them, such as [A]."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean = _wide(mean)
        self.log_std = _wide(log_std)

    def sample(self, generator: torch.Generator, alike: int = 1) -> Tensor:
        """[..., A] float32. Of the first axis so many rows, one after another, have the same luck."""
        noise = _luck(self.mean, alike, lambda empty: empty.normal_(generator=generator))
        return self.mean + self.log_std.exp() * noise

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-density of `action` [..., A]."""
        scaled = (action - self.mean) * (-self.log_std).exp()
        return (-0.5 * scaled.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """[...] entropy."""
        one = (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
        return one.expand(self.mean.shape[:-1])


class SquashedGaussian:
    """tanh of a Gaussian with means and log standard deviations [..., A]: actions in the open box (-1, 1)^A.

    Reference: Haarnoja et al. 2018, "Soft Actor-Critic", appendix C. `ActionBox` maps the box to an action space;
    densities are those of the unit box.
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self._gaussian = DiagonalGaussian(mean, log_std)

    def sample(self, generator: torch.Generator) -> Tensor:
        """[..., A] float32; gradients reach mean and standard deviation."""
        return self._gaussian.sample(generator).tanh()

    def mode(self) -> Tensor:
        """[..., A] tanh of the Gaussian's mean: what stands for the policy where nothing is to be drawn."""
        return self._gaussian.mean.tanh()

    def sample_with_log_prob(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """[..., A] sample and its log-density [...], without the rounding that `log_prob` meets near the edge."""
        raw = self._gaussian.sample(generator)
        return raw.tanh(), self._log_prob(raw)

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-density of `action` [..., A]; beyond float32's last step before the edge, the density there."""
        edge = 1 - torch.finfo(action.dtype).eps
        return self._log_prob(action.clamp(-edge, edge).atanh())

    def _log_prob(self, raw: Tensor) -> Tensor:
        """log of N(raw) / prod(1 - tanh(raw)^2), in a form that does not overflow."""
        log_slope = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        return self._gaussian.log_prob(raw) - log_slope.sum(-1)


class ActionBox(nn.Module):
    """The affine map between the unit box [-1, 1]^A and a `Box` action space; the identity along unbounded axes."""

    centre: Tensor
    half_range: Tensor

    def __init__(self, space: gym.spaces.Box) -> None:
        super().__init__()
        low, high = (torch.as_tensor(end, dtype=torch.float64) for end in (space.low, space.high))
        bounded = low.isfinite() & high.isfinite()
        centre, half = torch.where(bounded, (low + high) / 2, 0), torch.where(bounded, (high - low) / 2, 1)
        self.register_buffer("centre", centre.to(torch.float32), persistent=False)
        self.register_buffer("half_range", half.to(torch.float32), persistent=False)

    def from_unit(self, action: Tensor) -> Tensor:
        """[..., A] in the unit box -> in the space."""
        return self.centre + self.half_range * action

    def to_unit(self, action: Tensor) -> Tensor:
        """[..., A] in the space -> in the unit box."""
        return (action - self.centre) / self.half_range


class PolicyHead(nn.Module):
    """From features [..., F] to the action distribution of an action space.

    Discrete actions are near-uniform at first. A Gaussian is measured in half-ranges of the space: its mean begins near
    the centre and its standard deviation, the same in all states, at `std` half-ranges.
    """

    def __init__(self, features: int, space: gym.Space[Any], *, std: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(features, action_size(space))
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.box = ActionBox(space) if isinstance(space, gym.spaces.Box) else None
        self.log_std = None if self.box is None else nn.Parameter(torch.full((action_size(space),), math.log(std)))

    def forward(self, features: Tensor) -> Distribution:
        """The distribution of actions for each row of `features` [..., F]."""
        output = self.linear(features)
        if self.box is None or self.log_std is None:
            return Categorical(output)
        return DiagonalGaussian(self.box.from_unit(output), self.log_std + self.box.half_range.log())


def action_size(space: gym.Space[Any]) -> int:
    """Width of an encoded action: number of choices, or of dimensions. Raises `UserError` for other spaces."""
    if isinstance(space, gym.spaces.Discrete):
        return int(space.n)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return space.shape[0]
    raise UserError(f"action space {space} is not supported: use Discrete, or Box with one axis")


def _wide(values: Tensor) -> Tensor:
    """`values` in float32 where they are of half precision: probabilities are not to be rounded to 8 bits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _luck(like: Tensor, alike: int, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Random numbers in the shape of `like`, where `alike` rows after one another have the same."""
    if alike == 1:
        return drawn(like, draw)
    return drawn(like[: -(-len(like) // alike)], draw).repeat_interleave(alike, 0)[: len(like)]
