"""Evolution strategies: ranks of what perturbations earn, the direction they say to climb, Adam's steps, decays.

Reference: Salimans et al. 2017, "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", section 2;
Kingma and Ba 2015, "Adam", algorithm 1.

Axes: n pairs, M = 2n members, all that add their perturbation before all that subtract it, B tasks, P parameters.
"""

import torch
from jaxtyping import Float
from torch import Tensor

MOMENTS, SMALLEST = (0.9, 0.999), 1e-8
"""Adam's decay rates and the number that keeps it from dividing by zero."""

RESOLUTION = 2**17

Moments = tuple[Tensor, Tensor]
"""Adam's running means of slopes and of their squares, each [P]."""


def centred_ranks(returns: Float[Tensor, "M B"]) -> Float[Tensor, "M B"]:
    """Ranks within each column, from -0.5 for the worst to 0.5 for the best; ties share the mean of their ranks.

    Numbers are ties where they differ by less than a `RESOLUTION`th of the largest: sums of the same rewards in another
    order do. What is not finite, NaN or an infinity, is worst.
    """
    finite = returns.isfinite()
    largest = torch.where(finite, returns, 0.0).abs().amax(0).clamp(min=torch.finfo(returns.dtype).tiny)
    told_apart = (returns / largest * RESOLUTION).round()
    columns = torch.where(finite, told_apart, -torch.inf).T.contiguous()
    ordered = columns.sort(dim=1).values
    below, up_to = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    return ((below + up_to - 1).T / 2) / (len(returns) - 1) - 0.5


def search_gradient(utility: Float[Tensor, "M"], noise: Float[Tensor, "n P"], std: float) -> Float[Tensor, "P"]:
    """1 / (n std) * sum_i (u_i+ - u_i-) eps_i, where the member with u_i+ is theta + std * eps_i, and so on.

    That is twice the usual estimate of the gradient, as in POET's release.
    """
    plus, minus = utility.chunk(2)
    return ((plus - minus) @ noise) / (len(noise) * std)


def no_moments(parameters: Float[Tensor, "P"]) -> Moments:
    """Before the first step."""
    return torch.zeros_like(parameters), torch.zeros_like(parameters)


def adam(slope: Tensor, moments: Moments, steps: int, rate: float) -> tuple[Float[Tensor, "P"], Moments]:
    """What step number `steps`, from 1, subtracts from the parameters at learning rate `rate`; the new moments."""
    first, second = (
        keep * moment + (1 - keep) * power
        for keep, moment, power in zip(MOMENTS, moments, (slope, slope.square()), strict=True)
    )
    mean, spread = (moment / (1 - keep**steps) for keep, moment in zip(MOMENTS, (first, second), strict=True))
    return rate * mean / (spread.sqrt() + SMALLEST), (first, second)


def decayed(value: float, factor: float, least: float) -> float:
    """`value` times `factor`, but not below `least`, and never more than `value`."""
    return max(value * factor, min(value, least))
