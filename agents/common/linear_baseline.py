"""A value function that is linear in features of observation and time, fitted to the returns of each task by itself.

Reference: Duan et al. 2016, "Benchmarking Deep Reinforcement Learning for Continuous Control", section 5 (the linear
feature baseline). Axes: T time, B tasks, E episodes of a task side by side, O observation, F features.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_REACH = 10.0
"""Observations are clipped to this size."""


def baseline_features(observation: Float[Tensor, "B T E O"]) -> Float[Tensor, "B T E F"]:
    """o, o^2, t, t^2, t^3 and 1, with t in hundreds of steps; F = 2 O + 4."""
    clipped = observation.clamp(-_REACH, _REACH)
    time = torch.arange(observation.shape[1], device=observation.device, dtype=observation.dtype) / 100.0
    powers = torch.stack([time, time**2, time**3, torch.ones_like(time)], dim=-1)[:, None]
    return torch.cat([clipped, clipped**2, powers.expand(*observation.shape[:3], 4)], dim=-1)


def fitted_values(
    features: Float[Tensor, "B T E F"],
    returns: Float[Tensor, "B T E"],
    weight: Float[Tensor, "B T E"],
    ridge: float = 1e-5,
) -> Float[Tensor, "B T E"]:
    """The values of a ridge regression of `returns` on `features` for each task; `weight` 0 leaves a step out."""
    size = features.shape[-1]
    design = (features * weight[..., None]).flatten(1, 2).double()
    target = (returns * weight).flatten(1, 2).double()
    normal = design.mT @ design + ridge * torch.eye(size, device=design.device, dtype=design.dtype)
    coefficients = torch.linalg.solve(normal, design.mT @ target[..., None])[..., 0]
    return torch.einsum("btef,bf->bte", features, coefficients.to(features.dtype))
