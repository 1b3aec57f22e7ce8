"""GridNavi's Bayes player: searches the cells in the order that pays most on average, then goes back to the goal.

What adapts: the set of cells that may still be the goal. What is meta-learned: nothing.

The goal is uniform over its cells, and a step tells only whether the cell it ends on is the goal. So until the goal is
found nothing is learnt that a plan could depend on: the best player follows one fixed walk through all episodes of the
trial, and once on the goal stays there, and walks straight to it in the episodes that are left. With G cells,

    value of a walk = 1/G sum_g V(g, first visit of g),
    V(g, step t of episode e) = -0.1 (H e + t - 1) + (H - t + 1) + (K - 1 - e) E_g,  E_g the oracle's return

The walk is found at construction, by beam search over (cell, cells not yet seen), ranked by the value if all cells left
were found one a step, near ones first; a fraction of a second for the 5 x 5 grid. There the beam's walk is worth 37.214
a trial of 4 episodes, and that is the Bayes-optimal value: branch and bound finds no better walk (in this player's
tests). On other grids, or for trials of other lengths, it is a lower bound of it.

Reference: Zintgraf et al. 2020, "VariBAD", section 5.1; Duff 2002, "Optimal learning".

Axes: B trials, S states of the beam, C cells, K episodes, H horizon.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from agents.reference import grids
from agents.reference.grid_navigation_oracle import MOVES
from agents.reference.player import Player
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step
from taskgen.streams import stream

Integers = NDArray[np.int64]


class GridNavigationBayesConfig(Config):
    """Settings of `GridNavigationBayes`."""

    width: int = Field(5000, ge=1, le=1_000_000, description="States that the beam keeps at every step.")


class Search(NamedTuple):
    """What is known of the goal, and where the search is."""

    goal: Tensor
    """[B] int64 the goal's cell; -1 until it is found."""
    cell: Tensor
    """[B] int64 where the last action led."""
    time: Tensor
    """[B] int64 steps made in this episode."""


class GridNavigationBayes(Player[GridNavigationBayesConfig]):
    """Follows the best walk found, then the goal."""

    def __init__(self, config: GridNavigationBayesConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        size: int = problem.structure["size"]
        after = grids.neighbours(size, MOVES)
        self._after = after.to(problem.device)
        walk = best_walk(size, problem.horizon, problem.episodes, config.width)
        self._walk = torch.from_numpy(walk).to(problem.device)

    def begin_trial(self, batch: int) -> Search:
        """The goal may be anywhere."""
        zero = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        return Search(zero - 1, zero, zero)

    def act(self, carry: Search, step: Step) -> tuple[Action, Search]:
        """Take in whether the last step was paid; go to the goal, or on with the walk."""
        goal = torch.where(step.previous_reward > 0, carry.cell, carry.goal)
        goal = torch.where(step.trial_start, -1, goal)
        time = torch.where(step.episode_start, 0, carry.time)
        cell = torch.where(step.episode_start, 0, carry.cell)
        episodes, horizon = self._walk.shape
        planned = self._walk[step.episode_index.clamp(max=episodes - 1), time.clamp(max=horizon - 1)]
        action = torch.where(goal >= 0, grids.towards(cell, goal, self._after), planned)
        return Action(action), Search(goal, self._after[cell, action], time + 1)


def best_walk(size: int, horizon: int, episodes: int, width: int) -> Integers:
    """[K, H] actions of the walk of highest value that a beam of `width` states finds."""
    after = grids.neighbours(size, MOVES).numpy()[:, 1:]  # a search never stays
    gains = gain(size, horizon, episodes)
    names = stream(0, "cells").integers(2**62, size=size**2)  # a sum of them names a set of cells
    unseen, cell, value = (gains != 0).any(axis=0)[np.newaxis], np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    history: list[tuple[Integers, Integers]] = []
    for moment in range(episodes * horizon):
        parent, move = (part.ravel() for part in np.indices((len(cell), 4)))
        end, left, row = after[cell].ravel(), unseen[parent], np.arange(4 * len(cell))
        total = value[parent] + gains[moment, end] * left[row, end]
        left[row, end] = False
        if (moment + 1) % horizon == 0:
            end = np.zeros_like(end)
        name = left @ names + end
        order = np.lexsort((-total, name))
        order = order[np.r_[True, np.diff(name[order]) != 0]]  # of states that are the same, one of highest value
        if len(order) > width:
            promise = total[order] + _promise(left[order], moment, gains, horizon)
            order = order[np.argsort(-promise, kind="stable")[:width]]
        unseen, cell, value = left[order], end[order], total[order]
        history.append((parent[order], move[order]))
    walk, state = np.zeros(len(history), dtype=np.int64), int(value.argmax())
    for moment, (parent, move) in reversed(list(enumerate(history))):
        walk[moment], state = move[state] + 1, int(parent[state])
    return walk.reshape(episodes, horizon)


def gain(size: int, horizon: int, episodes: int) -> Integers:
    """[K * H, C] ten times what finding a goal at a step adds to the return of its trial; 0 for cells that hold none.

    Also given for steps too early to be on the cell.
    """
    distance = np.add.outer(np.arange(size), np.arange(size)).ravel()
    again = np.where(distance > horizon, -horizon, 10 * (horizon - distance + 1) - (distance - 1))
    episode, time = np.divmod(np.arange(episodes * horizon)[:, None], horizon)
    now = 10 * (horizon - time) - time
    total = now - horizon * episode + (episodes - 1 - episode) * again + horizon * episodes
    return np.where(np.isin(np.arange(size**2), [0, 1, size, size + 1]), 0, total)


def _promise(unseen: NDArray[np.bool_], moment: int, gains: Integers, horizon: int) -> Integers:
    """[S] ten times what is gained when after `moment` one cell not yet seen is found at every step, near ones first.

    The first step of an episode finds none. It ranks the states of the beam; it is no bound.
    """
    later = np.arange(moment + 1, len(gains))
    later = later[later % horizon != 0]
    size = int(gains.shape[1] ** 0.5)
    distance = np.add.outer(np.arange(size), np.arange(size)).ravel()
    promise, count = np.zeros(len(unseen), dtype=np.int64), np.zeros(len(unseen), dtype=np.int64)
    for cell in np.argsort(distance, kind="stable"):
        worth = np.append(gains[later, cell], np.zeros(gains.shape[1], dtype=np.int64))
        promise += worth[count] * unseen[:, cell]
        count += unseen[:, cell]
    return promise
