"""The linear system as one would write it by hand: an opponent of the tensor engine."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray


class PlainLinear(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The default's, of which the state is seen."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(-np.inf, np.inf, (2,)), Box(-10.0, 10.0, (2,))
        raw, self.control = np.array(context["dynamics"]), np.array(context["control"])
        self.dynamics = raw * context["radius"] / np.abs(np.linalg.eigvals(raw)).max()
        self.noise, self.state = context["process_noise"], np.zeros(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """A new start."""
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2)
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        """Pay, then move."""
        reward = -float(self.state @ self.state + action @ action)
        luck = self.noise * self.np_random.normal(size=2)
        self.state = self.dynamics @ self.state + self.control @ action + luck
        return self._observation(), reward, False, False, {}

    def _observation(self) -> NDArray[np.float32]:
        return self.state.astype(np.float32)


LINEAR: Mapping[str, Callable[[Mapping[str, Any]], gym.Env[Any, Any]]] = {"linear-system": PlainLinear}
"""From the context of a task to its environment."""


def _plant(rng: np.random.Generator) -> dict[str, Any]:
    """Without noise, which ours and NumPy's generators would draw differently."""
    dynamics, control = rng.uniform(-1, 1, (2, 2, 2)).tolist()
    return {"dynamics": dynamics, "control": control, "radius": float(rng.uniform(0.7, 1.0)), "process_noise": 0.0}


DRAW_LINEAR: Mapping[str, Callable[[np.random.Generator], dict[str, Any]]] = {"linear-system": _plant}
"""The tasks that are played."""
