"""Certainty equivalence: estimates the plant by least squares and controls it as if the estimate were true.

What adapts: the estimate of A and B, over all steps of the trial. What is meta-learned: nothing.

    (A^, B^) = argmin sum |x' - A x - B u|^2 + ridge (|A|^2 + |B|^2)
    u_t = -K_t(A^, B^) x_t + dither n^(-1/4) N(0, I)

after n steps of the trial, with K_t the finite-horizon gain of the estimate, planned anew at every step. Without the
noise, whose variance falls as in the reference, a fixed gain makes u a function of x and nothing more is learned of B.
The state must be seen. What control costs is the setting `effort`, which is to be the knob's where tasks have another;
of the task it is told nothing.

Reference: Simchowitz and Foster 2020, "Naive exploration is optimal for online LQR", algorithm 1; Mania, Tu and Recht
2019, "Certainty equivalence is efficient for linear quadratic control".

Differences from the paper: plans at every step, not in epochs that double; no safe controller to begin with, but
controls within the family's bounds; episodes begin anew.

Axes: B trials, N states, M controls, D = N + M.
"""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from agents.reference.linear_quadratic import finite_gains
from agents.reference.player import Player
from registry.config import Config
from registry.errors import UserError
from taskgen.interaction.agent import Action, Problem, Step


class CertaintyEquivalentConfig(Config):
    """Settings of `CertaintyEquivalent`."""

    effort: float = Field(1.0, gt=0, description="What it takes the cost of the squared control to be.")
    ridge: float = Field(
        0.04, gt=0, description="Weight of the penalty: variance of the noise over that of the entries of A and B."
    )
    dither: float = Field(0.1, ge=0, description="Standard deviation of the noise that is added to the first control.")
    lookahead: int = Field(50, ge=1, le=10_000, description="Steps that a plan looks ahead at most.")


class _Moments(NamedTuple):
    inputs: Tensor
    """[B, D, D] float64 sum of z z^T with z = (x, u), and the ridge."""
    outcomes: Tensor
    """[B, D, N] float64 sum of z x'^T."""
    state: Tensor
    """[B, N] float64 the state before this."""
    time: Tensor
    """[B] int64 steps made in this episode."""
    steps: Tensor
    """[B] int64 steps made in this trial."""


class CertaintyEquivalent(Player[CertaintyEquivalentConfig]):
    """Learns the plant while it controls it. Raises `UserError` where the state is hidden."""

    def __init__(self, config: CertaintyEquivalentConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._states, self._controls = int(problem.structure["states"]), int(problem.structure["controls"])
        if problem.structure["outputs"]:
            raise UserError(
                f"{problem.family} with outputs = {problem.structure['outputs']} hides the state, from which "
                "certainty-equivalent learns. Set outputs = 0, or take lqr-oracle."
            )

    def begin_trial(self, batch: int) -> _Moments:
        """Nothing was seen."""
        size, device = self._states + self._controls, self.problem.device
        inputs = self.config.ridge * torch.eye(size, dtype=torch.float64, device=device)
        outcomes = torch.zeros(batch, size, self._states, dtype=torch.float64, device=device)
        time = torch.zeros(batch, dtype=torch.int64, device=device)
        return _Moments(inputs.repeat(batch, 1, 1), outcomes, outcomes[:, 0], time, time)

    def act(self, carry: _Moments, step: Step) -> tuple[Action, _Moments]:
        """Learn from the last step, plan, push."""
        state = step.observation.to(torch.float64)
        nothing = self.begin_trial(len(state))
        before = torch.cat([carry.state, step.previous_action.to(torch.float64)], dim=1)
        moved = (~step.episode_start)[:, None, None] * before[:, :, None]
        anew = step.trial_start[:, None, None]
        seen = _Moments(
            inputs=torch.where(anew, nothing.inputs, carry.inputs + moved * before[:, None]),
            outcomes=torch.where(anew, nothing.outcomes, carry.outcomes + moved * state[:, None]),
            state=state,
            time=torch.where(step.episode_start, 0, carry.time + 1),
            steps=torch.where(step.trial_start, 0, carry.steps + 1),
        )
        low, high = self.bounds
        luck = torch.randn(len(state), self._controls, generator=self.generator, device=state.device)
        luck = self.config.dither * (1 + seen.steps[:, None]) ** -0.25 * luck
        return Action((luck - self._push(seen)).clamp(low, high)), seen

    def _push(self, seen: _Moments) -> Tensor:
        """[B, M] float32 K x of the estimated plant."""
        estimate = torch.linalg.solve_ex(seen.inputs, seen.outcomes).result.mT
        dynamics, control = estimate.split([self._states, self._controls], dim=2)
        cost = torch.eye(self._states, dtype=torch.float64, device=seen.state.device)
        horizon = self.problem.horizon
        ahead = min(horizon, self.config.lookahead)
        effort = torch.full_like(seen.state[:, 0], self.config.effort)
        gains = finite_gains(dynamics, control, cost, effort, ahead)
        row = torch.arange(len(seen.time), device=seen.time.device)
        now = gains[row, (horizon - 1 - seen.time).clamp(0, ahead - 1)]
        return (now @ seen.state[..., None])[..., 0].to(torch.float32)
