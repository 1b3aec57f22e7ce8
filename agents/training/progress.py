"""What training and evaluations show of how far they are, and how they are asked to stop."""

import signal
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, Self

import typer

_LINE_SECONDS = 15.0
"""Without a terminal, a progress line this often."""


class Progress:
    """A bar on a terminal, a line now and then in a log; turns Ctrl-C and SIGTERM into a request to stop.

    What `stopping` names is what stops on request: training after an iteration, an evaluation before its next step.
    Of an evaluation all is shown on standard error, so that what it prints is its result alone.
    """

    def __init__(self, *, quiet: bool = False, stopping: str = "after this iteration") -> None:
        self._quiet = quiet
        self._stopping = stopping
        self._errors = stopping != "after this iteration"
        self._stop = False
        self._bar: Any = None
        self._last_line = time.monotonic()
        self._began = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> Self:
        self._old = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if self._bar is not None:
            self._bar.stop()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True
        if self._quiet:
            return
        typer.echo(f"\nStopping {self._stopping}; once more to stop at once.", err=True)

    def stop_requested(self) -> bool:
        """Whether someone pressed Ctrl-C or sent SIGTERM."""
        return self._stop

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._quiet:
            return
        if self._bar is None:
            typer.echo(text, err=self._errors)
        else:
            self._bar.console.print(text, highlight=False)

    def iteration(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Advance."""
        if self._quiet:
            return
        earned = metrics.get("meta/trial_return")  # none where a runner could play nothing
        figures = ("" if earned is None else f"trial return {earned:.3f}, ") + f"{metrics['charts/SPS']:,.0f} steps/s"
        if sys.stdout.isatty():
            self._advance_bar(done, total, figures)
            return
        self._first = done - 1 if self._first is None else self._first
        now = time.monotonic()
        if now - self._last_line >= _LINE_SECONDS or done == total:
            self._last_line = now
            left = (now - self._began) / (done - self._first) * (total - done)
            typer.echo(f"iteration {done}/{total}: {figures}, {left:.0f} s left")

    def played(self, share: float, what: str) -> None:
        """So much of an evaluation, or of what else it is about, from 0 to 1, is over; `what` plays now."""
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if now - self._last_line < (0.1 if terminal else _LINE_SECONDS):
            return
        self._last_line = now
        if terminal:
            self._advance_bar(share * 100, 100, f"%, {what}")
        else:
            typer.echo(f"{share:.0%} of {self._stopping}: {what}, {self._left(share):.0f} s left", err=True)

    def _left(self, share: float) -> float:
        return (time.monotonic() - self._began) * (1 - share) / max(share, 1e-9)

    def _advance_bar(self, done: float, total: int, figures: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            count = "{task.completed:.0f}" + ("" if self._errors else "/{task.total:.0f}")
            columns = (TextColumn(count), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=self._errors), transient=self._errors)
            self._bar.start()
            self._task = self._bar.add_task(figures, total=total, completed=done)
        self._bar.update(self._task, completed=done, total=total, description=figures)
