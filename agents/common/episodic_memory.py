"""Memories of what actions were worth: for every slot and action a table of keys and values of bounded size.

The tables are a carry: tensors, changed by tensor operations alone, so that the host never looks and rows never mix.
A state has two names: a code, equal for equal states, by which its own entry is found, and a key, whose neighbours
speak for it. Where a table is full the entries that were longest neither written nor found make room, and are counted.

Axes: B slots, A actions, C capacity, D numbers of a key, T steps, O numbers of an observation, N = C + T.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from agents.common.exploration import within_trial
from registry.config import Config

FREE = 2**63 - 1
"""Code of a place that holds nothing."""


class EpisodicConfig(Config):
    """Settings that agents with such memories share; theirs extend them."""

    neighbours: int = Field(10, ge=1, description="Entries that a value is looked up from.")
    capacity: int = Field(1000, ge=1, description="Entries of each action's table, in every trial (papers: 1e5, 1e6).")
    decimals: int | None = Field(
        None, ge=0, description="States whose numbers agree in so many decimals are the same; left out, in all."
    )
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step.")
    epsilon_first: float = Field(
        0.3, ge=0, le=1, description="Probability of a random action in a trial's first episode."
    )
    epsilon: float = Field(0.005, ge=0, le=1, description="The same from episode `epsilon_episodes` on.")
    epsilon_episodes: int = Field(20, ge=0, description="Episodes of a trial over which it falls linearly.")

    @model_validator(mode="after")
    def _fits(self) -> "EpisodicConfig":
        if self.neighbours > self.capacity:
            raise ValueError(
                f"neighbours = {self.neighbours} of a table for capacity = {self.capacity} entries: ask for fewer, or "
                "remember more"
            )
        return self

    def exploration(self, episode: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The probability of a random action in episode number `episode` of a trial."""
        return within_trial(self.epsilon_first, self.epsilon, self.epsilon_episodes, episode)


class Memory(NamedTuple):
    """The tables of all slots and actions."""

    code: Int[Tensor, "B A C"]
    """`FREE` where the place holds nothing."""
    key: Float[Tensor, "B A C D"]
    value: Float[Tensor, "B A C"]
    used: Int[Tensor, "B A C"]
    """When it was last written or found; -1 where the place holds nothing."""
    clock: Int[Tensor, "B"]
    evicted: Int[Tensor, "B"]
    """Entries that have made room so far, of all actions."""
    episodes: Int[Tensor, "B"]
    """How many were taken in: the number of the one that is played; a slot that waits is at the next one's already."""

    @classmethod
    def empty(cls, batch: int, actions: int, capacity: int, width: int, device: torch.device) -> "Memory":
        """Nothing is remembered."""
        places = torch.zeros(batch, actions, capacity, dtype=torch.int64, device=device)
        none = torch.zeros(batch, dtype=torch.int64, device=device)
        key = torch.zeros(batch, actions, capacity, width, device=device)
        return cls(places + FREE, key, torch.zeros_like(key[..., 0]), places - 1, none, none, none)

    @property
    def held(self) -> Bool[Tensor, "B A C"]:
        """Which places hold an entry."""
        return self.code != FREE

    @property
    def figures(self) -> Mapping[str, Int[Tensor, "B"]]:
        """Entries held and entries that have made room, of all actions, for the log."""
        return {"held": self.held.sum((1, 2)), "evicted": self.evicted}

    def find(self, code: Int[Tensor, "B"]) -> tuple[Bool[Tensor, "B A"], Int[Tensor, "B A"]]:
        """Whether a state has an entry of its own for each action, and where; any place where it has none."""
        same = self.code == code[:, None, None]
        return same.any(-1), same.to(torch.uint8).argmax(-1)

    def found(self, place: Int[Tensor, "B A n"], which: Bool[Tensor, "B A n"], episode: Int[Tensor, "B"]) -> "Memory":
        """One look-up later: the entries at `place`, where `which`, are used now, in slots that play `episode`.

        Of a slot that waits for others nothing is used, or its tables would depend on how long those play.
        """
        playing = (episode == self.episodes)[:, None, None]
        now = torch.where(which & playing, self.clock[:, None, None], -1)
        used = self.used.scatter_reduce(-1, place, now, "amax")
        return self._replace(used=used, clock=self.clock + 1)

    def write(self, steps: "Steps", rate: float | None = None) -> "Memory":
        """Take in the valid `steps`, in their order, each into the table of its action.

        A state that has an entry keeps its key; its value v becomes max(v, value) without `rate` (Blundell et al. 2016,
        equation 1), and v + rate (value - v) with it (Pritzel et al. 2017, equation 4). Others get a new entry.
        """
        actions, capacity = self.code.shape[1:]
        taken = steps.action[..., None] == torch.arange(actions, device=steps.action.device)
        active = (taken & steps.valid[..., None]).permute(1, 2, 0)
        number = torch.arange(len(steps.action), device=steps.action.device)
        code, value, used = (
            torch.cat([old, torch.where(active, new, nothing)], dim=-1)
            for old, new, nothing in (
                (self.code, steps.code.t()[:, None], FREE),
                (self.value, steps.value.t()[:, None], 0.0),
                (self.used, self.clock[:, None, None] + number, -1),
            )
        )
        # Entries of one state are brought together, old before new; each such group becomes one entry.
        code, order = code.sort(dim=-1, stable=True)
        value, used = value.gather(-1, order), used.gather(-1, order)
        place = torch.arange(code.shape[-1], device=code.device).expand_as(code)
        first = torch.ones_like(code, dtype=torch.bool)
        first[..., 1:] = code[..., 1:] != code[..., :-1]
        group = first.cumsum(-1) - 1
        start = torch.full_like(code, code.shape[-1] - 1).scatter_reduce(-1, group, place, "amin")
        used = torch.full_like(used, -1).scatter_reduce(-1, group, used, "amax")
        value = _highest(value, group) if rate is None else _moved(value, group, place - start.gather(-1, group), rate)
        keep = used.sort(dim=-1, descending=True, stable=True).indices[
            ..., :capacity
        ]  # the rest is evicted, or nothing
        more = ((used >= 0).sum(-1) - capacity).clamp(min=0).sum(-1)
        used, start = used.gather(-1, keep), start.gather(-1, keep)
        code = torch.where(used >= 0, code.gather(-1, start), FREE)
        value = torch.where(used >= 0, value.gather(-1, keep), 0.0)
        source = order.gather(-1, start)[..., None].expand(*start.shape, self.key.shape[-1])
        new = steps.key.transpose(0, 1)[:, None].expand(-1, actions, -1, -1)
        key = torch.cat([self.key, new], dim=2).gather(2, source)
        return Memory(code, key, value, used, self.clock + len(number), self.evicted + more, self.episodes + 1)


