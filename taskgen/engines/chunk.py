"""Many steps of the tensor engine in one call: compiled on a CPU, captured as a CUDA graph on a GPU.

    chunk = Chunk(batch, steps=8)
    seen = chunk.play(actions)                    # actions [8, B, ...]

    chunk = Chunk(batch, steps=8, act=lambda observation: (observation[:, 2] > 0).long())
    seen = chunk.play()

Opt-in, for those who need more steps per second than the engine gives. It is bound to one number of slots, one number
of steps and one device; making it takes 10 to 60 s on a CPU. What happens is what happens when the batch is stepped and
its ended slots are reset after every step: the same noise, the same numbers up to rounding.

The noise of a reset is a function of the episode's number, so it is drawn outside, for the episodes to come; inside, a
slot that resets takes the row of its next episode. A generator inside what is compiled would cost more than the steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import FunctionType, MethodType
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from registry.errors import UserError
from taskgen.engines import noise
from taskgen.engines.tensor import Columnar, Columns, Dynamics, Position, Tables, TensorBatch

Act = Callable[[Tensor], Tensor]
"""From observations [B, ...] to actions [B, ...]; pure torch, and on a GPU without looking at values."""
_SPARE = 24  # rows of noise beyond those one chunk can use: the more, the seldomer and the cheaper they are drawn
_NUMBERS = count()
_BLOCK = 8192  # episodes whose noise is drawn at once: more would not stay in the cache of one core
_COMPILER: dict[str, Any] = {
    "cpp_wrapper": True,  # a chunk of few slots costs little but its calls
    "max_fusion_size": 16,  # beyond that so many streams are written at once that they evict each other
    # Guards cost as much as the steps of 64 slots. What could change from call to call is looked at in `play`.
    "guard_filter_fn": torch.compiler.skip_all_guards_unsafe,  # pyright: ignore[reportUnknownMemberType]
}


@dataclass(frozen=True, slots=True)
class Chunked:
    """What happened, time-major. On a GPU these are the graph's own buffers: the next `play` overwrites them."""

    observation: Tensor
    """[K, B, ...] before the step."""
    action: Tensor
    """[K, B, ...]."""
    reward: Tensor
    """[K, B] float32."""
    terminated: Tensor
    """[K, B] bool."""
    truncated: Tensor
    """[K, B] bool."""
    next_observation: Tensor
    """[K, B, ...] after the step; at an episode's end the true last observation, not the next episode's first."""


class _Ahead(NamedTuple):
    """Noise for the next M episodes of every slot."""

    keys: Tensor
    """[M, B] int64."""
    uniforms: Tensor
    """[M, W, B] what their resets use."""
    used: Tensor
    """[B] int32 how many of them have begun."""


