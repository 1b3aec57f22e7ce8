"""Kullback-Leibler divergences between action distributions of one kind, in nats."""

from torch import Tensor

from agents.common.distributions import Categorical, DiagonalGaussian


def kl_divergence(old: Categorical | DiagonalGaussian, new: Categorical | DiagonalGaussian) -> Tensor:
    """[...] KL(old || new), row by row. Raises `TypeError` for distributions of different kinds."""
    if isinstance(old, Categorical) and isinstance(new, Categorical):
        return (old.log_probabilities.exp() * (old.log_probabilities - new.log_probabilities)).sum(-1)
    if isinstance(old, DiagonalGaussian) and isinstance(new, DiagonalGaussian):
        squares = (2 * old.log_std).exp() + (old.mean - new.mean).square()
        return (new.log_std - old.log_std + 0.5 * squares * (-2 * new.log_std).exp() - 0.5).sum(-1)
    raise TypeError(f"no divergence between a {type(old).__name__} and a {type(new).__name__}")
