"""Borders: what a plugin gives is looked at where it comes in, and what is wrong with it told in one line.

A line says which entry, which part of the contract, what came and what was expected. Of exceptions it says where, in
the plugin's code or in ours, which could not use what it was given; the traceback stays behind it, as its cause. Errors
made for the user pass.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from registry.catalogue import Item
from registry.errors import PluginError, TaskError, UserError, brief
from taskgen.family import TaskFamily
from taskgen.source import TaskSource
from taskgen.space import ContextSpace
from taskgen.spec import TaskSpec

CHECKED = 4
"""Tasks of an ask that are checked against their family, from a source whose first ask was checked as a whole: each
time others, so that every place of an ask has its turn."""


P = TypeVar("P")
_CALL = re.compile(r"\(\) (takes|got|missing) ")  # how Python says that a signature does not take a call
_OURS = ("agents", "plugins", "registry", "taskgen")
FLAGS = ("feedback", "needs_descriptor")
"""What is a bool of the parts that have it."""
VALUES = ("slots", "device", "family", "agent")
"""What is no method either."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a part came from."""

    name: str
    """Full name of its entry."""
    package: str
    """Module, or package, that its entry names."""
    builtin: bool


_ORIGINS: WeakKeyDictionary[object, _Origin] = WeakKeyDictionary()
_ASKS: WeakKeyDictionary[object, int] = WeakKeyDictionary()


def remember(part: object, item: Item) -> None:
    """`part` was built of the entry `item`: what it breaks is told by that name."""
    package = item.entry.target.partition(":")[0].partition(".")[0]
    with suppress(TypeError):  # no hash, or nothing that may refer to it weakly: it goes by its class
        _ORIGINS[part] = _Origin(item.full_name, package, item.provider == "builtin")


def inherit(part: P, other: object) -> P:
    """`part`, which goes by the entry of `other` from now on: a wrapper or a copy of it."""
    origin = _origin(other)
    if origin is not None:
        with suppress(TypeError):
            _ORIGINS[part] = origin
    return part


def name_of(part: object) -> str:
    """The full name of the entry that `part` was built of, or its class."""
    origin = _origin(part)
    return f"{type(part).__module__}.{type(part).__qualname__}" if origin is None else origin.name


def is_foreign(part: object) -> bool:
    """Whether `part` is known to be a plugin's, not one of those built in."""
    origin = _origin(part)
    return origin is not None and not origin.builtin


def _origin(part: object) -> _Origin | None:
    try:
        return _ORIGINS.get(part)
    except TypeError:
        return None


class border:  # noqa: N801 (it is used as a statement)
    """`with border(part, "ask(4)"):` what the code of `part` raises there becomes a `PluginError` of one line.

    So does a call that its signature does not take, and what our own code raises at what the part gave it. Errors made
    for users pass.
    """

    __slots__ = ("_call", "_part")

    def __init__(self, part: object, call: str) -> None:
        self._part = part
        self._call = call

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, UserError):
            return
        origin = _origin(self._part)
        if origin is None or origin.builtin:
            return
        place = place_of(error, origin.package, trace)
        raise PluginError(f"{origin.name}: {self._call} raised {_told(error)}{place}") from error


def broken(part: object, call: str, came: str, expected: str) -> PluginError:
    """The error to raise where `part` gave something else than its contract says."""
    return PluginError(f"{name_of(part)}: {call} gave {came}, expected {expected}")


def refuse_incomplete(part: object, methods: Sequence[str], *, contract: str, name: str) -> None:
    """Raise `PluginError`, naming what is missing, unless `part` has all `methods` that the `contract` names."""
    missing = [method for method in methods if not hasattr(part, method)]
    if missing:
        raise PluginError(f"{name}: {type(part).__qualname__} has no {', no '.join(missing)}, which a {contract} has")
    for method in methods:
        found = getattr(part, method)
        if method in FLAGS and not isinstance(found, bool):
            raise PluginError(f"{name}: {method} is {brief(found)}, a {type(found).__name__}, expected a bool")
        if method not in (*FLAGS, *VALUES) and not callable(found):
            raise PluginError(f"{name}: {method} is {brief(found)}, a {type(found).__name__}, expected a method")


def refuse_unfinished(family: TaskFamily[Any]) -> None:
    """Raise `PluginError` for a family that does not say what it must: spaces, horizon, knobs."""
    for field in ("observation_space", "action_space", "horizon"):
        if not hasattr(family, field):
            raise PluginError(f"{family.name}: {type(family).__qualname__} sets no {field}, which a TaskFamily has")
    horizon = cast(object, family.horizon)
    if not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1:
        raise PluginError(f"{family.name}: horizon is {brief(horizon)}, expected a whole number of steps, 1 or more")
    with border(family, "context_space"):
        space = cast(object, family.context_space)
    if not isinstance(space, ContextSpace):
        raise broken(family, "context_space", f"{brief(space)}, a {type(space).__name__}", "a ContextSpace")


