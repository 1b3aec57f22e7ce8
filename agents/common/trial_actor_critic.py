"""Actor and critic without memory, trained by PPO on the return of whole trials: what acts on a belief.

Whoever uses it says what they read at each step, `inputs` [T, B, I], and may pay them otherwise than the task does.
Values look ahead over all that the trial has still to come; their targets are shifted by their mean at each step of the
trial and scaled by one running standard deviation. Schulman et al. 2017, "Proximal policy optimization algorithms".

Axes: T time (all episodes of the trial), B trials, N steps of a batch, I width of what is read.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.common.descent import descend
from agents.common.distributions import Distribution, PolicyHead
from agents.common.losses import PPO_LOSSES, ppo_losses, weighted_mean
from agents.common.optimiser import Adam, load_optimizer
from agents.common.returns import generalized_advantages
from agents.common.schedule import share_left
from agents.networks.mlp import mlp
from registry.config import Config, Width
from taskgen.interaction.agent import Action, Metrics, Problem, Rollout


class ActorCriticConfig(Config):
    """Settings of `TrialActorCritic`, which its users' settings extend."""

    hidden: tuple[Width, ...] = Field((64,), min_length=1, description="Widths of policy and value networks.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate of policy and values.")
    discount: float = Field(0.97, ge=0, le=1, description="Discount per step, over the whole trial.")
    trace: float = Field(0.95, ge=0, le=1, description="GAE's lambda.")
    epochs: int = Field(4, ge=1, description="Passes over the steps of a batch.")
    minibatches: int = Field(16, ge=1, description="Minibatches per pass.")
    clip: float = Field(0.2, gt=0, description="PPO's clipping range.")
    entropy: float = Field(0.02, ge=0, description="Initial weight of the entropy bonus; falls linearly to zero.")
    gradient_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    std: float = Field(1.0, gt=0, description="Initial standard deviation of a continuous action, in half-ranges.")


class _Networks(nn.Module):
    def __init__(self, config: ActorCriticConfig, problem: Problem, inputs: int) -> None:
        super().__init__()
        sizes = (inputs, *config.hidden)
        self.actor, self.critic = mlp(sizes, nn.Tanh), mlp(sizes, nn.Tanh)
        self.policy_head = PolicyHead(sizes[-1], problem.action_space, std=config.std)
        self.value_head = nn.Linear(sizes[-1], 1)

    def forward(self, inputs: Tensor) -> tuple[Distribution, Tensor]:
        """[..., I] -> action distribution, normalised value [...]."""
        return self.policy_head(self.actor(inputs)), self.value_head(self.critic(inputs))[..., 0]


class TrialActorCritic:
    """Policy, values and their optimiser; draws from `generator`, which belongs to the agent."""

    def __init__(self, config: ActorCriticConfig, problem: Problem, inputs: int, generator: torch.Generator) -> None:
        self.config = config
        self._device = problem.device
        self._updates = problem.updates
        self.generator = generator
        self.networks = _Networks(config, problem, inputs).to(problem.device)
        self._optimizer = Adam(self.networks.parameters(), lr=config.learning_rate)
        self._value_mean = torch.zeros(problem.horizon * problem.episodes, 1, device=problem.device)
        self._value_scale = torch.ones((), device=problem.device)
        self._updates_done = 0

    @property
    def left(self) -> float:
        """The share of training that is left, 1 where no end is planned."""
        return share_left(self._updates_done, self._updates)

    def drawing_from(self, generator: torch.Generator) -> "TrialActorCritic":
        """The same policy, which draws its actions from `generator`."""
        other = copy.copy(self)
        other.generator = generator
        return other

    @torch.no_grad()
    def act(self, inputs: Tensor) -> Action:
        """A sampled action for each row of [B, I], with its log-probability and value on record."""
        policy, value = self.networks(inputs)
        action = policy.sample(self.generator)
        return Action(action, {"log_prob": policy.log_prob(action), "value": value})

    def learn(self, rollout: Rollout, inputs: Tensor, reward: Tensor) -> Metrics:
        """One PPO update on `rollout` played from `inputs` [T, B, I], paid by `reward` [T, B]."""
        advantage, target = self._advantages(rollout, reward)
        columns = {
            "inputs": inputs,
            "action": rollout.action,
            "log_prob": rollout.record["log_prob"],
            "advantage": advantage,
            "target": target,
        }
        steps = {name: column[rollout.valid] for name, column in columns.items()}
        weight = steps["weight"] = torch.ones_like(steps["target"])
        coefficients = torch.tensor([1.0, 1.0, -self.config.entropy * self.left, 0.0], device=self._device)
        self._updates_done += 1

        def losses(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            parts = self._losses({name: column[rows] for name, column in steps.items()})
            return parts @ coefficients, dict(zip(PPO_LOSSES, parts.detach(), strict=True))

        minibatches = self._minibatches(len(weight))
        longest = self.config.gradient_norm
        return descend(self.networks, self._optimizer, minibatches, losses, weight=weight, longest=longest)

    def estimates(self, rollout: Rollout, reward: Tensor, trace: float | None = None) -> tuple[Tensor, Tensor]:
        """Values and advantages [T, B] in units of `reward` [T, B]: of all that the trial has still to come."""
        valid = rollout.valid.to(torch.float32)
        value = (rollout.record["value"] * self._value_scale + self._value_mean[: len(valid)]) * valid
        goes_on = torch.cat([rollout.valid[1:], torch.zeros_like(rollout.valid[:1])])
        trace = self.config.trace if trace is None else trace
        return value, generalized_advantages(reward * valid, value, goes_on, self.config.discount, trace)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, value normalisation; the generator is the agent's."""
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "value_mean": self._value_mean,
            "value_scale": self._value_scale,
            "updates_done": self._updates_done,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `RuntimeError` when shapes differ."""
        self.networks.load_state_dict(state["networks"])
        load_optimizer(self._optimizer, state["optimizer"], self.config.learning_rate)
        self._value_mean = state["value_mean"].to(self._device)
        self._value_scale = state["value_scale"].to(self._device)
        self._updates_done = state["updates_done"]

    def _losses(self, steps: dict[str, Tensor]) -> Tensor:
        """[4]: the `PPO_LOSSES` of one minibatch."""
        policy, value = self.networks(steps["inputs"])
        columns = {name: column for name, column in steps.items() if name != "inputs"}
        return ppo_losses(policy, value, **columns, clip=self.config.clip)

    @torch.no_grad()
    def _advantages(self, rollout: Rollout, reward: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised advantages and normalised value targets, both [T, B], meaningful where valid."""
        steps, valid = len(reward), rollout.valid.to(torch.float32)
        value, advantage = self.estimates(rollout, reward)
        returns = advantage + value
        mean = (returns * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)
        mean = torch.where(rollout.valid.any(1, keepdim=True), mean, self._value_mean[:steps])
        scale = weighted_mean((returns - mean).square(), valid).sqrt() + 1e-6
        keep = 0.9 if self._updates_done else 0.0
        self._value_mean[:steps] = keep * self._value_mean[:steps] + (1 - keep) * mean
        self._value_scale = keep * self._value_scale + (1 - keep) * scale
        spread, centre = torch.std_mean(advantage[rollout.valid], correction=0)
        return (advantage - centre) / (spread + 1e-8), (returns - self._value_mean[:steps]) / self._value_scale

    def _minibatches(self, steps: int) -> Iterator[Tensor]:
        """Row numbers of each minibatch of each epoch."""
        for _ in range(self.config.epochs):
            order = torch.randperm(steps, generator=self.generator, device=self._device)
            yield from order.tensor_split(min(self.config.minibatches, steps))
