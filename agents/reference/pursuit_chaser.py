"""Pursuit chaser: is told the layout and takes a shortest way to the prey, to where it saw it last where it does not.

What adapts: nothing. What is meta-learned: nothing.

    a_t = argmin_a d(cell after a, target)

where the target is the prey's cell; the last one where it is not seen, at first the den.

With full sight, a prey that stays in its den and no partner that has to help, no player can score more: the episode
pays 1 - (d - 2) / H, d the steps from the start to the den, 2 or more. Where the prey runs the best player cuts it off,
and earns what `Pursuit.optimal_return` works out.

Reference: the greedy predators of Korf 1992, "A simple solution to pursuit games".

Axes: B trials, S cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference import grids
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
"""(x, y) that the actions add: stay, up, right, down, left."""
_PREY = 6
"""Where the observation tells of the prey: whether it is seen, columns and rows to it."""


class PursuitChaserConfig(Config):
    """`PursuitChaser` has no settings."""


class Map(NamedTuple):
    """The layout, and where the prey was seen last."""

    after: Tensor
    """[B, S, moves] int64 cells that moves lead to."""
    way: Tensor
    """[B, S, S] float32 steps from cell to cell."""
    den: Tensor
    """[B] int64."""
    target: Tensor
    """[B] int64."""


class PursuitChaser(Player[PursuitChaserConfig]):
    """Goes straight for the prey."""

    needs_descriptor = True

    def __init__(self, config: PursuitChaserConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._size: int = problem.structure["size"]
        self._ahead = grids.neighbours(self._size, MOVES).to(problem.device)

    def begin_trial(self, batch: int) -> Map:
        """A map that is replaced at the first step."""
        cells = self._size**2
        den = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        way = torch.zeros(batch, cells, cells, device=self.problem.device)
        return Map(self._ahead.repeat(batch, 1, 1), way, den, den)

    def act(self, carry: Map, step: Step) -> tuple[Action, Map]:
        """At a trial's start read the map; then a step towards the prey. Raises `UserError` without a descriptor."""
        after, way, den, target = carry
        if self.any_of(step.trial_start):
            new, fresh = self._map(told(step.descriptor, "pursuit-chaser")), step.trial_start
            after = torch.where(fresh[:, None, None], new.after, after)
            way = torch.where(fresh[:, None, None], new.way, way)
            den = torch.where(fresh, new.den, den)
        own = step.observation[:, :2]
        seen, gap = step.observation[:, _PREY] > 0, step.observation[:, _PREY + 1 : _PREY + 3]
        target = torch.where(step.episode_start, den, target)
        target = torch.where(seen, grids.number(own + gap, self._size), target)
        row = torch.arange(len(den), device=den.device)
        ends = after[row, grids.number(own, self._size)]
        return Action(way[row[:, None], ends, target[:, None]].argmin(1)), Map(after, way, den, target)

    def _map(self, descriptor: Tensor) -> Map:
        """From [B, S + 2 + 5]: walls by cell, the den's column and row, knobs that it does without."""
        cells = self._size**2
        walls = descriptor[:, :cells] > 0
        here = torch.arange(cells, device=walls.device)
        after = torch.where(walls[:, self._ahead], here[:, None], self._ahead)
        den = grids.number(descriptor[:, cells : cells + 2], self._size)
        return Map(after, grids.ways(after), den, den)