class Chunk:
    """`steps` steps of `batch`, with slots whose episode ends reset on the spot.

    `play` goes on from where the batch stands and leaves it where it ends, so chunks, `step`, `reset` and `set_tasks`
    can alternate.
    """

    def __init__(self, batch: TensorBatch, steps: int, act: Act | None = None) -> None:
        """Raises `UserError` for a batch that was not reset, for `steps` < 1, and where nothing can be compiled."""
        if not isinstance(batch, TensorBatch):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"a chunk is made of a batch of the tensor engine, not of a {type(batch).__name__}")
        if steps < 1:
            raise UserError(f"steps = {steps}: a chunk has at least 1 step")
        _refuse_rewards(batch)
        if not batch.tables or len(batch.position.state) != batch.slots:
            raise UserError("a chunk goes on from where its batch stands: call set_tasks and reset first")
        self.batch, self.steps = batch, steps
        self._act = act
        dynamics = batch.dynamics
        self._columnar = isinstance(dynamics, Columnar)
        self._dynamics: Columnar = dynamics if isinstance(dynamics, Columnar) else _Whole(dynamics)
        self._graph: _Graph | None = None
        self._ahead: _Ahead | None = None
        self._spare = 0  # rows that are left for certain
        self._left: tuple[Tensor, Tensor] | None = None  # episodes and keys of tasks that the rows belong to
        self._tables: tuple[Tables, dict[str, Tensor]] | None = None
        self._given: tuple[torch.Size, torch.dtype] | None = None
        self._compiled = None
        if batch.device.type != "cuda":
            self._compiled = torch.compile(_own(self.run), dynamic=False, options=_COMPILER)  # pyright: ignore[reportUnknownMemberType]

    @torch.no_grad()
    def play(self, actions: Tensor | None = None) -> Chunked:
        """Take the steps, with `actions` [K, B, ...] unless the chunk has an `act` of its own.

        Raises `UserError` for actions that are missing, superfluous, of another length, of another shape or type than
        before, for tasks that have a reward of their own by now, and where the first call finds no compiler.
        """
        _refuse_rewards(self.batch)
        if self.batch.renumbered:
            raise UserError("a chunk plays the episodes of a trial one after another, not side by side")
        actions = self._checked(actions)
        if self._compiled is None:
            if self._graph is None:
                self._graph = _Graph(self, actions)
            chunked, position = self._graph.replay(self.batch, actions)
        else:
            ahead = self._reserved()
            try:
                chunked, position, used = self._compiled(self._steady_tables(), self._steady_position(), ahead, actions)
            except RuntimeError as error:  # of which the compiler's own errors are
                raise UserError(
                    f"{self.batch.family.name}: the chunk cannot be compiled here ({str(error).splitlines()[0]}). It "
                    "needs a C++ compiler on the path; the batch itself steps without one."
                ) from error
            self._ahead, self._left = ahead._replace(used=used), (position.episode, self.batch.seed_key)
            self._spare -= self.steps
        self.batch.position = position
        return chunked

    def _checked(self, actions: Tensor | None) -> Tensor | None:
        if (actions is None) == (self._act is None):
            has = "has an act of its own" if self._act is not None else "has no act of its own"
            raise UserError(f"the chunk {has}: {'leave out' if actions is not None else 'give'} actions")
        if actions is None:
            return None
        if actions.shape[:2] != (self.steps, self.batch.slots):
            raise UserError(f"actions {tuple(actions.shape)}: expected [{self.steps}, {self.batch.slots}, ...]")
        given = (actions.shape, actions.dtype)
        if self._given not in (None, given):
            raise UserError(f"actions {tuple(actions.shape)} {actions.dtype}: the chunk was made for {self._given}")
        self._given = given
        return actions.contiguous()

    def _steady_tables(self) -> dict[str, Tensor]:
        """The tasks' tables, laid out as they were when they were compiled for."""
        if self._tables is None or self._tables[0] is not self.batch.tables:
            self._tables = self.batch.tables, {name: table.contiguous() for name, table in self.batch.tables.items()}
        return self._tables[1]

    def _steady_position(self) -> Position:
        """Where the batch stands, laid out likewise: columns each in one piece."""
        position = self.batch.position
        state = position.state
        return position._replace(state=state.T.contiguous().T if self._columnar else state.contiguous())

    def _reserved(self) -> _Ahead:
        """Rows enough for a chunk: those at hand, while they are of these tasks and episodes and do not run short."""
        position = self.batch.position
        current = self._left is not None and self._left[0] is position.episode and self._left[1] is self.batch.seed_key
        if self._ahead is not None and current and self._spare < self.steps:
            self._spare = len(self._ahead.keys) - int(self._ahead.used.max())
        if self._ahead is None or not current or self._spare < self.steps:
            self._spare = self.steps + _SPARE
            self._ahead = self.drawn(position.episode, self.batch.seed_key, self._spare)
        return self._ahead

    def drawn(self, episode: Tensor, seed_key: Tensor, rows: int) -> _Ahead:
        """Noise for the next `rows` episodes."""
        width, slots = self.batch.start_width, self.batch.slots
        keys, uniforms = episode.new_empty(rows, slots), episode.new_empty(rows, width, slots, dtype=torch.float32)
        step = max(1, _BLOCK // slots)
        for start in range(0, rows, step):
            coming = episode + torch.arange(start, min(rows, start + step), device=episode.device)[:, None]
            key = noise.child(seed_key.expand(len(coming), -1).flatten(), coming.flatten())
            drawn = self.batch.start_noise(key, coming.flatten()).view(len(coming), slots, width)
            keys[start : start + step] = key.view(-1, slots)
            uniforms[start : start + step] = drawn.transpose(1, 2)
        return _Ahead(keys, uniforms, torch.zeros_like(episode, dtype=torch.int32))

    def run(
        self, tables: dict[str, Tensor], position: Position, ahead: _Ahead, actions: Tensor | None
    ) -> tuple[Chunked, Position, Tensor]:
        """The steps in plain torch: what is compiled or captured. Returns the rows used as well."""
        dynamics, width = self._dynamics, self.batch.step_uniforms
        rows: list[tuple[Columns, ...]] = []
        state = position.state.unbind(1) if self._columnar else (position.state,)
        # Counters of 32 bits: with 64 a vector holds half as many slots.
        time, key, used = position.time.to(torch.int32), position.key, ahead.used
        slot = torch.arange(self.batch.slots, device=key.device)
        for t in range(self.steps):
            observation = dynamics.observe_columns(tables, state)
            action = actions[t] if actions is not None else self._act(self._joined(observation))  # type: ignore[misc]
            time = time + 1
            uniform = noise.traced_uniforms(key, time.to(torch.int64), width)[0]
            following, reward, terminated = dynamics.step_columns(tables, state, action, uniform)
            truncated = time >= self.batch.family.horizon
            ended = terminated | truncated
            seen = dynamics.observe_columns(tables, following)
            rows.append((observation, (action,), (reward,), (terminated,), (truncated,), seen))
            begun = dynamics.initial(tables, ahead.uniforms[used.to(torch.int64), :, slot])
            parts = begun.unbind(1) if self._columnar else (begun,)
            state = tuple(torch.where(_over(ended, new), new, old) for new, old in zip(parts, following, strict=True))
            if width:
                key = torch.where(ended, ahead.keys[used.to(torch.int64), slot], key)
            time, used = torch.where(ended, 0, time), used + ended.to(torch.int32)
        new = used - ahead.used
        # Kept in 64 bits from here; where steps use no noise, nobody has asked for the key so far.
        last = ahead.keys[(used - 1).clamp(min=0).to(torch.int64), slot]
        key = torch.where(new > 0, last, position.key)
        observed, action, reward, terminated, truncated, seen = zip(*rows, strict=True)
        chunked = Chunked(
            _stacked(observed, columnar=self._columnar),
            _stacked(action) if actions is None else actions,
            _stacked(reward),
            _stacked(terminated),
            _stacked(truncated),
            _stacked(seen, columnar=self._columnar),
        )
        return chunked, Position(self._joined(state), time.to(torch.int64), position.episode + new, key), used

    def _joined(self, parts: Columns) -> Tensor:
        return torch.stack(parts).T if self._columnar else parts[0]


class _Whole:
    """Dynamics whose state is one tensor, as if that were its only column."""

    def __init__(self, dynamics: Dynamics) -> None:
        self._dynamics = dynamics
        self.initial = dynamics.initial

    def observe_columns(self, tables: Tables, columns: Columns) -> Columns:
        return (self._dynamics.observe(tables, columns[0]),)

    def step_columns(
        self, tables: Tables, columns: Columns, action: Tensor, uniform: Tensor
    ) -> tuple[Columns, Tensor, Tensor]:
        state, reward, terminated = self._dynamics.step(tables, columns[0], action, uniform)
        return (state,), reward, terminated


class _Graph:
    """A captured `_run` with static buffers: no launch per operation, no look at a value by the host."""

    def __init__(self, chunk: Chunk, actions: Tensor | None) -> None:
        batch = chunk.batch
        self._position = Position(*(part.clone() for part in batch.position))
        self._actions = None if actions is None else actions.clone()
        self._tables = {name: table.clone() for name, table in batch.tables.items()}
        self._seed_key = batch.seed_key.clone()
        self._filled_from = batch.tables
        side = torch.cuda.Stream(batch.device)
        side.wait_stream(torch.cuda.current_stream(batch.device))
        with torch.cuda.stream(side):
            for _ in range(3):  # what is allocated or chosen at first use must not be captured
                self._run(chunk)
        torch.cuda.current_stream(batch.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._chunked, self._after = self._run(chunk)

    def _run(self, chunk: Chunk) -> tuple[Chunked, Position]:
        """Noise drawn and used within the graph: a row an episode, of which as many can begin as there are steps."""
        ahead = chunk.drawn(self._position.episode, self._seed_key, chunk.steps)
        return chunk.run(self._tables, self._position, ahead, self._actions)[:2]

    def replay(self, batch: TensorBatch, actions: Tensor | None) -> tuple[Chunked, Position]:
        """Play from where `batch` stands, on the tasks and the noise that it has by now; the position is a copy."""
        for mine, given in zip(self._position, batch.position, strict=True):
            mine.copy_(given)
        self._seed_key.copy_(batch.seed_key)
        if batch.tables is not self._filled_from:  # by `set_tasks`; seldom, and tables may be large
            for name, mine in self._tables.items():
                mine.copy_(batch.tables[name])
            self._filled_from = batch.tables
        if self._actions is not None and actions is not None:
            self._actions.copy_(actions)
        self._graph.replay()
        return self._chunked, Position(*(part.clone() for part in self._after))


def _refuse_rewards(batch: TensorBatch) -> None:
    """Raise `UserError` where tasks have a reward of their own."""
    if batch.rewards.active:
        raise UserError("a chunk pays what the family pays; step the batch where tasks have a reward of their own")


def _own(method: MethodType) -> MethodType:
    """`method` with a code object of its own.

    Compiled code is kept by code object; without guards nothing else tells that of one chunk from that of another.
    """
    function = cast(FunctionType, method.__func__)
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_NUMBERS)}")
    return MethodType(FunctionType(code, function.__globals__), method.__self__)


def _stacked(column: tuple[Columns, ...], *, columnar: bool = False) -> Tensor:
    """[K, B, ...] of what K steps gave. Slots are innermost in memory: what is compiled works on them in vectors."""
    if columnar:
        flat = torch.stack([part for parts in column for part in parts])
        return flat.view(len(column), len(column[0]), -1).transpose(1, 2)
    values = [parts[0] for parts in column]
    if values[0].ndim != 2:
        return torch.stack(values)
    return torch.stack([value.T for value in values]).transpose(1, 2)


def _over(where: Tensor, values: Tensor) -> Tensor:
    """`where` [B] shaped to choose rows of `values` [B, ...]."""
    return where.view(-1, *(1,) * (values.ndim - 1))
