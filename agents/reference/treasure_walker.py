"""Treasure walker: walks round the circle of `mountain-treasure` until it finds the treasure, and stays.

What adapts: whether the treasure was found, and where. What is meta-learned: nothing.

    a_t = clip((w_t - x_t) / speed, -1, 1),  w_t on the unit circle a diagonal step ahead of x_t

and from the first reward above 0 on w_t is the place where it was. The knowledge lasts for the trial: a second episode
goes there at once.

Reference: Zintgraf et al. 2021, "Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning",
section 5.1: the local optimum that agents without exploration bonus settle in.

Differences from the paper: none known. A walk a little inside the circle is shorter and scores some 2 % more.

Axes: B trials.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference.player import Player
from agents.reference.steering import nearest
from registry.config import Config
from taskgen.interaction.agent import Action, Step


class TreasureWalkerConfig(Config):
    """`TreasureWalker` has no settings."""


class Find(NamedTuple):
    """What was found."""

    place: Tensor
    """[B, 2] the position at the first reward above 0."""
    found: Tensor
    """[B] bool."""


class TreasureWalker(Player[TreasureWalkerConfig]):
    """Walks until it stands on the treasure."""

    def begin_trial(self, batch: int) -> Find:
        """Nothing found yet."""
        device = self.problem.device
        return Find(torch.zeros(batch, 2, device=device), torch.zeros(batch, dtype=torch.bool, device=device))

    def act(self, carry: Find, step: Step) -> tuple[Action, Find]:
        """Walk on, or go to the place that was found and stay there."""
        position, speed = step.observation[:, :2], self.problem.structure["speed"]
        before = carry.found & ~step.trial_start
        here = ~before & ~step.episode_start & (step.previous_reward > 0)
        place = torch.where(here[:, None], position, carry.place)
        found = before | here
        ahead = torch.atan2(position[:, 1], position[:, 0]) + math.sqrt(2.0) * speed
        target = torch.where(found[:, None], place, torch.stack([ahead.cos(), ahead.sin()], dim=1))
        return Action(nearest(target, position, speed, self.bounds)), Find(place, found)
