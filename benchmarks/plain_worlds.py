"""The tensor families as one would write them by hand, one environment at a time: what the engine is measured against.

Same rules, same observations, plain Python and NumPy; horizons are left to `gymnasium.wrappers.TimeLimit`. Longer than
most files here: a world each.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from numpy.typing import NDArray

from benchmarks.plain_bandits import DRAW, RECURRING
from benchmarks.plain_linear import DRAW_LINEAR, LINEAR
from benchmarks.plain_pursuit import PlainPursuit, pursuit_task
from benchmarks.plain_signs import DRAW_SIGNS, SIGNS
from plugins.families.frozen_lake import MAPS
from plugins.families.maze import path_length
from taskgen.streams import stream

SEED = 0
MAZES = 64
"""Different ones; slot i has maze i % 64."""
Box, Discrete = gym.spaces.Box, gym.spaces.Discrete


class PlainNavigation(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """2D navigation as one would write it by hand."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(-11, 11, (2,)), Box(np.float32(-0.1), np.float32(0.1), (2,))
        self.goal = np.array(context["goal"])
        self.position = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the origin."""
        super().reset(seed=seed)
        self.position = np.zeros(2)
        return self.position.astype(np.float32), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        """Move."""
        self.position = self.position + np.clip(action, -0.1, 0.1)
        x, y = self.position - self.goal
        ended = abs(x) < 0.01 and abs(y) < 0.01
        return self.position.astype(np.float32), -math.hypot(x, y), bool(ended), False, {}


class PlainTreasure(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Mountain Treasure as one would write it by hand."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(-1.5, 1.5, (4,)), Box(-1.0, 1.0, (2,))
        self.goal = np.array([math.cos(context["angle"]), math.sin(context["angle"])])
        self.position = np.array([0.0, -1.0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the start."""
        super().reset(seed=seed)
        self.position = np.array([0.0, -1.0])
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> Any:
        """Move."""
        self.position = np.clip(self.position + 0.1 * np.clip(action, -1, 1), -1.5, 1.5)
        top, (x, y) = math.hypot(*self.position), self.position - self.goal
        away = 10.0 if math.hypot(x, y) <= 0.1 else -5 * max(1.0, top)
        return self._observation(), top - 5.5 if top <= 0.5 else away, False, False, {}

    def _observation(self) -> NDArray[np.float32]:
        shown = self.goal if math.hypot(*self.position) < 0.1 else (0.0, 0.0)
        return np.array([*self.position, *shown], dtype=np.float32)


class PlainGrid(gym.Env[NDArray[np.float32], np.int64]):
    """A hidden goal on a grid: GridNavi and Darkroom."""

    def __init__(
        self, context: Mapping[str, Any], size: int, moves: tuple[tuple[int, int], ...], rewards: tuple[float, float]
    ) -> None:
        self.observation_space, self.action_space = Box(0.0, size - 1.0, (2,)), Discrete(len(moves))
        self.goal, self.last, self.moves, self.rewards = divmod(context["goal"], size), size - 1, moves, rewards
        self.place = (0, 0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the corner."""
        super().reset(seed=seed)
        self.place = (0, 0)
        return np.array(self.place, dtype=np.float32), {}

    def step(self, action: np.int64) -> Any:
        """Move."""
        self.place = moved(self.place, self.moves[action], self.last)
        reward = self.rewards[0] if self.place == self.goal else self.rewards[1]
        return np.array(self.place, dtype=np.float32), reward, False, False, {}


class PlainBus(gym.Env[NDArray[np.float32], np.int64]):
    """DREAM's city with the map."""

    goals = ((0, 0), (8, 8), (0, 8), (8, 0))
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0), (0, 0), (0, 0))

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (47,)), Discrete(7)
        self.number = context["permutation"]
        ends = list(itertools.permutations(((0, 1), (0, 7), (8, 1), (8, 7))))[self.number]
        ride = dict(zip(((4, 5), (5, 4), (3, 4), (4, 3)), ends, strict=True))
        self.ride = ride | {end: stop for stop, end in ride.items()}
        self.place, self.goal, self.time = (4, 4), 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Draw a goal."""
        super().reset(seed=seed)
        self.place, self.goal, self.time = (4, 4), int(self.np_random.integers(4)), 0
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Walk, ride or end the episode."""
        self.time += 1
        if action == 5:
            self.place = self.ride.get(self.place, self.place)
        else:
            self.place = moved(self.place, self.moves[action], 8)
        arrived, ended = self.place == self.goals[self.goal], action == 6
        reward = 1.0 if arrived else -0.1 * (1 + (20 - self.time if ended else 0))
        return self._observation(), reward, bool(arrived or ended), False, {}

    def _observation(self) -> NDArray[np.float32]:
        seen = np.zeros(47, dtype=np.float32)
        seen[self.place[0]] = seen[9 + self.place[1]] = seen[19 + self.goal] = 1.0
        seen[18] = self.place in self.ride
        if self.place == (7, 3):
            seen[23 + self.number] = 1.0
        return seen


