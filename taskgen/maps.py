"""Where evaluations are computed: in this process, in worker processes, or by Ray; the results are the same.

toolbox.register("map", settings.open_map())    # DEAP's `toolbox.map(evaluate, individuals)`

A unit of work is a function that can be imported and plain arguments that pickle; it must be a function of them alone,
because it is done again where its worker died or hung. What a unit raises, and the second death or hang of its worker,
stands in the results as `Failed`, in its place; the other units go on. Every unit computes with one thread.
Workers that die while they wait or start are replaced.

Longer than most files here: crews of processes and of Ray share all but how their workers begin and end.
"""

import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast

from pydantic import Field

from registry.config import INCIDENTAL, Config
from registry.errors import UserError

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

Unit: TypeAlias = tuple[Any, ...]
"""The arguments of one call."""

START = 300.0
"""Seconds in which a worker must have started."""
TICK = 1.0
"""Seconds between two calls of a crew's `tick` at most."""
ATTEMPTS = 2
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TASKGEN_THREADS")


@dataclass(frozen=True)
class Failed:
    """What stands in the results for a unit that gave none."""

    reason: str
    trace: str = field(default="", compare=False)
    """Where it raised; empty where its worker died or hung."""


class Map(Protocol):
    """As the built-in `map`, but complete: a list in the order of the arguments."""

    def __call__(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> list[Any]:
        """The result of every unit, or `Failed`. Raises `UserError` when no worker can be started."""
        ...

    def close(self) -> None:
        """Let go of the workers; the map can be used again and starts new ones."""
        ...


class MapConfig(Config):
    """Settings that runners inherit: where their evaluations are computed."""

    map: Literal["serial", "processes", "ray"] = Field(
        "serial",
        description="Where evaluations are computed: in this process, in processes of this machine, by Ray.",
        json_schema_extra=INCIDENTAL,
    )
    workers: int = Field(
        0,
        ge=0,
        description="Worker processes; 0: one for every CPU of the machine, or Ray's cluster.",
        json_schema_extra=INCIDENTAL,
    )
    deadline: float = Field(
        3600.0,
        gt=0,
        description="Seconds after which a worker that is not done counts as hung.",
        json_schema_extra=INCIDENTAL,
    )
    address: str = Field(
        "",
        description="Address of a running Ray cluster; empty: Ray on this machine alone.",
        json_schema_extra=INCIDENTAL,
    )

    def open_map(self) -> Map:
        """The map, without workers yet. Raises `UserError` for Ray where it is not installed."""
        if self.map == "serial":
            return Serial()
        if self.map == "processes":
            return Processes(self.workers, self.deadline)
        return OnRay(self.workers, self.deadline, self.address)


class Serial:
    """One unit after another in this process: nothing protects it from a unit that dies or hangs."""

    def __call__(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> list[Any]:
        """See `Map`."""
        with _one_thread():
            return [_call(function, unit) for unit in zip(*iterables, strict=True)]

    def close(self) -> None:
        """There are no workers."""


class Worker(ABC):
    """Computes one unit at a time, somewhere else."""

    died: tuple[type[Exception], ...]
    """What the futures of a worker that died raise, or whose result died with its machine."""

    def __init__(self, ready: "Future[Any]") -> None:
        self.ready = ready
        """Done when it has started."""
        self.hired = time.monotonic()

    @abstractmethod
    def submit(self, function: Callable[..., Any], unit: Unit) -> "Future[Any]":
        """Begin `function(*unit)`."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker, whatever it is doing."""


@dataclass
class _Job:
    """A unit in the hands of a worker."""

    worker: Worker
    index: int
    attempt: int
    since: float = field(default_factory=time.monotonic)


class Crew(ABC):
    """A map over workers. A worker that died or hung is replaced and its unit done again, once, by another one."""

    def __init__(self, workers: int, deadline: float) -> None:
        self.workers = workers
        self.deadline = deadline
        self._starting: list[Worker] = []
        self._idle: list[Worker] = []
        self._stillborn = 0
        """Workers that have died while they started, since one last did start."""
        self.heard: Callable[[int, Any], None] | None = None
        """Is told the result of every unit, by its place among the arguments, when it comes."""
        self.tick: Callable[[], None] | None = None
        """Is called now and then while units are computed. What these two raise ends the map."""

    @abstractmethod
    def hire(self) -> Worker:
        """A new worker."""

    def __call__(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> list[Any]:
        """See `Map`."""
        units: Sequence[Unit] = list(zip(*iterables, strict=True))
        results: list[Any] = [None] * len(units)
        waiting = deque((index, 1) for index in range(len(units)))
        busy: dict[Future[Any], _Job] = {}
        try:
            while waiting or busy:
                while waiting and self._idle:
                    index, attempt = waiting.popleft()
                    worker = self._idle.pop()
                    busy[worker.submit(function, units[index])] = _Job(worker, index, attempt)
                self._staff(min(len(waiting), self.workers - len(busy)))
                self._wait(busy)
                for future, job in list(busy.items()):
                    loss = self._loss(future, job)
                    if loss is None and not future.done():
                        continue
                    del busy[future]
                    if loss is None:
                        self._idle.append(job.worker)
                        results[job.index] = _result(future)
                    elif job.attempt == ATTEMPTS:
                        results[job.index] = Failed(loss)
                    else:
                        self._dismiss(self._idle)  # which may have died with it, and are no unit's fault
                        waiting.appendleft((job.index, job.attempt + 1))
                        continue
                    if self.heard is not None:
                        self.heard(job.index, results[job.index])
        except BaseException:  # such as an interrupt: nobody waits for what is being computed
            for job in busy.values():
                job.worker.kill()
            raise
        return results

    def close(self) -> None:
        """See `Map`."""
        self._dismiss(self._idle)
        self._dismiss(self._starting)

    def _dismiss(self, workers: list[Worker]) -> None:
        while workers:
            workers.pop().kill()

    def _staff(self, needed: int) -> None:
        """See to it that `needed` workers are on their way."""
        while len(self._starting) < needed:
            self._starting.append(self.hire())

    def _wait(self, busy: "dict[Future[Any], _Job]") -> None:
        """Until a unit is done or overdue, or a worker has started.

        Raises `UserError` for one that does not start, and where more than all have died while they did.
        """
        ends = [job.since + self.deadline for job in busy.values()] + [each.hired + START for each in self._starting]
        left = max(0, min(ends) - time.monotonic())
        left = left if self.tick is None else min(left, TICK)
        wait([*busy, *(each.ready for each in self._starting)], left, FIRST_COMPLETED)
        if self.tick is not None:
            self.tick()
        for worker in list(self._starting):
            if not worker.ready.done():
                if time.monotonic() < worker.hired + START:
                    continue
                raise UserError(f"a worker has not started in {START:g} s: is there a CPU that nobody holds?")
            self._starting.remove(worker)
            error = worker.ready.exception()
            self._stillborn = self._stillborn + 1 if error else 0
            if error is None:
                self._idle.append(worker)
            elif self._stillborn > self.workers:
                self._stillborn = 0
                raise UserError(
                    f"workers die while they start ({error}). Their own messages are above; a script that opens a map "
                    'needs `if __name__ == "__main__":` around what it runs'
                )

    def _loss(self, future: "Future[Any]", job: _Job) -> str | None:
        """What became of a worker that died, or hung and was ended; None where it is well."""
        if not future.done():
            if time.monotonic() < job.since + self.deadline:
                return None
            job.worker.kill()
            return f"not done after {self.deadline:g} s, {ATTEMPTS} times"
        if not isinstance(future.exception(), job.worker.died):
            return None
        job.worker.kill()
        return f"its worker died, {ATTEMPTS} times"


class Processes(Crew):
    """Processes of this machine, started by `spawn`; each is a pool of its own, so that a death has one suspect."""

    def __init__(self, workers: int, deadline: float) -> None:
        super().__init__(workers or os.cpu_count() or 1, deadline)

    def hire(self) -> Worker:
        """A process; it ends with this one."""
        return _Process()


class _Process(Worker):
    died = (BrokenProcessPool,)

    def __init__(self) -> None:
        from taskgen import artefacts

        where = (artefacts.places(),)
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin_process, initargs=where)
        super().__init__(self._pool.submit(os.getpid))
        self._last = self.ready

    def submit(self, function: Callable[..., Any], unit: Unit) -> "Future[Any]":
        try:
            self._last = self._pool.submit(_call_packed, _Packed(pickle.dumps((function, unit))))
        except Exception as error:  # noqa: BLE001 - it died while it was idle, or the arguments do not pickle
            self._last = Future()
            self._last.set_exception(error)
        return self._last

    def kill(self) -> None:
        if not self._last.done() and self.ready.done() and self.ready.exception() is None:
            with suppress(ProcessLookupError):  # it died and was reaped just now
                os.kill(self.ready.result(), signal.SIGKILL)
        self._pool.shutdown(wait=self._last.done(), cancel_futures=True)


class OnRay(Crew):
    """Actors of a Ray cluster, each on one CPU. Machines of a cluster must have the same packages installed."""

    def __init__(self, workers: int, deadline: float, address: str) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise UserError(
                'map = "ray": Ray is not installed. Install it with `pip install "taskgen-metarl[ray]"`, or use '
                "map = processes"
            ) from None
        super().__init__(workers, deadline)
        self._ray: Any = ray
        self._address = address
        self._started = False
        self._actor: Any = None

    def __call__(self, function: Callable[..., Any], *iterables: Iterable[Any]) -> list[Any]:
        """See `Map`."""
        if self._actor is None:
            self._connect()
        return super().__call__(function, *iterables)

    def hire(self) -> Worker:
        """An actor."""
        return _Actor(self._ray, self._actor)

    def close(self) -> None:
        """Let go of the actors, and of Ray where this map has started it."""
        super().close()
        self._actor = None
        if self._started:
            self._ray.shutdown()
            self._started = False

    def _connect(self) -> None:
        if not self._ray.is_initialized():
            here = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
            settings: dict[str, Any] = {"include_dashboard": False, "num_cpus": self.workers or None}
            settings = {"address": self._address} if self._address else {**settings, "runtime_env": here}
            try:
                _knock(self._address)
                self._ray.init(**settings, log_to_driver=False, logging_level="ERROR")
            except (OSError, RuntimeError, ValueError) as error:
                raise UserError(f"no Ray cluster at address = {self._address!r}: {error}") from None
            self._started = True
        self.workers = self.workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._actor = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Hand)


def _knock(address: str) -> None:
    """Raises `OSError` at once where nobody listens at `address`; Ray itself tries for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10.0).close()


class _Actor(Worker):
    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._handle = actor.remote()
        lost = ray.exceptions
        self.died = (lost.RayActorError, lost.OutOfMemoryError, lost.NodeDiedError, lost.ObjectLostError)
        super().__init__(self._handle.ready.remote().future())

    def submit(self, function: Callable[..., Any], unit: Unit) -> "Future[Any]":
        return self._handle.call.remote(function, unit).future()

    def kill(self) -> None:
        self._ray.kill(self._handle)


class _Hand:
    """What runs in a Ray actor."""

    def __init__(self) -> None:
        _compute_alone()

    def ready(self) -> None:
        """Answers once the actor has started."""

    def call(self, function: Callable[..., Any], unit: Unit) -> Any:
        """See `_call`."""
        return _call(function, unit)


def _call(function: Callable[..., Any], unit: Unit) -> Any:
    """The result, or `Failed` with what was raised."""
    try:
        return function(*unit)
    except Exception as error:  # noqa: BLE001 - whatever a unit raises is that unit's failure alone
        return Failed(reason_of(error), traceback.format_exc())


def reason_of(error: Exception) -> str:
    """What went wrong, in one line: errors that are made for the user say it without their class."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


class _Packed(bytes):
    """What goes between processes, pickled here and not by what they are joined by.

    That would hand tensors over as files, for which each process keeps a directory that outlives a kill.
    """


def _call_packed(call: _Packed) -> _Packed:
    """`_call` of what is packed, its result packed."""
    return _Packed(pickle.dumps(_call(*pickle.loads(call))))  # noqa: S301 - from the process that started this one


def _result(future: "Future[Any]") -> Any:
    """The result, or `Failed` where arguments or result do not pickle."""
    error = future.exception()
    if error is None:
        result = future.result()
        return pickle.loads(result) if isinstance(result, _Packed) else result  # noqa: S301 - from a worker of our own
    return Failed(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def _begin_process(places: Sequence[Path]) -> None:
    """In a new worker process: it finds its parent's artefacts, leaves interrupts to it and does not outlive it."""
    from taskgen import artefacts

    artefacts.look_in(places)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _compute_alone()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compute_alone() -> None:
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    _set_torch_threads(1)


def _set_torch_threads(count: int) -> int | None:
    """Set the threads of torch where it is loaded; returns how many there were."""
    torch = cast(Any, sys.modules.get("torch"))
    if torch is None:
        return None
    before = int(torch.get_num_threads())
    torch.set_num_threads(count)
    return before


@contextmanager
def _one_thread() -> Generator[None]:
    """So that sums are added up in the same order as in a worker."""
    before = _set_torch_threads(1)
    try:
        yield
    finally:
        if before is not None:
            _set_torch_threads(before)
