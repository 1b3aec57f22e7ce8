"""Environments of others in worker processes, beside Gymnasium's `AsyncVectorEnv` of the same id.

    python -m benchmarks.gymnasium_throughput        about two minutes; nothing else should run beside it

Both play the same number of environments with the same actions, episode after episode; ours in two workers, one a
core, Gymnasium's in a process for each environment, which is what it does. They alternate in turns; a
ratio is the median over turns of the ratio within a turn, with its range. In the last row one environment dies every so
many steps, which costs `AsyncVectorEnv` the run: ours goes on, and its speed is that of what it plays.
"""

import importlib
import os
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv
from numpy.typing import NDArray

from benchmarks.harness import Row, record, row
from taskgen.build import build_family
from taskgen.engines.testing import sample_actions

SLOTS, WORKERS, STEPS, TURNS = 16, 2, 300, 7
IDS = ("CartPole-v1", "LunarLander-v3")
SOURCE = "AsyncVectorEnv of the same id in the same run"
_DIES = 400


class Mortal(gym.Wrapper[Any, Any, Any, Any]):
    """A lander whose process dies every so many steps."""

    def __init__(self, gravity: float = -10.0) -> None:
        super().__init__(gym.make("LunarLander-v3", gravity=gravity))
        self.steps = 0

    def step(self, action: Any) -> Any:
        """As the lander, for a while."""
        self.steps += 1
        if self.steps == _DIES:
            os._exit(1)
        return super().step(action)


def ours(id_: str, **settings: Any) -> tuple[Callable[[], float], Any]:
    """What plays `STEPS` steps of `SLOTS` slots and tells how many a second; the batch."""
    family = build_family("gymnasium", {"id": id_, "workers": WORKERS, "deadline": 30.0, **settings})
    batch = family.batch(SLOTS)
    batch.set_tasks([family.spec(seed=seed) for seed in range(SLOTS)])
    actions = sample_actions(family, STEPS, SLOTS)
    batch.reset()

    def play() -> float:
        started = time.perf_counter()
        for action in actions:
            outcome = batch.step(action)
            over = outcome.terminated | outcome.truncated
            if bool(over.any()):
                batch.reset(over)
        return STEPS * SLOTS / (time.perf_counter() - started)

    return play, batch


def theirs(id_: str) -> tuple[Callable[[], float], AsyncVectorEnv]:
    """The same by Gymnasium."""
    envs = AsyncVectorEnv([lambda: gym.make(id_)] * SLOTS)
    actions = sample_actions(build_family("gymnasium", {"id": id_}), STEPS, SLOTS).numpy()
    envs.reset(seed=0)

    def play() -> float:
        started = time.perf_counter()
        for action in actions:
            envs.step(action)
        return STEPS * SLOTS / (time.perf_counter() - started)

    return play, envs


def _row(what: str, values: NDArray[np.float64], target: str | None) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:90} {middle:10.3f}   ({low:.3f} to {high:.3f})", flush=True)
    return row(what, middle, low, high, target, SOURCE if target else "")


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for id_ in IDS:
        (mine, batch), (other, envs) = ours(id_), theirs(id_)
        for play in (mine, other):
            play()
        measured = np.array([[mine(), other()] for _ in range(TURNS)])
        ratio = measured[:, 0] / measured[:, 1]
        rows.append(_row(f"{id_}, {SLOTS} environments: speed, times `AsyncVectorEnv`", ratio, ">= 1"))
        rows.append(_row(f"{id_}, {SLOTS} environments: thousand steps a second", measured[:, 0] / 1e3, None))
        envs.close()
        del mine, batch
    importlib.import_module("benchmarks.gymnasium_throughput")  # tasks name classes of modules that are imported
    play, batch = ours("benchmarks.gymnasium_throughput:Mortal", horizon=1000)
    speeds = np.array([play() for _ in range(TURNS)])
    rows.append(_row("landers that die: thousand steps a second", speeds / 1e3, None))
    survived = float(batch.faults.count)
    rows.append(_row("landers that die: episodes lost, the run going on", np.array([survived]), ">= 1"))
    record("gymnasium_throughput", rows, [0], f"{SLOTS} environments in {WORKERS} workers, {STEPS} steps a turn")


if __name__ == "__main__":
    main()
