"""Players of `sign-plane`: told where the goal is, or reading the sign first.

What adapts: the goal's place. What is meta-learned: nothing.

    a_t = clip(w_t - x_t, -1, 1)  in each coordinate,  w_t the goal, before it is known the sign

Each coordinate goes by itself as fast as it can, so no walk is at the goal sooner. The sign is read after the first
step, from (0, -1), the only place where that is possible so soon.

Reference: Zintgraf et al. 2020, "VariBAD", section 2.2 and figure 1.

Axes: B trials.
"""

import torch
from torch import Tensor

from agents.reference.player import Player
from agents.reference.steering import nearest, told
from registry.config import Config
from taskgen.interaction.agent import Action, Carry, Problem, Step

SIGN = (0.0, -2.0)


class SignPlaneOracleConfig(Config):
    """`SignPlaneOracle` has no settings."""


class SignPlaneReaderConfig(Config):
    """`SignPlaneReader` has no settings."""


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
