"""Environment steps per second of the tensor families: tensor engine, compiled chunk, SyncVectorEnv and JAX.

    python -m benchmarks.tensor_families          about six minutes; nothing else should run beside it

All contestants play the same dynamics on one thread with random actions drawn beforehand, and episodes that end are
reset. They take turns, so that a machine that slows down slows all of them. SyncVectorEnv runs Gymnasium's own
cart-pole and pendulum and environments written by hand in plain NumPy; calls that only reset do not count as steps. The
JAX twin of cart-pole is a jitted `lax.scan` of as many steps as the chunk with the same results, which draws the noise
of its resets at once, and is measured where JAX is installed; states in columns, an unrolled scan and JAX's other
generator were slower. Ratios are medians over turns of the ratio within a turn, with their range.
"""

import itertools
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

import taskgen
from benchmarks.harness import Resume, Row, record, row
from benchmarks.plain_worlds import PLAIN, SEED, context
from taskgen.engines.chunk import Chunk

TURNS = 5
SECONDS = 0.4
"""Of a turn, at least."""
SLOTS = (64, 16384)
STEPS = 8
"""Of a chunk."""
POOL = 16
"""Blocks of random actions, drawn beforehand and played in turn."""
SOURCE = "design of the tensor engine"
Box = gym.spaces.Box


class Contestant(Protocol):
    """Something that plays."""

    def play(self, calls: int) -> int:
        """Do what it does `calls` times. Returns how many environment steps these were."""
        ...


