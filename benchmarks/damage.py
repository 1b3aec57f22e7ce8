"""What trying damage shares: how a command is run, what it may do, and the count of what became of the tries."""

import contextlib
import io
import logging
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, TypeVar
from unittest import mock

from agents.reports import belief_report, curriculum_report, figures, learning_report, report
from registry.cli import main as taskgen
from registry.errors import UserError

T = TypeVar("T")
PATIENCE = 300.0
"""Seconds after which a command counts as waiting for ever."""


class WaitedError(BaseException):
    """A command was not over after `PATIENCE`."""


@dataclass
class Said:
    """What a command did."""

    code: int
    out: str
    error: str
    broke: str = ""
    """An exception that escaped, or that it waited."""


@dataclass
class Found:
    """What became of the tries of a part; descriptions of those that were not right."""

    tried: int = 0
    silent: list[str] = field(default_factory=list[str])
    traceback: list[str] = field(default_factory=list[str])
    wait: list[str] = field(default_factory=list[str])

    @property
    def right(self) -> int:
        """Tries that were told or changed nothing."""
        return self.tried - len(self.silent) - len(self.traceback) - len(self.wait)

    def enter(self, what: str, said: Sequence[Said], *, right: bool) -> None:
        """One try, `what` it was, what its commands said, and whether that is right if none of them broke."""
        self.tried += 1
        broken = [one.broke for one in said if one.broke]
        if any(broke == "waits" for broke in broken):
            self.wait.append(what)
        elif broken:
            self.traceback.append(f"{what}: {broken[0]}")
        elif not right:
            self.silent.append(what)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Raise `WaitedError` in here when so many seconds are over."""

    def over(*_: object) -> None:
        raise WaitedError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def say(*arguments: object) -> Said:
    """Run `taskgen` in this process."""
    out, error = io.StringIO(), io.StringIO()
    log = logging.StreamHandler(error)
    logging.getLogger().addHandler(log)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), patience(PATIENCE):
            code = taskgen([str(argument) for argument in arguments])
    except WaitedError:
        return Said(-1, out.getvalue(), error.getvalue(), "waits")
    except Exception as raised:  # noqa: BLE001 - which is what is counted
        return Said(-1, out.getvalue(), error.getvalue(), f"{type(raised).__name__}: {raised}"[:200])
    finally:
        logging.getLogger().removeHandler(log)
    return Said(code, out.getvalue(), error.getvalue(), "traceback" if "Traceback" in error.getvalue() else "")


def outcome(call: Callable[[], T]) -> tuple[Said, T | None]:
    """What `call` gives, or how it refuses."""
    try:
        with patience(PATIENCE):
            return Said(0, "", ""), call()
    except UserError as error:
        return Said(error.exit_code, "", str(error)), None
    except WaitedError:
        return Said(-1, "", "", "waits"), None
    except Exception as raised:  # noqa: BLE001 - which is what is counted
        return Said(-1, "", "", f"{type(raised).__name__}: {raised}"[:200]), None


@contextmanager
def drawn_once() -> Iterator[None]:
    """In here a figure of the same data is drawn once, which is most of a report's time.

    What is kept is what drawing gave for equal arguments; a figure of other data is drawn.
    """
    with contextlib.ExitStack() as stack:
        for module in (belief_report, curriculum_report, learning_report, report):
            for name, value in vars(module).items():
                if isinstance(value, FunctionType) and value.__module__ == figures.__name__ and "_figure" in name:
                    stack.enter_context(mock.patch.object(module, name, _remembering(value)))
        yield


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[bytes, Any] = {}

    def remembered(*arguments: Any, **named: Any) -> Any:
        key = pickle.dumps((arguments, named))
        if key not in known:
            known[key] = function(*arguments, **named)
        return known[key]

    return remembered
