"""The inner loop of agents that adapt by gradient: steps of each task's own parameters on the task's own data.

Axes: T time, B tasks, E episodes of a task side by side, P parameters, O observation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from agents.common.encoding import StepEncoder
from agents.common.fast_policy import FastPolicy
from agents.common.linear_baseline import baseline_features, fitted_values
from agents.common.returns import generalized_advantages
from taskgen.interaction.agent import Rollout


@dataclass(frozen=True, slots=True)
class Experience:
    """What one round taught about each task, tasks first."""

    observation: Tensor
    """[B, T, E, O] encoded."""
    action: Tensor
    """[B, T, E, ...]."""
    advantage: Tensor
    """[B, T, E] mean 0 and standard deviation 1 within a task."""
    weight: Tensor
    """[B, T, E] 1, or 0 where an episode was over."""
    log_prob: Tensor | None = None
    """[B, T, E] of what was done, under the policies that did it; None: under those that learn from it."""


def experience(rollout: Rollout, encoder: StepEncoder, tasks: int, *, discount: float, trace: float) -> Experience:
    """One round of episodes side by side, with advantages over a linear baseline fitted to each task's own returns."""
    weight = rollout.valid.to(torch.float32)
    reward = rollout.reward * weight
    goes_on = torch.cat([rollout.valid[1:], torch.zeros_like(rollout.valid[:1])])
    returns = generalized_advantages(reward, torch.zeros_like(reward), goes_on, discount, 1.0)
    observation = _by_task(encoder.observation(rollout.observation), tasks)
    weights = _by_task(weight, tasks)
    values = fitted_values(baseline_features(observation), _by_task(returns, tasks), weights) * weights
    value = values.transpose(0, 1).flatten(1)
    advantage = _by_task(generalized_advantages(reward, value, goes_on, discount, trace), tasks)
    return Experience(observation, _by_task(rollout.action, tasks), _normalised(advantage, weights), weights)


def gradient_step(
    loss: Callable[[Tensor], Tensor],
    parameters: Float[Tensor, "B P"],
    rate: Float[Tensor, "*any"] | float,
    *,
    longest: float = float("inf"),
    differentiable: bool = False,
) -> Float[Tensor, "B P"]:
    """`parameters` - `rate` * gradient of `loss`, for every task by itself.

    `loss(parameters)` is [B], element i of row i alone. Gradients longer than `longest` are scaled down to it. If
    `differentiable`, the step can be differentiated with respect to where it started, second derivatives included.
    """
    with torch.enable_grad():
        parameters = parameters if parameters.requires_grad else parameters.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(parameters).sum(), parameters, create_graph=differentiable)
        norm = gradient.detach().norm(dim=-1, keepdim=True)
        return parameters - rate * (longest / norm.clamp(min=1e-12)).clamp(max=1.0) * gradient


def policy_gradient_loss(
    policy: FastPolicy, parameters: Float[Tensor, "B P"], data: Experience, credit: float
) -> Float[Tensor, "B"]:
    """[B] minus the mean advantage, as a function whose derivatives of any order estimate those of the return.

    The score function is differentiated through the sampling of earlier actions too: an action is credited with what
    it changes in the gradient of later ones. `credit` 1 is DiCE with a baseline, unbiased; 0 forgets earlier actions,
    the likelihood-ratio form of low variance; between them their influence falls by that factor a step. With `credit` 0
    an action counts by its likelihood ratio to `data.log_prob`.

    Reference: Foerster et al. 2018, "DiCE", section 4; Farquhar, Whiteson and Foerster 2019, "Loaded DiCE", equation
    12; for `credit` 0, Rothfuss et al. 2019, "ProMP", section 5 (low variance curvature).
    """
    log_prob = log_probability(policy, parameters, data)
    if credit == 0.0:
        played = log_prob.detach() if data.log_prob is None else data.log_prob
        return -_task_mean((log_prob - played).exp() * data.advantage, data.weight)
    steps = torch.arange(log_prob.shape[1], device=log_prob.device)
    age = (steps[:, None] - steps).to(log_prob.dtype)
    decay = torch.where(age > 0, credit**age, 0.0)
    before = torch.einsum("ts,bse->bte", decay, log_prob)
    return -_task_mean((_magic(before + log_prob) - _magic(before)) * data.advantage, data.weight)


def log_probability(policy: FastPolicy, parameters: Float[Tensor, "B P"], data: Experience) -> Float[Tensor, "B T E"]:
    """Log-probability of what was done, under each task's `parameters`."""
    distribution = policy(parameters, data.observation.flatten(1, 2))
    return distribution.log_prob(data.action.flatten(1, 2)).view_as(data.weight)


def _magic(x: Tensor) -> Tensor:
    """One, whose derivatives are those of e^x."""
    return (x - x.detach()).exp()


def _by_task(values: Tensor, tasks: int) -> Tensor:
    """[T, B * E, ...] -> [B, T, E, ...]."""
    return values.unflatten(1, (tasks, values.shape[1] // max(1, tasks))).transpose(0, 1).contiguous()


def _task_mean(values: Float[Tensor, "B T E"], weight: Float[Tensor, "B T E"]) -> Float[Tensor, "B"]:
    return (values * weight).sum((1, 2)) / weight.sum((1, 2))


def _normalised(advantage: Float[Tensor, "B T E"], weight: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
    mean = _task_mean(advantage, weight)[:, None, None]
    spread = _task_mean((advantage - mean).square(), weight).sqrt()[:, None, None]
    return (advantage - mean) / (spread + 1e-8) * weight
