"""The two worlds of the sign as one would write them by hand: opponents of the tensor engine."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

FARTHEST, ARMS = 20, 4


class PlainSignPost(gym.Env[NDArray[np.float32], np.int64]):
    """The star of paths."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (2 * ARMS + 2,)), Discrete(ARMS + 1)
        self.goal, self.distance = context["goal"], context["distance"]
        self.arm, self.depth, self.time = 0, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the start."""
        super().reset(seed=seed)
        self.arm, self.depth, self.time = 0, 0, 0
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Out on the path of the action, or back."""
        self.time += 1
        if self.depth == 0:
            self.arm, self.depth = int(action), 1
        elif action == self.arm:
            self.depth = min(self.depth + 1, 1 if self.arm == ARMS else self.distance)
        else:
            self.depth -= 1
        arrived = self.arm == self.goal and self.depth == self.distance
        ended = arrived or self.time >= 3 * self.distance + 4
        return self._observation(), 1.0 if arrived else -0.1, ended, False, {}

    def _observation(self) -> NDArray[np.float32]:
        seen = np.zeros(2 * ARMS + 2, dtype=np.float32)
        if self.depth and self.arm == ARMS:
            seen[ARMS + 1] = seen[ARMS + 2 + self.goal] = 1.0
        elif self.depth:
            seen[self.arm], seen[ARMS] = 1.0, self.depth / FARTHEST
        return seen


class PlainSignPlane(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The plane."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(-70.0, 70.0, (4,)), Box(-1.0, 1.0, (2,))
        self.distance = context["distance"]
        self.goal = self.distance * np.array([math.cos(context["angle"]), math.sin(context["angle"])])
        self.place, self.time = np.zeros(2), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the start."""
        super().reset(seed=seed)
        self.place, self.time = np.zeros(2), 0
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        """Move."""
        self.time += 1
        self.place = self.place + np.clip(action, -1.0, 1.0)
        arrived = math.dist(self.place, self.goal) <= 1.0 + 1e-4
        ended = arrived or self.time >= 3 * self.distance + 8
        return self._observation(), 1.0 if arrived else -0.1, ended, False, {}

    def _observation(self) -> NDArray[np.float32]:
        near = math.dist(self.place, (0.0, -2.0)) <= 1.0 + 1e-4
        return np.concatenate([self.place, self.goal / FARTHEST * near]).astype(np.float32)


SIGNS: Mapping[str, Callable[[Mapping[str, Any]], gym.Env[Any, Any]]] = {
    "sign-post": PlainSignPost,
    "sign-plane": PlainSignPlane,
}
"""From the context of a task to its environment."""
DRAW_SIGNS: Mapping[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "sign-post": lambda rng: {"goal": int(rng.integers(ARMS)), "distance": 2},
    "sign-plane": lambda rng: {"angle": float(rng.uniform(0, 2 * np.pi)), "distance": 4.0},
}
