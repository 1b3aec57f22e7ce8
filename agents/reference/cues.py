"""What players know of situations that recur within a trial, by the cue that each shows.

Axes: B trials, N situations, K bits of a cue.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Known(NamedTuple):
    """The situations met so far, in the order of their first visit."""

    code: Tensor
    """[B, N] int64; -1: none yet."""
    place: Tensor
    """[B] int64 of the present situation among them."""

    @classmethod
    def nothing(cls, batch: int, situations: int, device: torch.device) -> "Known":
        """Before the first visit."""
        code = torch.full((batch, situations), -1, dtype=torch.int64, device=device)
        return cls(code, torch.zeros(batch, dtype=torch.int64, device=device))

    def anew(self, where: Tensor) -> "Known":
        """As it is, and nothing met yet in the trials `where` [B]."""
        return Known(torch.where(where[:, None], -1, self.code), torch.where(where, 0, self.place))

    def visit(self, cue: Tensor) -> "Known":
        """In the situation that shows `cue` [B, K] of 0 and 1, which is met now if not before."""
        code = (cue.to(torch.int64) << torch.arange(cue.shape[1], device=cue.device)).sum(1)
        same = self.code == code[:, None]
        free = (self.code >= 0).sum(1).clamp(max=self.code.shape[1] - 1)
        place = torch.where(same.any(1), same.to(torch.uint8).argmax(1), free)
        return Known(self.code.scatter(1, place[:, None], code[:, None]), place)


def at(table: Tensor, place: Tensor) -> Tensor:
    """[B, ...] rows of `table` [B, N, ...] at `place` [B]."""
    return table[torch.arange(len(place), device=place.device), place]
