"""What parts may have beside what they must, looked at whoever calls it: what each hook is to give, in one table.

`watched` puts itself before the hooks of a plugin's part. Those of built-in parts are left as they are: tests and the
conformance kit look at them.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from registry.errors import brief
from taskgen.borders import border, broken, is_foreign
from taskgen.family import Goal
from taskgen.record import Record
from taskgen.source import Elites, Length
from taskgen.spec import TaskSpec
from taskgen.split import Split

P = TypeVar("P", bound=object)


class Hook(NamedTuple):
    """What a hook is to give."""

    expected: str
    """In words."""
    fits: Callable[[Any], bool]
    """Whether a value is that."""


def _all(kinds: type | tuple[type, ...], values: Any) -> bool:
    """Whether `values` are a list or tuple of nothing but `kinds`."""
    return isinstance(values, list | tuple) and all(isinstance(one, kinds) for one in cast("list[Any]", values))


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(cast(float, value))


def _are_numbers(value: Any) -> bool:
    numbers = cast("Mapping[Any, Any]", value)
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(numbers[name], int | float | np.number) for name in numbers
    )


def _is_picture(value: Any) -> bool:
    array = cast("np.ndarray[Any, Any]", value)
    return isinstance(value, np.ndarray) and array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3


def _is_shown(value: Any) -> bool:
    return isinstance(value, str) or _is_picture(value)


def _are_features(value: Any) -> bool:
    array = cast("np.ndarray[Any, Any]", value)
    known = isinstance(value, np.ndarray) and array.ndim == 1 and array.dtype == np.float64
    return known and bool(np.isfinite(array).all())


def _are_ranges(value: Any) -> bool:
    ranges = cast("Mapping[Any, Any]", value)
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _all((int, float), ranges[name]) and len(ranges[name]) == 2 for name in ranges
    )


def _is_design(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("placements", "action_space", "blank", "place", "observe", "context"))


def _are_highlights(value: Any) -> bool:
    titled = cast("Mapping[Any, Any]", value)
    return isinstance(value, Mapping) and all(_all(TaskSpec, titled[title]) for title in titled)


def _are_elites(value: Any) -> bool:
    titled = cast("Mapping[Any, Any]", value)
    return isinstance(value, Mapping) and all(isinstance(titled[title], Elites) for title in titled)


def _are_names(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str) and _all(str, list(cast("Iterable[Any]", value)))


_PICTURE, _NUMBER, _NUMBERS = "an array [height, width, 3] uint8", "a finite number", "a dict of numbers by name"
METHODS: dict[str, Hook] = {
    "validate": Hook("None: it raises a TaskError for what cannot be", _is(type(None))),
    "render": Hook(f"{_PICTURE}, or a text", _is_shown),
    "frame": Hook(_PICTURE, _is_picture),
    "mutate": Hook("a dict of knobs", _is(Mapping)),
    "descriptor": Hook("an array [D] float64 of finite numbers", _are_features),
    "measure": Hook("an array [M] float64 of finite numbers", _are_features),
    "goal": Hook("a Goal", _is(Goal)),
    "figures": Hook(_NUMBERS, _are_numbers),
    "design": Hook("a Design", _is_design),
    "optimal_return": Hook(_NUMBER, _is_number),
    "learns_from": Hook("a list of bools, one for each of the tasks", partial(_all, (bool, np.bool_))),
    "metrics": Hook(_NUMBERS, _are_numbers),
    "highlights": Hook("a dict of lists of TaskSpec by title", _are_highlights),
    "elites": Hook("a dict of Elites by title", _are_elites),
    "updates": Hook("a whole number", _is(int, np.integer)),
    "lineage": Hook("a list of Record", partial(_all, Record)),
}
"""Of families, sources and curricula, by name."""
VALUES: dict[str, Hook] = {
    "cue": Hook("a tuple of numbers of entries", partial(_all, int)),
    "split": Hook("a Split or None", _is(Split, type(None))),
    "solved_return": Hook(_NUMBER, _is_number),
    "measures": Hook("a dict of (low, high) by name", _are_ranges),
    "scores": Hook("names of scores", _are_names),
    "length": Hook("a Length", _is(Length)),
}
"""What is no method."""


def watched(part: P) -> P:
    """`part`, whose hooks are looked at from now on if it is a plugin's.

    They raise `PluginError` for what they should not give, and for what their code raises. Raises it for a value, such
    as `cue`, of a wrong kind.
    """
    if not is_foreign(part):
        return part
    for name, hook in VALUES.items():
        with border(part, name):
            value = getattr(part, name, hook)
        if value is not hook and not hook.fits(value):
            raise broken(part, name, f"{brief(value)}, a {type(value).__name__}", hook.expected)
    own: dict[str, Any] = getattr(part, "__dict__", {})
    own.update({name: partial(_called, part, name) for name in METHODS if hasattr(type(part), name)})
    return part


def _called(part: Any, name: str, *arguments: Any, **named: Any) -> Any:
    """The method `name` of the class of `part`, and whether what it gives fits."""
    kind, hook = cast("type[Any]", type(part)), METHODS[name]
    method = inspect.getattr_static(kind, name).__get__(part, kind)
    with border(part, name):
        value = method(*arguments, **named)
    if not hook.fits(value) or (name == "learns_from" and len(value) != len(arguments[0])):
        shape = f" {list(value.shape)} {value.dtype}" if hasattr(value, "dtype") else ""
        raise broken(part, name, f"{brief(value)}, a {type(value).__name__}{shape}", hook.expected)
    return value