class PlainCooking(gym.Env[NDArray[np.float32], np.int64]):
    """DREAM's kitchen."""

    moves = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0), (0, 0), (0, 0), (0, 0))

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (36,)), Discrete(8)
        self.drawers = {(2, i): context["kitchen"] // 4**i % 4 for i in range(3)}
        self._empty()
        self.recipe = (0, 0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Draw a recipe."""
        super().reset(seed=seed)
        self._empty()
        first, second = self.np_random.integers(3, size=2).tolist()
        self.recipe = (self.drawers[2, first], self.drawers[2, second])
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Walk, pick up, drop or end the episode."""
        self.time += 1
        if action == 6:
            self.hand = self.drawers.get(self.place, 4 if self.place == (1, 1) else self.hand)
        elif action == 7:
            if self.place == (1, 1) and self.hand != 4 and 4 in self.bowl:
                self.bowl[self.bowl.index(4)] = self.hand
            self.hand = 4
        reward, cooked = self._judge(picked=bool(action == 6))
        if action == 5:
            reward -= 0.1 * (20 - self.time)
        self.place = moved(self.place, self.moves[action], 2)
        return self._observation(), reward, bool(cooked or action == 5), False, {}

    def _empty(self) -> None:
        self.place, self.hand, self.bowl, self.part, self.time = (1, 1), 4, [4, 4, 4], 0, 0

    def _judge(self, *, picked: bool) -> tuple[float, bool]:
        """Reward, and whether the dish is cooked."""
        which, putting = divmod(self.part, 2)
        holds = self.hand == self.recipe[which]
        right = self.bowl[: which + 1] == list(self.recipe[: which + 1]) if putting else holds
        if right:
            self.part += 1
            return 0.25, self.part == 4
        if putting and not holds:
            self.part -= 1
            return -0.35, False
        return -0.35 if picked and not putting else -0.1, False

    def _observation(self) -> NDArray[np.float32]:
        seen = np.zeros(36, dtype=np.float32)
        seen[self.place[0]] = seen[3 + self.place[1]] = seen[8 + self.hand] = 1.0
        seen[6], seen[7] = self.place == (1, 1), self.place in self.drawers
        for i, what in enumerate(self.bowl):
            seen[13 + 5 * i + what] = 1.0
        seen[28 + self.recipe[0]] = seen[32 + self.recipe[1]] = 1.0
        return seen


class PlainMaze(gym.Env[NDArray[np.float32], np.int64]):
    """The maze seen from inside. The cells that are seen are looked up by one index array for each direction."""

    width = 13 + 2 * 4

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (54,)), Discrete(3)
        inside, cells = slice(4, 17), np.ones((self.width, self.width), dtype=bool)
        cells[inside, inside] = np.array(context["walls"], dtype=bool)
        goals = np.zeros_like(cells)
        goals[tuple(np.array(context["goal"]) + 4)] = True
        self.walls, self.goals = cells.ravel(), goals.ravel()
        self.start = (int(np.dot(np.array(context["start"]) + 4, (self.width, 1))), context["direction"])
        self.moves = (1, self.width, -1, -self.width)
        ahead, side = np.arange(4, -1, -1)[:, None], np.arange(-2, 3)
        self.view = [(ahead * self.moves[d] + side * self.moves[(d + 1) % 4]).ravel() for d in range(4)]
        self.place, self.direction, self.time = *self.start, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the start."""
        super().reset(seed=seed)
        self.place, self.direction, self.time = *self.start, 0
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Turn or walk."""
        self.time += 1
        arrived = False
        if action == 2:
            ahead = self.place + self.moves[self.direction]
            arrived = bool(self.goals[ahead])
            self.place = self.place if self.walls[ahead] else ahead
        else:
            self.direction = (self.direction + (1 if action else -1)) % 4
        return self._observation(), 1.0 - 0.9 * self.time / 250 if arrived else 0.0, arrived, False, {}

    def _observation(self) -> NDArray[np.float32]:
        cells = self.view[self.direction] + self.place
        seen = np.zeros(54, dtype=np.float32)
        seen[:25], seen[25:50], seen[50 + self.direction] = self.walls[cells], self.goals[cells], 1.0
        return seen


class PlainLake(gym.Env[NDArray[np.float32], np.int64]):
    """Frozen lake as one would write it by hand."""

    moves = ((0, -1), (1, 0), (0, 1), (-1, 0))

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 3.0, (2,)), Discrete(4)
        self.holes, self.slipperiness = context["holes"], context["slipperiness"]
        self.cell = (0, 0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Go to the start."""
        super().reset(seed=seed)
        self.cell = (0, 0)
        return np.array(self.cell, dtype=np.float32), {}

    def step(self, action: np.int64) -> Any:
        """Move, or slip to either side."""
        luck = self.np_random.random()
        turn = -1 if luck < self.slipperiness / 2 else int(luck >= 1 - self.slipperiness / 2)
        self.cell = moved(self.cell, self.moves[(int(action) + turn) % 4], 3)
        arrived, (row, column) = self.cell == (3, 3), self.cell
        ended = arrived or bool(self.holes[row][column])
        return np.array(self.cell, dtype=np.float32), float(arrived), ended, False, {}


class PlainCatch(gym.Env[NDArray[np.float32], np.int64]):
    """Catch as one would write it by hand."""

    def __init__(self, _: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 9.0, (3,)), Discrete(3)
        self.column, self.row, self.paddle = 0, 0, 2

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """A ball in a new column."""
        super().reset(seed=seed)
        self.column, self.row, self.paddle = int(self.np_random.integers(5)), 0, 2
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Move the paddle, let the ball fall."""
        self.paddle = min(max(self.paddle + int(action) - 1, 0), 4)
        self.row += 1
        down = self.row == 9
        reward = (1.0 if self.paddle == self.column else -1.0) if down else 0.0
        return self._observation(), reward, down, False, {}

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self.column, self.row, self.paddle], dtype=np.float32)