def asked(source: TaskSource, n: int, family: TaskFamily[Any] | None = None) -> list[TaskSpec]:
    """`source.ask(n)`: exactly `n` tasks, those of `family` valid in it where it is given.

    The first ask of a source is checked as a whole, later ones in `CHECKED` tasks each, other ones every time: where
    tasks are short to play, checking all would be felt. Raises `PluginError` with what came, and whatever of the user's
    errors the source raises.
    """
    with border(source, f"ask({n})"):
        found: Any = source.ask(n)
    call, expected = f"ask({n})", f"a list of {n} TaskSpec"
    if not isinstance(found, list | tuple):
        raise broken(source, call, f"{brief(found)}, a {type(found).__name__}", expected)
    specs = list(cast("Sequence[Any]", found))
    if len(specs) != n:
        raise broken(source, call, f"{len(specs)} tasks", f"exactly {n}")
    for number, spec in enumerate(specs):
        if not isinstance(spec, TaskSpec):
            raise broken(source, call, f"{brief(spec)}, a {type(spec).__name__}, as task {number}", expected)
    if family is not None:
        _check_tasks(source, specs, family, call)
    return specs


def told(source: TaskSource, results: Sequence[Any]) -> None:
    """`source.tell(results)`."""
    with border(source, f"tell of {len(results)} results"):
        source.tell(results)


def _check_tasks(source: TaskSource, specs: Sequence[TaskSpec], family: TaskFamily[Any], call: str) -> None:
    asks = _asks(source)
    step = max(1, len(specs) // CHECKED) if asks else 1
    number = 0
    try:
        with border(family, "check"):
            for number in range(asks % step, len(specs), step):
                family.check(specs[number])
    except TaskError as error:
        raise broken(source, call, f"a task that is not valid, number {number} ({error})", "valid tasks") from error


def _asks(source: TaskSource) -> int:
    """How often the source was asked before; 0 of one that cannot be told from others."""
    try:
        before = _ASKS.get(source, 0)
        _ASKS[source] = before + 1
    except TypeError:
        return 0
    return before


def checked_metrics(part: object, call: str, metrics: object) -> dict[str, float]:
    """`metrics`, numbers by name. Raises `PluginError` for anything else."""
    if not isinstance(metrics, Mapping):
        raise broken(part, call, f"{brief(metrics)}, a {type(metrics).__name__}", "a dict of numbers by name")
    for name, value in cast("Mapping[Any, Any]", metrics).items():
        if not isinstance(name, str):
            raise broken(part, call, f"the key {brief(name)}", "names that are strings")
        if not isinstance(value, int | float):
            raise broken(part, call, f"{name} = {brief(value)}, a {type(value).__name__}", "numbers: say float(...)")
    return dict(cast("Mapping[str, float]", metrics))


def state_of(part: Any) -> dict[str, Any]:
    """`part.state_dict()`. Raises `PluginError` unless it is a dict, of what can be stored where it is a plugin's."""
    with border(part, "state_dict"):
        state: object = part.state_dict()
    if not isinstance(state, dict):
        raise broken(part, "state_dict", f"{brief(state)}, a {type(state).__name__}", "a dict")
    if is_foreign(part):  # here and not where it is stored, as a runner's state holds those of its agents
        with border(part, "state_dict"):
            _refuse_unstorable(part, cast(object, state), "")
    return cast("dict[str, Any]", state)


def _refuse_unstorable(part: object, value: object, place: str) -> None:
    inner: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        inner = cast("Mapping[Any, Any]", value)
    elif isinstance(value, list | tuple):
        inner = dict(enumerate(cast("Sequence[Any]", value)))
    elif not (value is None or isinstance(value, str | int | float) or hasattr(value, "dtype")):
        came = f"{place} = {brief(value)}, a {type(value).__name__}"
        raise broken(part, "state_dict", came, "tensors, arrays and JSON values, in dicts, lists and tuples")
    for key in inner:
        _refuse_unstorable(part, inner[key], f"{place}/{key}")


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def place_of(error: Exception, package: str, trace: TracebackType | None) -> str:
    """Where an error came up, in words: in the plugin's code, or where the platform was given what it cannot use.

    Empty for a call that the plugin did not take.
    """
    frames = list(walk_tb(trace))
    own = [(frame, line) for frame, line in frames if _module(frame).partition(".")[0] == package]
    if not own and (len(frames) == 1 or (isinstance(error, TypeError) and _CALL.search(str(error)) is not None)):
        return ""
    known = [(frame, line) for frame, line in frames[1:] if _module(frame).partition(".")[0] in _OURS]
    frame, line = (own or known or frames)[-1]
    return f" ({Path(frame.f_code.co_filename).name}, line {line})"


def _module(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", ""))
