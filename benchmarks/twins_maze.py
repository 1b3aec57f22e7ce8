"""The maze as a user of JAX would write it: a jitted scan of steps of many mazes, for `benchmarks.jax_twins`.

The rules of `plugins/families/maze.py`. An episode that ends begins again at once, and each step shows what is seen
after that. Axes: B mazes, n x n cells, v x v of them in view.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array
WALL, GOAL = 1, 2
LEFT, RIGHT, FORWARD = range(3)
AHEAD = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
"""Rows and columns of a step facing right, down, left, up."""


class Position(NamedTuple):
    """Of the agent, [B] each."""

    cell: Array
    direction: Array
    time: Array


class Seen(NamedTuple):
    """What a step gave, [B, ...]."""

    observation: Array
    reward: Array
    terminated: Array
    truncated: Array


class Maze:
    """B mazes, with as much wall around as can be seen, in one array of bytes."""

    def __init__(self, tasks: Sequence[Mapping[str, Any]], *, view: int, horizon: int, time_penalty: float) -> None:
        """Tasks as the family's contexts have them."""
        margin = view - 1
        walls = np.array([task["walls"] for task in tasks], dtype=np.int8)
        self.width = walls.shape[1] + 2 * margin
        cells = np.pad(walls, ((0, 0), (margin, margin), (margin, margin)), constant_values=WALL)
        start, goal = (np.array([task[name] for task in tasks]) + margin for name in ("start", "goal"))
        cells[np.arange(len(tasks)), goal[:, 0], goal[:, 1]] = GOAL
        self.cells = jnp.asarray(cells.reshape(len(tasks), -1))
        direction = jnp.array([task["direction"] for task in tasks])
        self.start = Position(jnp.asarray(start @ [self.width, 1]), direction, jnp.zeros_like(direction))
        self.moves = AHEAD @ [self.width, 1]
        ahead, aside = np.arange(margin, -1, -1)[:, None], np.arange(view) - view // 2
        self.offsets = jnp.array([(ahead * self.moves[d] + aside * self.moves[(d + 1) % 4]).ravel() for d in range(4)])
        self.horizon, self.time_penalty = horizon, time_penalty
        self.play = jax.jit(self._play)

    def observe(self, cells: Array, position: Position) -> Array:
        """[B, 2 v v + 4] walls, goal, direction."""
        places = position.cell[:, None] + self.offsets[position.direction]
        seen = jnp.take_along_axis(cells, places, 1)
        facing = jax.nn.one_hot(position.direction, 4)
        return jnp.concatenate([seen == WALL, seen == GOAL, facing], 1).astype(jnp.float32)

    def _play(self, cells: Array, start: Position, position: Position, actions: Array) -> tuple[Position, Seen]:
        """Where `actions` [T, B] lead to, and what they gave, [T, B, ...]."""

        def step(at: Position, action: Array) -> tuple[Position, Seen]:
            ahead = at.cell + jnp.asarray(self.moves)[at.direction]
            cell = jnp.take_along_axis(cells, ahead[:, None], 1)[:, 0]
            forward = action == FORWARD
            time = at.time + 1
            arrived, late = forward & (cell == GOAL), time >= self.horizon
            reward = jnp.where(arrived, 1 - self.time_penalty * time / self.horizon, 0)
            turned = (at.direction + jnp.array([3, 1, 0])[action]) % 4
            after = Position(jnp.where(forward & (cell != WALL), ahead, at.cell), turned, time)
            after = jax.tree.map(lambda new, old: jnp.where(arrived | late, new, old), start, after)
            return after, Seen(self.observe(cells, after), reward, arrived, late)

        return lax.scan(step, position, actions)
