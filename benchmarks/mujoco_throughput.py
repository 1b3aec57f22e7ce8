"""64 half-cheetahs, each with masses, friction and gear of its own: environment steps per second of the MuJoCo engine.

    python -m benchmarks.mujoco_throughput        two minutes; nothing else should run beside it

The engine plays a closed loop: random actions, observation, reward, reset of whatever ended. Beside it, on equal
threads and in turns: MuJoCo's bare `mj_step` loop in C over the same models (no observation, reward or reset),
Gymnasium's SyncVectorEnv of HalfCheetah-v5 and, where it is installed, EnvPool's; the latter two share one model.
Gymnasium runs as its users have it, with the clock that MuJoCo's Python package installs; the engine takes that clock
away from its process (see `taskgen.engines.mujoco_process.quiet`), and a row shows SyncVectorEnv without it too. Ratios
are medians over turns of the ratio within a turn, with their range.

Steps that led here are rows too: the stepping alone of 64 default bodies as Gymnasium's model has them, then without
the clock, without islands, and as the engine steps them (`taskgen.engines.lean`). EnvPool, in C++, has no clock either.
"""

import copy
import importlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import gymnasium as gym
import mujoco
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from mujoco import rollout
from mujoco.batch import MODEL_FIELDS, Batch
from numpy.typing import NDArray

import taskgen
from benchmarks.harness import Row, record, row
from taskgen.engines.lean import gymnasium_model, lean_model
from taskgen.engines.mujoco import MujocoBatch, edited_model, load_model
from taskgen.engines.mujoco_process import default_threads, quiet
from taskgen.spec import TaskSpec
from taskgen.streams import stream

SEED = 0
SLOTS = 64
HORIZON = 1000
TURNS = 7
SECONDS = 1.0
"""Of a turn, at least."""
SOURCE = "design of the MuJoCo engine"


class Contestant(Protocol):
    """Who takes steps in all slots."""

    def play(self, steps: int) -> None:
        """Take `steps` steps in all slots."""
        ...


def tasks() -> list[TaskSpec]:
    """64 half-cheetahs with bodies drawn at random."""
    family = taskgen.build_family("half-cheetah", {"horizon": HORIZON})
    rng = stream(SEED, "bodies")
    names = ("mass", "torso_mass", "friction", "gear")
    return [
        family.spec(
            {name: float(value) for name, value in zip(names, rng.uniform(0.7, 1.4, 4), strict=True)}, seed=slot
        )
        for slot in range(SLOTS)
    ]


class Engine:
    """The MuJoCo engine in a closed loop."""

    def __init__(self, specs: list[TaskSpec], threads: int) -> None:
        family = taskgen.build_family("half-cheetah", {"horizon": HORIZON})
        self.batch: MujocoBatch = family.batch(SLOTS, threads=threads)  # type: ignore[call-arg, assignment]
        self.batch.set_tasks(specs)
        self.batch.reset()
        self._generator = torch.Generator().manual_seed(SEED)

    def play(self, steps: int) -> None:
        """See `Contestant.play`."""
        action = torch.empty(SLOTS, 6)
        for _ in range(steps):
            outcome = self.batch.step(action.uniform_(-1.0, 1.0, generator=self._generator))
            ended = outcome.terminated | outcome.truncated
            if bool(ended.any()):
                self.batch.reset(ended)


class Bare:
    """`mj_step` in C over the same models, by MuJoCo's own rollout on a thread pool; states are carried over."""

    def __init__(self, specs: list[TaskSpec], threads: int) -> None:
        family: Any = taskgen.build_family("half-cheetah", {"horizon": HORIZON})
        self._skip = family.robot.frame_skip
        self._models = [edited_model(family.robot, spec) for spec in specs]
        self._data = [mujoco.MjData(self._models[0]) for _ in range(threads)]
        self._rollout = rollout.Rollout(nthread=threads)
        self._rng = stream(SEED, "actions")
        full = mujoco.mjtState.mjSTATE_FULLPHYSICS
        self._state = np.zeros((SLOTS, mujoco.mj_stateSize(self._models[0], full)))
        batch = Engine(specs, threads).batch
        for slot, model in enumerate(self._models):
            data = mujoco.MjData(model)
            mujoco.mj_setState(model, data, batch.state(slot), mujoco.mjtState.mjSTATE_INTEGRATION)
            mujoco.mj_getState(model, data, self._state[slot], full)

    def play(self, steps: int) -> None:
        """See `Contestant.play`: chunks of 50 environment steps, so that no time goes into Python."""
        for chunk in range(0, steps, 50):
            length = min(50, steps - chunk)
            control = self._rng.uniform(-1.0, 1.0, (SLOTS, length, 6)).repeat(self._skip, axis=1)
            states, _ = self._rollout.rollout(self._models, self._data, self._state, control)
            self._state = states[:, -1].copy()


class Sync:
    """Gymnasium's SyncVectorEnv."""

    def __init__(self, *, clock: bool) -> None:
        self._clock = clock
        self._vector = SyncVectorEnv(
            [lambda: gym.make("HalfCheetah-v5")] * SLOTS, copy=False, autoreset_mode=AutoresetMode.SAME_STEP
        )
        self._vector.reset(seed=SEED)
        self._rng = stream(SEED, "actions")

    def play(self, steps: int) -> None:
        """See `Contestant.play`."""
        if self._clock:
            mujoco.set_mjcb_time(None)  # the one that MuJoCo's package starts with
        for _ in range(steps):
            self._vector.step(self._rng.uniform(-1.0, 1.0, (SLOTS, 6)).astype(np.float32))
        quiet()


