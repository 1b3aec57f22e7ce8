"""Faults: episodes that an engine cut short because their physics diverged, and the tasks that keep doing so."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from taskgen.files import write_atomically
from taskgen.spec import TaskSpec

STRIKES = 3
"""Faults after which a task is quarantined."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An episode that was cut short."""

    slot: int
    task: TaskSpec
    step: int
    """Steps of the episode, the faulty one included."""
    reason: str
    blame: bool
    """Whether the task is to blame; an action that is not finite is the player's doing."""
    state: NDArray[np.float64]
    """The simulation before the faulty step, its action included: taking the step again repeats the fault."""


class FaultLog:
    """The faults of a batch. A task with `strikes` faults of its own is quarantined: it is better not run again.

    The log only reports. What becomes of a quarantined task is up to whoever hands out tasks; for training that is
    `agents.training.quarantine`.
    """

    def __init__(self, strikes: int = STRIKES) -> None:
        self.strikes = strikes
        self.count = 0
        """Faults so far."""
        self.last: Fault | None = None
        self._reasons: Counter[str] = Counter()
        self._latest: dict[int, tuple[int, Fault]] = {}
        self._blamed: dict[str, list[Fault]] = {}

    @property
    def reasons(self) -> Mapping[str, int]:
        """Faults so far, by reason."""
        return dict(self._reasons)

    def record(self, fault: Fault) -> None:
        """Count `fault`; of every task the last `strikes` faults are kept."""
        self._latest[fault.slot] = self.count, fault
        self.count += 1
        self.last = fault
        self._reasons[fault.reason] += 1
        if fault.blame:
            known = self._blamed.setdefault(fault.task.id, [])
            known.append(fault)
            del known[: -self.strikes]

    def merge(self, state: Mapping[str, Any], first_slot: int) -> None:
        """Take in the `state_dict()` of a log that began empty, of a batch whose slots are numbered from `first_slot`.

        Faults that no task is blamed for are counted.
        """
        other = FaultLog(self.strikes)
        other.load_state_dict(state)
        blamed = [fault for faults in other._blamed.values() for fault in faults]
        for fault in blamed:
            self.record(replace(fault, slot=first_slot + fault.slot))
        self.count += other.count - len(blamed)
        self._reasons += other._reasons - Counter(fault.reason for fault in blamed)

    def since(self, count: int) -> dict[int, Fault]:
        """The last fault of every slot that had one after the first `count` faults."""
        if self.count == count:
            return {}
        return {slot: fault for slot, (number, fault) in self._latest.items() if number >= count}

    @property
    def quarantine(self) -> dict[str, tuple[Fault, ...]]:
        """The last faults of every quarantined task, by task id."""
        return {name: tuple(faults) for name, faults in self._blamed.items() if len(faults) >= self.strikes}

    def quarantined(self, task_id: str) -> bool:
        """Whether the task has had its strikes."""
        return len(self._blamed.get(task_id, ())) >= self.strikes

    def state_dict(self) -> dict[str, Any]:
        """Counts, and the faults that tasks are blamed for, as JSON values and arrays."""
        blamed = {
            name: {
                "task": faults[0].task.to_json(),
                "faults": [{"slot": x.slot, "step": x.step, "reason": x.reason, "state": x.state} for x in faults],
            }
            for name, faults in self._blamed.items()
        }
        return {"count": self.count, "reasons": dict(self._reasons), "blamed": blamed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.count, self.last, self._latest = int(state["count"]), None, {}
        self._reasons = Counter(state["reasons"])
        self._blamed = {}
        for name, known in state["blamed"].items():
            task = TaskSpec.from_json(known["task"])
            self._blamed[name] = [
                Fault(x["slot"], task, x["step"], x["reason"], blame=True, state=np.asarray(x["state"]))
                for x in known["faults"]
            ]

    def write(self, directory: Path) -> list[Path]:
        """Write every quarantined task: `<id>.json` (the task, reasons and steps) and `<id>.npy` (states [strikes, D]).

        Returns the JSON files.
        """
        directory.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for name, faults in self.quarantine.items():
            states = BytesIO()
            np.save(states, np.stack([fault.state for fault in faults]), allow_pickle=False)
            write_atomically(directory / f"{name}.npy", states.getvalue())
            content = {
                "task": json.loads(faults[0].task.to_json()),
                "faults": [{"reason": fault.reason, "step": fault.step, "slot": fault.slot} for fault in faults],
            }
            path = directory / f"{name}.json"
            write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
            written.append(path)
        return written


@runtime_checkable
class Faulting(Protocol):
    """A `TaskBatch` that can fault."""

    faults: FaultLog
