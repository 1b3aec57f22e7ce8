"""Errors made for the person who reads them: what, where, what was allowed, what to do next."""

import difflib
import reprlib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any


class UserError(Exception):
    """A mistake in what was asked for. The command line prints the message alone and exits with `exit_code`."""

    exit_code = 2


class PluginError(UserError):
    """A plugin broke its contract: a faulty entry, a missing target, a wrong return type."""

    exit_code = 3


class TaskError(UserError):
    """A task, task file or archive was refused."""

    exit_code = 4


class CheckpointError(UserError):
    """A checkpoint or run directory was refused; nothing in it was changed."""

    exit_code = 4


class ConfigError(UserError):
    """Every problem of a configuration at once. `problems` holds one sentence each."""

    def __init__(self, problems: Iterable[str], where: str = "configuration") -> None:
        self.problems = tuple(problems)
        self.where = where
        count = len(self.problems)
        title = f"{where}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([title, *(f"  - {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[tuple[str, ...], str]]:
        """For other processes, which would otherwise take the whole message for the problems."""
        return type(self), (self.problems, self.where)


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence that points from a misspelt `name` to the nearest known names, else lists what is known."""
    options = sorted(set(known))
    close = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(match) for match in close)}?"
    if not options:
        return "There is none to choose from."
    shown = ", ".join(options[:12]) + (f", ... ({len(options)} in all)" if len(options) > 12 else "")
    return f"Known: {shown}."


class _Brief(reprlib.Repr):
    """Frozen mappings, as tasks hold them, are shown as what they were made of."""

    def repr_mappingproxy(self, x: MappingProxyType[Any, Any], level: int) -> str:
        """Found by the name of the type."""
        return self.repr_dict(dict(x), level)


_brief = _Brief()


def brief(value: object) -> str:
    """`repr(value)` cut to a readable length, for messages about data of any size."""
    try:
        return _brief.repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits have no repr
        return f"<{type(value).__name__}>"