def draw(space: gym.Space[Any], shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Random actions [*shape, ...]."""
    if isinstance(space, gym.spaces.Discrete):
        return torch.randint(int(space.n), shape, generator=generator, device=generator.device)
    assert isinstance(space, Box)
    low, high = (torch.as_tensor(bound, device=generator.device) for bound in (space.low, space.high))
    return low + (high - low) * torch.rand(*shape, *space.shape, generator=generator, device=generator.device)


class Engine:
    """The tensor engine, stepped eagerly or in chunks."""

    def __init__(self, name: str, slots: int, device: str, steps: int = 0) -> None:
        family = taskgen.build_family(name)
        self._batch: Any = family.batch(slots, device)
        self._batch.set_tasks([family.spec(context(name, number), seed=number) for number in range(slots)])
        self._batch.reset()
        self._slots, self._steps = slots, steps
        shape = (POOL, steps, slots) if steps else (POOL, slots)
        self._actions = cycle(draw(family.action_space, shape, torch.Generator(device).manual_seed(SEED)))
        self._chunk = Chunk(self._batch, steps) if steps else None

    @torch.no_grad()
    def play(self, calls: int) -> int:
        """Take `calls` steps or chunks."""
        for _ in range(calls):
            if self._chunk is not None:
                self._chunk.play(next(self._actions))
                continue
            outcome = self._batch.step(next(self._actions))
            ended = outcome.terminated | outcome.truncated
            # On a CPU a look is free; on a GPU it would be a host sync, so there the mask alone decides.
            if ended.device.type == "cuda" or bool(ended.any()):
                self._batch.reset(ended)
        if self._batch.device.type == "cuda":
            torch.cuda.synchronize()
        return calls * self._slots * max(1, self._steps)


class Sync:
    """SyncVectorEnv."""

    def __init__(self, name: str, slots: int) -> None:
        horizon, plain = taskgen.build_family(name).horizon, PLAIN[name]
        environments = [TimeLimit(plain(context(name, number)), horizon) for number in range(slots)]
        self._vector = SyncVectorEnv([lambda environment=environment: environment for environment in environments])
        self._vector.reset(seed=SEED)
        actions = draw(self._vector.single_action_space, (POOL, slots), torch.Generator().manual_seed(SEED))
        self._actions = cycle(actions.numpy())
        self._resetting = 0

    def play(self, calls: int) -> int:
        """Call `step` `calls` times."""
        played = 0
        for _ in range(calls):
            _, _, terminated, truncated, _ = self._vector.step(next(self._actions))
            played += self._vector.num_envs - self._resetting
            self._resetting = int((terminated | truncated).sum())
        return played


class Jax:
    """A jitted scan of `steps` steps of cart-pole, each slot with parameters of its own, as the chunk has them."""

    def __init__(self, slots: int, steps: int) -> None:
        import jax  # pyright: ignore[reportMissingImports]

        self._jax, self._steps, self._slots = jax, steps, slots
        numbers = {"gravity": 9.8, "push": 10 / 1.1, "lever": 0.05 / 1.1, "inertia": 2 / 3, "coupling": -0.05 / 1.1}
        tables = {**numbers, "timestep": 0.02, "spread": 0.05}
        self._tables = {key: jax.numpy.full(slots, value, "float32") for key, value in tables.items()}
        self._run = jax.jit(self._chunk)
        self._key, luck = jax.random.split(jax.random.PRNGKey(SEED))
        self._actions = cycle(list(jax.random.bernoulli(luck, 0.5, (POOL, steps, slots))))
        self._state = jax.numpy.zeros((slots, 4), "float32")
        self._time = jax.numpy.zeros(slots, "int32")

    def _chunk(self, tables: Any, key: Any, state: Any, clock: Any, actions: Any) -> Any:
        jax = self._jax
        key, noise = jax.random.split(key)
        uniforms = jax.random.uniform(noise, (self._steps, self._slots, 4))

        def step(carry: Any, given: Any) -> Any:
            return self._step(tables, *carry, *given)

        (state, clock), seen = jax.lax.scan(step, (state, clock), (actions, uniforms))
        return key, state, clock, seen

    def _step(self, tables: Any, state: Any, clock: Any, action: Any, uniform: Any) -> Any:
        jnp = self._jax.numpy
        _, velocity, angle, spin = state.T
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        push = jnp.where(action, tables["push"], -tables["push"])
        whole = push + tables["lever"] * sine * spin * spin
        torque = tables["gravity"] * sine - cosine * whole
        spinning = torque / (tables["inertia"] + tables["coupling"] * cosine * cosine)
        moving = whole - tables["lever"] * cosine * spinning
        change = jnp.stack([velocity, moving, spin, spinning], axis=1)
        following = jnp.clip(state + tables["timestep"][:, None] * change, -1e4, 1e4)
        failed = (jnp.abs(following[:, 0]) > 2.4) | (jnp.abs(following[:, 2]) > math.radians(12))
        clock = clock + 1
        late = clock >= 500
        ended = failed | late
        initial = (2 * uniform - 1) * tables["spread"][:, None]
        seen = (state, jnp.ones(self._slots), failed, late, following)
        return (jnp.where(ended[:, None], initial, following), jnp.where(ended, 0, clock)), seen

    def play(self, calls: int) -> int:
        """Run `calls` scans."""
        seen = None
        for _ in range(calls):
            moving = (self._tables, self._key, self._state, self._time, next(self._actions))
            self._key, self._state, self._time, seen = self._run(*moving)
        self._jax.block_until_ready(seen)
        return calls * self._slots * self._steps


@dataclass(frozen=True)
class Ratio:
    """A promise: `ours` is so many times as fast as `theirs`."""

    ours: str
    theirs: str
    target: str


def speeds(contestants: Mapping[str, Contestant]) -> dict[str, NDArray[np.float64]]:
    """Environment steps per second of every contestant in every turn. Before the first turn each warms up."""
    calls: dict[str, int] = {}
    for name, contestant in contestants.items():
        contestant.play(2)
        started = time.perf_counter()
        contestant.play(2)
        calls[name] = max(2, round(2 * SECONDS / (time.perf_counter() - started)))
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(TURNS):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            played = contestant.play(calls[name])
            measured[name].append(played / (time.perf_counter() - started))
    return {name: np.array(values) for name, values in measured.items()}


def contest(name: str, slots: int, *, with_jax: bool) -> tuple[dict[str, Contestant], list[Ratio]]:
    """Who plays, and what is promised."""
    large = slots > 64
    contestants: dict[str, Contestant] = {"tensor engine, cpu": Engine(name, slots, "cpu")}
    contestants["SyncVectorEnv"] = Sync(name, slots)
    ratios = [Ratio("tensor engine, cpu", "SyncVectorEnv", ">= 40" if large else ">= 4")]
    if torch.cuda.is_available():
        contestants["tensor engine, cuda"] = Engine(name, slots, "cuda")
    if name == "cartpole":
        devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        for device in devices:
            ours = f"chunk of {STEPS}, {device}"
            contestants[ours] = Engine(name, slots, device, STEPS)
            ratios += [Ratio(ours, "SyncVectorEnv", ">= 40")]
            ratios += [Ratio(ours, f"JAX scan of {STEPS}", ">= 1")] if with_jax else []
        if with_jax:
            contestants[f"JAX scan of {STEPS}"] = Jax(slots, STEPS)
    return contestants, ratios


def rows(name: str, slots: int, *, with_jax: bool = False) -> Iterator[Row]:
    """Speeds and ratios of one family at one number of slots."""
    contestants, ratios = contest(name, slots, with_jax=with_jax)
    measured = speeds(contestants)
    for who, values in measured.items():
        yield _row(f"{name}, {slots:,} slots: {who}, steps per second", values)
    for ratio in ratios:
        what = f"{name}, {slots:,} slots: {ratio.ours}, times {ratio.theirs}"
        yield _row(what, measured[ratio.ours] / measured[ratio.theirs], ratio.target)


def _measured(name: str, slots: int, *, with_jax: bool) -> list[Row]:
    return list(rows(name, slots, with_jax=with_jax))


def _row(what: str, values: NDArray[np.float64], target: str | None = None) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:80} {middle:14,.1f}   ({low:,.1f} to {high:,.1f})", flush=True)
    return row(what, middle, low, high, target, SOURCE if target else f"median and range of {TURNS} turns")


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    # XLA reads this when JAX is first imported: one thread, as for the others.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    with_jax = find_spec("jax") is not None
    notes = "" if with_jax else "without the JAX twin: pip install 'taskgen-metarl[twins]' to measure it"
    if notes:
        print(notes, flush=True)
    resume = Resume("tensor_families", {"jax": with_jax})
    found: list[Row] = []
    for name, slots in itertools.product(PLAIN, SLOTS):
        found += resume.part(f"{name}, {slots}", partial(_measured, name, slots, with_jax=with_jax))
    record("tensor_families", found, [SEED], "; ".join(filter(None, (notes, resume.notes))))
    resume.done()


if __name__ == "__main__":
    main()
