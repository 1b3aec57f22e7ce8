"""Bipedal heuristic: the walker that Gymnasium ships with BipedalWalker, which knows no obstacles and does not balance.

What adapts: nothing. What is meta-learned: nothing.

One leg stands and its knee straightens while the other swings forwards (`_SWING`). Once the standing leg is behind, the
other reaches down (`_REACH`); when that touches the ground, the one behind pushes off (`_PUSH`) until it is straight or
the hull is fast, and the legs change parts. Joints follow their targets by proportional and derivative control, hips
besides keep the hull upright, knees damp it:

    hip_i  = 0.9 (target - angle) - 0.25 speed + 0.9 tilt + 1.5 d tilt
    knee_i = 4.0 (target - angle) - 0.25 speed - 15 dz

halved and cut to [-1, 1]; of a joint without a target the first two terms are 0.

Reference: `BipedalWalkerHeuristics` of gymnasium.envs.box2d.bipedal_walker (Brockman et al. 2016, "OpenAI Gym").
Difference: it acts from the first observation on, where Gymnasium's own loop rests for a step.

Axes: B trials, 2 legs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference.player import Player
from registry.config import Config
from taskgen.interaction.agent import Action, Step

_SWING, _REACH, _PUSH = 0, 1, 2
_FAST = 0.29
"""Horizontal speed, as observed, above which it would fall forwards."""
_BENT = 0.1
"""Target of the knee of a leg that stands."""


class BipedalHeuristicConfig(Config):
    """`BipedalHeuristic` has no settings."""


class Gait(NamedTuple):
    """What the legs are about."""

    phase: Tensor
    """[B] int64."""
    moving: Tensor
    """[B] int64, which leg swings."""
    knee: Tensor
    """[B] float32, target of the other's knee."""


class BipedalHeuristic(Player[BipedalHeuristicConfig]):
    """Puts one foot before the other."""

    def begin_trial(self, batch: int) -> Gait:
        """The first leg is about to swing."""
        whole = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        return Gait(whole, whole, torch.full((batch,), _BENT, device=self.problem.device))

    def act(self, carry: Gait, step: Step) -> tuple[Action, Gait]:
        """See the module."""
        begins, seen = step.episode_start, step.observation
        phase, moving = (torch.where(begins, 0, part) for part in carry[:2])
        knee = torch.where(begins, _BENT, carry.knee)
        legs, speed = seen[:, 4:14].view(-1, 2, 5), seen[:, 2]  # of each hip and its speed, knee and its speed, contact
        row = torch.arange(len(seen), device=seen.device)
        swings, stands = legs[row, moving], legs[row, 1 - moving]

        swing = phase == _SWING
        straighter = (knee + torch.where(speed > _FAST, 0.06, 0.03)).clamp(max=_BENT)
        knee = torch.where(swing, straighter, knee)
        reach = (phase == _REACH) | (swing & (stands[:, 0] < 0.1))
        landed = reach & (swings[:, 4] > 0)
        knee = torch.where(landed, swings[:, 2].clamp(max=_BENT), knee)
        push = landed | (phase == _PUSH)
        over = push & ((stands[:, 2] > 0.88) | (speed > 1.2 * _FAST))

        hips = torch.full_like(legs[:, :, 0], torch.nan)
        bends = hips.clone()
        hips[row, moving] = torch.where(reach, 0.1, torch.where(swing, 1.1, torch.nan))
        bends[row, moving] = torch.where(push, knee, torch.where(reach, _BENT, -0.6))
        bends[row, 1 - moving] = torch.where(push, 1.0, knee)
        hip = 0.9 * (hips - legs[:, :, 0]) - 0.25 * legs[:, :, 1]
        bend = 4.0 * (bends - legs[:, :, 2]) - 0.25 * legs[:, :, 3]
        hip = hip.nan_to_num(0.0) + (0.9 * seen[:, :1] + 1.5 * seen[:, 1:2])
        action = torch.stack([hip, bend - 15.0 * seen[:, 3:4]], dim=2).flatten(1)

        phase = torch.where(over, _SWING, torch.where(push, _PUSH, torch.where(reach, _REACH, phase)))
        return Action((0.5 * action).clamp(-1.0, 1.0)), Gait(phase, torch.where(over, 1 - moving, moving), knee)