class Steps(NamedTuple):
    """What an episode showed."""

    code: Int[Tensor, "T B"]
    key: Float[Tensor, "T B D"]
    action: Int[Tensor, "T B"]
    value: Float[Tensor, "T B"]
    """What the action turned out to be worth."""
    valid: Bool[Tensor, "T B"]


class StateCode(nn.Module):
    """Equal codes for equal states; two of n different states share one with a probability of some n^2 / 2^64.

    Numbers are compared as they are, or rounded to so many `decimals`. Each is multiplied by odd constants of its own,
    with the high bits folded into the low ones between two rounds.
    """

    odd: Tensor

    def __init__(self, width: int, decimals: int | None, generator: torch.Generator) -> None:
        super().__init__()
        self._decimals = decimals
        self.register_buffer("odd", torch.randint(2**62, (2, width), generator=generator) * 2 + 1)

    def forward(self, observation: Float[Tensor, "... O"]) -> Int[Tensor, "..."]:
        """The code, 0 or more."""
        if self._decimals is not None:
            number = (observation * 10.0**self._decimals).round().to(torch.int64)
        else:
            number = (observation + 0.0).contiguous().view(torch.int32).to(torch.int64)  # -0.0 + 0.0 is 0.0
        first = number * self.odd[0] + self.odd[1]
        second = (first ^ (first >> 32)) * self.odd[1]
        return (second ^ (second >> 29)).sum(-1) & (FREE >> 1)


def _highest(value: Tensor, group: Tensor) -> Tensor:
    """[B, A, N] by group."""
    return torch.full_like(value, -torch.inf).scatter_reduce(-1, group, value, "amax")


def _moved(value: Tensor, group: Tensor, rank: Tensor, rate: float) -> Tensor:
    """[B, A, N] by group: the first value, moved towards each of the others in turn by the share `rate`."""
    size = torch.zeros_like(group).scatter_add(-1, group, torch.ones_like(group)).gather(-1, group)
    weight = (1 - rate) ** (size - 1 - rank).to(value.dtype) * torch.where(rank == 0, 1.0, rate)
    return torch.zeros_like(value).scatter_add(-1, group, weight * value)
