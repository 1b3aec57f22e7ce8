"""MAML: model-agnostic meta-learning of a policy's starting point.

A policy is trained so that a few steps of policy gradient on a task's own episodes make it good at that task.

*What adapts*: the policy's weights theta_i of each task.  *What is meta-learned*: where they start, theta.

    theta_i <- theta_i - rate * grad L_i(theta_i; D_i),  D_i: E episodes side by side with theta_i
    min_theta  sum_i L_i(theta_i'; D_i')  within  mean KL(pi_old' || pi_theta_i') <= divergence,  ' after adaptation

Losses and divergences are means over a task's own steps first, then over tasks: one whose episodes last long counts no
more than one whose episodes end early.

When it is judged its actions are drawn from its policy, as in training.

Reference: Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", section
3.2 and appendix A.2; trust region: Schulman et al. 2015, "Trust Region Policy Optimization", appendix C.

Differences from the paper: second derivatives credit exploration in the likelihood-ratio form (ProMP's low variance
curvature; DiCE with `credit` 1), which differentiating the paper's surrogate does not; every round after an inner step
counts in the meta-objective, so that further steps go on improving.

Axes: T time, B tasks, E episodes of a task side by side, P parameters.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor

from agents.common.divergence import kl_divergence
from agents.common.fast_policy import FastDistribution
from agents.common.gradient import GradientAgent, GradientConfig, counted
from agents.common.inner_loop import Experience
from agents.common.parallel import mean_of_tasks, own_trial, total
from agents.common.trust_region import conjugate_gradient, line_search
from taskgen.interaction.agent import Metrics, Trial


class MAMLConfig(GradientConfig):
    """Settings of `MAML`."""

    second_order: bool = Field(default=True, description="Differentiate through inner steps; else first-order MAML.")
    credit: float = Field(0.0, ge=0, le=1, description="0: low variance curvature; 1: DiCE, unbiased.")
    divergence: float = Field(0.01, gt=0, description="Mean KL divergence of one update, after adaptation.")
    conjugate_steps: int = Field(10, ge=1, description="Iterations of the conjugate gradient.")
    curvature_stride: int = Field(5, ge=1, description="The divergence's curvature is taken at every so many-th step.")
    damping: float = Field(1e-5, ge=0, description="Added to the diagonal of the curvature.")


class MAML(GradientAgent[MAMLConfig]):
    """Learns by TRPO on adapted policies."""

    def learn(self, trial: Trial) -> Metrics:
        """One trust-region step; the parameters stay where no step in its direction is an improvement."""
        trial = own_trial(trial)
        rounds = [self.experience(rollout, len(trial.specs)) for rollout in trial.rounds]
        with torch.no_grad():
            chain = self.adapted(self.parameters, rounds)
            played = [self.replayed(*pair) for pair in counted(zip(chain, rounds, strict=True))]
        with torch.enable_grad():
            start = self.parameters.clone().requires_grad_()
            chain = self.adapted(start, rounds, credit=self.config.credit, differentiable=self.config.second_order)
            objective, _ = self._objective(chain, rounds, played)
            loss, gradient = total(objective), total(torch.autograd.grad(objective, start, retain_graph=True)[0])
            curvature = self._curvature(chain, rounds)
        direction = conjugate_gradient(curvature, gradient, self.config.conjugate_steps)
        length = (2 * self.config.divergence / (direction @ curvature(direction)).clamp(min=1e-12)).sqrt()
        with torch.no_grad():
            found = line_search(
                lambda parameters: map(total, self._objective(self.adapted(parameters, rounds), rounds, played)),
                self.parameters,
                length * direction,
                loss=loss.item(),
                limit=self.config.divergence,
            )
        self.parameters = found.parameters
        return {
            "losses/policy_loss": loss.item() - found.improvement,
            "losses/kl": found.divergence,
            "losses/step_accepted": float(found.accepted),
            "losses/gradient_norm": float(gradient.norm()),
            "charts/policy_std": self.policy_std,
        }

    def _objective(
        self, chain: Sequence[Tensor], rounds: Sequence[Experience], played: Sequence[tuple[FastDistribution, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Surrogate loss of the adapted policies, and their mean divergence from those that played; scalars.

        As everywhere here, of several processes each has its tasks' part of the mean over all.
        """
        losses: list[Tensor] = []
        divergences: list[Tensor] = []
        counting = counted(zip(chain, rounds, strict=True))
        for (parameters, data), (old, old_log_prob) in zip(counting, played, strict=True):
            new, log_prob = self.replayed(parameters, data)
            weight, advantage = data.weight.flatten(1), data.advantage.flatten(1)
            losses.append(-mean_of_tasks((log_prob - old_log_prob).exp() * advantage, weight))
            divergences.append(mean_of_tasks(kl_divergence(old, new), weight))
        return torch.stack(losses).mean(), torch.stack(divergences).mean()

    def _curvature(self, chain: Sequence[Tensor], rounds: Sequence[Experience]) -> Callable[[Tensor], Tensor]:
        """Vector [P] -> Hessian of the mean divergence, times it: the mean over rounds of J' F J, damped.

        J = d adapted / d start is a product of symmetric matrices, 1 - rate * Hessian of the loss for each inner step:
        J v takes vector-Jacobian products too, in the order of the steps. F is taken at every `curvature_stride`-th
        step of the episodes.
        """
        counting = counted(zip(chain, rounds, strict=True))
        fishers = [torch.zeros_like] * (len(chain) - len(counting)) + [self._fisher(*pair) for pair in counting]
        steps = list(pairwise(chain))

        def product(vector: Tensor) -> Tensor:
            ahead = [vector.expand_as(chain[0])]
            for before, after in steps:
                ahead.append(torch.autograd.grad(after, before, ahead[-1], retain_graph=True)[0])
            images = [fisher(moved) for fisher, moved in zip(fishers, ahead, strict=True)]
            back = images.pop()
            for before, after in reversed(steps):
                back = torch.autograd.grad(after, before, back, retain_graph=True)[0] + images.pop()
            return total(back.sum(0)) / len(counting) + self.config.damping * vector

        return product

    def _fisher(self, parameters: Tensor, data: Experience) -> Callable[[Tensor], Tensor]:
        """Vectors [B, P] -> Hessian of the mean divergence from the policies `parameters`, times them."""
        observation = data.observation[:, :: self.config.curvature_stride].flatten(1, 2)
        weight = data.weight[:, :: self.config.curvature_stride].flatten(1)
        here = parameters.detach().requires_grad_()
        with torch.no_grad():
            old = self.policy(here, observation)
        divergence = mean_of_tasks(kl_divergence(old, self.policy(here, observation)), weight)
        (slope,) = torch.autograd.grad(divergence, here, create_graph=True)
        return lambda vectors: torch.autograd.grad(slope, here, vectors, retain_graph=True)[0]
