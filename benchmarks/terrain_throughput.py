"""64 terrain walkers with lidar against Gymnasium's BipedalWalkerHardcore-v3: steps per second of one core.

    python -m benchmarks.terrain_throughput        half a minute; nothing else should run beside it

Both play a closed loop: random actions, observation with ten rays, reward, reset of whatever ended. The courses have
pits, stumps and stairs of Hardcore's sizes; every walker has its own. Gymnasium's environment needs Box2D and pygame,
which are not among this project's requirements: `pip install --target DIRECTORY box2d pygame`, with the directory on
PYTHONPATH. Without them the comparison is left out. Ratios are medians over turns, with their range.
"""

import os
import time

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

import taskgen
from benchmarks.harness import Row, record, row
from taskgen.streams import stream

SEED = 0
SLOTS = 64
TURNS = 7
STEPS = 200
"""Of every slot in a turn."""
THEIRS = 3000
"""Steps of Gymnasium's environment in a turn."""
HARDCORE = {
    "roughness": 1.0,
    "pit_gap": (2.0, 3.0),
    "stump_height": (1.0, 2.0),
    "stair_height": (1.0, 1.0),
    "stair_steps": (3, 4),
}


class Engine:
    """The MuJoCo engine in a closed loop, on one thread."""

    def __init__(self) -> None:
        family = taskgen.build_family("terrain-walker", {"stairs": True})
        self._batch = family.batch(SLOTS, threads=1)  # type: ignore[call-arg]
        self._batch.set_tasks([family.spec(HARDCORE, seed=seed) for seed in range(SLOTS)])
        self._batch.reset()
        self._generator = torch.Generator().manual_seed(SEED)

    def play(self) -> int:
        """Steps taken."""
        for _ in range(STEPS):
            outcome = self._batch.step(2.0 * torch.rand(SLOTS, 4, generator=self._generator) - 1.0)
            ended = outcome.terminated | outcome.truncated
            if bool(ended.any()):
                self._batch.reset(ended)
        return SLOTS * STEPS


class Gymnasium:
    """BipedalWalkerHardcore-v3. Raises `DependencyNotInstalled` without Box2D."""

    def __init__(self) -> None:
        self._environment = gym.make("BipedalWalkerHardcore-v3")
        self._environment.reset(seed=SEED)
        self._rng = stream(SEED, "actions")

    def play(self) -> int:
        """Steps taken."""
        for action in self._rng.uniform(-1.0, 1.0, (THEIRS, 4)).astype(np.float32):
            _, _, terminated, truncated, _ = self._environment.step(action)
            if terminated or truncated:
                self._environment.reset()
        return THEIRS


def speeds(contestants: list[Engine | Gymnasium]) -> NDArray[np.float64]:
    """[contestants, TURNS] steps per second, in turns."""
    for contestant in contestants:
        contestant.play()
    measured = np.empty((len(contestants), TURNS))
    for turn in range(TURNS):
        for which, contestant in enumerate(contestants):
            started = time.perf_counter()
            measured[which, turn] = contestant.play() / (time.perf_counter() - started)
    return measured


def _row(what: str, values: NDArray[np.float64], target: str | None = None) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:80} {middle:14,.2f}   ({low:,.2f} to {high:,.2f})", flush=True)
    source = "design of the MuJoCo engine" if target else f"median and range of {TURNS} turns"
    return row(what, middle, low, high, target, source)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    contestants: list[Engine | Gymnasium] = [Engine()]
    notes = f"{SLOTS} slots, 1 thread, {os.cpu_count()} CPUs"
    try:
        contestants.append(Gymnasium())
    except DependencyNotInstalled:
        notes += "; Box2D or pygame is not installed, so the comparison is missing"
        print("Box2D or pygame is not installed: the comparison is left out")
    ours, *theirs = speeds(contestants)
    rows = [_row("terrain-walker with lidar, steps per second on one core", ours)]
    for other in theirs:
        rows.append(_row("BipedalWalkerHardcore-v3, steps per second on one core", other))
        rows.append(_row("terrain-walker, times BipedalWalkerHardcore-v3", ours / other, ">= 3"))
    record("terrain_throughput", rows, [SEED], notes)


if __name__ == "__main__":
    main()
