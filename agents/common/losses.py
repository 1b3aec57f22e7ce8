"""Policy losses, element by element; callers weight and average."""

import torch
from jaxtyping import Float
from torch import Tensor


def clipped_surrogate(
    log_ratio: Float[Tensor, "*axes"], advantage: Float[Tensor, "*axes"], clip: float
) -> Float[Tensor, "*axes"]:
    """Negated clipped surrogate objective of PPO (Schulman et al. 2017, equation 7)."""
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def approximate_kl(log_ratio: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Low-variance, non-negative estimate of KL(old || new) from samples of old (Schulman 2020, k3)."""
    return log_ratio.exp() - 1 - log_ratio


def weighted_mean(values: Float[Tensor, "*axes"], weight: Float[Tensor, "*axes"]) -> Float[Tensor, ""]:
    """Mean of `values` under non-negative weights that are not all zero."""
    return (values * weight).sum() / weight.sum()
