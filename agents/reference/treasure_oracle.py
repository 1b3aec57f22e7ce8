"""Treasure oracle: is told where the treasure of `mountain-treasure` lies, goes there as fast as it can, and stays.

What adapts: nothing. What is meta-learned: nothing.

    a_t = clip((w_t - x_t) / speed, -1, 1)  in each coordinate

with w_t the treasure. Where that walk would cross the mountain, on the way to a treasure right behind it, the way up
takes all the time there is and the way sideways is free: w_t keeps to the mountain's side until it is passed.

Reference: Zintgraf et al. 2021, "Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning",
section 5.1.

Differences from the paper: none known.

Axes: B trials.
"""

import torch

from agents.reference.player import Player
from agents.reference.steering import nearest, told
from registry.config import Config
from taskgen.interaction.agent import Action, Carry, Step


class TreasureOracleConfig(Config):
    """`TreasureOracle` has no settings."""


class TreasureOracle(Player[TreasureOracleConfig]):
    """Goes to the treasure, round the mountain."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """The move to the treasure or past the mountain's side. Raises `UserError` without a descriptor."""
        speed, radius = self.problem.structure["speed"], self.problem.structure["mountain_radius"]
        goal, position = told(step.descriptor, "treasure-oracle")[:, :2], step.observation[:, :2]
        across, up = goal.unbind(1)
        behind = (up > 0) & (across.abs() < radius)
        # From 0.8 of the radius up, a diagonal back to the middle no longer touches the mountain.
        below = position[:, 1] < 0.8 * radius - 0.5 * speed
        side = torch.where(across < 0, -radius, radius)
        target = torch.stack([torch.where(behind & below, side, across), up], dim=1)
        return Action(nearest(target, position, speed, self.bounds)), carry
