"""Trust-region updates of one flat parameter vector (Schulman et al. 2015, "Trust Region Policy Optimization")."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Float[Tensor, "P"], iterations: int, tolerance: float = 1e-10
) -> Float[Tensor, "P"]:
    """x with `product(x)` = A x close to `target`, for a symmetric positive definite A [P, P].

    Exact after P iterations; stops when the squared residual is below `tolerance` (Hestenes and Stiefel 1952).
    """
    solution = torch.zeros_like(target)
    residual = target.clone()
    direction = target.clone()
    squared = residual @ residual
    for _ in range(iterations):
        if squared < tolerance:
            break
        image = product(direction)
        length = squared / (direction @ image)
        solution = solution + length * direction
        residual = residual - length * image
        before, squared = squared, residual @ residual
        direction = residual + squared / before * direction
    return solution


class Step(NamedTuple):
    """What a line search found."""

    parameters: Tensor
    """[P]; the ones it started from where no step was good."""
    accepted: bool
    divergence: float
    improvement: float
    """By how much the loss fell."""


def line_search(
    evaluate: Callable[[Tensor], Iterable[Tensor]],
    start: Float[Tensor, "P"],
    step: Float[Tensor, "P"],
    *,
    loss: float,
    limit: float,
    shrink: float = 0.8,
    attempts: int = 15,
) -> Step:
    """The first of start - step, start - shrink * step, ... whose loss falls below `loss` within the trust region.

    `evaluate(parameters)` is (loss, divergence); the divergence may be at most `limit`. Reference: appendix C.
    """
    for attempt in range(attempts):
        parameters = start - shrink**attempt * step
        found, divergence = (float(value) for value in evaluate(parameters))
        if found < loss and divergence <= limit:  # false for NaN as well
            return Step(parameters, accepted=True, divergence=divergence, improvement=loss - found)
    return Step(start, accepted=False, divergence=0.0, improvement=0.0)
