"""What the players of grid worlds share: cells, moves, ways.

A cell is its column x and row y, counted from 0 at the lower left; its number is `size * x + y`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Cell = tuple[int, int]


def neighbours(size: int, moves: Sequence[Cell]) -> Tensor:
    """[size * size, moves] int64 number of the cell that each move leads to; the edge holds the agent back."""
    place = torch.arange(size)
    cells = torch.cartesian_prod(place, place)
    after = (cells[:, None] + torch.tensor(moves)).clamp(0, size - 1)
    return after[..., 0] * size + after[..., 1]


def number(place: Tensor, size: int) -> Tensor:
    """[B] int64 number of the cell at column and row `place` [B, 2]."""
    column, row = place.long().unbind(1)
    return column * size + row


def cell_seen(observation: Tensor, size: int, encoding: str) -> Tensor:
    """[B] int64 number of the cell that is told by its "coordinates" [B, 2] or "one-hot" [B, size * size]."""
    return number(observation, size) if encoding == "coordinates" else observation.argmax(1)


def towards(cell: Tensor, goal: Tensor, after: Tensor) -> Tensor:
    """[B] int64 the move of `after` [cells, moves] whose end is nearest to `goal`; staying is a move like any other."""
    size = int(len(after) ** 0.5)
    end = after.index_select(0, cell)
    gap = (end // size - goal[:, None] // size).abs() + (end % size - goal[:, None] % size).abs()
    return gap.argmin(1)


def ways(after: Tensor) -> Tensor:
    """[B, cells, cells] float32 fewest moves from cell to cell by `after` [B, cells, moves]; infinite without a way."""
    batch, cells, moves = after.shape
    way = torch.full((batch, cells, cells), torch.inf, device=after.device)
    way.diagonal(dim1=1, dim2=2).zero_()
    index = after.flatten(1)[..., None].expand(-1, -1, cells)
    while True:
        nearer = torch.minimum(way, 1 + way.gather(1, index).view(batch, cells, moves, cells).amin(2))
        if torch.equal(nearer, way):
            return way
        way = nearer
