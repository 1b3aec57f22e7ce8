"""The contract of recurrent networks: one map in two forms, step by step and over whole sequences."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

import torch
from torch import Tensor, nn

import registry
from registry.catalogue import Item
from registry.config import Part
from registry.errors import UserError
from taskgen.borders import border, broken, is_foreign, refuse_incomplete, remember

Memory: TypeAlias = tuple[Tensor, ...]
"""Hidden state: tensors [B, ...]."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the entries of an input [size] are: observation, previous action and reward, and two flags, 0 or 1.

    The last but one says that an episode starts within the trial, the last one that the trial starts.
    """

    size: int
    observation: int
    """Entries of the observation, the first ones."""
    cue: tuple[int, ...] = ()
    """Entries of the observation that say which situation this is (`taskgen.family.Contextual`); none: ()."""


class RecurrentNetwork(nn.Module, ABC):
    """Built as `Network(config, input_size=...)`. `step` and `sequence` agree to rounding."""

    by_cue: ClassVar[bool] = False
    """Whether it remembers by cue: it is then built as `Network(config, inputs=Inputs(...))`, never without a cue."""
    output_size: int
    covers: int | None = None
    """Steps of a trial that it can remember whole, the present one included; None: any number. Agents refuse longer
    trials (`refuse_uncovered`)."""

    @abstractmethod
    def initial(self, batch: int) -> Memory:
        """Hidden state at the start of `batch` sequences, on the parameters' device: zeros."""

    @abstractmethod
    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[B, I], memory -> [B, O], memory."""

    @abstractmethod
    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """[T, B, I] -> [T, B, O] from `memory`, by default the initial state, to which `restart` [T, B] returns."""

    def figures(self, memory: Memory) -> Mapping[str, Tensor]:
        """What the log is to say of the memory, [B] by name: nothing, unless a network has something to say."""
        return {}

    @torch.no_grad()
    def memories(self, inputs: Tensor, every: int, restart: Tensor | None = None) -> Memory:
        """The hidden states before inputs 0, `every`, 2 `every`, ... of [T, B, I]: each part [N, B, ...].

        Of a memory whose parts [B, L, ...] grow in L, the shorter ones begin with zeros.
        """
        memory, kept = self.initial(inputs.shape[1]), list[Memory]()
        for t, row in enumerate(inputs):
            if t % every == 0:
                kept.append(memory)
            if restart is not None:
                memory = cleared(memory, restart[t])
            _, memory = self.step(row, memory)
        return tuple(_stacked(parts) for parts in zip(*kept, strict=True))


def build_network(part: Part, inputs: Inputs, family: str) -> RecurrentNetwork:
    """The network `part` of the catalogue, to read `inputs` of tasks of `family`.

    Raises `UserError` where it remembers by cue and there is none, or one that is no part of the observation;
    `PluginError` for one whose outputs are not of the shapes that it promises.
    """
    item = registry.catalogue().get("networks", part.name)
    if not getattr(item.load(), "by_cue", False):
        return _tried(item.build(part.settings, input_size=inputs.size), inputs, item)
    if not inputs.cue:
        raise UserError(
            f"network {item.full_name} remembers by a cue, and {family} with these settings shows none: take a family "
            "that offers cue, such as barcode-bandit, or a network that does without, such as lstm"
        )
    if strange := [entry for entry in inputs.cue if not 0 <= entry < inputs.observation]:
        raise UserError(
            f"{family} says that entry {strange[0]} of its observation belongs to the cue, but it has "
            f"{inputs.observation} entries, from 0: `taskgen.testing.check_family` finds such families"
        )
    return _tried(item.build(part.settings, inputs=inputs), inputs, item)


@torch.no_grad()
def _tried(network: Any, inputs: Inputs, item: Item) -> RecurrentNetwork:
    """`network`, of which a plugin's gives what it promises: two steps of two sequences, in turn and at once."""
    refuse_incomplete(
        network, ("initial", "step", "sequence"), contract="agents.networks.base.RecurrentNetwork", name=item.full_name
    )
    remember(network, item)
    if not is_foreign(network):
        return network
    rows = torch.zeros(2, 2, inputs.size)
    with border(network, "step"):
        found: Any = network.step(rows[0], network.initial(2))
    if not isinstance(found, tuple) or len(cast("tuple[Any, ...]", found)) != 2:
        raise broken(network, "step", f"a {type(found).__name__}", "(output, memory)")
    with border(network, "sequence"):
        outputs = {"step": found[0], "sequence": network.sequence(rows)}
    for call, output in outputs.items():
        expected = [*rows.shape[call == "step" : 2], getattr(network, "output_size", None)]
        if not isinstance(output, Tensor) or list(output.shape) != expected:
            came = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise broken(network, call, str(came), f"{expected}, of which output_size is the last")
    return network


def _stacked(parts: tuple[Tensor, ...]) -> Tensor:
    if parts[0].ndim < 3:
        return torch.stack(parts)
    longest = max(part.shape[1] for part in parts)
    return torch.stack(
        [torch.cat([part.new_zeros(len(part), longest - part.shape[1], *part.shape[2:]), part], 1) for part in parts]
    )


def with_previous(inputs: Tensor, first: Tensor, restart: Tensor | None) -> Tensor:
    """[T, B, 2 I]: each input of [T, B, I] behind the one before it; `first` [B, I] is before the first one.

    Where `restart` [T, B] is true there is none: zeros.
    """
    previous = torch.cat([first[None], inputs[:-1]])
    if restart is not None:
        previous = previous * ~restart[..., None]
    return torch.cat([previous, inputs], -1)


def refuse_uncovered(network: RecurrentNetwork, name: str, *, episodes: int, horizon: int) -> None:
    """Raise `UserError` where a trial of `episodes` x `horizon` steps is longer than the network `name` covers."""
    steps = episodes * horizon
    if network.covers is not None and 1 < network.covers < steps:
        raise UserError(
            f"network {name} remembers {network.covers} steps, but a trial of {episodes} episodes of up to {horizon} "
            f"steps has {steps}: its start would be forgotten. Ask for trials of at most {network.covers // horizon} "
            f"episodes, or train with agent.network.window={steps}, or with agent.network.truncate=true to allow it"
        )


def cleared(memory: Memory, where: Tensor) -> Memory:
    """`memory` with the initial state in the rows where the bool tensor [B] is true."""
    return tuple(part * ~where.view(-1, *(1,) * (part.ndim - 1)) for part in memory)
