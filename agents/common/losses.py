"""Policy losses, element by element, for callers to weight and average; and those of PPO, averaged."""

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from agents.common.distributions import Categorical, Distribution
from agents.networks.kernels import Kernels, gradients, kernels_for, left_to_torch

PPO_LOSSES = ("losses/policy_loss", "losses/value_loss", "losses/entropy", "losses/approx_kl")
"""What `ppo_losses` are called in the log."""


def clipped_surrogate(
    log_ratio: Float[Tensor, "*axes"], advantage: Float[Tensor, "*axes"], clip: float
) -> Float[Tensor, "*axes"]:
    """Negated clipped surrogate objective of PPO (Schulman et al. 2017, equation 7)."""
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def approximate_kl(log_ratio: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Low-variance, non-negative estimate of KL(old || new) from samples of old (Schulman 2020, k3)."""
    return log_ratio.exp() - 1 - log_ratio


def weighted_mean(values: Float[Tensor, "*axes"], weight: Float[Tensor, "*axes"]) -> Float[Tensor, ""]:
    """Mean of `values` under non-negative weights that are not all zero."""
    return (values * weight).sum() / weight.sum()


def ppo_losses(
    policy: Distribution,
    value: Float[Tensor, "*axes"],
    action: Shaped[Tensor, "*axes_of_actions"],
    log_prob: Float[Tensor, "*axes"],
    advantage: Float[Tensor, "*axes"],
    target: Float[Tensor, "*axes"],
    weight: Float[Tensor, "*axes"],
    clip: float,
) -> Float[Tensor, "4"]:
    """Weighted means of clipped surrogate, squared error of values, entropy, and approximate KL, without gradient.

    `action` was played with log-probability `log_prob`. Where actions are discrete and no other column
    has gradients all that is one call of a kernel, where there is one, and another for the gradients.
    """
    columns = (log_prob, advantage, target, weight)
    if isinstance(policy, Categorical) and (kernels := _fitting(policy.logits, action, value, *columns)):
        return _Discrete.apply(kernels, clip, policy.logits, value, action, *columns)
    return _by_torch(clip, policy, value, action, *columns)


def _fitting(logits: Tensor, action: Tensor, *columns: Tensor) -> Kernels | None:
    """`kernels_for` this; what is of another shape or kind is left to torch, which says so."""
    fits = action.dtype is torch.int64 and action.is_cpu
    fits = fits and all(column.shape == logits.shape[:-1] for column in (action, *columns))
    fits = fits and not any(column.requires_grad for column in columns[1:])  # the kernel's are of logits and value
    return kernels_for(logits, *columns) if fits else None


def _by_torch(
    clip: float,
    policy: Distribution,
    value: Tensor,
    action: Tensor,
    log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    weight: Tensor,
) -> Tensor:
    log_ratio = policy.log_prob(action) - log_prob
    losses = (
        clipped_surrogate(log_ratio, advantage, clip),
        (value - target).square(),
        policy.entropy(),
        approximate_kl(log_ratio.detach()),
    )
    return torch.stack([weighted_mean(loss, weight) for loss in losses])


class _Discrete(torch.autograd.Function):
    """`ppo_losses` of a categorical policy, with gradients to logits and values; gradients of gradients by torch."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, clip: float, *given: Tensor) -> Tensor:
        logits, value, *_, weight = rows = [column.contiguous() for column in given]
        actions, total, sums = logits.shape[-1], weight.sum(), logits.new_empty(4)
        room = logits.new_empty(2 * actions * kernels.lanes)
        if kernels.call("ppo_forward", value.numel(), actions, clip, *rows, room, sums):
            raise IndexError(f"an action beyond the {actions} that there are")
        ctx.kernels, ctx.clip = kernels, clip
        ctx.save_for_backward(*given, room, total)
        return sums / total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        *given, room, total = ctx.saved_tensors
        logits, value, *others = given
        if left_to_torch(slopes):
            asked = ctx.needs_input_grad[2:4]
            of_logits, of_value = gradients(
                lambda x, v: _by_torch(ctx.clip, Categorical(x), v, *others), (logits, value), asked, slopes
            )
        else:
            rows, slope = [column.contiguous() for column in given], (slopes[0] / total).contiguous()
            of_logits, of_value = (tensor.new_empty(tensor.shape) for tensor in (logits, value))
            sizes = (value.numel(), logits.shape[-1], ctx.clip)
            ctx.kernels.call("ppo_backward", *sizes, *rows, room, slope, of_logits, of_value)
        return None, None, of_logits, of_value, *(None for _ in others)
