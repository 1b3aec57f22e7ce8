"""The matrix products that an update of networks cannot do without, and how fast the machine makes them bare."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch

Shape = tuple[int, int, int]
"""Rows, inner length, columns of a product."""


def layers(rows: int, sizes: Sequence[int]) -> list[Shape]:
    """A forward pass of `rows` through layers of these sizes."""
    return [(rows, narrow, wide) for narrow, wide in itertools.pairwise(sizes)]


def weights(forward: Sequence[Shape]) -> list[Shape]:
    """Gradients of the weights."""
    return [(narrow, rows, wide) for rows, narrow, wide in forward]


def inputs(forward: Sequence[Shape]) -> list[Shape]:
    """Gradients of what the layers read."""
    return [(rows, wide, narrow) for rows, narrow, wide in forward]


def trained(forward: Sequence[Shape]) -> list[Shape]:
    """A forward pass and the gradients of all weights; what the first layer reads needs none."""
    return [*forward, *weights(forward), *inputs(forward[1:])]


def operations(shapes: Sequence[Shape]) -> int:
    """Floating-point operations of the products."""
    return sum(2 * math.prod(shape) for shape in shapes)


def bare(shapes: Sequence[Shape], device: torch.device) -> Callable[[], None]:
    """Multiplies matrices of all `shapes`, one after another, into storage at hand that those of one shape share."""
    generator = torch.Generator(device).manual_seed(0)
    operands = {
        (rows, inner, columns): (
            torch.randn(rows, inner, generator=generator, device=device),
            torch.randn(inner, columns, generator=generator, device=device),
            torch.empty(rows, columns, device=device),
        )
        for rows, inner, columns in dict.fromkeys(shapes)
    }
    order = [operands[shape] for shape in shapes]

    def run() -> None:
        for left, right, product in order:
            torch.mm(left, right, out=product)

    return run
