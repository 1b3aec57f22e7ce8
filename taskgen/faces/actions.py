"""Actions that come from outside."""

from collections.abc import Mapping
from typing import Any, cast

import gymnasium as gym
import numpy as np

from registry.errors import brief
from taskgen.spaces import inner, is_composite, rebuilt


def as_array(space: gym.Space[Any], action: object) -> Any | None:
    """`action` as an array of the space's own type, in the structure of a Dict or Tuple; None if outside `space`."""
    if is_composite(space):
        return _as_arrays(space, action)
    try:
        value = np.asarray(action)
        value = value.astype(np.dtype(space.dtype), casting="same_kind")  # a TypeError where that loses information
    except (TypeError, ValueError, RuntimeError):  # the last of tensors that want a gradient
        return None
    return value if space.contains(value) else None


def _as_arrays(space: gym.Space[Any], action: Any) -> Any | None:
    """As `as_array`, of a Dict or Tuple."""
    parts = inner(space)
    kind = Mapping if type(space) is gym.spaces.Dict else (tuple, list)
    if not isinstance(action, kind) or len(given := cast(Any, action)) != len(parts):
        return None
    try:
        values = [as_array(part, given[key]) for key, part in parts]
    except KeyError:
        return None
    return None if any(value is None for value in values) else rebuilt(space, values)


def invalid(action: object, space: gym.Space[Any], where: str = "") -> gym.error.InvalidAction:
    """The error to raise for an action outside `space`."""
    plain: object = cast(Any, action).tolist() if isinstance(action, (np.ndarray, np.generic)) else action
    return gym.error.InvalidAction(f"action {brief(plain)}{where} is not in {space}")