class PlainSignal(gym.Env[NDArray[np.float32], np.int64]):
    """The chain of signal and noise as one would write it by hand."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (10,)), Discrete(2)
        self.signal, self.noise, self.state = context["signal"], context["noise"], 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """The first state."""
        super().reset(seed=seed)
        self.state = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """The next state, whatever is done."""
        reward = self.noise * float(self.np_random.normal()) if self.state % 2 else self.signal
        self.state += 1
        return self._observation(), reward, self.state == 10, False, {}

    def _observation(self) -> NDArray[np.float32]:
        return (np.arange(10) == self.state).astype(np.float32)


class PlainDiscounting(gym.Env[NDArray[np.float32], np.int64]):
    """The discounting chain as one would write it by hand."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        low, high = np.array([[-1.0, 0.0], [4.0, 1.0]], dtype=np.float32)
        self.observation_space, self.action_space = Box(low, high), Discrete(5)
        self.best, self.chain, self.time = context["mapping"], -1, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Nothing is chosen."""
        super().reset(seed=seed)
        self.chain, self.time = -1, 0
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Choose at first, then wait."""
        if self.chain < 0:
            self.chain = int(action)
        self.time += 1
        paid = self.time == (1, 3, 10, 30, 100)[self.chain]
        reward = (1.1 if self.chain == self.best else 1.0) if paid else 0.0
        return self._observation(), reward, self.time == 100, False, {}

    def _observation(self) -> NDArray[np.float32]:
        return np.array([self.chain, self.time / 100], dtype=np.float32)


