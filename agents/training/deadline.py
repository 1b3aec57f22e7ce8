"""The deadline of a step: a world that hangs is told by name, and does not keep a run waiting for ever.

A thread looks every second at how long the call of the batch that is being made has taken (`collect` notes it). After a
minute it says where the call stands. After the deadline the run ends with a `PluginError`; where the call is in code
that cannot be interrupted, the process ends with that message. A call that does not even let other threads run is ended
by the interpreter's own watchdog, with the place alone.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO, cast

from registry.errors import PluginError
from taskgen.interaction.collect import CALL

SILENCE = 60.0
"""Seconds of a call after which it is told, and after which it is told again."""
GRACE = 10.0
"""Seconds for the call to be interrupted."""
DEAF = 60.0
"""Seconds beyond that after which the interpreter ends a process whose threads cannot run."""
_LOOK = 1.0
_SIGNAL = signal.SIGRTMIN + 6
"""One that nobody else uses: alarms are other people's."""


@contextmanager
def bounded(deadline: float, family: str, say: Callable[[str], None]) -> Iterator[None]:
    """While it lasts a call of a batch of `family` may take `deadline` seconds (0: any), and silence is told to `say`.

    Raises `PluginError` in the main thread where one takes longer; other threads are told alone.
    """
    interrupts = deadline > 0 and threading.current_thread() is threading.main_thread()
    guard = _Guard(deadline if interrupts else 0.0, family, say)
    before = signal.signal(_SIGNAL, guard.interrupt) if interrupts else None
    guard.postpone()  # before anything can keep the thread from it
    guard.start()
    try:
        yield
    finally:
        guard.over.set()
        guard.join()
        if interrupts:
            signal.signal(_SIGNAL, before)


class _Guard(threading.Thread):
    def __init__(self, deadline: float, family: str, say: Callable[[str], None]) -> None:
        super().__init__(name="deadline", daemon=True)
        self.over = threading.Event()
        self._deadline, self._family, self._say = deadline, family, say
        self._watched = threading.get_ident()
        self._told = 0.0
        self._message = ""
        self._overdue: float | None = None
        """Since when."""

    def postpone(self) -> None:
        """Put off the interpreter's own watchdog; where there is nothing that it could write to, do without."""
        if self._deadline:
            with suppress(AttributeError, OSError, ValueError):
                seconds = self._deadline + GRACE + DEAF
                faulthandler.dump_traceback_later(seconds, exit=True, file=cast(TextIO, sys.__stderr__))

    def run(self) -> None:
        look = min(_LOOK, SILENCE / 2, self._deadline / 4 or _LOOK)
        try:
            while not self.over.wait(look):
                self.postpone()
                self._look(CALL.seconds())
        finally:
            if self._deadline:
                faulthandler.cancel_dump_traceback_later()

    def _look(self, seconds: float) -> None:
        if seconds < SILENCE:
            self._told = 0.0
        elif seconds >= self._told + SILENCE:
            self._told = seconds
            self._say(f"no step for {seconds:.0f} s: {self._family} stands in {self._place()}")
        if not self._deadline or seconds < self._deadline:
            self._overdue = None
        elif self._overdue is None:
            self._overdue = time.monotonic()
            self._message = (
                f"{self._family}: a call of its batch has not returned for {seconds:.0f} s (training.deadline): it "
                f"stands in {self._place()}. Go on from the newest checkpoint with --resume when that is mended; or "
                "set training.deadline higher (0: none)"
            )
            signal.pthread_kill(self._watched, _SIGNAL)
        elif time.monotonic() - self._overdue > GRACE:
            sys.stderr.write(f"error: {self._message}\n")
            sys.stderr.flush()
            os._exit(PluginError.exit_code)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler, in the main thread."""
        del number, frame
        if CALL.seconds() >= self._deadline:  # else it has just returned
            raise PluginError(self._message)

    def _place(self) -> str:
        """The innermost line of the watched thread."""
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the one way to look at another thread
        return "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}, {frame.f_code.co_name}()"
