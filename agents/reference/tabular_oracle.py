"""Tabular oracle: is told the task's tables and acts optimally. No player can score more on average.

What adapts: nothing. What is meta-learned: nothing.

    a_h = argmax_a Q_h(s_h, a),  Q by value iteration in the true MDP

Reference: the upper bound of Duan et al. 2016, "RL^2", section 3.2; value iteration: Bellman 1957, "Dynamic
programming".

Differences from the paper: the bound that the literature normalises by, about 208 at 10 episodes, is 5 % lower than
this player's 218.5.

Axes: B trials, S states, A actions, H horizon.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference.player import Player
from agents.reference.tables import Tables, action_values, planned_action, table_sizes
from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Step


class TabularOracleConfig(Config):
    """`TabularOracle` has no settings."""


class Plan(NamedTuple):
    """The optimal policy and the time."""

    policy: Tensor
    """[B, H, S] int64."""
    time: Tensor
    """[B] int64 steps made in this episode."""


class TabularOracle(Player[TabularOracleConfig]):
    """Acts optimally in the true MDP."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Plan:
        """A plan that is replaced at the first step."""
        states, _ = table_sizes(self.problem)
        time = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        return Plan(time[:, None, None].repeat(1, self.problem.horizon, states), time)

    def act(self, carry: Plan, step: Step) -> tuple[Action, Plan]:
        """At a trial's start plan from the descriptor; follow the plan. Raises `UserError` without a descriptor."""
        policy, time = carry.policy, torch.where(step.episode_start, 0, carry.time + 1)
        if self.any_of(step.trial_start):
            policy = torch.where(step.trial_start[:, None, None], self._policy(step.descriptor), policy)
        return Action(planned_action(policy, time, step.observation.argmax(-1))), Plan(policy, time)

    def _policy(self, descriptor: Tensor | None) -> Tensor:
        if descriptor is None:
            raise UserError("tabular-oracle needs the task's descriptor: collect with a batch that gives one")
        states, actions = table_sizes(self.problem)
        rewards, transitions = descriptor.split([states * actions, states * actions * states], dim=1)
        tables = Tables(rewards.view(-1, states, actions), transitions.reshape(-1, states, actions, states))
        return action_values(tables, self.problem.horizon).argmax(-1)
