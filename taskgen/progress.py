"""Progress of long work: a bar with rate and time left on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")
_EVERY = 10.0  # seconds between plain lines


def track(items: Iterable[T], total: int, what: str, *, stream: TextIO | None = None) -> Iterator[T]:
    """`items`, one by one, while progress towards `total` of `what` is shown on `stream` (standard error)."""
    shown = sys.stderr if stream is None else stream
    return _bar(items, total, what, shown) if shown.isatty() else _lines(items, total, what, shown)


def _bar(items: Iterable[T], total: int, what: str, stream: TextIO) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(what, total=total, rate="")
        start = shown = time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - shown > 0.1 or done == total:
                shown = now
                progress.update(task, completed=done, rate=f"{done / max(now - start, 1e-9):,.0f}/s")


def _lines(items: Iterable[T], total: int, what: str, stream: TextIO) -> Iterator[T]:
    start = shown = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown >= _EVERY:
            shown = now
            rate = done / (now - start)
            left = (total - done) / rate
            stream.write(f"{done:,} of {total:,} {what}, {rate:,.0f}/s, {left:,.0f} s left\n")
            stream.flush()
