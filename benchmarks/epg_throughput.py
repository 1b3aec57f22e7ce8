"""Lives by evolved losses, all side by side against one after another: environment steps per second.

    python -m benchmarks.epg_throughput        half a minute of one thread

32 losses, PPO's among them, on 8 tasks: 256 lives of the agent `epg` on point navigation, learning included. One after
another, every sixteenth of them is lived, by the same steps. Seconds are those of the processor, on one thread.
"""

import time
from collections.abc import Sequence

import torch

from benchmarks.harness import Row, record, row
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.agent import Agent
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.spec import TaskSpec

PAIRS, TASKS, EVERY = 15, 8, 16
EPISODES = 24
"""Of a life: six rounds of four side by side."""


def measured() -> list[Row]:
    """The figures."""
    family = build_family("point-navigation", {"goals": "half-circle"})
    part = Part.model_validate({"name": "epg", "pairs": PAIRS})
    problem = problem_of(family, episodes=EPISODES, seed=0, device=torch.device("cpu"))
    agent = build_agent(part, problem)
    lives = [family.spec({"angle": 3.0 * task / TASKS}) for task in range(TASKS) for _ in range(2 + 2 * PAIRS)]

    def seconds(player: Agent, specs: Sequence[TaskSpec]) -> float:
        plan = player.plan(EPISODES)
        batch = family.batch(len(specs) * plan.slots)
        began = time.process_time()
        collect(player, batch, specs, plan=plan)
        return time.process_time() - began

    seconds(agent, lives)  # once for nothing: memory, kernels
    steps = EPISODES * family.horizon
    together = len(lives) * steps / seconds(agent, lives)
    chosen = lives[::EVERY]
    apart = len(chosen) * steps / sum(seconds(agent, [life]) for life in chosen)
    what = f"{2 + 2 * PAIRS} losses x {TASKS} lives"
    return [
        row(f"{what}, side by side: environment steps per second of one thread", together),
        row(f"{what}, one after another: environment steps per second of one thread", apart),
        row(
            f"{what}: side by side, times one after another", together / apart, target=">= 20", source="set beforehand"
        ),
    ]


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    record("epg_throughput", measured(), seeds=[0])


if __name__ == "__main__":
    main()