def moved(place: tuple[int, int], move: tuple[int, int], last: int) -> tuple[int, int]:
    """The cell that `move` leads to; the edge holds back."""
    return min(max(place[0] + move[0], 0), last), min(max(place[1] + move[1], 0), last)


PLAIN: Mapping[str, Callable[[Mapping[str, Any]], gym.Env[Any, Any]]] = {
    "point-navigation": PlainNavigation,
    "mountain-treasure": PlainTreasure,
    "cartpole": lambda _: CartPoleEnv(),
    "pendulum": lambda _: PendulumEnv(),
    "grid-navigation": lambda context: PlainGrid(context, 5, ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)), (1.0, -0.1)),
    "darkroom": lambda context: PlainGrid(context, 10, ((1, 0), (-1, 0), (0, 1), (0, -1), (0, 0)), (1.0, 0.0)),
    "bus": PlainBus,
    "cooking": PlainCooking,
    "maze": PlainMaze,
    "frozen-lake": PlainLake,
    "catch": PlainCatch,
    "signal-noise-chain": PlainSignal,
    "discounting-chain": PlainDiscounting,
    "pursuit": PlainPursuit,
    **RECURRING,
    **SIGNS,
    **LINEAR,
}
"""From the context of a task to its environment."""


def context(name: str, number: int) -> dict[str, Any]:
    """The task that slot `number` plays, the same in the engine and by hand."""
    return _DRAW[name](stream(SEED, name, number % MAZES if name == "maze" else number)) if name in _DRAW else {}


def _maze(rng: np.random.Generator) -> dict[str, Any]:
    """A random maze with a path to its goal."""
    while True:
        walls = rng.random((13, 13)) < 0.15
        start, goal = (tuple(map(int, place)) for place in rng.integers(13, size=(2, 2)))
        walls[start] = walls[goal] = False
        rows = tuple(map(tuple, walls.astype(int).tolist()))
        if start != goal and path_length(rows, start, goal) is not None:
            return {"walls": rows, "start": start, "direction": int(rng.integers(4)), "goal": goal}


_DRAW: Mapping[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "point-navigation": lambda rng: {"goal": tuple(rng.uniform(-0.5, 0.5, 2).tolist())},
    "mountain-treasure": lambda rng: {"angle": float(rng.uniform(0, 2 * np.pi))},
    "grid-navigation": lambda rng: {"goal": int(rng.choice([cell for cell in range(25) if cell not in (0, 1, 5, 6)]))},
    "darkroom": lambda rng: {"goal": int(rng.integers(100))},
    "bus": lambda rng: {"permutation": int(rng.integers(24))},
    "cooking": lambda rng: {"kitchen": int(rng.integers(64))},
    "maze": _maze,
    "frozen-lake": lambda _: {"holes": MAPS[4], "slipperiness": 0.0},
    "signal-noise-chain": lambda rng: {"signal": float(rng.uniform(0.05, 0.15)), "noise": 0.0},
    "discounting-chain": lambda rng: {"mapping": int(rng.integers(5))},
    "pursuit": pursuit_task,
    **DRAW,
    **DRAW_SIGNS,
    **DRAW_LINEAR,
}
