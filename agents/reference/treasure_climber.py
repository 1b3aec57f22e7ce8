"""Treasure climber: climbs the mountain of `mountain-treasure` first, sees the treasure, goes there and stays.

What adapts: where the treasure is, once it was seen. What is meta-learned: nothing.

    a_t = d / max(1, |d|_inf),  d = (w - x_t) / speed

with w the top, and from the first sight of the treasure on the treasure. The knowledge lasts for the trial: a second
episode goes to the treasure at once.

Reference: Zintgraf et al. 2021, "Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning",
section 5.1: the strategy that their agent finds.

Differences from the paper: none known. Straight ways score 735.6 at the defaults. `way = "fastest"` lets each
coordinate go as fast as it can, which scores more, 736.8.

Axes: B trials.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from agents.reference.player import Player
from agents.reference.steering import nearest, straight
from registry.config import Config
from taskgen.interaction.agent import Action, Step


class TreasureClimberConfig(Config):
    """Settings of `TreasureClimber`."""

    way: Literal["straight", "fastest"] = Field(
        "straight", description="Go in straight lines, or let each coordinate go as fast as it can, which scores more."
    )


class Sight(NamedTuple):
    """Where to go."""

    target: Tensor
    """[B, 2] the treasure where it was seen, else the top, which is the origin."""


class TreasureClimber(Player[TreasureClimberConfig]):
    """Looks first."""

    def begin_trial(self, batch: int) -> Sight:
        """Nothing seen yet."""
        return Sight(torch.zeros(batch, 2, device=self.problem.device))

    def act(self, carry: Sight, step: Step) -> tuple[Action, Sight]:
        """Look and move."""
        position, shown = step.observation.split(2, dim=1)
        target = torch.where(step.trial_start[:, None], 0.0, carry.target)
        target = torch.where((shown != 0).any(1, keepdim=True), shown, target)
        speed = self.problem.structure["speed"]
        if self.config.way == "fastest":
            return Action(nearest(target, position, speed, self.bounds)), Sight(target)
        return Action(straight(target, position, speed)), Sight(target)
