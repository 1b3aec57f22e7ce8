"""Pendulum oracle: is told the physical parameters, swings up by energy and holds by a linear-quadratic regulator.

What adapts: nothing. What is meta-learned: nothing.

    E = l omega^2 / 3 + g (cos theta - 1)    energy over m l / 2, 0 at rest upright
    far from upright    u = -sign(E omega) u_max       pump energy in, or out where there is too much
    near it             u = clip(-K (theta, omega), -u_max, u_max)

with K for the dynamics linearised around upright and the task's own cost. Near means that the regulator asks for at
most `reach` times the largest torque. Best known, not optimal: the swing-up ignores the cost.

Reference: Astrom and Furuta 2000, "Swinging up a pendulum by energy control".

Axes: B trials.
"""

import math
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from agents.reference.linear_quadratic import gains
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Step


class PendulumOracleConfig(Config):
    """Settings of `PendulumOracle`."""

    reach: float = Field(5.0, gt=0, description="The regulator takes over where it asks for so many largest torques.")


class Regulator(NamedTuple):
    """The controller."""

    gain: Tensor
    """[B, 2] float32."""
    gravity: Tensor
    """[B]."""
    length: Tensor
    """[B]."""


class PendulumOracle(Player[PendulumOracleConfig]):
    """Swings up, then holds."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Regulator:
        """A controller that is replaced at the first step."""
        one = torch.ones(batch, device=self.problem.device)
        return Regulator(one[:, None].repeat(1, 2), one, one)

    def act(self, carry: Regulator, step: Step) -> tuple[Action, Regulator]:
        """At a trial's start make the controller; follow it. Raises `UserError` without a descriptor."""
        regulator = carry
        if self.any_of(step.trial_start):
            descriptor = told(step.descriptor, "pendulum-oracle")
            gain = torch.where(step.trial_start[:, None], _gain(descriptor), carry.gain)
            gravity = torch.where(step.trial_start, descriptor[:, 0], carry.gravity)
            regulator = Regulator(gain, gravity, torch.where(step.trial_start, descriptor[:, 2], carry.length))
        return Action(self._torque(regulator, step.observation)), regulator

    def _torque(self, regulator: Regulator, observation: Tensor) -> Tensor:
        """[B, 1]."""
        largest = self.bounds[1]
        cosine, sine, speed = observation.unbind(1)
        held = -(regulator.gain * torch.stack([torch.atan2(sine, cosine), speed], dim=1)).sum(1)
        energy = regulator.length * speed**2 / 3 + regulator.gravity * (cosine - 1)
        onwards = torch.where(speed < 0, -1.0, 1.0)
        pumped = torch.where(energy < 0, onwards, -onwards) * largest
        near = held.abs() <= self.config.reach * largest
        return torch.where(near & (cosine > math.cos(math.pi / 3)), held, pumped).clamp(-largest, largest)[:, None]


def _gain(descriptor: Tensor) -> Tensor:
    """[B, 2] gain of the torque from the task's knobs [B, 7]."""
    gravity, mass, length, timestep = descriptor[:, :4].to(torch.float64).unbind(1)
    fall, push = 1.5 * gravity / length * timestep, 3 / (mass * length**2) * timestep
    one = torch.ones_like(gravity)
    rows = [[one + timestep * fall, timestep], [fall, one]]
    dynamics = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    control = torch.stack([timestep * push, push], dim=1)
    cost = torch.diag(torch.tensor([1.0, 0.1], dtype=torch.float64, device=descriptor.device))
    return gains(dynamics, control, cost, 0.001 * one).to(torch.float32)
