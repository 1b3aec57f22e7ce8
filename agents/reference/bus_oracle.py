"""Bus oracle: is told where the buses go and takes a shortest way to the goal. No player can score more.

What adapts: nothing. What is meta-learned: nothing.

    return of an episode = 1 - 0.1 (d - 1),  d the fewest actions to the goal

which is 0.8 for every task and goal: a step to the right bus, the ride, a step to the corner. Without buses, on foot,
it is 0.3.

Reference: the optimum in Liu et al. 2021, "Decoupling Exploration and Exploitation for Meta-Reinforcement Learning
without Sacrifices", section 6.

Axes: B trials, G goals, C cells.
"""

import torch
from torch import Tensor

from agents.reference import city
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Step


class BusOracleConfig(Config):
    """`BusOracle` has no settings."""


class BusOracle(Player[BusOracleConfig]):
    """Takes a shortest way."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Tensor:
        """What to do on the way to each goal [B, G, C], which is replaced at the first step."""
        return torch.zeros(batch, len(city.GOALS), city.SIZE**2, dtype=torch.int64, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """At a trial's start find the shortest ways; go on. Raises `UserError` without a descriptor."""
        if self.any_of(step.trial_start):
            orders = told(step.descriptor, "bus-oracle").unflatten(1, (-1, 4)).argmax(2)
            found = city.ways(city.streets_and_buses(orders))
            carry = torch.where(step.trial_start[:, None, None], found, carry)
        sight = city.see(step.observation)
        row = torch.arange(len(carry), device=carry.device)
        return Action(carry[row, sight.goal, sight.cell]), carry
