"""Bandits that recur as one would write them by hand, for `benchmarks.plain_worlds`."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Box, Discrete = gym.spaces.Box, gym.spaces.Discrete


class PlainRecurring(gym.Env[NDArray[np.float32], np.int64]):
    """Situations in the order of their numbers, with cues drawn by `reset`; tests put ours in their place."""

    def __init__(self, situations: int, actions: int, shown: int) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (shown,)), Discrete(actions)
        self.cues = np.zeros((situations, 10), dtype=np.float32)
        self.situation = -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """The next situation."""
        super().reset(seed=seed)
        if seed is not None:
            self.cues = self.np_random.integers(0, 2, self.cues.shape).astype(np.float32)
        self.situation = (self.situation + 1) % len(self.cues)
        return self._observation(), {}

    def _observation(self) -> NDArray[np.float32]:
        return self.cues[self.situation]


class PlainBarcodes(PlainRecurring):
    """Barcoded bandits."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        super().__init__(5, 10, 10)
        self.arms, self.pays = context["good_arm"], (context["bad"], context["good"])

    def step(self, action: np.int64) -> Any:
        """Pull."""
        pays = self.pays[int(action == self.arms[self.situation])]
        return self._observation(), float(self.np_random.random() < pays), False, False, {}


class PlainChoice(PlainRecurring):
    """Choices seen twice."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        super().__init__(5, 2, 10)
        self.right = context["right"]

    def step(self, action: np.int64) -> Any:
        """Choose."""
        return self._observation(), float(action == self.right[self.situation]), False, False, {}


class PlainTwoStep(PlainRecurring):
    """Two-step decisions."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        super().__init__(20, 2, 13)
        self.better, self.common, self.pays = context["better"], context["common"], (context["bad"], context["good"])
        self.stage = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """The start of the next situation."""
        self.stage = 0
        return super().reset(seed=seed)

    def step(self, action: np.int64) -> Any:
        """Go to a state, then be paid there."""
        if not self.stage:
            self.stage = 1 + int(action if self.np_random.random() < self.common else 1 - action)
            return self._observation(), 0.0, False, False, {}
        pays = self.pays[int(self.stage - 1 == self.better[self.situation])]
        self.stage = 0
        return self._observation(), float(self.np_random.random() < pays), True, False, {}

    def _observation(self) -> NDArray[np.float32]:
        stage = (np.arange(3) == self.stage).astype(np.float32)
        return np.concatenate([stage, self.cues[self.situation]])


RECURRING: Mapping[str, Callable[[Mapping[str, Any]], PlainRecurring]] = {
    "barcode-bandit": PlainBarcodes,
    "re-seen-choice": PlainChoice,
    "two-step": PlainTwoStep,
}
"""From the context of a task to its environment."""
SURE = {"good": 1.0, "bad": 0.0}
DRAW: Mapping[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "barcode-bandit": lambda rng: {"good_arm": rng.integers(10, size=5).tolist(), **SURE},
    "re-seen-choice": lambda rng: {"right": rng.integers(2, size=5).tolist()},
    "two-step": lambda rng: {"better": rng.integers(2, size=20).tolist(), "common": 1.0, **SURE},
}
"""Tasks without luck but for cues and order."""
