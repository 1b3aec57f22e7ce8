"""Learning a task from scratch: a new policy for every trial, which learns between rounds of episodes side by side.

Axes: T time, B lives (one a trial), E episodes of a life side by side, P parameters, O observation.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from agents.common.encoding import StepEncoder
from agents.common.fast_policy import Activation, FastPolicy
from agents.common.inner_loop import Experience, experience, gradient_step, log_probability
from agents.common.losses import clipped_surrogate
from agents.common.side_by_side import abreast
from registry.config import Config, Width
from taskgen.interaction.agent import Action, CollectionPlan, Problem, Rollout, Step

CLIP = 0.2
"""How far PPO lets a probability ratio count (Schulman et al. 2017, section 6.1)."""


class InnerConfig(Config):
    """Settings of those who learn from scratch."""

    hidden: tuple[Width, ...] = Field((32, 32), description="Widths of the policy's hidden layers.")
    activation: Activation = Field("tanh", description="Nonlinearity of the hidden layers.")
    std: float = Field(1.0, gt=0, description="First standard deviation of actions, in half the range.")
    least_std: float = Field(0.1, ge=0, description="Standard deviation that is never undercut, in half the range.")
    trajectories: int = Field(4, ge=1, description="Episodes side by side that an update learns from.")
    steps: int = Field(2, ge=1, description="Gradient steps of an update.")
    inner_rate: float = Field(1.0, gt=0, description="Length of a gradient step, in gradients.")
    inner_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step in the advantages of PPO's surrogate.")
    trace: float = Field(0.95, ge=0, le=1, description="Their GAE lambda, over the linear baseline.")


C = TypeVar("C", bound=InnerConfig)


class FromScratch(Generic[C]):
    """What lives share. Parameters [B, P] are a row for each: its policy, then `extra` further ones, zero at first."""

    needs_descriptor = False

    def __init__(self, config: C, problem: Problem, *, extra: int = 0) -> None:
        self.config = config
        self.encoder = StepEncoder(problem.observation_space, problem.action_space)
        self.policy = FastPolicy(
            self.encoder.observation_size,
            problem.action_space,
            config.hidden,
            config.activation,
            std=config.std,
            least_std=config.least_std,
            device=problem.device,
        )
        self.generator = torch.Generator(problem.device).manual_seed(problem.seed)
        self._extra = extra

    def reseed(self, seed: int) -> None:
        """Draw first policies and actions from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """Rounds of `trajectories` episodes side by side. Raises `UserError` for a number that is no multiple."""
        return abreast(episodes, self.config.trajectories)

    def least_episodes(self) -> tuple[int, str]:
        """One round to learn from and one that is played by what was learned."""
        return 2 * self.config.trajectories, f"two rounds of agent.trajectories = {self.config.trajectories}"

    def newborn(self, lives: int) -> Float[Tensor, "B P"]:
        """Parameters of lives that begin."""
        policies = self.policy.initial_rows(self.generator, lives)
        return torch.cat([policies, policies.new_zeros(lives, self._extra)], dim=1)

    def draw(self, parameters: Float[Tensor, "B P"], step: Step, alike: int = 1) -> Action:
        """An action for every slot, from its life's policy; so many lives after one another have the same luck."""
        observation = self.encoder.observation(step.observation).unflatten(0, (len(parameters), -1))
        return Action(self.policy(self._policy_of(parameters), observation).sample(self.generator, alike).flatten(0, 1))

    def experience(self, rollout: Rollout, lives: int) -> Experience:
        """A round as PPO's surrogate reads it."""
        return experience(rollout, self.encoder, lives, discount=self.config.discount, trace=self.config.trace)

    def played(self, parameters: Float[Tensor, "B P"], data: Experience) -> Float[Tensor, "B T E"]:
        """Log-probability of what was done."""
        return log_probability(self.policy, self._policy_of(parameters), data)

    def surrogate(
        self, parameters: Float[Tensor, "B P"], data: Experience, old: Float[Tensor, "B T E"]
    ) -> Float[Tensor, "B"]:
        """PPO's loss of each life, where `old` is what `played` was when the round was."""
        loss = clipped_surrogate(self.played(parameters, data) - old, data.advantage, CLIP)
        return (loss * data.weight).sum((1, 2)) / data.weight.sum((1, 2))

    def descend(
        self, parameters: Float[Tensor, "B P"], loss: Callable[[Tensor], Tensor]
    ) -> tuple[Float[Tensor, "B P"], Bool[Tensor, "B"]]:
        """`steps` gradient steps down `loss`; which lives diverged and stay what they last were with finite numbers."""
        finite = torch.ones(len(parameters), dtype=torch.bool, device=parameters.device)
        for _ in range(self.config.steps):
            moved = gradient_step(loss, parameters, self.config.inner_rate, longest=self.config.inner_norm).detach()
            finite = finite & moved.isfinite().all(1)
            parameters = torch.where(finite[:, None], moved, parameters)
        return parameters, ~finite

    def _policy_of(self, parameters: Float[Tensor, "B P"]) -> Float[Tensor, "B p"]:
        return parameters[:, : self.policy.size]
