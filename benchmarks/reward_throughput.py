"""What a reward over a CMP adds to a step of 1,024 slots: bare engines, and the collecting of an agent's trials.

    python -m benchmarks.reward_throughput        about a minute; nothing else should run beside it

A step with the reward and one without alternate in turns; ratios are medians over turns of the ratio within a turn,
with their range. A step of the tensor engine takes some 25 ns a slot, about as long as eight exponentials.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Row, record, row
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.engines.testing import sample_actions
from taskgen.family import TaskFamily
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence

SLOTS = 1024
TURNS = 9
SOURCE = "design of rewards"
FAMILIES = ("point-navigation", "grid-navigation", "half-cheetah")
REWARDS: dict[str, dict[str, Any]] = {
    "one network for all tasks": {"networks": 1},
    "a network for each task": {},
    "one network of 16 units": {"networks": 1, "hidden": (16,)},
}


def rewarded(family: TaskFamily[Any], settings: dict[str, Any]) -> list[TaskSpec]:
    """A task for every slot."""
    part = Part.model_validate({"name": "random-rewards", **settings})
    return build_source(part, family, seed_sequence(0, "rewards")).ask(SLOTS)


def plain(family: TaskFamily[Any]) -> list[TaskSpec]:
    """The same without rewards of their own."""
    return [family.spec(seed=seed) for seed in range(SLOTS)]


def stepping(family: TaskFamily[Any], specs: list[TaskSpec]) -> Callable[[], None]:
    """Steps of the bare engine from the start of episodes."""
    batch = family.batch(SLOTS)
    batch.set_tasks(specs)
    actions = sample_actions(family, 10, SLOTS)

    def play() -> None:
        batch.reset()
        for action in actions:
            batch.step(action)

    return play


def collecting(family: TaskFamily[Any], specs: list[TaskSpec]) -> Callable[[], None]:
    """A trial of RL^2."""
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"), example=specs[0])
    agent = build_agent(Part(name="rl2"), problem)
    batch = family.batch(SLOTS)
    return lambda: collect(agent, batch, specs, plan=agent.plan(1)) and None


def ratio(with_reward: Callable[[], None], without: Callable[[], None], repeats: int) -> NDArray[np.float64]:
    """[TURNS] time with the reward over time without."""
    measured = np.zeros((TURNS + 1, 2))
    for turn in range(TURNS + 1):
        for column, play in enumerate((with_reward, without)):
            started = time.perf_counter()
            for _ in range(repeats):
                play()
            measured[turn, column] = time.perf_counter() - started
    return measured[1:, 0] / measured[1:, 1]


def _row(what: str, values: NDArray[np.float64]) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:100} {middle:8.3f}   ({low:.3f} to {high:.3f})", flush=True)
    return row(what, middle, low, high, "<= 1.2", SOURCE)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in FAMILIES:
        family = build_family(name, {"horizon": 20})
        repeats = 1 if name == "half-cheetah" else 20
        for reward, settings in REWARDS.items():
            specs = rewarded(family, settings)
            values = ratio(stepping(family, specs), stepping(family, plain(family)), repeats)
            rows.append(_row(f"{name}, {reward}: a step of the bare engine, times one without", values))
        values = ratio(collecting(family, rewarded(family, {})), collecting(family, plain(family)), 1)
        rows.append(_row(f"{name}, a network for each task: collecting trials of rl2, times without", values))
    record("reward_throughput", rows, [0], f"{SLOTS} slots, one torch thread")


if __name__ == "__main__":
    main()
