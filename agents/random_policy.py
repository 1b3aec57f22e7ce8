"""Actions drawn uniformly from the action space: the floor every learner is measured against.

*What adapts*: nothing.  *What is meta-learned*: nothing.
"""

import gymnasium as gym
import torch

from agents.reference.player import Player
from registry.config import Config
from taskgen.interaction.agent import Action, Carry, Problem, Step


class RandomPolicy(Player):
    """Uniform over a discrete space, or over a box with finite bounds."""

    def __init__(self, config: Config, problem: Problem) -> None:
        super().__init__(config, problem)
        self._space = problem.action_space

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """One uniform action per trial."""
        batch, device = len(step.previous_reward), step.previous_reward.device
        space = self._space
        if isinstance(space, gym.spaces.Discrete):
            return Action(torch.randint(int(space.n), (batch,), generator=self.generator, device=device)), carry
        assert isinstance(space, gym.spaces.Box)
        low, high = self.bounds
        share = torch.rand((batch, *space.shape), generator=self.generator, device=device)
        return Action(low + share * (high - low)), carry
