"""Actions that come from outside."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import brief


def as_array(space: gym.Space[Any], action: object) -> NDArray[Any] | None:
    """`action` as an array of the space's own type; None when it is not an element of `space`."""
    try:
        value = np.asarray(action)
        value = value.astype(np.dtype(space.dtype), casting="same_kind")  # a TypeError where that loses information
    except (TypeError, ValueError):
        return None
    return value if space.contains(value) else None


def invalid(action: object, space: gym.Space[Any], where: str = "") -> gym.error.InvalidAction:
    """The error to raise for an action outside `space`."""
    plain: object = cast(Any, action).tolist() if isinstance(action, (np.ndarray, np.generic)) else action
    return gym.error.InvalidAction(f"action {brief(plain)}{where} is not in {space}")
