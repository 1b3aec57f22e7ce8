"""What the bus players share: the city of `bus`, its observations, and shortest ways by foot and bus.

Cell (x, y) has number 9 x + y. Axes: B trials, C cells, A actions, G goals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference import grids

SIZE = 9
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))
"""(x, y) that the first actions add: left, up, right, down, stay. The next one rides."""
GOALS = ((0, 0), (8, 8), (0, 8), (8, 0))
"""The corners."""
_ENDS = (
    (((4, 5), (5, 4), (3, 4), (4, 3)), ((0, 1), (0, 7), (8, 1), (8, 7))),
    (((5, 5), (3, 3), (3, 5), (5, 3)), ((0, 4), (4, 0), (8, 4), (4, 8))),
)
"""Stops and destinations, useful and useless."""


class Sight(NamedTuple):
    """What an observation tells."""

    cell: Tensor
    """[B] int64."""
    goal: Tensor
    """[B] int64 which corner is the goal."""
    shown: Tensor
    """[B, tasks] the task one-hot on the map, zeros elsewhere; [B, 0] without a map."""


def see(observation: Tensor) -> Sight:
    """The parts of an observation [B, O]."""
    column, row, _, goal = observation[:, : 2 * SIZE + 5].split([SIZE, SIZE, 1, 4], dim=1)
    place = column.argmax(1) * SIZE + row.argmax(1)
    return Sight(place, goal.argmax(1), observation[:, 2 * SIZE + 5 :])


def cell(x: int, y: int) -> int:
    """Number of a cell."""
    return SIZE * x + y


def streets(batch: int, device: torch.device) -> Tensor:
    """[B, C, A] int64 where every action but the last, ending the episode, leads when no bus runs."""
    walked = grids.neighbours(SIZE, (*_MOVES, (0, 0))).to(device)
    return walked.expand(batch, -1, -1)


def streets_and_buses(orders: Tensor) -> Tensor:
    """[B, C, A] int64 the same with buses, from the destination of each [B, 4] or, with useless ones, [B, 8] int64."""
    after = streets(len(orders), orders.device).clone()
    rows = torch.arange(len(orders), device=orders.device)
    for (stops, ends), order in zip(_ENDS, orders.split(4, dim=1), strict=False):
        where = torch.tensor([cell(*end) for end in ends], device=orders.device)
        for stop, end in zip(stops, where[order].unbind(1), strict=True):
            after[:, cell(*stop), -1] = end
            after[rows, end, -1] = cell(*stop)
    return after


def ways(after: Tensor, goals: Sequence[grids.Cell] = GOALS) -> Tensor:
    """[B, G, C] int64 first action of a shortest way from every cell to each goal, by `after` [B, C, A]."""
    places = torch.tensor([cell(*goal) for goal in goals], device=after.device)
    start = torch.full((len(goals), SIZE**2), torch.inf, device=after.device).scatter(1, places[:, None], 0.0)
    distance = start.expand(len(after), -1, -1)
    ends = after.flatten(1)[:, None].expand(-1, len(goals), -1)
    while True:
        following = distance.gather(2, ends).unflatten(2, (SIZE**2, -1))
        nearer = torch.minimum(distance, 1 + following.amin(3))
        if torch.equal(nearer, distance):
            return following.argmin(3)
        distance = nearer
