"""Cart-pole oracle: is told the physical parameters and pushes to the side its linear-quadratic regulator asks for.

What adapts: nothing. What is meta-learned: nothing.

    a_t = right if -K x_t > 0 else left

with K the gain for the dynamics linearised around the upright pole. Best known, not optimal: pushes have one size, and
far from upright the dynamics are not linear.

Reference: Anderson and Moore 1990, "Optimal Control: Linear Quadratic Methods"; dynamics: Florian 2007, "Correct
equations for the dynamics of the cart-pole system".

Axes: B trials.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference.linear_quadratic import gains
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Step

_COST = (1.0, 1.0, 10.0, 1.0)  # of position, velocity, angle, angular velocity, each squared
_EFFORT = 0.1  # of a push of the task's own size, squared


class CartPoleOracleConfig(Config):
    """`CartPoleOracle` has no settings."""


class Regulator(NamedTuple):
    """The controller."""

    gain: Tensor
    """[B, 4] float32."""


class CartPoleOracle(Player[CartPoleOracleConfig]):
    """Pushes as a regulator would, with all its force."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Regulator:
        """A controller that is replaced at the first step."""
        return Regulator(torch.zeros(batch, 4, device=self.problem.device))

    def act(self, carry: Regulator, step: Step) -> tuple[Action, Regulator]:
        """At a trial's start make the controller; follow it. Raises `UserError` without a descriptor."""
        gain = carry.gain
        if self.any_of(step.trial_start):
            made = _gain(told(step.descriptor, "cartpole-oracle"))
            gain = torch.where(step.trial_start[:, None], made, gain)
        return Action(((gain * step.observation).sum(1) < 0).to(torch.int64)), Regulator(gain)


def _gain(descriptor: Tensor) -> Tensor:
    """[B, 4] gain of a push in units of the task's force, from its knobs [B, 7]."""
    gravity, cart, pole, length, force, timestep, _ = descriptor.to(torch.float64).unbind(1)
    total = cart + pole
    inertia = length * (4 / 3 - pole / total)
    fall, tip = gravity / inertia, -force / total / inertia  # angular acceleration by angle and by push
    lever = pole * length / total
    zero, one = torch.zeros_like(gravity), torch.ones_like(gravity)
    rows = [
        [one, timestep, zero, zero],
        [zero, one, -timestep * lever * fall, zero],
        [zero, zero, one, timestep],
        [zero, zero, timestep * fall, one],
    ]
    dynamics = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    control = torch.stack([zero, timestep * (force / total - lever * tip), zero, timestep * tip], dim=1)
    cost = torch.diag(torch.tensor(_COST, dtype=torch.float64, device=descriptor.device))
    return gains(dynamics, control, cost, _EFFORT * one).to(torch.float32)
