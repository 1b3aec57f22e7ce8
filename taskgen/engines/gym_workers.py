"""Environments of others in worker processes with deadlines: one that hangs or dies costs an episode, not the run.

The slots are spread over the workers, each of which hosts several. A worker says by shared memory which environment it
is in and since when, so that whoever waits knows which one hangs; it is then ended, and another one hired. Episodes of
the slots that shared it are lost with it, and their tasks not blamed.
"""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from mmap import mmap
from multiprocessing.connection import Connection, Pipe, wait
from struct import Struct
from typing import Any, cast

import gymnasium as gym

from registry.errors import UserError
from taskgen.engines.gym_env import Description, Host
from taskgen.engines.gym_reading import Failure, Outcome, Reader
from taskgen.engines.gym_recipe import Numbers, Recipe
from taskgen.maps import START
from taskgen.spaces import Array

_NOBODY = -1
_STILLBORN = 3
"""Workers that may die in a row while they start."""
_ENVIRONMENTS = "taskgen.engines.gym_env"
_BEAT = Struct("dd")
_PROGRAM = (
    "import sys; from taskgen.engines.gym_workers import serve; "
    "import warnings; warnings.simplefilter('ignore'); serve(*map(int, sys.argv[1:]))"
)


class LostError(Exception):
    """A worker died, or hung and was ended."""


class Crew:
    """The `Host` of slots that live in `workers` processes; an environment has `deadline` seconds for every call."""

    def __init__(
        self,
        recipe: Recipe,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        workers: int,
        deadline: float,
    ) -> None:
        self._made_of = (recipe, observation_space, action_space)
        self._read = Reader(observation_space)
        self._workers = [Worker(deadline) for _ in range(workers)]
        self._numbers: dict[int, Numbers] = {}
        for worker in self._workers:
            worker.begin("host", *self._made_of)

    def give(self, slots: Sequence[int], numbers: Sequence[Numbers]) -> None:
        """See `Host.give`."""
        self._numbers.update(zip(slots, numbers, strict=True))
        for worker, places in self._spread(slots):
            worker.begin("give", [slots[place] for place in places], [numbers[place] for place in places])

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> Outcome:
        """See `Host.reset`."""
        return self._all("reset", slots, lambda places: [seeds[place] for place in places])

    def step(self, slots: Sequence[int], actions: Array) -> Outcome:
        """See `Host.step`."""
        return self._all("step", slots, lambda places: actions[places])

    def posture(self, slot: int) -> Any:
        """See `Host.posture`."""
        return self._workers[slot % len(self._workers)].ask("posture", slot)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.end()

    def _spread(self, slots: Sequence[int]) -> "list[tuple[Worker, list[int]]]":
        """The workers that are needed, each with the places in `slots` of those that it hosts."""
        count = len(self._workers)
        found = [(worker, list[int]()) for worker in self._workers]
        for place, slot in enumerate(slots):
            found[slot % count][1].append(place)
        return [(worker, places) for worker, places in found if places]

    def _all(self, call: str, slots: Sequence[int], of: Callable[[list[int]], Any]) -> Outcome:
        """`call` in all workers at once, its second argument for a worker's places told by `of`."""
        outcome = Outcome.of(len(slots), self._read)
        busy = self._spread(slots)
        for worker, places in busy:
            worker.begin(call, [slots[place] for place in places], of(places))
        for worker, places in busy:
            try:
                part = cast(Outcome, worker.finish())
            except LostError as lost:
                culprit = worker.current
                outcome.failures |= {
                    place: Failure(f"{call}: {lost}")
                    if slots[place] == culprit
                    else Failure(f"the process that it shares with another environment was lost ({lost})", blame=False)
                    for place in places
                }
                self._rehire(worker)
                continue
            for name in ("observation", "reward", "terminated", "truncated", "success"):
                getattr(outcome, name)[places] = getattr(part, name)
            outcome.failures |= {places[place]: failure for place, failure in part.failures.items()}
        return outcome

    def _rehire(self, worker: "Worker") -> None:
        worker.start()
        worker.begin("host", *self._made_of)
        count, number = len(self._workers), self._workers.index(worker)
        slots = [slot for slot in self._numbers if slot % count == number]
        worker.begin("give", slots, [self._numbers[slot] for slot in slots])


