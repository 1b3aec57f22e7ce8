"""The tensor engine: batched environments in pure torch, on any device.

A family writes `Dynamics`: pure functions of tensors. `TensorBatch` owns everything else: tasks in slots, noise,
horizon, masked reset.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.errors import brief
from taskgen.batch import Transition
from taskgen.borders import broken
from taskgen.engines import noise
from taskgen.engines.rewards import SlotRewards
from taskgen.family import TaskFamily, same_structure
from taskgen.spec import TaskSpec

Tables = Mapping[str, Tensor]
"""The tasks as tensors, each [B, ...]."""
Columns = tuple[Tensor, ...]
"""A state [B, D] as D tensors [B]."""
_LARGE, _FEW = 1024, 4  # in a large batch a reset of at most one in so many slots looks at these alone
_LOOK_AHEAD = 4096  # uniforms drawn at once: beyond that, drawing costs no less by the step
_STARTS, _EPISODES = 1024, 8  # starts drawn at once, and episodes of a slot: in small batches one costs little less


class Dynamics(Protocol):
    """A family's transition law over B slots. `state` is a tensor [B, ...]; `uniform` [B, uniforms] lies in (0, 1).

    One with the attribute `deterministic = True` is random at resets only: its steps are given `uniform` [B, 0]. One
    with `fixed_start = True` is random at steps only: `initial` is given `uniform` [B, 0]. With `numbered = True`
    episodes depend on their number in the trial, from 0: `initial` is given that as one column more, the last. One with
    the attribute `all_observations` [S, ...] observes row `state` of it, the state being [B] or [B, 1] int64.
    """

    uniforms: int
    """Independent uniforms that one reset or one step uses."""

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        """Tasks as CPU tensors by name, each [len(specs), ...]."""
        ...

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        """State [B, ...] at the start of an episode; `uniform` [B, uniforms]."""
        ...

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        """Observation [B, ...] of `state`."""
        ...

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next state, reward [B] float32, terminated [B] bool."""
        ...

    def descriptor(self, tables: Tables) -> Tensor:
        """[B, D] float32, what an oracle may see."""
        ...


@runtime_checkable
class Columnar(Protocol):
    """`Dynamics` of a state [B, D] that also step its columns apart: much faster in a compiled chunk. Optional."""

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        """As in `Dynamics`: [B, D]."""
        ...

    def observe_columns(self, tables: Tables, columns: Columns) -> Columns:
        """`observe`, its result [B, O] as O columns."""
        ...

    def step_columns(
        self, tables: Tables, columns: Columns, action: Tensor, uniform: Tensor
    ) -> tuple[Columns, Tensor, Tensor]:
        """As `Dynamics.step`, the same numbers up to rounding, the next state as D columns [B]."""
        ...


class Position(NamedTuple):
    """Where every slot stands: all that a batch changes by stepping and resetting."""

    state: Tensor
    """[B, ...]."""
    time: Tensor
    """[B] int64 steps made in this episode."""
    episode: Tensor
    """[B] int64 episodes begun."""
    key: Tensor
    """[B] int64 key of this episode's noise."""


class _Start(NamedTuple):
    """How episodes start, [N, ...] of as many; their noise has the keys `key`."""

    state: Tensor
    observation: Tensor
    key: Tensor

    def of(self, rows: Tensor) -> "_Start":
        """Those of `rows` alone."""
        return _Start(*(values.index_select(0, rows) for values in self))


class _Starts(NamedTuple):
    """How the next episodes of every slot start: row `place[b]` is the next one of slot b, B rows on the one after."""

    rows: _Start
    place: NDArray[np.int64]


