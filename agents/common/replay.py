"""Replay memory: ring buffers of transitions on the device where they are learned from, or beside it.

memory = Replay(capacity=100_000, device=device)
memory.append({"observation": observation, "reward": reward})   # [n, O], [n]
batch = memory.draw(256, generator)                             # {"observation": [256, O], "reward": [256]}

Axes: K buffers (one for all tasks, or one per task), C capacity of each, n transitions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class Replay:
    """K ring buffers side by side: one tensor [K, C, ...] per column, made when the first transitions come.

    They lie on the device if full buffers take at most `room` bytes, else in the host's memory, pinned where there is
    CUDA. Left out, `room` is half of what the device then has free.
    """

    def __init__(self, capacity: int, device: torch.device, *, buffers: int = 1, room: int | None = None) -> None:
        self.capacity = capacity
        self._device = device
        self._room = room
        self._home = device  # until the size of a transition is known
        self._settled = False
        self._columns: dict[str, Tensor] = {}
        self._appended = [0] * buffers
        self._size_table: Tensor | None = None

    def __len__(self) -> int:
        """Transitions held in all buffers."""
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Transitions held in each buffer."""
        return [min(appended, self.capacity) for appended in self._appended]

    def append(self, rows: Mapping[str, Tensor], buffer: int = 0) -> None:
        """Add transitions, columns [n, ...] in order of age; when the buffer is full the oldest make room."""
        count = len(next(iter(rows.values())))
        if not self._columns:
            self._make(rows)
        newest = min(count, self.capacity)  # of more rows than fit, the first are gone at once
        first = self._appended[buffer] + count - newest
        place = torch.arange(first, first + newest, device=self._home) % self.capacity
        for name, column in self._columns.items():
            column[buffer, place] = rows[name][count - newest :].to(self._home)
        self._appended[buffer] += count
        self._size_table = None

    def clear(self, buffer: int) -> None:
        """Forget what `buffer` holds."""
        self._appended[buffer] = 0
        self._size_table = None

    def draw(
        self, count: int, generator: torch.Generator, buffers: Sequence[int] | Tensor | None = None
    ) -> dict[str, Tensor]:
        """`count` transitions each, uniformly with replacement: [count, ...] of the first buffer, or [M, count, ...] of
        the M buffers that are numbered. Raises `ValueError` for a buffer that is empty.

        Numbers that are a tensor [M] on the device cost no host sync, and are not looked at: none may be an empty
        buffer's.
        """
        rows = 1 if buffers is None else len(buffers)
        if not isinstance(buffers, Tensor):
            empty = [buffer for buffer in buffers or [0] if not self._appended[buffer]]
            if empty:
                raise ValueError(f"replay buffer {empty[0]} is empty: append transitions before drawing")
        share = torch.rand(rows, count, dtype=torch.float64, generator=generator, device=self._device)
        if buffers is None:
            place = (share[0] * self.sizes[0]).to(torch.int64).to(self._home)
            return {name: column[0, place].to(self._device) for name, column in self._columns.items()}
        if self._size_table is None:
            self._size_table = torch.tensor(self.sizes, device=self._device)
        row = torch.as_tensor(buffers, device=self._device)[:, None]
        place = (share * self._size_table[row]).to(torch.int64).to(self._home)
        row = row.to(self._home)
        return {name: column[row, place].to(self._device) for name, column in self._columns.items()}

    def state_dict(self) -> dict[str, Any]:
        """What was written, and how much was ever appended to each buffer."""
        used = max(self.sizes)
        columns = {name: column[:, :used].clone() for name, column in self._columns.items()}
        return {"columns": columns, "appended": list(self._appended)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `RuntimeError` when it does not fit the buffers or their capacity."""
        columns, appended = state["columns"], list(state["appended"])
        used = max(min(count, self.capacity) for count in appended)
        if len(appended) != len(self._appended) or any(column.shape[1] != used for column in columns.values()):
            raise RuntimeError(
                f"a replay memory of {len(self._appended)} buffers for {self.capacity} transitions cannot go on from "
                f"one of {len(appended)} buffers or another capacity"
            )
        self._appended, self._size_table = appended, None
        self._columns = {}
        if used:
            self._make({name: column[0] for name, column in columns.items()})
        for name, column in self._columns.items():
            column[:, :used] = columns[name].to(self._home)

    @property
    def on_host(self) -> bool:
        """Whether the buffers did not fit the device, and are in the host's memory."""
        return self._home != self._device

    def _make(self, rows: Mapping[str, Tensor]) -> None:
        """Empty columns for transitions like those of `rows`, columns [n, ...], where there is room for them."""
        transitions = len(self._appended) * self.capacity
        needed = transitions * sum(row.shape[1:].numel() * row.element_size() for row in rows.values())
        if not self._settled and needed > self._free():
            self._home = torch.device("cpu")
        self._settled = True  # what was free before is what they take now
        pinned = self.on_host and torch.cuda.is_available()
        for name, row in rows.items():
            shape = (len(self._appended), self.capacity, *row.shape[1:])
            self._columns[name] = torch.zeros(shape, dtype=row.dtype, device=self._home, pin_memory=pinned)

    def _free(self) -> float:
        """Bytes of the device that the buffers may take."""
        if self._room is not None:
            return float(self._room)
        return torch.cuda.mem_get_info(self._device)[0] / 2 if self._device.type == "cuda" else float("inf")


class Shelf:
    """Which of K buffers belongs to which task. When all are taken, the task that came first loses its buffer."""

    def __init__(self, buffers: int) -> None:
        self._buffers = buffers
        self._tasks: list[str] = []
        self._came = 0

    def __len__(self) -> int:
        """Buffers that belong to a task: the first ones."""
        return len(self._tasks)

    def place(self, task: str) -> tuple[int, bool]:
        """The buffer of the task with id `task`, and whether it is newly its own: then it still holds another's."""
        if task in self._tasks:
            return self._tasks.index(task), False
        buffer = self._came % self._buffers
        self._tasks[buffer : buffer + 1] = [task]
        self._came += 1
        return buffer, True

    def state_dict(self) -> dict[str, Any]:
        """Tasks by buffer, and how many ever came."""
        return {"tasks": list(self._tasks), "came": self._came}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `RuntimeError` when it has more tasks than there are buffers."""
        if len(state["tasks"]) > self._buffers:
            raise RuntimeError(f"{self._buffers} buffers cannot hold the {len(state['tasks'])} tasks of the state")
        self._tasks, self._came = list(state["tasks"]), state["came"]
