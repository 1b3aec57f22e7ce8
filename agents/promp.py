"""ProMP: proximal meta-policy search, MAML whose outer loop is PPO.

A policy is trained so that a few steps of policy gradient on a task's own episodes make it good at that task; every
batch of trials serves several meta-gradients, each a first derivative of adapted policies through their adaptation.

*What adapts*: the policy's weights theta_i of each task.  *What is meta-learned*: where they start, theta.

    theta_i <- theta_i - rate * grad L_i(theta_i; D_i),  L_i = -mean of rho A over D_i,  rho = pi_theta_i / pi_old
    max_theta  sum_i mean of min(rho A, clip(rho, 1 - eps, 1 + eps) A) over D_i'  -  eta KL(pi_old || pi_theta)

pi_old: the policies that played; ' : after adaptation. The inner loss is a likelihood ratio too: its Hessian estimates
that of the return with low variance, and D_i still serves when theta has moved on. How far that is from where D_i was
played no clipping bounds, so that the KL, before adaptation, does. Means are over a task's own steps first, then over
tasks.

When it is judged its actions are drawn from its policy, as in training.

Reference: Rothfuss, Lee, Clavera, Asfour and Abbeel 2019, "ProMP: Proximal Meta-Policy Search", section 6 and algorithm
1; adaptive penalty: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", section 4.

Differences from the paper: every round after an inner step counts in the meta-objective, as in MAML here.

Axes: T time, B tasks, E episodes of a task side by side, P parameters.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from agents.common.divergence import kl_divergence
from agents.common.fast_policy import FastDistribution
from agents.common.gradient import GradientAgent, GradientConfig, counted
from agents.common.inner_loop import Experience
from agents.common.losses import clipped_surrogate
from agents.common.optimiser import Adam, load_optimizer
from agents.common.parallel import mean_of_tasks, own_trial, total
from taskgen.interaction.agent import Metrics, Problem, Trial


class ProMPConfig(GradientConfig):
    """Settings of `ProMP`."""

    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate.")
    epochs: int = Field(5, ge=1, description="Steps of Adam on each batch of trials.")
    clip: float = Field(0.3, gt=0, description="Clipping range of the probability ratio after adaptation.")
    penalty: float = Field(5e-4, ge=0, description="First weight of the divergence before adaptation; 0 stays 0.")
    adaptive: bool = Field(default=False, description="Double or halve that weight after updates, by `divergence`.")
    divergence: float = Field(0.01, gt=0, description="Divergence before adaptation that an adaptive weight aims at.")


def next_penalty(penalty: float, divergence: float, target: float) -> float:
    """Twice the weight of a divergence above 1.5 of its target, half that of one below target / 1.5."""
    if divergence > 1.5 * target:
        return 2 * penalty
    return penalty / 2 if divergence < target / 1.5 else penalty


class ProMP(GradientAgent[ProMPConfig]):
    """Learns by PPO on adapted policies."""

    def __init__(self, config: ProMPConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        self._start = nn.Parameter(self.parameters.clone())
        self._optimizer = Adam([self._start], lr=config.learning_rate)
        self._penalty = config.penalty
        if config.adaptive:
            self.initial_settings = self.initial_settings | {"penalty"}

    def learn(self, trial: Trial) -> Metrics:
        """Steps of Adam on the same trial."""
        trial = own_trial(trial)
        rounds = [self.experience(rollout, len(trial.specs)) for rollout in trial.rounds]
        with torch.no_grad():
            chain = self.adapted(self.parameters, rounds)
            played = [self.replayed(*pair) for pair in zip(chain, rounds, strict=True)]
        rounds = [replace(data, log_prob=old[1].view_as(data.weight)) for data, old in zip(rounds, played, strict=True)]
        norms: list[float] = []
        for _ in range(self.config.epochs):
            with torch.enable_grad():
                loss, _, moved = self._objective(self._start, rounds, played, differentiable=True)
                (gradient,) = torch.autograd.grad(loss + self._penalty * moved, self._start)
            self._start.grad = gradient = total(gradient)
            norms.append(float(gradient.norm()))
            self._optimizer.step()
        with torch.no_grad():
            self.parameters = self._start.detach().clone()
            loss, divergence, moved = (float(total(part)) for part in self._objective(self.parameters, rounds, played))
        if self.config.adaptive:
            self._penalty = next_penalty(self._penalty, moved, self.config.divergence)
        return {
            "losses/policy_loss": loss,
            "losses/kl": divergence,
            "losses/kl_before_adaptation": moved,
            "losses/gradient_norm": sum(norms) / len(norms),
            "charts/penalty": self._penalty,
            "charts/policy_std": self.policy_std,
        }

    def state_dict(self) -> dict[str, Any]:
        """Meta-parameters, sampling stream, optimiser, weight of the penalty."""
        return super().state_dict() | {"optimizer": self._optimizer.state_dict(), "penalty": self._penalty}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Settings stay the agent's own. Raises `ValueError` when the policy has another shape."""
        super().load_state_dict(state)
        with torch.no_grad():
            self._start.copy_(self.parameters)
        load_optimizer(self._optimizer, state["optimizer"], self.config.learning_rate)
        if self.config.adaptive:
            self._penalty = state["penalty"]

    def _objective(
        self,
        start: Tensor,
        rounds: Sequence[Experience],
        played: Sequence[tuple[FastDistribution, Tensor]],
        *,
        differentiable: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Clipped surrogate loss and mean divergence of the adapted policies; divergence of those they begin as.

        Scalars, divergences from the policies that `played`. Of several processes each has its tasks' part.
        """
        losses: list[Tensor] = []
        divergences: list[Tensor] = []
        chain = self.adapted(start, rounds, differentiable=differentiable)
        for parameters, data, (old, old_log_prob) in zip(chain, rounds, played, strict=True):
            new, log_prob = self.replayed(parameters, data)
            weight, advantage = data.weight.flatten(1), data.advantage.flatten(1)
            losses.append(
                mean_of_tasks(clipped_surrogate(log_prob - old_log_prob, advantage, self.config.clip), weight)
            )
            divergences.append(mean_of_tasks(kl_divergence(old, new), weight))
        return torch.stack(counted(losses)).mean(), torch.stack(counted(divergences)).mean(), divergences[0]