class TensorBatch:
    """A `TaskBatch` over `Dynamics`."""

    def __init__(
        self, family: TaskFamily[Any], dynamics: Dynamics, slots: int, device: torch.device | str = "cpu"
    ) -> None:
        self.slots = slots
        self.device = torch.device(device)
        self.family = family
        self._dynamics = dynamics
        self._tables: dict[str, Tensor] = {}
        self._state = torch.empty(0)
        self._time = torch.zeros(slots, dtype=torch.int64, device=self.device)
        self._episode = torch.zeros_like(self._time)
        self._seed_key = torch.zeros_like(self._time)
        self._episode_key = torch.zeros_like(self._time)
        # Between two resets noise may be drawn for several steps at once, which small batches gain most from. While
        # slots are reset one by one, most of it would be thrown away.
        self.step_uniforms: int = 0 if getattr(dynamics, "deterministic", False) else dynamics.uniforms
        self.start_uniforms = 0 if getattr(dynamics, "fixed_start", False) else dynamics.uniforms
        self._rewards = SlotRewards(family, slots, self.device, getattr(dynamics, "all_observations", None))
        self._enumerated = hasattr(dynamics, "all_observations")
        self._observation = torch.empty(0)
        self._starts: _Starts | None = None
        self._repeated: dict[str, Tensor] = {}
        self._no_uniforms = torch.empty(slots, 0, device=self.device)
        self._numbered = bool(getattr(dynamics, "numbered", False))
        self._first: Tensor | None = None
        self._episodes_ahead = max(1, min(_EPISODES, _STARTS // slots))
        self._look_ahead = max(1, min(family.horizon, _LOOK_AHEAD // max(1, slots * dynamics.uniforms)))
        self._together = False
        self._ahead: list[Tensor] = []

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """See `TaskBatch.set_tasks`. Raises `ValueError` for another number of tasks than of slots."""
        same_structure(specs, self.family)
        expected = self.slots if slots is None else len(slots)
        if len(specs) != expected:
            raise ValueError(f"{len(specs)} tasks for {expected} slots")
        self._rewards.set_tasks(specs, slots)
        new = {name: table.to(self.device) for name, table in self._tables_of(specs).items()}
        key = noise.keys([spec.seed for spec in specs], self.device)
        self._observation, self._starts = torch.empty(0), None  # the new tasks may look different
        self._repeated = {}
        self._first = None
        if slots is None:
            self._tables, self._seed_key = new, key
            self._episode = torch.zeros_like(self._episode)
            return
        if not self._tables:
            raise ValueError("the first set_tasks of a batch fills all slots")
        index = torch.tensor(slots, device=self.device)
        self._tables = {name: self._tables[name].index_copy(0, index, new[name]) for name in new}
        self._seed_key = self._seed_key.index_copy(0, index, key)
        self._episode = self._episode.index_fill(0, index, 0)

    def _tables_of(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        """`Dynamics.tables`. Raises `PluginError` unless each has a row for every task."""
        tables: Any = self._dynamics.tables(specs)
        if not isinstance(tables, Mapping):
            raise broken(self.family, "Dynamics.tables", _shown(tables), "a dict of tensors by name")
        for name, table in cast("Mapping[Any, Any]", tables).items():
            if not isinstance(table, Tensor) or table.shape[:1] != (len(specs),):
                expected = f"a tensor [{len(specs)}, ...], a row for each task"
                raise broken(self.family, "Dynamics.tables", f"as {brief(name)} {_shown(table)}", expected)
        return cast("dict[str, Tensor]", tables)

    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """See `TaskBatch.reset`."""
        rows: Tensor | None = None
        if where is not None and where.device.type == "cpu":  # on a GPU the look would be a host sync
            rows = where.nonzero()[:, 0]
            if len(rows) == self.slots:
                where = rows = None
        if seeds is not None:
            key, episode = noise.keys(seeds, self.device), torch.zeros_like(self._episode)
            self._seed_key = key if where is None else torch.where(where, key, self._seed_key)
            self._episode = episode if where is None else torch.where(where, episode, self._episode)
            self._starts = None
        self._ahead.clear()
        self._together = where is None
        if where is None:
            self._starts = None
            start = self._draw(self._tables, self._seed_key, self._episode, self._first)
            self._state, self._observation, self._episode_key = start
            self._time = torch.zeros_like(self._time)
            self._episode = self._episode + 1
            return self._observation
        seen = self._seen()
        if rows is None:
            start = self._draw(self._tables, self._seed_key, self._episode, self._first)
            self._state = torch.where(_rows(where, start.state), start.state, self._state)
            self._observation = torch.where(_rows(where, start.observation), start.observation, seen)
            self._episode_key = torch.where(where, start.key, self._episode_key)
            self._time = self._time.masked_fill(where, 0)
        elif len(rows):
            start = self._next_starts(rows)
            self._state = self._state.index_copy(0, rows, start.state)
            self._observation = seen.index_copy(0, rows, start.observation)
            self._episode_key = self._episode_key.index_copy(0, rows, start.key)
            self._time = self._time.index_fill(0, rows, 0)
        self._episode = self._episode + where
        return self._observation

    def _next_starts(self, rows: Tensor) -> _Start:
        """The starts of the next episodes of the slots `rows`, drawn beforehand, some episodes of every slot at once.

        Where these are few of many, those of `rows` alone.
        """
        if self.slots >= _LARGE and _FEW * len(rows) <= self.slots:
            self._starts = None
            tables = {name: table.index_select(0, rows) for name, table in self._tables.items()}
            first = None if self._first is None else self._first.index_select(0, rows)
            return self._draw(tables, self._seed_key.index_select(0, rows), self._episode.index_select(0, rows), first)
        starts, numbers = self._starts, rows.numpy()
        if starts is None or starts.place[numbers].max() >= len(starts.rows.key):
            starts = self._starts = self._draw_ahead()
        place = starts.place[numbers]
        starts.place[numbers] += self.slots
        return starts.rows.of(torch.from_numpy(place))  # pyright: ignore[reportUnknownMemberType]

    def _draw_ahead(self) -> _Starts:
        """The starts of every slot's next episodes."""
        times = self._episodes_ahead
        if not self._repeated:
            self._repeated = {name: torch.cat([table] * times) for name, table in self._tables.items()}
        later = torch.arange(times).repeat_interleave(self.slots)
        first = None if self._first is None else self._first.repeat(times)
        drawn = self._draw(self._repeated, self._seed_key.repeat(times), self._episode.repeat(times) + later, first)
        return _Starts(drawn, np.arange(self.slots))

    def _draw(self, tables: Tables, seed_key: Tensor, episode: Tensor, first: Tensor | None) -> _Start:
        """The starts of the episodes numbered `episode` [N] of the tasks `tables`, in trials that began at `first`."""
        key = noise.child(seed_key, episode)
        initial = self._initial(tables, key, episode if first is None else episode + first)
        return _Start(initial, self._dynamics.observe(tables, initial), key)

    def _initial(self, tables: Tables, key: Tensor, number: Tensor) -> Tensor:
        """States [B, ...] for episodes with noise `key` [B] and `number` [B]. Raises `PluginError` for other shapes."""
        initial: Any = self._dynamics.initial(tables, self.start_noise(key, number))
        if not isinstance(initial, Tensor) or initial.shape[:1] != key.shape:
            raise broken(self.family, "Dynamics.initial", _shown(initial), f"states [{len(key)}, ...]")
        return initial

    def start_noise(self, key: Tensor, number: Tensor) -> Tensor:
        """What `Dynamics.initial` is given for episodes with noise `key` [B] and `number` [B]."""
        if not self.start_uniforms:
            uniform = torch.empty(len(key), 0, device=self.device)
        else:
            uniform = noise.uniforms(key, torch.zeros_like(key), self.start_uniforms)[0]
        return torch.cat([uniform, number[:, None].to(torch.float32)], dim=1) if self._numbered else uniform

    @property
    def start_width(self) -> int:
        """Columns of `start_noise`."""
        return self.start_uniforms + self._numbered

    def number(self, episodes: Sequence[int]) -> None:
        """See `Numbered.number`."""
        if self._numbered:
            self._first = torch.tensor(episodes, device=self.device)
            self._starts = None

    def _seen(self) -> Tensor:
        """The current observation of all slots."""
        if len(self._observation) != self.slots:
            self._observation = self._dynamics.observe(self._tables, self._state)
        return self._observation

    def step(self, action: Tensor) -> Transition:
        """See `TaskBatch.step`. Raises `PluginError` for what is no step of `Dynamics`."""
        self._time = self._time + 1  # counter 0 of an episode's noise belongs to its reset
        uniform = self._next_uniforms() if self.step_uniforms else self._no_uniforms
        outcome: Any = self._dynamics.step(self._tables, self._state, action, uniform)
        if not isinstance(outcome, tuple) or len(cast("tuple[Any, ...]", outcome)) != 3:
            expected = "three values: the next state, reward [B], terminated [B]"
            raise broken(self.family, "Dynamics.step", _shown(outcome), expected)
        state, reward, terminated = cast("tuple[Any, Tensor, Tensor]", outcome)
        begun = self._state
        if not isinstance(state, Tensor) or state.shape != begun.shape or state.dtype != begun.dtype:
            raise broken(self.family, "Dynamics.step", f"as state {_shown(state)}", f"{_shown(begun)}, as at the start")
        self._state = state
        before, self._observation = self._observation, self._dynamics.observe(self._tables, self._state)
        truncated = self._time >= self.family.horizon
        if not self._rewards.active:
            return Transition(self._observation, reward, terminated, truncated)
        number = state.view(-1) if self._enumerated else None
        paid = self._rewards(before, action, self._observation, reward, number)
        return Transition(self._observation, paid, terminated, truncated, family_reward=reward)

    def _next_uniforms(self) -> Tensor:
        if not self._ahead:
            steps = self._look_ahead if self._together else 1
            drawn = noise.uniforms(self._episode_key, self._time, self.step_uniforms, steps)
            self._ahead = list(drawn.unbind())[::-1]
        return self._ahead.pop()

    def descriptor(self) -> Tensor:
        """See `TaskBatch.descriptor`."""
        return self._rewards.beside(self._dynamics.descriptor(self._tables))

    @property
    def rewards(self) -> SlotRewards:
        """What the slots are paid."""
        return self._rewards

    @property
    def dynamics(self) -> Dynamics:
        """The transition law."""
        return self._dynamics

    @property
    def renumbered(self) -> bool:
        """Whether slots play other episodes of their trials than they have begun."""
        return self._first is not None

    @property
    def tables(self) -> Tables:
        """The tasks as tensors."""
        return self._tables

    @property
    def seed_key(self) -> Tensor:
        """[B] int64 keys that the episodes' keys are children of."""
        return self._seed_key

    @property
    def position(self) -> Position:
        """Where every slot stands."""
        return Position(self._state, self._time, self._episode, self._episode_key)

    @position.setter
    def position(self, position: Position) -> None:
        self._state, self._time, self._episode, self._episode_key = position
        self._observation, self._starts = torch.empty(0), None  # nobody has looked
        if self._rewards.active:
            self._observation = self._dynamics.observe(self._tables, self._state)
        self._ahead.clear()

    def state(self, slot: int) -> Tensor:
        """The state of one slot, from which a family that is `Animated` draws a frame."""
        return self._state[slot]


def _rows(where: Tensor, values: Tensor) -> Tensor:
    """`where` [B] shaped to choose rows of `values` [B, ...]."""
    return where.view(-1, *(1,) * (values.ndim - 1))


def _shown(value: Any) -> str:
    """What came, for a message."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} {value.dtype}"
    found = cast("tuple[Any, ...]", value)
    count = f" of {len(found)}" if isinstance(value, tuple) else ""
    return f"{brief(found)}, a {type(found).__name__}{count}"
