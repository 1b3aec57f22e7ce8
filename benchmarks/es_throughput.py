"""Evolution strategies on terrain walkers against the same on Gymnasium's BipedalWalkerHardcore-v3: steps per second.

    python -m benchmarks.es_throughput        three minutes; nothing else should run beside it

The agent `es` with 32 pairs, from the same weights in every turn, makes three updates on one course with pits, stumps
and stairs of Hardcore's sizes. Gymnasium's environments are stepped in a plain loop, which leaves out those that have
ended, as our engine does (`SyncVectorEnv` would step them on). Counted are the steps of episodes over all the time that
updates take: resets, policies and learning included. Gymnasium's environment needs Box2D and pygame, see
`benchmarks/terrain_throughput.py`; without them the comparison is left out. Ratios are medians over turns, with range.
"""

import copy
import os
import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray
from torch import Tensor

import taskgen
from benchmarks.harness import Row, record, row
from benchmarks.terrain_throughput import HARDCORE
from registry.config import Part
from taskgen.batch import TaskBatch, Transition
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.spec import TaskSpec

SEED = 0
PAIRS = 32
UPDATES = 3
TURNS = 5
FAMILY = taskgen.build_family("terrain-walker", {"stairs": True})
"""Both have its spaces and its horizon of 2000 steps."""
COURSE = FAMILY.spec(HARDCORE, seed=SEED)


class Loop:
    """BipedalWalkerHardcore-v3 as a `TaskBatch`, stepped one after another. Raises `DependencyNotInstalled`."""

    def __init__(self, slots: int) -> None:
        self.slots, self.device, self.family = slots, torch.device("cpu"), FAMILY
        self._environments = [gym.make("BipedalWalkerHardcore-v3") for _ in range(slots)]
        self._observation = np.zeros((slots, 24), dtype=np.float32)
        self._ended = np.zeros(slots, dtype=bool)

    def set_tasks(self, specs: Sequence[TaskSpec], slots: Sequence[int] | None = None) -> None:
        """All play the course of one seed, see `reset`."""

    def reset(self, where: Tensor | None = None, seeds: Sequence[int] | None = None) -> Tensor:
        """See `TaskBatch.reset`."""
        for slot in range(self.slots) if where is None else where.nonzero()[:, 0].tolist():
            self._observation[slot] = self._environments[slot].reset(seed=SEED)[0]
            self._ended[slot] = False
        return torch.from_numpy(self._observation.copy())

    def step(self, action: Tensor) -> Transition:
        """See `TaskBatch.step`."""
        reward = np.zeros(self.slots, dtype=np.float32)
        terminated, truncated = np.zeros((2, self.slots), dtype=bool)
        actions = action.numpy()
        for slot in np.flatnonzero(~self._ended):
            outcome = self._environments[slot].step(actions[slot])
            self._observation[slot], reward[slot], terminated[slot], truncated[slot] = outcome[:4]
        self._ended |= terminated | truncated
        seen = (self._observation.copy(), reward, terminated, truncated)
        return Transition(*(torch.from_numpy(values) for values in seen))

    def descriptor(self) -> Tensor:
        """Nobody asks."""
        raise NotImplementedError


class Contestant:
    """The agent, in a batch of its own."""

    def __init__(self, batch: TaskBatch) -> None:
        self._batch = batch
        problem = problem_of(FAMILY, episodes=2 * PAIRS, seed=SEED, device=torch.device("cpu"))
        self._agent: Any = build_agent(Part(name="es"), problem)
        self._start = copy.deepcopy(self._agent.state_dict())

    def play(self) -> tuple[float, float]:
        """Steps per second of a turn, and the cores that were busy."""
        self._agent.load_state_dict(self._start)
        steps, began, used = 0, time.perf_counter(), time.process_time()
        for _ in range(UPDATES):
            trial = collect(self._agent, self._batch, [COURSE], plan=self._agent.plan(2 * PAIRS))
            self._agent.learn(trial)
            steps += int(trial.rollout.valid.sum())
        seconds = time.perf_counter() - began
        return steps / seconds, (time.process_time() - used) / seconds


def measured(contestants: Sequence[Contestant]) -> NDArray[np.float64]:
    """[contestants, TURNS, 2] what turns gave, the contestants by turns."""
    return np.array([[contestant.play() for contestant in contestants] for _ in range(TURNS)]).swapaxes(0, 1)


def _row(what: str, values: NDArray[np.float64], target: str | None = None) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:90} {middle:12,.2f}   ({low:,.2f} to {high:,.2f})", flush=True)
    source = "the speed asked of POET's evaluations" if target else f"median and range of {TURNS} turns"
    return row(what, middle, low, high, target, source)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    cores = os.cpu_count() or 1
    batches: dict[str, TaskBatch] = {
        "es on terrain-walker, one thread": FAMILY.batch(2 * PAIRS, threads=1),  # type: ignore[call-arg]
        f"es on terrain-walker, {cores} threads": FAMILY.batch(2 * PAIRS, threads=cores),  # type: ignore[call-arg]
    }
    notes = f"{PAIRS} pairs, {UPDATES} updates a turn, {cores} CPUs"
    try:
        batches["es on BipedalWalkerHardcore-v3, plain loop"] = Loop(2 * PAIRS)
    except DependencyNotInstalled:
        notes += "; Box2D or pygame is not installed, so the comparison is missing"
        print("Box2D or pygame is not installed: the comparison is left out")
    figures = measured([Contestant(batch) for batch in batches.values()])
    rows = [_row(f"{name}: steps per second", turns[:, 0]) for name, turns in zip(batches, figures, strict=True)]
    rows += [_row(f"{name}: cores busy", turns[:, 1]) for name, turns in zip(batches, figures, strict=True)]
    if len(figures) == 3:
        one, all_of_them, theirs = figures[:, :, 0]
        rows.append(_row("es on terrain-walker, one thread, times BipedalWalkerHardcore-v3", one / theirs, ">= 3"))
        rows.append(
            _row(f"es on terrain-walker, {cores} threads, times BipedalWalkerHardcore-v3", all_of_them / theirs)
        )
    record("es_throughput", rows, [SEED], notes)


if __name__ == "__main__":
    main()