class Worker:
    """A process that hosts environments. `begin` calls one after another; `finish` waits for the last one's answer.

    It is a Python of its own, not a fork, which torch's threads would not survive, nor does it import the main module
    again, so that scripts need no guard for it.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._memory = os.memfd_create("beat")
        os.truncate(self._memory, _BEAT.size)
        self._beat = mmap(self._memory, _BEAT.size)
        """Slot of the environment that it is in, and since when, by the system's monotonic clock."""
        self._alive: list[tuple[subprocess.Popen[bytes], Any]] = []
        weakref.finalize(self, _end, self._alive, self._memory)
        self._starting, self._stillborn = True, 0
        self.start()

    def start(self) -> None:
        """Begin anew. Raises `UserError` where processes die one after another before they have begun."""
        _end(self._alive)
        if self._stillborn >= _STILLBORN:
            raise UserError("workers die while they start; their own messages are above")
        here, there = Pipe()
        self._pulse(_NOBODY)
        handles = (there.fileno(), self._memory)
        process = subprocess.Popen(  # noqa: S603 - a Python of our own
            [sys.executable, "-c", _PROGRAM, *map(str, handles)],
            pass_fds=handles,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what environments print must not end up in anybody's output
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        )
        there.close()
        self._alive.append((process, here))
        self._owed = 1  # it says that it has started
        self._starting, self._stillborn = True, self._stillborn + 1

    @property
    def current(self) -> int:
        """The slot of the environment that it was in last; -1: it was in none."""
        return int(_BEAT.unpack_from(self._beat)[0])

    def begin(self, call: str, *arguments: Any) -> None:
        """Ask for something: a method of the host, `host` itself, or "module:function", which is told a `Beat` too.

        A worker that is dead is told of by `finish`.
        """
        if not self._starting:
            self._pulse(_NOBODY)
        self._owed += 1
        with suppress(OSError):
            self._alive[0][1].send((call, arguments))

    def finish(self) -> Any:
        """The last answer. Raises `LostError` where the process died or hung, and what the call raised."""
        answer: Any = None
        while self._owed:
            answer = self._answer()
            self._owed -= 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def ask(self, call: str, *arguments: Any) -> Any:
        """`begin` and `finish`."""
        self.begin(call, *arguments)
        return self.finish()

    def end(self) -> None:
        """End the process, whatever it is doing."""
        _end(self._alive)

    def _answer(self) -> Any:
        process, connection = self._alive[0]
        while not wait([connection], max(0.0, self._left())):
            if self._left() <= 0.0:  # else it is in another environment by now
                _end(self._alive)
                raise LostError(f"not done after {self._allowed():g} s")
        try:
            answer = connection.recv()
        except (EOFError, OSError):
            died = f"its process died ({_how(process.wait())})"
            _end(self._alive)
            raise LostError(died) from None
        if self._starting:
            self._pulse(_NOBODY)  # what it was asked since then begins now
        self._starting, self._stillborn = False, 0
        return answer

    def _allowed(self) -> float:
        return START if self._starting else self._deadline

    def _left(self) -> float:
        return _BEAT.unpack_from(self._beat)[1] + self._allowed() - time.monotonic()

    def _pulse(self, slot: int) -> None:
        _BEAT.pack_into(self._beat, 0, float(slot), time.monotonic())


def described(
    recipe: Recipe, own: Numbers | None, ends: dict[str, tuple[float, float]], deadline: float
) -> tuple[Description, list[str]]:
    """`gym_env.describe` and `problems` of a recipe, in a process of their own. Raises `UserError` where it is lost."""
    worker = Worker(deadline)
    try:
        description = cast(Description, worker.ask(f"{_ENVIRONMENTS}:describe", recipe))
        if own is None:
            return description, []
        return description, cast("list[str]", worker.ask(f"{_ENVIRONMENTS}:problems", recipe, ends, own))
    except LostError as lost:
        raise UserError(f"{recipe.id}: when it was tried, {lost}") from None
    finally:
        worker.end()


def serve(connection: int, memory: int) -> None:
    """What a worker does: one call after another, until nobody asks any more. Told by the numbers of two open files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    pipe, beat, host = Connection(connection), mmap(memory, _BEAT.size), None

    def feel(slot: int) -> None:
        _BEAT.pack_into(beat, 0, float(slot), time.monotonic())

    pipe.send(None)
    while True:
        try:
            call, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if call == "host":
                arguments[0].import_all()
                host, answer = Host(*arguments, beat=feel), None
            elif ":" in call:
                module, _, function = call.partition(":")
                feel(_NOBODY)
                answer = getattr(importlib.import_module(module), function)(*arguments, beat=feel)
            else:
                answer = getattr(host, call)(*arguments)
        except UserError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - told in the process that asked
            answer = UserError(f"{type(error).__name__}: {error}")
        pipe.send(answer)


def _leave_with(parent: int) -> None:
    """Go when the process `parent`, which started this one, is gone; a hung environment would not notice."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _end(alive: list[tuple[Any, Any]], memory: int | None = None) -> None:
    while alive:
        process, connection = alive.pop()
        connection.close()
        process.kill()
        process.wait()
    if memory is not None:
        os.close(memory)


def _how(code: int) -> str:
    """How a process ended, by the code that `subprocess` gives."""
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
