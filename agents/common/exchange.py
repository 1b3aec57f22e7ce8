"""What processes of one machine show each other in memory that they share: microseconds, where gloo takes hundreds.

Updates of small networks send a message of a few thousand numbers every millisecond, and waking gloo's threads for it
costs as much as the update. Here everybody writes a row, says so and waits for the others, first without giving up the
core. Rows of two turns lie apart: who writes the next one writes over nothing that others may still read.

What does not fit, lies elsewhere than on the CPU, or has to travel between machines goes by `torch.distributed`; so
does everything where no compiler made the kernel that waits. Sums of two processes have the same bits either way.
"""

import contextlib
import os
import select
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from agents.networks.kernels import Kernels, kernels_for

ROOM = 1 << 20
"""Bytes of the longest message, of each process."""
_TURN = 64
"""Bytes between the turns of two processes, a cache line, as `meet` has them."""
_SHARED = Path("/dev/shm")  # noqa: S108 - of a name that nobody knows beforehand


class Exchange:
    """Of one process: the rank it has among `len(pids)`, and the memory of all."""

    def __init__(self, memory: Tensor, kernels: Kernels, rank: int, pids: list[int]) -> None:
        """`memory` is uint8, `_size(len(pids))` of zeros, shared by all."""
        self._kernels, self._rank, self._pids = kernels, rank, pids
        turns, rows = memory.split([_TURN * len(pids), 2 * len(pids) * ROOM])
        self._turns, self._rows = turns, rows.view(2, len(pids), ROOM)
        self._turn = 0

    def rows(self, mine: Tensor) -> Tensor | None:
        """[P, *mine.shape] everybody's, to be read before the next call; `None`: this cannot be shown here.

        All processes call it with the same shape and type. Raises `RuntimeError` where another has ended.
        """
        size = mine.numel() * mine.element_size()
        if not mine.is_cpu or not 0 < size <= ROOM:
            return None
        rows = self._rows[self._turn % 2, :, :size].view(mine.dtype)
        rows[self._rank] = mine.detach().flatten()
        self._turn += 1
        while self._kernels.call("meet", self._rank, len(self._pids), self._turn, self._turns):
            self._refuse_ended()
        return rows.reshape(len(rows), *mine.shape)

    def _refuse_ended(self) -> None:
        for rank, pid in enumerate(self._pids):
            if _has_ended(pid):
                raise RuntimeError(f"process {rank} of {len(self._pids)} has ended, and the others need it")


def opened() -> Exchange | None:
    """The memory that all processes of the group share, for each of them; `None` for all where one cannot."""
    kernels, count = kernels_for(torch.ones(1)), dist.get_world_size()
    name = [_reserved(_size(count)) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(name)
    memory = None
    if name[0] is not None and kernels is not None:
        with contextlib.suppress(OSError, RuntimeError):  # of another machine, which has no such file
            memory = torch.from_file(name[0], shared=True, size=_size(count), dtype=torch.uint8)
    able = torch.tensor(int(memory is not None))
    dist.all_reduce(able, dist.ReduceOp.MIN)
    if dist.get_rank() == 0 and name[0] is not None:
        Path(name[0]).unlink()
    pids: list[int] = [0] * count
    dist.all_gather_object(pids, os.getpid())
    if not able.item() or memory is None or kernels is None:
        return None
    return Exchange(memory, kernels, dist.get_rank(), pids)


def _has_ended(pid: int) -> bool:
    """Whether a process is over, also while whoever started it has not asked how it ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # an old kernel does not tell
        return False
    try:
        return bool(select.select([handle], [], [], 0)[0])
    finally:
        os.close(handle)


def _size(count: int) -> int:
    return count * (_TURN + 2 * ROOM)


def _reserved(size: int) -> str | None:
    """The path of a file of so many zeros in memory, none of which will be missing when it is written to."""
    path = None
    try:
        handle, path = tempfile.mkstemp(prefix="taskgen-", dir=_SHARED)
        try:
            os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)
    except (OSError, AttributeError):  # no such folder, no room in it, or a system without either
        if path is not None:
            Path(path).unlink(missing_ok=True)
        return None
    return path
