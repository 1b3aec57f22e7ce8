"""Pursuit written by hand, one episode at a time: what the tensor family is compared with."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Cell = tuple[int, int]
_SIZE, _HORIZON = 5, 20
_MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))


class PlainPursuit(gym.Env[NDArray[np.float32], np.int64]):
    """Two predators, ours and a partner; both are needed to catch the prey."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.context = context
        self.walls = {(x, y) for x, row in enumerate(context["walls"]) for y, wall in enumerate(row) if wall}
        self.action_space = gym.spaces.Discrete(len(_MOVES))
        self.observation_space = gym.spaces.Box(-5.0, 5.0, (12,), np.float32)
        open_cells = [(x, y) for x in range(_SIZE) for y in range(_SIZE) if (x, y) not in self.walls]
        self.way = {goal: self._ways(goal) for goal in open_cells}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Everybody where they begin."""
        super().reset(seed=seed)
        self.ours, self.partner = (0, 0), (_SIZE - 1, _SIZE - 1)
        self.prey = divmod(self.context["den"], _SIZE)
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Predators, then the catch, then the prey."""
        draw, context = self.np_random.random, self.context
        goes_for_it = draw() < context["skill"]
        chase = min(range(5), key=lambda move: self.way[self.prey][self._moved(self.partner, move)])
        move = chase if goes_for_it else int(self.np_random.integers(5))
        if draw() < context["speed"]:
            self.ours = self._moved(self.ours, int(action))
        if draw() < context["speed"]:
            self.partner = self._moved(self.partner, move)
        gaps = [self.way[self.prey][cell] for cell in (self.ours, self.partner)]
        caught = max(gaps) <= 1
        if not caught and draw() < context["prey_speed"]:
            away = max(range(5), key=lambda move: self._nearest(self._moved(self.prey, move)))
            flees = min(gaps) <= context["prey_sight"]
            self.prey = self._moved(self.prey, away if flees else int(self.np_random.integers(5)))
        return self._observation(), 1.0 if caught else -1 / _HORIZON, caught, False, {}

    def _nearest(self, cell: Cell) -> int:
        return min(self.way[cell][self.ours], self.way[cell][self.partner])

    def _moved(self, cell: Cell, move: int) -> Cell:
        x, y = cell[0] + _MOVES[move][0], cell[1] + _MOVES[move][1]
        inside = 0 <= x < _SIZE and 0 <= y < _SIZE
        return (x, y) if inside and (x, y) not in self.walls else cell

    def _ways(self, goal: Cell) -> dict[Cell, int]:
        """Steps to `goal` from every cell that there is a way from."""
        found, ahead = {goal: 0}, deque([goal])
        while ahead:
            cell = ahead.popleft()
            for move in range(1, 5):
                if (near := self._moved(cell, move)) not in found:
                    found[near] = found[cell] + 1
                    ahead.append(near)
        return found

    def _observation(self) -> NDArray[np.float32]:
        told: list[float] = [*self.ours, *(self._moved(self.ours, move) != self.ours for move in range(1, 5))]
        for x, y in (self.prey, self.partner):
            gap = x - self.ours[0], y - self.ours[1]
            told += [1, *gap] if max(map(abs, gap)) <= self.context["sight"] else [0, 0, 0]
        return np.array(told, dtype=np.float32)


def pursuit_task(rng: np.random.Generator) -> dict[str, Any]:
    """A task in which nothing is random but the layout, whether the prey runs and how far we see."""
    while True:
        walls, den = rng.random((_SIZE, _SIZE)) < 0.1, int(rng.integers(1, _SIZE**2 - 1))
        walls[0, 0] = walls[-1, -1] = walls[divmod(den, _SIZE)] = False
        rows = tuple(map(tuple, walls.astype(int).tolist()))
        found = PlainPursuit({"walls": rows}).way[divmod(den, _SIZE)]
        if {(0, 0), (_SIZE - 1, _SIZE - 1)} <= set(found):
            numbers = {"speed": 1.0, "skill": 1.0, "prey_sight": _SIZE**2, "sight": int(rng.integers(1, _SIZE))}
            return {"walls": rows, "den": den, "prey_speed": float(rng.integers(2)), **numbers}
