"""A tree of tensors, arrays and JSON values <-> JSON text and named tensors. Nothing in it can run code.

The tree is nested dicts, lists and tuples. What JSON lacks is marked by a one-key object whose key starts with "$":

| value | JSON |
|---|---|
| tensor | `{"$tensor": "/agent/weight"}`, naming an entry beside the JSON |
| NumPy array | `{"$array": "/source/queue"}` |
| NumPy scalar | `{"$scalar": "/source/best"}`, kept with its dtype |
| tuple | `{"$tuple": [...]}` |
| dict whose keys are not all strings (optimizer states), or hold a "$" key | `{"$items": [[key, value], ...]}` |
| infinity, NaN | `{"$float": "inf"}` |

Equal trees give equal JSON and tensors: dict keys are sorted, so a state must not depend on the order of a dict.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def flatten(tree: Mapping[Any, Any]) -> tuple[Any, dict[str, Tensor]]:
    """The JSON value of `tree` and its tensors by JSON Pointer (RFC 6901), copied to contiguous CPU memory.

    Raises `TypeError` naming the place of a value that cannot be stored.
    """
    tensors: dict[str, Tensor] = {}
    return _encode(dict(tree), "", tensors), tensors


def restore(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that `flatten` took apart; tensors on the CPU. Raises `ValueError` or `KeyError` for anything else."""
    if isinstance(value, list):
        return [restore(item, tensors) for item in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    fields = cast(dict[str, Any], value)
    marks = [key for key in fields if key.startswith("$")]
    if not marks:
        return {key: restore(item, tensors) for key, item in fields.items()}
    if len(fields) != 1 or marks[0] not in _DECODERS:
        raise ValueError(f"unknown mark {marks[0]!r}")
    return _DECODERS[marks[0]](fields[marks[0]], tensors)


def not_finite(value: Any, place: str = "") -> Iterator[str]:
    """The JSON Pointers of the tensors, arrays and numbers in the tree `value` that hold NaN or infinity."""
    if isinstance(value, Mapping | list | tuple):
        fields = (
            cast(Mapping[Any, Any], value) if isinstance(value, Mapping) else dict(enumerate(cast(list[Any], value)))
        )
        for key, item in fields.items():
            yield from not_finite(item, f"{place}/{_escape(str(key))}")
    elif isinstance(value, Tensor):
        if not value.isfinite().all():
            yield place
    elif isinstance(value, float | np.floating | np.ndarray) and not np.isfinite(value).all():
        yield place


_DECODERS: dict[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "$tensor": lambda name, tensors: tensors[name],
    "$array": lambda name, tensors: tensors[name].numpy(),
    "$scalar": lambda name, tensors: tensors[name].numpy()[()],
    "$float": lambda name, _: _SPECIAL[name],
    "$tuple": lambda items, tensors: tuple(restore(item, tensors) for item in items),
    "$items": lambda pairs, tensors: {key: restore(item, tensors) for key, item in pairs},
}


def _encode(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return {"$tensor": _keep(value, place, tensors)}
    if isinstance(value, np.generic | np.ndarray):  # before float: np.float64 is one
        mark = "$array" if isinstance(value, np.ndarray) else "$scalar"
        return {mark: _keep(_as_tensor(np.asarray(value), place), place, tensors)}
    if isinstance(value, dict):
        return _encode_dict(cast(dict[Any, Any], value), place, tensors)
    if isinstance(value, list | tuple) and not hasattr(
        value, "_fields"
    ):  # a named tuple would come back as a plain one
        items = [_encode(item, f"{place}/{i}", tensors) for i, item in enumerate(cast(list[Any], value))]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{place or '/'}: a value of type {type(value).__name__} cannot be stored. "
        "Allowed: dict, list, tuple, tensor, NumPy array, number, string, bool, None."
    )


def _encode_dict(value: dict[Any, Any], place: str, tensors: dict[str, Tensor]) -> Any:
    for key in value:
        if not (key is None or type(key) in (bool, int, str)):
            raise TypeError(f"{place or '/'} has the key {key!r}; allowed keys: strings, integers, bools and None.")
    keys = sorted(value, key=lambda key: (type(key).__name__, key))
    if all(isinstance(key, str) and not key.startswith("$") for key in keys):
        return {key: _encode(value[key], f"{place}/{_escape(key)}", tensors) for key in keys}
    # "0" and 0 are two keys: quoted strings keep their tensors apart
    return {"$items": [[key, _encode(value[key], f"{place}/{_escape(repr(key))}", tensors)] for key in keys]}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _as_tensor(array: np.ndarray, place: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except TypeError:
        raise TypeError(f"{place} is an array of {array.dtype}; allowed: numbers and bools.") from None


def _keep(tensor: Tensor, place: str, tensors: dict[str, Tensor]) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise TypeError(f"{place} is a {tensor.layout} tensor on {tensor.device}; allowed: dense tensors with data.")
    if tensor.dtype == torch.complex128:
        raise TypeError(f"{place} is a {tensor.dtype} tensor; store its real and imaginary part.")
    dense = tensor.detach().cpu().resolve_conj().resolve_neg()
    tensors[place] = dense.clone(memory_format=torch.contiguous_format)  # shared memory would be refused
    return place
