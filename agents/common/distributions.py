"""Action distributions over the last axis of what a policy head puts out, never in half precision."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.common.parallel import drawn
from registry.errors import UserError
from taskgen.interaction.agent import Problem
from taskgen.spaces import numbers_and_choices


@runtime_checkable
class Distribution(Protocol):
    """A batch of independent action distributions with leading axes [...]."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """[...] int64, or [..., D] in units of the action space: an action per row, drawn by `generator`."""
        ...

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-probability or log-density."""
        ...

    def entropy(self) -> Tensor:
        """[...] entropy in nats."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """What it is made of by name, each [..., numbers]: see `taskgen.interaction.agent.Portable`."""
        ...


class Categorical:
    """Discrete actions from logits [..., A]."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = _wide(logits)

    @cached_property
    def log_probabilities(self) -> Tensor:
        """[..., A]."""
        return self.logits.log_softmax(-1)

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

    def parameters(self) -> dict[str, Tensor]:
        """`logits` [..., A], normalised."""
        return {"logits": self.log_probabilities}


class MultiCategorical:
    """Several discrete actions at once, independent of each other, from the logits [..., sum of counts] of all."""

    def __init__(self, logits: Tensor, counts: Sequence[int]) -> None:
        self.parts = [Categorical(part) for part in logits.split(list(counts), dim=-1)]

    def sample(self, generator: torch.Generator, alike: int = 1) -> Tensor:
        """[..., m] int64; see `Categorical.sample`."""
        return torch.stack([part.sample(generator, alike) for part in self.parts], dim=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log-probability of `action` [..., m]."""
        terms = [part.log_prob(chosen) for part, chosen in zip(self.parts, action.unbind(-1), strict=True)]
        return torch.stack(terms).sum(0)

    def entropy(self) -> Tensor:
        """[...] entropy."""
        return torch.stack([part.entropy() for part in self.parts]).sum(0)

    def parameters(self) -> dict[str, Tensor]:
        """`logits` [..., sum of counts], of each choice normalised."""
        return {"logits": torch.cat([part.log_probabilities for part in self.parts], dim=-1)}


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

    def parameters(self) -> dict[str, Tensor]:
        """`mean` and `deviation` [..., A]."""
        return {"mean": self.mean, "deviation": self.log_std.exp().expand_as(self.mean)}


class Mixed:
    """Numbers and discrete actions at once, independent of each other: actions [..., k + m], the numbers first."""

    def __init__(self, numbers: DiagonalGaussian, choices: MultiCategorical) -> None:
        self.numbers = numbers
        self.choices = choices

    def sample(self, generator: torch.Generator, alike: int = 1) -> Tensor:
        """[..., k + m] float32; see `Categorical.sample`."""
        numbers = self.numbers.sample(generator, alike)
        return torch.cat([numbers, self.choices.sample(generator, alike).to(numbers.dtype)], dim=-1)

    def log_prob(self, action: Tensor) -> Tensor:
        """[...] log of the density of the numbers times the probability of the choices in `action` [..., k + m]."""
        numbers, chosen = action.tensor_split([action.shape[-1] - len(self.choices.parts)], dim=-1)
        return self.numbers.log_prob(numbers) + self.choices.log_prob(chosen.to(torch.int64))

    def entropy(self) -> Tensor:
        """[...] differential entropy of the numbers and entropy of the choices together."""
        return self.numbers.entropy() + self.choices.entropy()

    def parameters(self) -> dict[str, Tensor]:
        """`mean` and `deviation` [..., k] of the numbers, `logits` [..., sum of counts] of the choices."""
        return {**self.numbers.parameters(), **self.choices.parameters()}


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

    def parameters(self) -> dict[str, Tensor]:
        """`mean_before_tanh` and `deviation_before_tanh` [..., A], the Gaussian's."""
        return {f"{name}_before_tanh": part for name, part in self._gaussian.parameters().items()}

    def _log_prob(self, raw: Tensor) -> Tensor:
        """log of N(raw) / prod(1 - tanh(raw)^2), in a form that does not overflow."""
        log_slope = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        return self._gaussian.log_prob(raw) - log_slope.sum(-1)


class ActionBox(nn.Module):
    """The affine map between the unit box [-1, 1]^A and a `Box` action space.

    Along an axis without bounds it is the identity; with one bound, the unit box is moved to lie against it; where both
    are equal, around it.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(self, space: gym.spaces.Box) -> None:
        super().__init__()
        low, high = (torch.as_tensor(end, dtype=torch.float64) for end in (space.low, space.high))
        below, above = low.isfinite(), high.isfinite()
        open_centre = torch.where(below, low + 1, torch.where(above, high - 1, 0))
        centre = torch.where(below & above, (low + high) / 2, open_centre)
        half = torch.where(below & above & (high > low), (high - low) / 2, 1)
        self.register_buffer("centre", centre.to(torch.float32), persistent=False)
        self.register_buffer("half_range", half.to(torch.float32), persistent=False)

    def from_unit(self, action: Tensor) -> Tensor:
        """[..., A] in the unit box -> in the space."""
        return self.centre + self.half_range * action

    def to_unit(self, action: Tensor) -> Tensor:
        """[..., A] in the space -> in the unit box."""
        return (action - self.centre) / self.half_range


class PolicyHead(nn.Module):
    """From features [..., F] to the action distribution of a `taskgen.spaces.played_space`; a part for each choice.

    Discrete actions are near-uniform at first. A Gaussian is measured in half-ranges of the space: its mean begins near
    the centre and its standard deviation, the same in all states, at `std` half-ranges.
    """

    def __init__(self, features: int, space: gym.Space[Any], *, std: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(features, action_size(space))
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        numbers, self._counts = numbers_and_choices(space)
        self._single = isinstance(space, gym.spaces.Discrete)
        self.box = None if numbers is None else ActionBox(numbers)
        self.log_std = None if numbers is None else nn.Parameter(torch.full(numbers.shape, math.log(std)))

    def forward(self, features: Tensor) -> Distribution:
        """The distribution of actions for each row of `features` [..., F]."""
        return self.distribution(self.linear(features))

    def distribution(self, output: Tensor) -> Distribution:
        """The one that `linear` has put out for each row."""
        if self._single:
            return Categorical(output)
        if self.box is None or self.log_std is None:
            return MultiCategorical(output, self._counts)
        mean, logits = output.tensor_split([len(self.log_std)], dim=-1)
        numbers = DiagonalGaussian(self.box.from_unit(mean), self.log_std + self.box.half_range.log())
        return Mixed(numbers, MultiCategorical(logits, self._counts)) if self._counts else numbers


def action_size(space: gym.Space[Any]) -> int:
    """Width of an encoded action: a number takes one place, a choice one for each alternative.

    Raises `UserError` for what is no `taskgen.spaces.played_space`.
    """
    numbers, counts = numbers_and_choices(space)
    return (0 if numbers is None else numbers.shape[0]) + sum(counts)


def bounded_box(problem: Problem, agent: str) -> gym.spaces.Box:
    """The action space of `problem`. Raises `UserError`, naming `agent`, unless it is a Box with finite bounds."""
    space = problem.action_space
    if not isinstance(space, gym.spaces.Box) or not space.is_bounded():
        raise UserError(f"{problem.family} has the action space {space}; {agent} needs a Box with finite bounds")
    return space


def _wide(values: Tensor) -> Tensor:
    """`values` in float32 where they are of half precision: probabilities are not to be rounded to 8 bits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _luck(like: Tensor, alike: int, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Random numbers in the shape of `like`, where `alike` rows after one another have the same."""
    if alike == 1:
        return drawn(like, draw)
    return drawn(like[: -(-len(like) // alike)], draw).repeat_interleave(alike, 0)[: len(like)]
