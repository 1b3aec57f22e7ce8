"""What callers ask for at a reset: seeds and options."""

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from registry.errors import suggest


def plain_seed(seed: Any) -> Any:
    """`seed` as a Python integer where it is an integer of any kind, such as NumPy's; anything else as it is.

    Gymnasium takes Python's integers alone.
    """
    if isinstance(seed, bool):
        return seed
    try:
        return operator.index(seed)
    except TypeError:
        return seed


def draw_seed(generator: np.random.Generator) -> int:
    """A seed for a slot that was never given one."""
    return int(generator.integers(2**63))


def refuse_options(options: Mapping[str, Any] | None, known: Iterable[str] = ()) -> None:
    """Raise `gymnasium.error.Error` for an option that is not among `known`: dropped, nobody would miss it."""
    for name in options or ():
        if name not in (allowed := list(known)):
            advice = suggest(str(name), allowed) if allowed else "this environment has no options."
            raise gym.error.Error(f"reset: options[{name!r}] is unknown: {advice}")
