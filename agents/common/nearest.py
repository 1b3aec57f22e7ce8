"""Exact k nearest neighbours among keys in ring buffers, for any number of buffers at once and on any device.

The host never looks at a result, so this may be called in `act`. Two stages: of every block of keys the smallest
distance, then a full comparison within the k blocks that have the smallest. No key of another block can be among the k
nearest, since k keys at least, one in each chosen block, are as near: the answer is exact.

Axes: ... buffers (slots, actions), Q queries, C capacity of a buffer, D numbers of a key, k neighbours.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

_ENTRIES = 2**23
"""Distances that are worked out at once: more queries come in turns, so that memory stays bounded."""


class Neighbours(NamedTuple):
    """The k nearest of every query, nearest first."""

    squared: Float[Tensor, "... Q k"]
    """Squared distance; infinite where the buffer holds fewer than k keys."""
    place: Int[Tensor, "... Q k"]
    """Place in the buffer; any place where the distance is infinite."""


def nearest(
    query: Float[Tensor, "... Q D"],
    keys: Float[Tensor, "... C D"],
    held: Bool[Tensor, "... C"],
    count: int,
    squares: Float[Tensor, "... C"] | None = None,
) -> Neighbours:
    """The `count` keys nearest to each query among those `held`; gradients reach the distances, and so query and keys.

    Buffers are the leading axes of `keys`, with which those of `query` broadcast. `squares` are the keys' squared
    lengths, where they are known already. Which keys are nearest is found in float32 from |k|^2 - 2 q k: of keys whose
    distances differ by less than rounding any may come; the distances returned are those of the differences. Raises
    `ValueError` where `count` exceeds the capacity.
    """
    capacity = keys.shape[-2]
    if not 1 <= count <= capacity:
        raise ValueError(f"{count} neighbours of a buffer for {capacity} keys: ask for 1 to {capacity}")
    query = query.expand(*keys.shape[:-2], *query.shape[-2:])
    turns = math.ceil(query[..., 0].numel() * capacity / _ENTRIES)
    with torch.no_grad():
        squares = keys.square().sum(-1) if squares is None else squares
        nothing = squares.masked_fill(~held, torch.inf)[..., None, :]
        transposed = keys.mT
        found = [
            smallest(torch.add(nothing, part @ transposed, alpha=-2), count)
            for part in query.tensor_split(min(turns, query.shape[-2]), dim=-2)
        ]
        value, index = (torch.cat(parts, dim=-2) for parts in zip(*found, strict=True))
    rows = index.flatten(-2)[..., None].expand(*index.shape[:-2], -1, keys.shape[-1])
    chosen = keys.gather(-2, rows).unflatten(-2, index.shape[-2:])
    squared = (chosen - query[..., None, :]).square().sum(-1).masked_fill(value.isinf(), torch.inf)
    squared, order = squared.sort(dim=-1, stable=True)
    return Neighbours(squared, index.gather(-1, order))


def smallest(values: Float[Tensor, "... C"], count: int) -> tuple[Tensor, Tensor]:
    """The `count` smallest `values` and their places, both [..., count], smallest first."""
    capacity = values.shape[-1]
    block = 2 ** int(math.log2(max(1.0, capacity / count)) / 2)  # about the square root: both stages cost the same
    if block == 1:
        return values.topk(count, dim=-1, largest=False)
    filling = -capacity % block
    blocks = (functional.pad(values, (0, filling), value=torch.inf) if filling else values).unflatten(-1, (-1, block))
    number = blocks.amin(-1).topk(count, dim=-1, largest=False, sorted=False).indices
    candidates = blocks.gather(-2, number[..., None].expand(*number.shape, block)).flatten(-2)
    value, place = candidates.topk(count, dim=-1, largest=False)
    index = number.gather(-1, place // block) * block + place % block
    return value, index.clamp(max=capacity - 1)  # beyond it lies the filling, which is infinitely far
