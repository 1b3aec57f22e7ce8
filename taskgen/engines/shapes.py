"""Whether what a robot gives is an array with a row for each slot: NumPy would repeat one row without a word."""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from registry.errors import brief
from taskgen.borders import broken
from taskgen.family import TaskFamily

Array: TypeAlias = NDArray[Any]


def array(family: TaskFamily[Any], call: str, value: object, shape: tuple[int, ...] | None, rows: int) -> Array:
    """`value` that `call` of a robot of `family` gave, [rows, *shape]. Raises `PluginError` for any other.

    Without `shape` the first axis alone is looked at.
    """
    expected = f"an array {[rows, *(('...',) if shape is None else shape)]} of numbers".replace("'", "")
    if not isinstance(value, np.ndarray):
        raise broken(family, call, f"{brief(value)}, a {type(value).__name__}", expected)
    found = cast(Array, value)
    fits = found.shape[:1] == (rows,) if shape is None else found.shape == (rows, *shape)
    if not fits or found.dtype.kind not in "fiub":
        raise broken(family, call, f"an array {list(found.shape)} of {found.dtype}", expected)
    return found


def arrays(family: TaskFamily[Any], call: str, value: object, rows: int) -> dict[str, Array]:
    """`value` that `call` gave, arrays [rows, ...] by name. Raises `PluginError` for anything else."""
    if not isinstance(value, Mapping):
        raise broken(family, call, f"{brief(value)}, a {type(value).__name__}", "a dict of arrays by name")
    named = cast("Mapping[Any, object]", value)
    return {name: array(family, f"{call}, {name},", each, None, rows) for name, each in named.items()}


def pair(family: TaskFamily[Any], call: str, value: object, what: str) -> tuple[Any, Any]:
    """`value` that `call` gave, two of `what`. Raises `PluginError` for anything else."""
    found = cast("tuple[Any, ...]", value)
    if not isinstance(value, tuple) or len(found) != 2:
        raise broken(family, call, f"{brief(found)}, a {type(found).__name__}", f"two values: {what}")
    return found[0], found[1]
