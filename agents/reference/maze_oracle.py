"""Maze oracle: is told the maze and walks a shortest way to the goal, turns counted. No player scores more.

What adapts: nothing. What is meta-learned: nothing.

    d(goal, .) = 0,  d(p) = 1 + min_a d(p after a),  a_t = argmin_a d(p_t after a)

over poses p, the cell and the direction faced. The player knows the maze, its start and what it did, so it knows its
pose without looking. Its return is 1 - penalty * d(start) / T, or 0 where the goal cannot be reached within T steps.

Reference: breadth-first search, Moore 1959, "The shortest path through a maze".

Axes: B trials, n x n cells, 4 directions (right, down, left, up), 3 actions (left, right, forward).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from agents.reference.player import Player
from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Step

_DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))


class MazeOracleConfig(Config):
    """`MazeOracle` has no settings."""


class Way(NamedTuple):
    """What to do in every pose, what comes of it, and the pose. Poses are numbered 4 * cell + direction."""

    policy: Tensor
    """[B, poses] int64 best action."""
    following: Tensor
    """[B, poses] int64 pose after it."""
    start: Tensor
    """[B] int64."""
    pose: Tensor
    """[B] int64 after the action chosen last."""


class MazeOracle(Player[MazeOracleConfig]):
    """Walks a shortest way."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Way:
        """A way that is replaced at the first step."""
        nowhere = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        table = nowhere[:, None].repeat(1, 4 * self.problem.structure["size"] ** 2)
        return Way(table, table, nowhere, nowhere)

    def act(self, carry: Way, step: Step) -> tuple[Action, Way]:
        """At a trial's start plan from the descriptor; follow the plan. Raises `UserError` without a descriptor."""
        policy, following, start, pose = carry
        if self.any_of(step.trial_start):
            new = self._plan(step.descriptor)
            fresh = step.trial_start
            policy = torch.where(fresh[:, None], new.policy, policy)
            following = torch.where(fresh[:, None], new.following, following)
            start = torch.where(fresh, new.start, start)
        pose = torch.where(step.episode_start, start, pose)[:, None]
        action = policy.gather(1, pose)[:, 0]
        return Action(action), Way(policy, following, start, following.gather(1, pose)[:, 0])

    def _plan(self, descriptor: Tensor | None) -> Way:
        """[B, 3 n n + 4] walls, start, goal and direction to the best action in every pose."""
        if descriptor is None:
            raise UserError("maze-oracle needs the task's descriptor: collect with a batch that gives one")
        size = self.problem.structure["size"]
        walls, start, goal, direction = descriptor.split([size**2] * 3 + [4], dim=1)
        after = pose_after(walls.view(-1, size, size) > 0)
        distance = distances(after, (goal > 0).repeat_interleave(4, dim=1))
        best = distance.gather(1, after.flatten(1)).view(after.shape).argmin(-1)
        following = after.gather(2, best[..., None])[..., 0]
        begin = 4 * start.argmax(1) + direction.argmax(1)
        return Way(best, following, begin, begin)


def pose_after(walls: Tensor) -> Tensor:
    """[B, poses, 3] pose after each action, from `walls` [B, n, n] bool. A step into a wall changes nothing."""
    batch, size, _ = walls.shape
    cell = torch.arange(size**2, device=walls.device).view(size, size)
    closed = functional.pad(walls, (1, 1, 1, 1), value=True)
    ahead: list[Tensor] = []
    for row, column in _DIRECTIONS:
        blocked = closed[:, 1 + row : 1 + row + size, 1 + column : 1 + column + size]
        ahead.append(torch.where(blocked, cell, cell + row * size + column).flatten(1))
    direction = torch.arange(4, device=walls.device)
    forward = 4 * torch.stack(ahead, dim=2) + direction
    left, right = (4 * cell.view(-1, 1) + (direction + turn) % 4 for turn in (-1, 1))
    turned = torch.stack([left, right], dim=2).expand(batch, -1, -1, -1)
    return torch.cat([turned, forward[..., None]], dim=3).flatten(1, 2)


def distances(after: Tensor, goal: Tensor) -> Tensor:
    """[B, poses] float32 fewest actions to a pose in `goal` [B, poses]; infinite where none is reached."""
    distance = torch.where(goal, 0.0, torch.inf)
    while True:
        nearer = torch.minimum(distance, 1 + distance.gather(1, after.flatten(1)).view(after.shape).amin(-1))
        if torch.equal(nearer, distance):
            return distance
        distance = nearer
