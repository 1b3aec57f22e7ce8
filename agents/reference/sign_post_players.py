"""Players of `sign-post`: told where the goal is, reading the sign first, or guessing.

What adapts: which paths may lead to the goal. What is meta-learned: nothing.

With d the distance, in cells, an episode earns

    oracle    1 - 0.1 (d - 1), no player more
    reader    0.2 less in the first episode of a trial, then the same
    sampler   the same when its guess is right, else -0.1 (3 d + 4)

The reader is Bayes-optimal where d is 2 or more: to be told without the sign takes d steps and, with a chance of half
or more, d back. The sampler draws a path before every episode from those that may lead to the goal (posterior sampling,
Thompson 1933), walks to its end and, where it was wrong, knows one path less. Of n paths it is wrong (n - 1) / 2 times
on average where the trial is long enough, and loses so many times 1.5 + 0.2 d: without bound in d.

Reference: Strens 2000, "A Bayesian framework for reinforcement learning"; Zintgraf et al. 2020, "VariBAD", figure 1.

Axes: B trials, A paths.
"""

import torch
from torch import Tensor

from agents.reference.player import Player
from agents.reference.steering import told
from registry.config import Config
from taskgen.interaction.agent import Action, Carry, Problem, Step


class SignPostOracleConfig(Config):
    """`SignPostOracle` has no settings."""


class SignPostReaderConfig(Config):
    """`SignPostReader` has no settings."""


class SignPostSamplerConfig(Config):
    """`SignPostSampler` has no settings."""


class SignPostOracle(Player[SignPostOracleConfig]):
    """Walks straight to the goal."""

    needs_descriptor = True

    def begin_trial(self, batch: int) -> Carry:
        """No state."""
        return ()

    def act(self, carry: Carry, step: Step) -> tuple[Action, Carry]:
        """The goal's path. Raises `UserError` without a descriptor."""
        arms = self.problem.structure["arms"]
        return Action(told(step.descriptor, "sign-post-oracle")[:, :arms].argmax(1)), carry


class SignPostReader(Player[SignPostReaderConfig]):
    """Reads the sign, then walks straight to the goal."""

    def begin_trial(self, batch: int) -> Tensor:
        """[B, A] where the goal is, one-hot; zeros before that is known."""
        return torch.zeros(batch, self.problem.structure["arms"], device=self.problem.device)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """Towards the sign, or the goal."""
        arms = self.problem.structure["arms"]
        carry = torch.maximum(carry * ~step.trial_start[:, None], step.observation[:, arms + 2 :])
        return Action(torch.where(carry.any(1), carry.argmax(1), arms)), carry


class SignPostSampler(Player[SignPostSamplerConfig]):
    """Walks to the end of a path drawn before every episode, and never to the sign."""

    def __init__(self, config: SignPostSamplerConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._arms: int = problem.structure["arms"]

    def begin_trial(self, batch: int) -> tuple[Tensor, Tensor]:
        """[B, A] float, 1 where the goal may be, and [B] the path drawn."""
        possible = torch.ones(batch, self._arms, device=self.problem.device)
        return possible, torch.zeros(batch, dtype=torch.int64, device=self.problem.device)

    def act(self, carry: tuple[Tensor, Tensor], step: Step) -> tuple[Action, tuple[Tensor, Tensor]]:
        """The path drawn. Where an episode begins, the last one's guess was right, or is none any more."""
        possible, guess = carry
        ended = step.episode_start & ~step.trial_start
        arrived = step.previous_reward > 0
        mine = torch.nn.functional.one_hot(guess, self._arms).to(possible.dtype)
        after = torch.where(arrived[:, None], mine, possible * (1 - mine))
        possible = torch.where(ended[:, None], after, possible)
        possible = torch.where(step.trial_start[:, None], 1.0, possible)
        luck = torch.rand(possible.shape, generator=self.generator, device=possible.device)
        guess = torch.where(step.episode_start, torch.where(possible > 0, luck, -1.0).argmax(1), guess)
        return Action(guess), (possible, guess)
