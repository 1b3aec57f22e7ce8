"""MAML: model-agnostic meta-learning of a policy's starting point.

A policy is trained so that a few steps of policy gradient on a task's own episodes make it good at that task.

*What adapts*: the policy's weights theta_i of each task.  *What is meta-learned*: where they start, theta.

    theta_i <- theta_i - rate * grad L_i(theta_i; D_i),  D_i: E episodes side by side with theta_i
    min_theta  sum_i L_i(theta_i'; D_i')  within  mean KL(pi_old' || pi_theta_i') <= divergence,  ' after adaptation

Reference: Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", section
3.2 and appendix A.2; trust region: Schulman et al. 2015, "Trust Region Policy Optimization", appendix C.

Differences from the paper: second derivatives credit exploration in the likelihood-ratio form (ProMP's low variance
curvature; DiCE with `credit` 1), which differentiating the paper's surrogate does not; every round after an inner step
counts in the meta-objective, so that further steps go on improving.

Axes: T time, B tasks, E episodes of a task side by side, P parameters.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor

from agents.common.divergence import kl_divergence
from agents.common.inner_loop import Experience, log_probability
from agents.common.losses import weighted_mean
from agents.common.trust_region import conjugate_gradient, line_search
from agents.gradient import Fast, GradientAgent, GradientConfig
from taskgen.interaction.agent import Metrics, Trial


class MAMLConfig(GradientConfig):
    """Settings of `MAML`."""

    second_order: bool = Field(default=True, description="Differentiate through inner steps; else first-order MAML.")
    credit: float = Field(0.0, ge=0, le=1, description="0: low variance curvature; 1: DiCE, unbiased.")
    divergence: float = Field(0.01, gt=0, description="Mean KL divergence of one update, after adaptation.")
    conjugate_steps: int = Field(10, ge=1, description="Iterations of the conjugate gradient.")
    damping: float = Field(1e-5, ge=0, description="Added to the diagonal of the curvature.")


class MAML(GradientAgent[MAMLConfig]):
    """Learns by TRPO on adapted policies."""

    def learn(self, trial: Trial) -> Metrics:
        """One trust-region step; the parameters stay where no step in its direction is an improvement."""
        tasks = len(trial.specs)
        rounds = [self.experience(rollout, tasks) for rollout in trial.rounds]
        with torch.enable_grad():
            start = self.parameters.clone().requires_grad_()
            evaluate = self._objective(rounds)
            loss, divergence = evaluate(start, self.config.second_order)
            (gradient,) = torch.autograd.grad(loss, start, retain_graph=True)
            (slope,) = torch.autograd.grad(divergence, start, create_graph=True)

        def curvature(vector: Tensor) -> Tensor:
            (product,) = torch.autograd.grad(slope @ vector, start, retain_graph=True)
            return product + self.config.damping * vector

        direction = conjugate_gradient(curvature, gradient, self.config.conjugate_steps)
        length = (2 * self.config.divergence / (direction @ curvature(direction)).clamp(min=1e-12)).sqrt()
        found = line_search(
            lambda parameters: evaluate(parameters, False),
            self.parameters,
            length * direction,
            loss=loss.item(),
            limit=self.config.divergence,
        )
        self.parameters = found.parameters
        return {
            "losses/policy_loss": loss.item(),
            "losses/improvement": found.improvement,
            "losses/kl": found.divergence,
            "losses/step_accepted": float(found.accepted),
            "losses/gradient_norm": float(gradient.norm()),
            "charts/policy_std": self.policy_std,
        }

    def _objective(self, rounds: Sequence[Experience]) -> Callable[[Tensor, bool], tuple[Tensor, Tensor]]:
        """(parameters, differentiable) -> (surrogate loss, mean divergence) of the adapted policies, both scalars."""
        with torch.no_grad():
            played = [
                (log_probability(self.policy, fast, data), self.policy(fast, data.observation.flatten(1, 2)))
                for fast, data in self._adapted(self.parameters, rounds, differentiable=False)
            ]

        def evaluate(parameters: Tensor, differentiable: bool) -> tuple[Tensor, Tensor]:
            losses: list[Tensor] = []
            divergences: list[Tensor] = []
            for (old_log_prob, old), (fast, data) in zip(
                played, self._adapted(parameters, rounds, differentiable), strict=True
            ):
                new = self.policy(fast, data.observation.flatten(1, 2))
                log_prob = new.log_prob(data.action.flatten(1, 2)).view_as(data.weight)
                ratio = (log_prob - old_log_prob).exp()
                losses.append(-weighted_mean(ratio * data.advantage, data.weight))
                divergences.append(weighted_mean(kl_divergence(old, new), data.weight.flatten(1)))
            return torch.stack(losses).mean(), torch.stack(divergences).mean()

        return evaluate

    def _adapted(
        self, start: Tensor, rounds: Sequence[Experience], differentiable: bool
    ) -> Iterator[tuple[Tensor, Experience]]:
        """The parameters [B, P] that every round after an inner step is played with, and the round."""
        fast = self.begin_trial(len(rounds[0].weight))._replace(parameters=start.expand(len(rounds[0].weight), -1))
        if len(rounds) == 1:
            yield fast.parameters, rounds[0]
        for before, after in pairwise(rounds):
            fast = self.inner_step(fast, before, credit=self.config.credit, differentiable=differentiable)
            yield fast.parameters, after
