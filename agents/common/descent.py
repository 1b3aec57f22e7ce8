"""Gradient descent on losses that are averages over the rows of a minibatch."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from agents.common.optimiser import Optimizer
from agents.common.parallel import add_gradients, own, total
from taskgen.interaction.agent import Metrics


def descend(
    model: nn.Module,
    optimizer: Optimizer,
    minibatches: Iterable[Tensor],
    losses: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
    *,
    weight: Tensor,
    longest: float,
) -> Metrics:
    """One step of `optimizer` for each of `minibatches`, row numbers of `weight` [N]; the mean figures of all steps.

    `losses(rows)` is the loss to descend and what to report of it, scalars, each an average over `rows` by their
    weight. Gradients longer than `longest` are scaled down to it. Several processes take a part of every minibatch
    each, and make the same step together.
    """
    reported: list[Tensor] = []
    norms: list[Tensor] = []
    names: list[str] = []
    for rows in minibatches:
        mine, share = _part(rows, weight)
        loss, figures = losses(mine)
        names = list(figures)
        optimizer.zero_grad()
        (loss if share == 1.0 else loss * share).backward()
        add_gradients(model.parameters())
        norms.append(shorten([value.grad for value in model.parameters() if value.grad is not None], longest))
        optimizer.step()
        reported.append(torch.stack(list(figures.values())).detach() * share)
    means = torch.cat([total(torch.stack(reported).mean(0)), torch.stack(norms).mean()[None]])
    return dict(zip([*names, "losses/gradient_norm"], means.tolist(), strict=True))  # the one host sync of an update


@torch.no_grad()
def shorten(gradients: list[Tensor], longest: float) -> Tensor:
    """Scale `gradients` in place, all alike, so that their norm is `longest` at most; the norm [] that they had.

    As `nn.utils.clip_grad_norm_` does, with fewer operations: of small networks those take longer than the numbers.
    """
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    torch._foreach_mul_(gradients, (longest / (norm + 1e-6)).clamp(max=1.0))  # pyright: ignore[reportPrivateImportUsage]
    return norm


def _part(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor | float]:
    """This process's part of a minibatch, and its share of the weight; where it has none, any row, for nothing."""
    mine = own(rows)
    if len(mine) == len(rows):
        return rows, 1.0
    return (mine, weight[mine].sum() / weight[rows].sum()) if len(mine) else (rows[:1], 0.0)
