"""Evolution strategies: ranks of what perturbations earn, the direction they say to climb, Adam's steps, decays.

Reference: Salimans et al. 2017, "Evolution Strategies as a Scalable Alternative to Reinforcement Learning", section 2;
Kingma and Ba 2015, "Adam", algorithm 1.

Axes: n pairs, M = 2n members, all that add their perturbation before all that subtract it, B tasks, P parameters.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from taskgen.source import RESOLUTION

MOMENTS, SMALLEST = (0.9, 0.999), 1e-8
"""Adam's decay rates and the number that keeps it from dividing by zero."""

Moments = tuple[Tensor, Tensor]
"""Adam's running means of slopes and of their squares, each [P]."""


def centred_ranks(returns: Float[Tensor, "M B"]) -> Float[Tensor, "M B"]:
    """Ranks within each column, from -0.5 for the worst to 0.5 for the best; ties share the mean of their ranks.

    So do neighbours that differ by less than a `RESOLUTION`th of themselves, as sums of the same rewards do in another
    order. What is not finite, NaN or an infinity, is worst.
    """
    finite = returns.isfinite()
    ordered, order = torch.where(finite, returns, -torch.inf).T.sort(dim=1)
    low, high = ordered[:, :-1], ordered[:, 1:]
    apart = (high - low > torch.maximum(low.abs(), high.abs()) / RESOLUTION) | (low.isinf() & high.isfinite())
    groups = torch.cat([torch.zeros_like(order[:, :1]), apart.cumsum(1)], 1)
    below, up_to = (torch.searchsorted(groups, groups, right=right) for right in (False, True))
    ranks = torch.empty_like(ordered).scatter_(1, order, (below + up_to - 1).to(ordered.dtype) / 2)
    return ranks.T / (len(returns) - 1) - 0.5


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
