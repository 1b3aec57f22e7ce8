"""Episodic LSTM: a long short-term memory that takes up what it knew when it was last in the same situation.

    c_t = f c_{t-1} + i g + r tanh(m_t),   m_t = sum_j w_j v_j,   w_j = k(q_t, q_j) / (k_0 + sum_l k(q_t, q_l)),
    k(q, q') = 1 / (||q - q'||^2 + delta),  over the entries (q_j, v_j) whose cues are nearest to the present cue q_t

and the reinstatement gate r is computed from input and hidden state as the gates i, f and o are. When an episode ends,
a differentiable neural dictionary is given its last cue and cell state (q_T, c_T), in the place of an entry with the
same cue if there is one; a look-up writes nothing. Hidden and cell state are cleared between episodes, the dictionary
lasts as long as the trial; what an entry holds is trained through every later look-up.

Ritter et al. 2018, "Been there, done that: meta-learning with episodic recall", section 3.

Differences from the paper: the outcome of an episode's last step, which the next input holds, is read by an ordinary
step of the LSTM before the entry is written, and not shown to the next episode; k_0, the weight of finding nothing,
keeps what is remembered of other situations out of a new one (paper: 0).

Axes: T time, B batch, I inputs, O numbers of an observation, H width of the state, C capacity, K numbers of a cue.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from agents.networks.base import Inputs, Memory, RecurrentNetwork, cleared
from registry.config import Config


class EpisodicLSTMConfig(Config):
    """Settings of `EpisodicLSTM`."""

    hidden_size: int = Field(48, ge=1, description="Width of hidden and cell state.")
    capacity: int = Field(100, ge=1, description="Episodes that a trial's dictionary holds.")
    eviction: Literal["least-recently-used", "oldest"] = Field(
        "least-recently-used",
        description="What makes room where it is full: the entry that was longest neither written nor found, or that "
        "was longest not written.",
    )
    neighbours: int = Field(1, ge=1, description="Entries that a look-up reads.")
    delta: float = Field(1e-3, gt=0, description="What the kernel adds to a squared distance of cues.")
    nothing: float = Field(10.0, ge=0, description="Weight of finding nothing, in kernels (paper: 0).")
    reinstate: bool = Field(default=True, description="If not, the gate is 0: every visit is a first one.")

    @model_validator(mode="after")
    def _fits(self) -> "EpisodicLSTMConfig":
        if self.neighbours > self.capacity:
            raise ValueError(
                f"neighbours = {self.neighbours} of a dictionary for capacity = {self.capacity} episodes: ask for "
                "fewer, or remember more"
            )
        return self


class _State(NamedTuple):
    """The memory by name."""

    hidden: Tensor
    """[B, H]."""
    cell: Tensor
    """[B, H]."""
    observation: Tensor
    """[B, O] of the last input."""
    begun: Tensor
    """[B] 1 where there was an input, else 0."""
    keys: Tensor
    """[B, C, K]."""
    values: Tensor
    """[B, C, H]."""
    used: Tensor
    """[B, C] when a place was last written or, as `eviction` has it, found; 0: it is free."""
    clock: Tensor
    """[B] inputs read."""
    evicted: Tensor
    """[B] entries that made room."""


class EpisodicLSTM(RecurrentNetwork):
    """The output is the hidden state [B, H]; for what is remembered see `_State`."""

    by_cue: ClassVar[bool] = True
    _cue: Tensor

    def __init__(self, config: EpisodicLSTMConfig, *, inputs: Inputs) -> None:
        super().__init__()
        self.config = config
        self.output_size = config.hidden_size
        self._observation = inputs.observation
        self.register_buffer("_cue", torch.tensor(inputs.cue), persistent=False)
        self.of_input = nn.Linear(inputs.size, 5 * config.hidden_size)
        self.of_hidden = nn.Linear(config.hidden_size, 5 * config.hidden_size, bias=False)

    def initial(self, batch: int) -> Memory:
        """Nothing was read, and the dictionary is empty."""
        config, zeros = self.config, self.of_input.weight.new_zeros
        return _State(
            hidden=zeros(batch, config.hidden_size),
            cell=zeros(batch, config.hidden_size),
            observation=zeros(batch, self._observation),
            begun=zeros(batch),
            keys=zeros(batch, config.capacity, len(self._cue)),
            values=zeros(batch, config.capacity, config.hidden_size),
            used=zeros(batch, config.capacity, dtype=torch.int64),
            clock=zeros(batch, dtype=torch.int64),
            evicted=zeros(batch, dtype=torch.int64),
        )

    def figures(self, memory: Memory) -> Mapping[str, Tensor]:
        """Entries held, and entries that made room so far."""
        state = _State(*memory)
        return {"held": (state.used > 0).sum(1), "evicted": state.evicted}

    def step(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Where an episode starts, close the one before; look up; advance the cell."""
        starts = self._starts(inputs)
        state = _State(*memory)
        if _may_hold(starts):
            state = self._between(inputs, state, starts)
        found, places = self._look_up(self._cue_of(inputs), state)
        state = self._stamp(places, state)
        return self._advance(self._fresh(inputs, starts), inputs, state, found)

    def sequence(self, inputs: Tensor, restart: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Step by step; what was found is kept while nothing was written and all cues stay, which the host looks at."""
        state = _State(*(memory or self.initial(inputs.shape[1])))
        starts, cues = self._starts(inputs), self._cue_of(inputs)
        moved = torch.cat([torch.ones_like(starts[:1]), (cues[1:] != cues[:-1]).any(-1)]) | starts
        looks = [True] * len(inputs)
        if inputs.device.type == "cpu":  # on a GPU the look would be a host sync
            changes = moved if restart is None else moved | restart
            looks = changes.any(1).tolist()
        projected = self._fresh(inputs, starts).unbind()  # the gradient of a row by its number is as large as the whole
        outputs = list[Tensor]()
        found = places = None
        for t, row in enumerate(inputs):
            if restart is not None:
                state = _State(*cleared(state, restart[t]))
            if looks[t] and _may_hold(starts[t]):
                state = self._between(row, state, starts[t])
            if looks[t] or places is None:
                found, places = self._look_up(cues[t], state)
            state = self._stamp(places, state)
            hidden, state = self._advance(projected[t], row, state, found)
            outputs.append(hidden)
        return torch.stack(outputs)

    def _starts(self, inputs: Tensor) -> Tensor:
        """[...] whether an episode starts within the trial."""
        return inputs[..., -2] > 0.5

    def _cue_of(self, inputs: Tensor) -> Tensor:
        """[..., K] of inputs or observations."""
        return inputs.index_select(-1, self._cue)

    def _fresh(self, inputs: Tensor, starts: Tensor) -> Tensor:
        """[..., 5 H] what `inputs` [..., I] say to the gates, without what came before an episode that `starts`."""
        observation, before, flags = inputs.tensor_split([self._observation, inputs.shape[-1] - 2], -1)
        return self.of_input(torch.cat([observation, before * ~starts[..., None], flags], -1))

    def _between(self, inputs: Tensor, state: _State, starts: Tensor) -> _State:
        """Where [B] an episode `starts`: read how the last one ended, write it down, and forget the cell."""
        outcome = torch.cat([state.observation, inputs[:, self._observation :]], 1)
        _, ended = self._advance(self.of_input(outcome), inputs, state, None)
        state = self._write(self._cue_of(state.observation), ended.cell, state, starts & (state.begun > 0))
        hidden, cell = cleared((state.hidden, state.cell), starts)
        return state._replace(hidden=hidden, cell=cell)

    def _write(self, cue: Tensor, cell: Tensor, state: _State, where: Tensor) -> _State:
        """Enter `cue` [B, K] with `cell` [B, H] in the rows `where` [B]."""
        same = (state.keys == cue[:, None]).all(-1) & (state.used > 0)
        place = torch.where(same.any(1), same.to(torch.uint8).argmax(1), state.used.argmin(1))[:, None]
        there = torch.zeros_like(same).scatter(1, place, where[:, None])
        full = where & ~same.any(1) & (state.used.gather(1, place)[:, 0] > 0)
        return state._replace(
            keys=torch.where(there[..., None], cue[:, None], state.keys),
            values=torch.where(there[..., None], cell[:, None], state.values),
            used=torch.where(there, state.clock[:, None], state.used),
            evicted=state.evicted + full,
        )

    def _look_up(self, cue: Tensor, state: _State) -> tuple[Tensor, Tensor]:
        """[B, H] tanh(m) of the situation `cue` [B, K], and [B, C] which entries that is made of."""
        squared = (state.keys - cue[:, None]).square().sum(-1).masked_fill(state.used == 0, torch.inf)
        near, place = squared.topk(self.config.neighbours, largest=False)
        kernel = 1 / (near + self.config.delta)
        weight = kernel / (self.config.nothing + kernel.sum(1, keepdim=True)).clamp(min=1e-30)
        values = state.values.gather(1, place[..., None].expand(-1, -1, self.output_size))
        found = (weight[..., None] * values).sum(1).tanh()
        return found, torch.zeros_like(state.used, dtype=torch.bool).scatter(1, place, ~near.isinf())

    def _stamp(self, places: Tensor, state: _State) -> _State:
        """After one more step beside what was found in `places` [B, C]."""
        if self.config.eviction == "oldest":
            return state
        return state._replace(used=torch.where(places, state.clock[:, None] + 1, state.used))

    def _advance(self, projected: Tensor, inputs: Tensor, state: _State, found: Tensor | None) -> tuple[Tensor, _State]:
        """One step of the cell by what `inputs` [B, I] say to the gates [B, 5 H], and what was `found` [B, H], if any.

        Returns the hidden state [B, H] and the memory afterwards.
        """
        sums = torch.addmm(projected, state.hidden, self.of_hidden.weight.t())
        candidate, gates = sums.tensor_split([self.output_size], 1)
        enter, keep, show, reinstate = gates.sigmoid().chunk(4, 1)
        cell = keep * state.cell + enter * candidate.tanh()
        if found is not None and self.config.reinstate:
            cell = cell + reinstate * found
        hidden = show * cell.tanh()
        return hidden, state._replace(
            hidden=hidden,
            cell=cell,
            observation=inputs[:, : self._observation],
            begun=torch.ones_like(state.begun),
            clock=state.clock + 1,
        )


def _may_hold(where: Tensor) -> bool:
    """Whether any of [B] may be true: nobody looks on a GPU, which would be a host sync, nor where steps are traced."""
    return where.device.type != "cpu" or torch.compiler.is_exporting() or bool(where.any())
