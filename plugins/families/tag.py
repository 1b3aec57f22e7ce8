"""Tag: two agents on a ring of cells, the example of what the family `parallel` plays.

The seeker sees how many cells to the right of it the runner is, the runner how many to the right of it the seeker is.
Both move one cell left or right, or stay, at once; the runner may stumble, which leaves it where it is. The seeker is
paid 1 when it meets the runner, which ends the episode, and nothing before; the runner is paid the opposite.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from pettingzoo import ParallelEnv  # pyright: ignore[reportMissingTypeStubs]

SEEKER, RUNNER = "seeker_0", "runner_0"
MOST = 16
"""Cells of the largest ring."""


class Tag(ParallelEnv[str, NDArray[np.float32], int]):
    """Actions: left, stay, right. Observation [1]: cells to the other, going right.

    `cells` of the ring are 3 to 16; `stumble` is how often the runner's move fails.
    """

    def __init__(self, cells: int = 8, stumble: float = 0.25, max_cycles: int = 20) -> None:
        self.metadata = {"name": "tag_v0", "render_modes": []}
        self.possible_agents = [SEEKER, RUNNER]
        self.agents = []
        self.cells, self.stumble, self.max_cycles = int(cells), stumble, max_cycles
        self._observed = {agent: gym.spaces.Box(0.0, MOST - 1.0, (1,)) for agent in self.possible_agents}
        self._acted = {agent: gym.spaces.Discrete(3) for agent in self.possible_agents}
        self._random = np.random.default_rng()

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """Cells to the other agent, going right."""
        return self._observed[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """Left, stay, right."""
        return self._acted[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """The runner stands on any cell but the seeker's."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._ahead = int(self._random.integers(1, self.cells))
        self._time = 0
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        """See `pettingzoo.ParallelEnv.step`."""
        fled = 0 if self._random.random() < self.stumble else int(actions[RUNNER]) - 1
        self._ahead = (self._ahead + fled - (int(actions[SEEKER]) - 1)) % self.cells
        self._time += 1
        met, late = self._ahead == 0, self._time >= self.max_cycles
        playing, paid = self.agents, float(met)
        if met or late:
            self.agents = []
        return (
            self._seen(),
            {SEEKER: paid, RUNNER: -paid},
            dict.fromkeys(playing, met),
            dict.fromkeys(playing, late and not met),
            {agent: {} for agent in playing},
        )

    def _seen(self) -> dict[str, NDArray[np.float32]]:
        ahead = {SEEKER: self._ahead, RUNNER: -self._ahead % self.cells}
        return {agent: np.array([cells], dtype=np.float32) for agent, cells in ahead.items()}
