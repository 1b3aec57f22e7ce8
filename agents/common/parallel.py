"""One agent trained by several processes, each with a share of the tasks, as `torchrun` starts them.

Every process holds the whole agent and the whole source, alike to the last bit. It asks for all tasks, plays its own
share of them and is then given the trials of all (`agents.training.sharing`): whatever an update takes statistics of is
there. What an update averages over is split: `own` is a process's part, `total` and `add_gradients` put the parts
together. Random numbers are drawn for all rows by everybody (`drawn`), so that tasks, luck and minibatches are those of
one process, and the agent too, up to rounding.

In a process that is alone, nothing here does anything.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from agents.common.exchange import Exchange, opened
from registry.errors import UserError
from taskgen.interaction.agent import Trial

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""For so long processes wait for each other, such as for the first to evaluate; `torchrun` sees when one dies."""
_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
_playing: ContextVar[bool] = ContextVar("playing", default=False)


@contextmanager
def joined() -> Iterator[bool]:
    """Join the processes that `torchrun` started beside this one, if it did; whether this one is the first.

    What all of them refuse for the same reason is said by the first alone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    card = torch.cuda.is_available()
    if card:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if card else "gloo", timeout=_PATIENCE)
    dist.all_reduce(torch.zeros(1))  # who leaves at once, with a refusal, must not break off others who still join
    token = _exchange.set(opened())
    try:
        yield rank() == 0
    except UserError as error:
        if rank():
            raise SystemExit(error.exit_code) from None
        raise
    finally:
        _exchange.reset(token)
        dist.destroy_process_group()


def processes() -> int:
    """How many train together; 1 for one that is alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them; the first, 0, is the one that writes and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def part(count: int) -> slice:
    """Which of `count` things in a row are this process's: as many as everybody's where they divide."""
    return slice(rank() * count // processes(), (rank() + 1) * count // processes())


def own(rows: Tensor) -> Tensor:
    """This process's part of `rows` [B, ...]; parts differ in length by one at most and may be empty."""
    return rows[part(len(rows))]


def own_trial(trial: Trial) -> Trial:
    """Of the trial of all tasks, what belongs to this process's share of them; perhaps nothing."""
    return trial.of(range(len(trial.specs))[part(len(trial.specs))])


def mean_part(values: Tensor, weight: Tensor) -> Tensor:
    """[]: what this process's `values` add to everybody's mean, by `weight` of their shape, not all zero."""
    return (values * weight).sum() / total(weight.sum())


def mean_of_tasks(values: Tensor, weight: Tensor) -> Tensor:
    """What this process's tasks add to the mean over all tasks of each one's own mean: a task counts the same however
    many steps it had. `values` and `weight` are [B, N], the tasks of this process; no row of weights is all zero.
    """
    means = (values * weight).sum(1) / weight.sum(1)
    return means.sum() / total(means.new_full((), len(means)))


def total(value: Tensor) -> Tensor:
    """The sum of everybody's `value` [...], in its shape, without gradient; the same bits in every process."""
    if processes() == 1:
        return value
    if (rows := _shown(value)) is not None:
        return rows.sum(0, dtype=value.dtype)
    summed = value.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(summed)
    return summed


def add_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every parameter the sum of everybody's gradients, in one message; none counts as zero."""
    if processes() == 1:
        return
    parameters = list(parameters)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    summed = total(torch.cat([gradient.flatten() for gradient in gradients]))
    for parameter, flat in zip(parameters, summed.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = flat.view_as(parameter)


def gathered(rows: Tensor, axis: int) -> Tensor:
    """[..., processes * B, ...]: everybody's `rows` [..., B, ...], of one shape, in turn along `axis`."""
    if processes() == 1:
        return rows
    if (shown := _shown(rows)) is not None:
        return torch.cat(shown.unbind(), dim=axis)
    mine = rows.contiguous()
    mine = mine.view(torch.uint8) if rows.dtype == torch.bool else mine
    parts = [torch.empty_like(mine) for _ in range(processes())]
    dist.all_gather(parts, mine)
    return torch.cat(parts, dim=axis).view(rows.dtype)


def assembled(mine: Tensor, count: int) -> Tensor:
    """[count, ...]: the rows of which everybody has `part(count)`, this process those of `mine`."""
    if processes() == 1:
        return mine
    rows = mine.new_zeros(count, *mine.shape[1:])
    rows[part(count)] = mine
    return total(rows)


def everybodys(value: T) -> list[T]:
    """Everybody's `value`, any object, by rank."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    dist.all_gather_object(values, value)
    return values


def largest(value: int, device: torch.device | str = "cpu") -> int:
    """The largest of everybody's `value`."""
    if processes() == 1:
        return value
    if (shown := _shown(torch.tensor(value))) is not None:
        return int(shown.max())
    found = torch.tensor(value, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def _shown(mine: Tensor) -> Tensor | None:
    """[P, *mine.shape] everybody's `mine`, where they share memory for it; see `Exchange.rows`."""
    exchange = _exchange.get()
    return None if exchange is None else exchange.rows(mine)


def by_first(work: Callable[[], T]) -> T:
    """What `work` returns to the first process, which alone does it; where that refuses it, the others leave too."""
    if processes() == 1:
        return work()
    box: list[Any] = [None, None]
    if rank() == 0:
        try:
            box[0] = work()
        except UserError as error:
            dist.broadcast_object_list([None, error.exit_code])
            raise
    dist.broadcast_object_list(box)
    if box[1] is not None:
        raise SystemExit(box[1])
    return cast(T, box[0])


@contextmanager
def playing() -> Iterator[None]:
    """While it lasts, this process acts in its own share of the tasks, and `drawn` draws for all of them."""
    before = _playing.set(processes() > 1)
    try:
        yield
    finally:
        _playing.reset(before)


def drawn(like: Tensor, fill: Callable[[Tensor], Tensor]) -> Tensor:
    """A tensor like `like` [B, ...], leading axis tasks or slots, that `fill` has filled with random numbers.

    While `playing`, `fill` is given the rows of all processes, and this process is returned its own.
    """
    if not _playing.get():
        return fill(torch.empty_like(like))
    rows = processes() * len(like)
    return fill(like.new_empty(rows, *like.shape[1:]))[part(rows)]
