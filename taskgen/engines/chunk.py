"""Many steps of the tensor engine in one call: compiled on a CPU, captured as a CUDA graph on a GPU.

    chunk = Chunk(batch, steps=8)
    seen = chunk.play(actions)                    # actions [8, B, ...]

    chunk = Chunk(batch, steps=8, act=lambda observation: (observation[:, 2] > 0).long())
    seen = chunk.play()

Opt-in, for those who need more steps per second than the engine gives. It is bound to one number of slots, one number
of steps and one device; making it takes 10 to 60 s on a CPU. What happens is what happens when the batch is stepped and
its ended slots are reset after every step: the same noise, the same numbers up to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from registry.errors import UserError
from taskgen.engines import noise
from taskgen.engines.tensor import Position, TensorBatch

Act = Callable[[Tensor], Tensor]
"""From observations [B, ...] to actions [B, ...]; pure torch, and on a GPU without looking at values."""


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


class Chunk:
    """`steps` steps of `batch`, with slots whose episode ends reset on the spot.

    `play` goes on from where the batch stands and leaves it where it ends, so chunks, `step` and `reset` can alternate.
    After `set_tasks` make a new chunk on a GPU, whose graph holds the tasks' tables.
    """

    def __init__(self, batch: TensorBatch, steps: int, act: Act | None = None) -> None:
        """Raises `UserError` for a batch that was not reset, for `steps` < 1, and where nothing can be compiled."""
        if not isinstance(batch, TensorBatch):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"a chunk is made of a batch of the tensor engine, not of a {type(batch).__name__}")
        if steps < 1:
            raise UserError(f"steps = {steps}: a chunk has at least 1 step")
        if not batch.tables or len(batch.position.state) != batch.slots:
            raise UserError("a chunk goes on from where its batch stands: call set_tasks and reset first")
        self.batch, self.steps = batch, steps
        self._act = act
        self._deterministic = bool(getattr(batch.dynamics, "deterministic", False)) or not batch.dynamics.uniforms
        self._graph: _Graph | None = None
        self._compiled = None
        if batch.device.type != "cuda":
            self._compiled = torch.compile(self._run, dynamic=False)  # pyright: ignore[reportUnknownMemberType]

    @torch.no_grad()
    def play(self, actions: Tensor | None = None) -> Chunked:
        """Take the steps, with `actions` [K, B, ...] unless the chunk has an `act` of its own.

        Raises `UserError` for actions that are missing, superfluous or of another length, and where the first call
        finds no compiler.
        """
        self._check(actions)
        if self._compiled is None:
            if self._graph is None:
                self._graph = _Graph(self, actions)
            chunked, position = self._graph.replay(self.batch.position, actions)
        else:
            try:
                chunked, position = self._compiled(
                    dict(self.batch.tables), self.batch.seed_key, self.batch.position, actions
                )
            except RuntimeError as error:  # of which the compiler's own errors are
                raise UserError(
                    f"{self.batch.family.name}: the chunk cannot be compiled here ({str(error).splitlines()[0]}). It "
                    "needs a C++ compiler on the path; the batch itself steps without one."
                ) from error
        self.batch.position = position
        return chunked

    def _check(self, actions: Tensor | None) -> None:
        if (actions is None) == (self._act is None):
            has = "has an act of its own" if self._act is not None else "has no act of its own"
            raise UserError(f"the chunk {has}: {'leave out' if actions is not None else 'give'} actions")
        if actions is not None and actions.shape[:2] != (self.steps, self.batch.slots):
            raise UserError(f"actions {tuple(actions.shape)}: expected [{self.steps}, {self.batch.slots}, ...]")

    def _run(
        self, tables: dict[str, Tensor], seed_key: Tensor, position: Position, actions: Tensor | None
    ) -> tuple[Chunked, Position]:
        """The steps in plain torch: what is compiled or captured."""
        rows: list[tuple[Tensor, ...]] = []
        observation = self.batch.dynamics.observe(tables, position.state)
        for t in range(self.steps):
            action = actions[t] if actions is not None else self._act(observation)  # type: ignore[misc]
            row, observation, position = self._advance(tables, seed_key, position, observation, action)
            rows.append(row)
        return Chunked(*(_stacked(column) for column in zip(*rows, strict=True))), position

    def _advance(
        self, tables: dict[str, Tensor], seed_key: Tensor, position: Position, observation: Tensor, action: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor, Position]:
        """One step, and a new episode where that ended one. Returns the row, the observation that follows, the rest."""
        dynamics = self.batch.dynamics
        state, time, episode, key = position
        time = time + 1
        width = 0 if self._deterministic else dynamics.uniforms
        uniform = noise.traced_uniforms(key, time, width)[0]
        state, reward, terminated = dynamics.step(tables, state, action, uniform)
        seen = dynamics.observe(tables, state)
        truncated = time >= self.batch.family.horizon
        ended = terminated | truncated
        row = (observation, action, reward, terminated, truncated, seen)
        following = noise.traced_child(seed_key, episode)
        drawn = noise.traced_uniforms(following, torch.zeros_like(time), dynamics.uniforms)[0]
        initial = dynamics.initial(tables, drawn)
        state = torch.where(_over(ended, initial), initial, state)
        first = dynamics.observe(tables, initial)
        observation = torch.where(_over(ended, seen), first, seen)
        time, key = torch.where(ended, 0, time), torch.where(ended, following, key)
        return row, observation, Position(state, time, episode + ended, key)


class _Graph:
    """A captured `_run` with static buffers: no launch per operation, no look at a value by the host."""

    def __init__(self, chunk: Chunk, actions: Tensor | None) -> None:
        batch = chunk.batch
        self._position = Position(*(part.clone() for part in batch.position))
        self._actions = None if actions is None else actions.clone()
        arguments = (dict(batch.tables), batch.seed_key, self._position, self._actions)
        side = torch.cuda.Stream(batch.device)
        side.wait_stream(torch.cuda.current_stream(batch.device))
        with torch.cuda.stream(side):
            for _ in range(3):  # what is allocated or chosen at first use must not be captured
                chunk._run(*arguments)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
        torch.cuda.current_stream(batch.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._chunked, self._after = chunk._run(*arguments)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001

    def replay(self, position: Position, actions: Tensor | None) -> tuple[Chunked, Position]:
        """Play from `position`; the position that is returned is a copy."""
        for mine, given in zip(self._position, position, strict=True):
            mine.copy_(given)
        if self._actions is not None and actions is not None:
            self._actions.copy_(actions)
        self._graph.replay()
        return self._chunked, Position(*(part.clone() for part in self._after))


def _stacked(column: tuple[Tensor, ...]) -> Tensor:
    """[K, B, ...] of K tensors [B, ...]. Slots are innermost in memory: what is compiled works on them in vectors."""
    if column[0].ndim != 2:
        return torch.stack(column)
    return torch.stack([values.T for values in column]).transpose(1, 2)


def _over(where: Tensor, values: Tensor) -> Tensor:
    """`where` [B] shaped to choose rows of `values` [B, ...]."""
    return where.view(-1, *(1,) * (values.ndim - 1))
