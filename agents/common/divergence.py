"""Kullback-Leibler divergences between action distributions of one kind, in nats."""

from typing import TypeAlias

import torch
from torch import Tensor

from agents.common.distributions import Categorical, DiagonalGaussian, Mixed, MultiCategorical

Policy: TypeAlias = Categorical | DiagonalGaussian | MultiCategorical | Mixed


def kl_divergence(old: Policy, new: Policy) -> Tensor:
    """[...] KL(old || new), row by row. Raises `TypeError` for distributions of different kinds."""
    if isinstance(old, Categorical) and isinstance(new, Categorical):
        return (old.log_probabilities.exp() * (old.log_probabilities - new.log_probabilities)).sum(-1)
    if isinstance(old, DiagonalGaussian) and isinstance(new, DiagonalGaussian):
        squares = (2 * old.log_std).exp() + (old.mean - new.mean).square()
        return (new.log_std - old.log_std + 0.5 * squares * (-2 * new.log_std).exp() - 0.5).sum(-1)
    if isinstance(old, MultiCategorical) and isinstance(new, MultiCategorical):
        return torch.stack([kl_divergence(*pair) for pair in zip(old.parts, new.parts, strict=True)]).sum(0)
    if isinstance(old, Mixed) and isinstance(new, Mixed):
        return kl_divergence(old.numbers, new.numbers) + kl_divergence(old.choices, new.choices)
    raise TypeError(f"no divergence between a {type(old).__name__} and a {type(new).__name__}")