class EnvPool:
    """EnvPool's HalfCheetah-v5. Raises `ImportError` where EnvPool is not installed."""

    def __init__(self, threads: int) -> None:
        envpool: Any = importlib.import_module("envpool")
        self._pool = envpool.make_gymnasium("HalfCheetah-v5", num_envs=SLOTS, num_threads=threads, seed=SEED)
        self._pool.reset()
        self._rng = stream(SEED, "actions")

    def play(self, steps: int) -> None:
        """See `Contestant.play`."""
        for _ in range(steps):
            self._pool.step(self._rng.uniform(-1.0, 1.0, (SLOTS, 6)))


class Stepping:
    """MuJoCo's batch alone: one model, random controls."""

    def __init__(self, model: Any, threads: int, *, clock: bool = False) -> None:
        self._clock = clock
        self._batch = Batch(model, SLOTS, threads)
        self._control = self._batch.bind("ctrl")
        self._rng = stream(SEED, "actions")

    def play(self, steps: int) -> None:
        """See `Contestant.play`."""
        if self._clock:
            mujoco.set_mjcb_time(None)
        for _ in range(steps):
            self._control[:] = self._rng.uniform(-1.0, 1.0, (SLOTS, 6))
            self._batch.step(nstep=5)
        quiet()


def remedies(threads: int) -> dict[str, Contestant]:
    """The model of half-cheetah, from Gymnasium's to the engine's."""
    path = gymnasium_model("half_cheetah.xml")
    plain, single = load_model(path), copy.copy(load_model(path))
    single.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND.value
    return {
        "stepping alone, Gymnasium's model": Stepping(plain, threads, clock=True),
        "stepping alone, without the clock": Stepping(plain, threads),
        "stepping alone, without clock and islands": Stepping(single, threads),
        "stepping alone, without clock and islands, contacts by name": Stepping(lean_model(path), threads),
    }


def speeds(contestants: Mapping[str, Contestant]) -> dict[str, NDArray[np.float64]]:
    """Environment steps per second of every contestant in every turn."""
    steps = {name: _enough(contestant) for name, contestant in contestants.items()}
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(TURNS):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            contestant.play(steps[name])
            measured[name].append(SLOTS * steps[name] / (time.perf_counter() - started))
    return {name: np.array(values) for name, values in measured.items()}


def _enough(contestant: Contestant) -> int:
    """How many steps fill a turn, in fifties; on the way it warms up."""
    contestant.play(50)
    started = time.perf_counter()
    contestant.play(50)
    return 50 * max(1, round(SECONDS / (time.perf_counter() - started)))


def bytes_per_slot(batch: MujocoBatch) -> int:
    """Bytes of model fields that a slot has for itself."""
    expanded = (batch.simulation.expanded(name) for name in MODEL_FIELDS)
    return sum(values.nbytes for values in expanded if values is not None) // batch.slots


def _microseconds(call: Callable[[], object], repeats: int) -> NDArray[np.float64]:
    """Of a call, in every turn."""
    call()
    measured: list[float] = []
    for _ in range(TURNS):
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        measured.append((time.perf_counter() - started) / repeats * 1e6)
    return np.array(measured)


def randomisation(specs: list[TaskSpec], threads: int) -> list[Row]:
    """What it costs to give slots bodies of their own."""
    batch = Engine(specs, threads).batch
    size = bytes_per_slot(batch)
    print(f"{'bytes of randomised model fields per slot':80} {size:14,}")
    rows = [row("bytes of randomised model fields per slot", size, target="<= 1024", source=SOURCE)]
    per_slot = _microseconds(lambda: batch.set_tasks(specs), 5) / SLOTS
    rows.append(_row("microseconds to re-randomise a slot, 64 at once", per_slot, "<= 20"))
    rows.append(_row("microseconds to re-randomise a slot, one alone", _microseconds(_alone(batch, specs), 50)))
    return rows


def _alone(batch: MujocoBatch, specs: list[TaskSpec]) -> Callable[[], None]:
    return lambda: batch.set_tasks([specs[5]], [9])


def _row(what: str, values: NDArray[np.float64], target: str | None = None) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:80} {middle:14,.2f}   ({low:,.2f} to {high:,.2f})", flush=True)
    return row(what, middle, low, high, target, SOURCE if target else f"median and range of {TURNS} turns")


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    threads, specs = default_threads(), tasks()
    engine = "MuJoCo engine"
    contestants: dict[str, Contestant] = {engine: Engine(specs, threads), "bare mj_step": Bare(specs, threads)}
    targets = {"bare mj_step": ">= 0.80", "SyncVectorEnv": ">= 3"}
    contestants["SyncVectorEnv"] = Sync(clock=True)
    contestants["SyncVectorEnv without the clock"] = Sync(clock=False)
    notes = f"{SLOTS} slots, {threads} threads, {os.cpu_count()} CPUs"
    try:
        contestants["EnvPool"] = EnvPool(threads)
        targets["EnvPool"] = ">= 1.6"
    except ImportError:
        notes += "; EnvPool is not installed, so its row is missing"
        print("EnvPool is not installed: its row is left out")
    measured = speeds(contestants | remedies(threads))
    rows = [_row(f"{name}, environment steps per second", values) for name, values in measured.items()]
    rows += [_row(f"{engine}, times {name}", measured[engine] / measured[name], targets[name]) for name in targets]
    record("mujoco_throughput", [*rows, *randomisation(specs, threads)], [SEED], notes)


if __name__ == "__main__":
    main()
