"""Players of `sign-plane`: told where the goal is, reading the sign first, or guessing.

What adapts: the goal's place, or where it may be. What is meta-learned: nothing.

    a_t = clip(w_t - x_t, -1, 1)  in each coordinate,  w_t the goal, before it is known the sign, or the guess

Each coordinate goes by itself as fast as it can, so no walk is at the goal sooner. The sign is read after the first
step, from (0, -1), the only place where that is possible so soon.

The sampler knows how far the goal is and that all directions are alike. It draws a goal before every episode from those
that nothing seen so far rules out (posterior sampling), and goes there until the episode ends. With d the distance and
n the oracle's steps, an episode earns it 1 - 0.1 (n - 1) or so where the goal is met, else -0.1 (3 d + 8): a wrong
guess loses 2 + 0.2 d or more. The first one is right once in pi d times, about. In passing it may read the sign: who
guesses a goal within 1 of straight down does, and knows from the next episode on.

Reference: Zintgraf et al. 2020, "VariBAD", section 2.2 and figure 1; Strens 2000, "A Bayesian framework for
reinforcement learning".

Axes: B trials, M directions.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from agents.reference.player import Player
from agents.reference.steering import nearest, told
from registry.config import Config
from taskgen.interaction.agent import Action, Carry, Problem, Step

SIGN = (0.0, -2.0)
NEAR = 1.0
"""Up to this distance the goal is reached."""
DIRECTIONS = 512
"""That the sampler draws for a trial. Evenly at first: one of those left is a draw from the posterior, exactly."""
_ROUNDING = 1e-4


class SignPlaneOracleConfig(Config):
    """`SignPlaneOracle` has no settings."""


class SignPlaneReaderConfig(Config):
    """`SignPlaneReader` has no settings."""


class SignPlaneSamplerConfig(Config):
    """`SignPlaneSampler` has no settings."""


class SignPlaneOracle(Player[SignPlaneOracleConfig]):
    """Goes to the goal."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """The move that ends nearest to the goal. Raises `UserError` without a descriptor."""
        goal = told(step.descriptor, "sign-plane-oracle") * self.problem.structure["farthest"]
        return Action(nearest(goal, step.observation[:, :2], 1.0, self.bounds)), carry


class SignPlaneReader(Player[SignPlaneReaderConfig]):
    """Reads the sign, then goes where it says, in all episodes that are left."""

    def __init__(self, config: SignPlaneReaderConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._sign = torch.tensor(SIGN, device=problem.device)

    def begin_trial(self, batch: int) -> Tensor:
        """[B, 2] the goal's place over `farthest`; zeros before that is known."""
        return torch.zeros(batch, 2, device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Towards the sign, or the place that it told."""
        position, shown = step.observation[:, :2], step.observation[:, 2:]
        carry = torch.where(shown.any(1, keepdim=True), shown, carry * ~step.trial_start[:, None])
        goal = torch.where(carry.any(1, keepdim=True), carry * self.problem.structure["farthest"], self._sign)
        return Action(nearest(goal, position, 1.0, self.bounds)), carry


class _Guess(NamedTuple):
    """The carry of `SignPlaneSampler`."""

    angles: Tensor
    """[B, M] drawn before the trial."""
    possible: Tensor
    """[B, M] bool, those where the goal may be."""
    shown: Tensor
    """[B, 2] what the sign said, zeros before it was seen."""
    goal: Tensor
    """[B, 2] where this episode goes."""
    reached: Tensor
    """[B, 2] where the last move has led."""


class SignPlaneSampler(Player[SignPlaneSamplerConfig]):
    """Goes to a place drawn before every episode from those where the goal may be, and never to the sign on purpose."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> _Guess:
        """The goal may be anywhere."""
        luck = torch.rand(batch, DIRECTIONS, generator=self.generator, device=self.problem.device)
        nowhere = torch.zeros(batch, 2, device=self.problem.device)
        return _Guess(2 * math.pi * luck, torch.ones_like(luck, dtype=torch.bool), nowhere, nowhere, nowhere)

    def act(self, carry: _Guess, step: Step) -> tuple[Action, _Guess]:
        """Towards the guess. Raises `UserError` without a descriptor, of which it reads the distance alone."""
        farthest = self.problem.structure["farthest"]
        position, sign = step.observation[:, :2], step.observation[:, 2:]
        distance = told(step.descriptor, "sign-plane-sampler").norm(dim=1) * farthest
        places = distance[:, None, None] * torch.stack([carry.angles.cos(), carry.angles.sin()], dim=-1)
        near = (places - carry.reached[:, None]).norm(dim=-1) <= NEAR + _ROUNDING
        agree = carry.possible & (near == (step.previous_reward > 0)[:, None])
        # Where the last direction would go, too little of the circle is left for those that were drawn.
        possible = torch.where(agree.any(1, keepdim=True), agree, carry.possible) | step.trial_start[:, None]
        shown = torch.where(sign.any(1, keepdim=True), sign, carry.shown * ~step.trial_start[:, None])

        luck = torch.rand(possible.shape, generator=self.generator, device=possible.device)
        chosen = torch.where(possible, luck, -1.0).argmax(1)[:, None, None].expand(-1, 1, 2)
        drawn = torch.where(shown.any(1, keepdim=True), shown * farthest, places.gather(1, chosen)[:, 0])
        goal = torch.where(step.episode_start[:, None], drawn, carry.goal)
        move = nearest(goal, position, 1.0, self.bounds)
        return Action(move), _Guess(carry.angles, possible, shown, goal, position + move)
