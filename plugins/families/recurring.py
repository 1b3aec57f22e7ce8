"""Situations that recur within a trial, each shown by a cue: what families of recurring tasks share.

A trial has so many situations, and so many rounds in which each of them comes once, in an order drawn anew for every
round: an episode is a visit to one of them. Episodes after the last round begin with the first round again. Cues and
orders are drawn from the seed of the task.

Axes: B slots, N situations, V visits to each, K bits of a cue.
"""

from collections.abc import Sequence

import torch
from pydantic import Field, model_validator
from torch import Tensor

from registry.config import Config
from taskgen.engines import noise
from taskgen.engines.tensor import Tables
from taskgen.spec import TaskSpec

_TABLES = 2**32
"""The tables' noise is a child of the task's that no episode is."""
_NUMBERS = 4
"""Uniforms that the cues take."""


class RecurringConfig(Config):
    """Settings of trials in which situations recur."""

    situations: int = Field(5, ge=1, le=1000, description="Situations of a trial, each with a cue of its own.")
    visits: int = Field(5, ge=1, le=100, description="Times that each comes back in a trial of situations x visits.")
    bits: int = Field(10, ge=1, le=20, description="Bits of a cue.")

    @model_validator(mode="after")
    def _fits(self) -> "RecurringConfig":
        if self.situations > 2**self.bits:
            raise ValueError(
                f"situations = {self.situations}: {self.bits} bits tell {2**self.bits} apart; ask for fewer, or for "
                "more bits"
            )
        return self


class Recurring:
    """What a trial shows when: the part of `Dynamics` that does not depend on what there is to do.

    A state is or begins with the number of the situation.
    """

    numbered = True

    def __init__(self, config: RecurringConfig) -> None:
        self.situations, self.visits, self.bits = config.situations, config.visits, config.bits

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        """ "cues" [B, N, K] float32 of 0 and 1, "order" [B, V N] int64."""
        key = noise.child(noise.keys([spec.seed for spec in specs]), _TABLES)
        uniform = noise.uniforms64(key, _NUMBERS + self.visits * self.situations)
        order = uniform[:, _NUMBERS:].view(-1, self.visits, self.situations).argsort(-1)
        code = distinct(uniform[:, :_NUMBERS], self.situations, self.bits)
        cues = (code[..., None] >> torch.arange(self.bits)) & 1
        return {"cues": cues.to(torch.float32), "order": order.flatten(1)}

    def situation(self, tables: Tables, uniform: Tensor) -> Tensor:
        """[B] int64 situation of the episode whose number is the last column of `uniform`."""
        number = uniform[:, -1].to(torch.int64) % tables["order"].shape[1]
        return tables["order"].gather(1, number[:, None])[:, 0]

    def cue(self, tables: Tables, situation: Tensor) -> Tensor:
        """[B, K] cue of `situation` [B]."""
        return tables["cues"][torch.arange(len(situation), device=situation.device), situation]


def distinct(uniform: Tensor, count: int, bits: int) -> Tensor:
    """[B, count] int64 different numbers below 2^bits, a function of four `uniform`s [B, 4].

    The numbers 0 to count - 1 go through maps that are one to one: x -> a x + b with odd a, and x -> x ^ (x >> s).
    """
    size, shift = 2**bits, (bits + 1) // 2
    number = (uniform * size).to(torch.int64)[..., None]
    place = torch.arange(count)
    for first, second in ((0, 1), (2, 3)):
        place = ((number[:, first] | 1) * place + number[:, second]) & (size - 1)
        place = place ^ (place >> shift)
    return place
