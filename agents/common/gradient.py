"""`GradientAgent`: what MAML, ProMP and RL Reptile share. A task's policy is its own by a few steps of policy gradient.

A trial is played in rounds of E episodes side by side; after each round, one inner step on what was just played. What
is meta-learned is where the policy starts; a subclass says how.

Axes: T time, B tasks, E episodes of a task side by side, P parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from agents.common.encoding import StepEncoder
from agents.common.fast_policy import Activation, FastDistribution, FastPolicy
from agents.common.inner_loop import Experience, experience, gradient_step, policy_gradient_loss
from agents.common.side_by_side import abreast
from registry.config import Config, Width
from taskgen.interaction.agent import Action, CollectionPlan, Metrics, Problem, Rollout, Step, Trial


class GradientConfig(Config):
    """Settings of the inner loop."""

    hidden: tuple[Width, ...] = Field((64, 64), description="Widths of the policy's hidden layers.")
    activation: Activation = Field("tanh", description="Nonlinearity of the hidden layers.")
    std: float = Field(1.0, gt=0, description="First standard deviation of actions, in half the range.")
    least_std: float = Field(0.2, ge=0, description="Standard deviation that is never undercut, in half the range.")
    trajectories: int = Field(20, ge=1, description="Episodes side by side for one inner step.")
    inner_rate: float = Field(0.1, gt=0, description="Length of the first inner step.")
    later_rate: float = Field(0.05, gt=0, description="Length of the inner steps after the first.")
    inner_norm: float = Field(10.0, gt=0, description="Inner gradients are scaled down to this norm.")
    discount: float = Field(0.99, ge=0, le=1, description="Discount per step of an episode.")
    trace: float = Field(1.0, ge=0, le=1, description="GAE's lambda over the linear baseline.")


class Fast(NamedTuple):
    """Carry: each task's own policy."""

    parameters: Tensor
    """[B, P]."""
    steps: Tensor
    """[B, 1] int64 inner steps made."""


C = TypeVar("C", bound=GradientConfig)
T = TypeVar("T")


def counted(by_round: Iterable[T]) -> list[T]:
    """What belongs to rounds after an inner step, which meta-objectives count; to the only round if there is one."""
    every = list(by_round)
    return every[min(1, len(every) - 1) :]


class GradientAgent(ABC, Generic[C]):
    """Base of agents that adapt by policy gradient: `parameters` [P] is where every task starts."""

    needs_descriptor = False
    initial_settings: frozenset[str] = frozenset({"std"})

    def __init__(self, config: C, problem: Problem) -> None:
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
        self.parameters = self.policy.initial(self.generator)

    def reseed(self, seed: int) -> None:
        """Draw actions from the stream of `seed` from now on."""
        self.generator.manual_seed(seed)

    def plan(self, episodes: int) -> CollectionPlan:
        """Rounds of `trajectories` episodes side by side; fewer episodes than that are one round.

        Raises `UserError` for a number of episodes that is no multiple.
        """
        return abreast(episodes, self.config.trajectories)

    def least_episodes(self) -> tuple[int, str]:
        """One round to learn from and one that is played adapted."""
        return 2 * self.config.trajectories, f"two rounds of agent.trajectories = {self.config.trajectories}"

    def begin_trial(self, batch: int) -> Fast:
        """Every task starts from the meta-parameters."""
        steps = torch.zeros(batch, 1, dtype=torch.int64, device=self.parameters.device)
        return Fast(self.parameters.expand(batch, -1), steps)

    def act(self, carry: Fast, step: Step) -> tuple[Action, Fast]:
        """Sample from each task's own policy."""
        observation = self.encoder.observation(step.observation).unflatten(0, (len(carry.parameters), -1))
        action = self.policy(carry.parameters, observation).sample(self.generator)
        return Action(action.flatten(0, 1)), carry

    def adapt(self, carry: Fast, rollout: Rollout) -> Fast:
        """One inner step."""
        parameters, steps = self.inner_step(carry, self.experience(rollout, len(carry.parameters)))
        return Fast(parameters.detach(), steps)

    @abstractmethod
    def learn(self, trial: Trial) -> Metrics:
        """One update of the meta-parameters."""

    def state_dict(self) -> dict[str, Any]:
        """Meta-parameters and sampling stream."""
        return {"parameters": self.parameters, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `ValueError` when the policy has another shape."""
        if state["parameters"].shape != self.parameters.shape:
            raise ValueError(f"{len(state['parameters'])} parameters for a policy of {len(self.parameters)}")
        self.parameters = state["parameters"].to(self.parameters.device)
        self.generator.set_state(state["generator"].cpu())

    @property
    def policy_std(self) -> float:
        """Mean standard deviation of the policy that every task starts from, in half the range of actions."""
        return float(self.policy.std(self.parameters[None]).mean()) if self.policy.continuous else 0.0

    def experience(self, rollout: Rollout, tasks: int) -> Experience:
        """A round as the inner loop learns from it."""
        return experience(rollout, self.encoder, tasks, discount=self.config.discount, trace=self.config.trace)

    def inner_step(self, carry: Fast, data: Experience, *, credit: float = 0.0, differentiable: bool = False) -> Fast:
        """One step of policy gradient; `credit` matters to second derivatives alone."""
        parameters = gradient_step(
            lambda parameters: policy_gradient_loss(self.policy, parameters, data, credit),
            carry.parameters,
            torch.where(carry.steps == 0, self.config.inner_rate, self.config.later_rate),
            longest=self.config.inner_norm,
            differentiable=differentiable,
        )
        return Fast(parameters, carry.steps + 1)

    def adapted(
        self, start: Tensor, rounds: Sequence[Experience], *, credit: float = 0.0, differentiable: bool = False
    ) -> list[Tensor]:
        """The parameters [B, P] that every round is played with when tasks begin at `start` [P]."""
        fast = self.begin_trial(len(rounds[0].weight))
        chain = [fast._replace(parameters=start.expand_as(fast.parameters))]
        for data in rounds[:-1]:
            chain.append(self.inner_step(chain[-1], data, credit=credit, differentiable=differentiable))
        return [fast.parameters for fast in chain]

    def replayed(self, parameters: Tensor, data: Experience) -> tuple[FastDistribution, Tensor]:
        """Distributions [B, N] at what was seen, and the log-probability [B, N] of what was done."""
        distribution = self.policy(parameters, data.observation.flatten(1, 2))
        return distribution, distribution.log_prob(data.action.flatten(1, 2))
