"""LQR oracle: is told the plant, controls it by Riccati's gains and, where the state is hidden, filters it by Kalman's.

What adapts: the estimate of the state within an episode. What is meta-learned: nothing.

    x^_t = p_t + L_t (y_t - C p_t),  p_t = A x^_{t-1} + B u_{t-1},  p_0 = 0;   u_t = -K_t x^_t

with K_t by the Riccati recursion from the end of the horizon and L_t by the filter's from its start. No player scores
more on average where u_t stays within the family's bounds, to which it is clipped: the separation of estimation and
control holds for any that is told the plant. Where the state is seen, x^_t = y_t.

Reference: Anderson and Moore 1990, "Optimal Control: Linear Quadratic Methods", chapters 2 and 8.

Axes: B trials, H horizon, N states, M controls, P outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference.linear_quadratic import filter_gains, finite_gains
from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Problem, Step


class LQROracleConfig(Config):
    """`LQROracle` has no settings."""


class _Plan(NamedTuple):
    dynamics: Tensor
    """[B, N, N] float64, as are all."""
    control: Tensor
    """[B, N, M]."""
    sensor: Tensor
    """[B, P, N]; the identity where the state is seen."""
    gains: Tensor
    """[B, H, M, N] by time."""
    corrections: Tensor
    """[B, H, N, P] by time; the identity where the state is seen."""


class _Control(NamedTuple):
    plan: _Plan
    estimate: Tensor
    """[B, N] float64."""
    time: Tensor
    """[B] int64 steps made in this episode."""


class LQROracle(Player[LQROracleConfig]):
    """Estimates the state and pushes it to zero at the least cost."""

    needs_descriptor = True

    def __init__(self, config: LQROracleConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._states, self._controls, self._outputs = (
            int(problem.structure[name]) for name in ("states", "controls", "outputs")
        )

    def begin_trial(self, batch: int) -> _Control:
        """A plan that is replaced at the first step."""
        states, controls, outputs = self._states, self._controls, self._outputs or self._states
        horizon = self.problem.horizon
        shapes = (
            *((states, states), (states, controls), (outputs, states)),
            *((horizon, controls, states), (horizon, states, outputs)),
        )
        zeros = {"dtype": torch.float64, "device": self.problem.device}
        plan = _Plan(*(torch.zeros(batch, *shape, **zeros) for shape in shapes))
        time = torch.zeros(batch, dtype=torch.int64, device=self.problem.device)
        return _Control(plan, torch.zeros(batch, states, **zeros), time)

    def act(self, carry: _Control, step: Step) -> tuple[Action, _Control]:
        """At a trial's start plan; correct the estimate, push. Raises `UserError` without a descriptor."""
        plan = carry.plan
        if self.any_of(step.trial_start):
            made = self._plan(told(step.descriptor, "lqr-oracle").to(torch.float64))
            plan = _Plan(*(_chosen(step.trial_start, *pair) for pair in zip(made, plan, strict=True)))
        time = torch.where(step.episode_start, 0, carry.time + 1)
        now = (torch.arange(len(time), device=time.device), time.clamp(max=self.problem.horizon - 1))
        pushed = _times(plan.dynamics, carry.estimate) + _times(plan.control, step.previous_action.to(torch.float64))
        expected = _chosen(step.episode_start, torch.zeros_like(pushed), pushed)
        surprise = step.observation.to(torch.float64) - _times(plan.sensor, expected)
        estimate = expected + _times(plan.corrections[now], surprise)
        low, high = self.bounds
        wanted = -_times(plan.gains[now], estimate)
        return Action(wanted.to(torch.float32).clamp(low, high)), _Control(plan, estimate, time)

    def _plan(self, descriptor: Tensor) -> _Plan:
        """From A, B, process noise, effort, start, C and sensor noise, side by side [B, D]."""
        states, controls, outputs, horizon = self._states, self._controls, self._outputs, self.problem.horizon
        sizes = [states**2, states * controls, 1, 1, 1, outputs * states]
        first, second, process, effort, start, third = descriptor[:, : sum(sizes)].split(sizes, dim=1)
        dynamics, control = first.view(-1, states, states), second.view(-1, states, controls)
        if outputs:
            sensor = third.view(-1, outputs, states)
            noise = (process[:, 0], descriptor[:, sum(sizes)])
            corrections = filter_gains(dynamics, sensor, noise, start[:, 0], horizon)
        else:
            sensor = torch.eye(states, dtype=descriptor.dtype, device=descriptor.device).expand_as(dynamics)
            corrections = sensor[:, None].expand(-1, horizon, -1, -1)
        gains = finite_gains(dynamics, control, sensor.mT @ sensor, effort[:, 0], horizon)
        return _Plan(dynamics, control, sensor, gains.flip(1), corrections)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """[B, rows] of `matrix` [B, rows, columns] and `vector` [B, columns]."""
    return (matrix @ vector[..., None])[..., 0]


def _chosen(where: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` in the rows `where` [B], `old` in the others, each [B, ...]."""
    return torch.where(where.view(-1, *(1,) * (new.ndim - 1)), new, old)
