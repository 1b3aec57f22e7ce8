"""What faces draw: episodes as they stand where the family is `Animated`, else the task itself; texts as "ansi"."""

from functools import lru_cache
from typing import Any

import gymnasium as gym

from taskgen.family import TaskFamily

FPS = 4
"""Frames per second that viewers are told; there is one frame per step."""
WRAPPED = ("human", "rgb_array_list")
"""Modes that Gymnasium's wrappers make of "rgb_array"."""


@lru_cache(maxsize=256)
def render_modes(family: TaskFamily[Any]) -> list[str]:
    """What `family` draws, in Gymnasium's words."""
    return ["ansi" if isinstance(family.render(family.spec()), str) else "rgb_array"]


def check_render_mode(family: TaskFamily[Any], mode: str | None, wrapped: tuple[str, ...] = ()) -> None:
    """Raise `gymnasium.error.UnsupportedMode` for a mode that `family` cannot be drawn in.

    `wrapped` are those that wrappers make of "rgb_array".
    """
    known = render_modes(family)
    known = [*known, *(wrapped if "rgb_array" in known else ())]
    if mode is not None and mode not in known:
        raise gym.error.UnsupportedMode(f"render_mode = {mode!r}: {family.name} has {', '.join(known)}, or None")
