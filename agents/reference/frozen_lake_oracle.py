"""Frozen-lake oracle: is told the map and how slippery the ice is and acts optimally. No player can score more on
average.

What adapts: nothing. What is meta-learned: nothing.

    a_h = argmax_a Q_h(s_h, a),  Q by value iteration from the horizon backwards

Reference: Bellman 1957, "Dynamic programming".

Axes: B trials, S cells, H horizon.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from agents.reference import grids
from agents.reference.player import Player
from agents.reference.steering import told
from agents.reference.tables import Tables, action_values, planned_action
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))
"""(rows, columns) that the actions add: left, down, right, up; a slip goes to a neighbour in this order."""


class FrozenLakeOracleConfig(Config):
    """`FrozenLakeOracle` has no settings."""


class Plan(NamedTuple):
    """The optimal policy and the time."""

    policy: Tensor
    """[B, H, S] int64."""
    time: Tensor
    """[B] int64 steps made in this episode."""


class FrozenLakeOracle(Player[FrozenLakeOracleConfig]):
    """Acts optimally on the ice that it is told of."""

    needs_descriptor = True

    def __init__(self, config: FrozenLakeOracleConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._size: int = problem.structure["size"]
        self._after = grids.neighbours(self._size, MOVES).to(problem.device)

    def begin_trial(self, batch: int) -> Plan:
        """A plan that is replaced at the first step."""
        time = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        return Plan(time[:, None, None].repeat(1, self.problem.horizon, self._size**2), time)

    def act(self, carry: Plan, step: Step) -> tuple[Action, Plan]:
        """At a trial's start plan from the descriptor; follow the plan. Raises `UserError` without a descriptor."""
        policy, time = carry.policy, torch.where(step.episode_start, 0, carry.time + 1)
        if self.any_of(step.trial_start):
            planned = self._policy(told(step.descriptor, "frozen-lake-oracle"))
            policy = torch.where(step.trial_start[:, None, None], planned, policy)
        cell = grids.cell_seen(step.observation, self._size, self.problem.structure["observation"])
        return Action(planned_action(policy, time, cell)), Plan(policy, time)

    def _policy(self, descriptor: Tensor) -> Tensor:
        """[B, H, S] by value iteration; goal and holes are left for nowhere, and pay nothing more."""
        holes, slipperiness = descriptor[:, :-1] > 0, descriptor[:, -1, None, None, None]
        cells = self._size**2
        ahead = functional.one_hot(self._after, cells).to(torch.float32)  # [S, 4, S]
        sides = ahead.roll(1, dims=1) + ahead.roll(-1, dims=1)
        moved = (1 - slipperiness) * ahead + slipperiness / 2 * sides  # [B, S, 4, S]
        ends = holes | (torch.arange(cells, device=holes.device) == cells - 1)
        moved = moved * (~ends)[:, :, None, None]
        return action_values(Tables(moved[..., -1], moved), self.problem.horizon).argmax(-1)
