"""What environments of others answer, looked at: a row of a batch comes of it, or a sentence on what is wrong."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.errors import UserError, brief, suggest
from taskgen.spaces import Array, beside, is_composite, leaves, pack, row_shape

# pyright: reportUnknownMemberType=false

_FLAGS: Any = (bool, np.bool_)
_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Failure:
    """What went wrong in a slot."""

    reason: str
    blame: bool = True
    """Whether the slot's own environment did it."""


@dataclass
class Outcome:
    """Of a reset or step of n slots."""

    observation: Array
    """[n, *row_shape] packed."""
    reward: Array
    """[n] float32."""
    terminated: Array
    truncated: Array
    """[n] bool."""
    success: Array
    """[n] bool; false where nobody tells."""
    failures: dict[int, Failure] = field(default_factory=dict[int, Failure])
    """By place among the n; the other values of such a place say nothing."""

    @classmethod
    def of(cls, n: int, reader: "Reader") -> "Outcome":
        """Of `n` slots, nothing known yet."""
        flags = np.zeros((3, n), dtype=np.bool_)
        rows = np.zeros((n, *reader.shape), dtype=reader.dtype)
        return cls(rows, np.zeros(n, dtype=np.float32), flags[0], flags[1], flags[2])


class BrokenAnswer(Exception):  # noqa: N818 (an answer, not an error of ours)
    """An environment answered something else than it declares."""


def answered_reset(read: "Reader", answer: object) -> Array:
    """The packed observation that `reset` gave. Raises `BrokenAnswer`."""
    values = cast("tuple[Any, ...]", answer) if isinstance(answer, tuple) else ()
    if len(values) != 2:
        raise BrokenAnswer(f"reset gave {brief(cast(object, answer))}, expected (observation, info)")
    return read(values[0], "reset")


def answered_step(read: "Reader", answer: object, success: str = "") -> tuple[Array, float, bool, bool, bool]:
    """What `step` gave, the observation packed, and what its info has as `success`. Raises `BrokenAnswer`."""
    if not isinstance(answer, tuple) or len(cast("tuple[Any, ...]", answer)) != 5:
        count = f"{len(cast('tuple[Any, ...]', answer))} values" if isinstance(answer, tuple) else brief(answer)
        raise BrokenAnswer(f"step gave {count}, expected (observation, reward, terminated, truncated, info)")
    observation, reward, terminated, truncated, info = cast("tuple[Any, ...]", answer)
    try:
        paid = float(reward)
    except (TypeError, ValueError):
        raise BrokenAnswer(f"step gave reward = {brief(reward)}, expected a number") from None
    if not abs(paid) <= _MOST:
        raise BrokenAnswer(f"step gave reward = {paid}, expected a finite number")
    if not (isinstance(terminated, _FLAGS) and isinstance(truncated, _FLAGS)):
        name, flag = ("truncated", truncated) if isinstance(terminated, _FLAGS) else ("terminated", terminated)
        raise BrokenAnswer(f"step gave {name} = {brief(flag)}, a {type(flag).__name__}, expected a bool")
    done = bool(success) and _told(info, success)
    return read(observation, "step"), paid, bool(terminated), bool(truncated), done


def _told(info: object, name: str) -> bool:
    """Whether an info says that the task is done. Raises `BrokenAnswer` where it has no such entry, 0 or 1."""
    entries = cast("dict[str, Any]", info) if isinstance(info, dict) else {}
    if name not in entries:
        advice = suggest(name, [key for key in entries if isinstance(key, str)])  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BrokenAnswer(f"step gave an info without {name}, expected after every step. {advice}")
    found: Any = entries[name]
    if isinstance(found, (*_FLAGS, int, float, np.number)) and found in (0, 1):
        return bool(found)
    raise BrokenAnswer(f"step gave an info with {name} = {brief(found)}, expected a bool, or 0 or 1")


class Reader:
    """Reads observations of `space`, each of which becomes a row of `shape` and `dtype` of a batch."""

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space
        self.shape = row_shape(space)
        self.dtype = pack(space, _blank(space)).dtype
        self._numbers = type(space) is gym.spaces.Box and np.issubdtype(cast(Any, space).dtype, np.floating)

    def __call__(self, value: object, call: str) -> Array:
        """`value`, an observation that `call` gave, packed. Raises `BrokenAnswer` where it is none of the space."""
        if self._numbers and type(value) is np.ndarray:
            array: Array = value
            if array.shape == self.shape and array.dtype.kind == "f" and math.isfinite(array.sum(dtype=np.float64)):
                return array
        return self._looked_at(value, call)

    def _looked_at(self, value: object, call: str) -> Array:
        space = self.space
        try:
            for place, (leaf, found) in enumerate(beside(space, value)):
                if problem := _leaf_problem(leaf, found):
                    where = f" in its part {leaves(space)[place].path}" if is_composite(space) else ""
                    raise BrokenAnswer(f"{call} gave an observation{where} that is {problem}")
        except (KeyError, IndexError, TypeError) as error:
            told = f"{type(error).__name__}: {error}"
            raise BrokenAnswer(f"{call} gave the observation {brief(value)}, none of {space} ({told})") from None
        return pack(space, value)


def told(error: BaseException) -> str:
    """An exception of an environment in one line; what it answered wrongly in its own words."""
    text = " ".join(str(error).split())
    return (
        text
        if isinstance(error, BrokenAnswer | UserError)
        else f"it raised {type(error).__name__}: {text}".rstrip(": ")
    )


def _leaf_problem(space: gym.Space[Any], value: object) -> str | None:
    """What is wrong with `value` as an element of a space without parts, but for bounds of numbers; None: nothing."""
    if not isinstance(space, gym.spaces.Box):
        return None if space.contains(value) else f"{brief(value)}, none of {space}"
    array: NDArray[Any] = np.asarray(value)
    if array.shape != space.shape:
        return f"{list(array.shape)}, expected {list(space.shape)}"
    known = cast(Any, space)
    whole = bool(np.issubdtype(known.dtype, np.integer))
    if array.dtype.kind not in ("iub" if whole else "fiub"):
        return f"of {array.dtype}, expected {space.dtype}"
    if whole and ((array < known.low) | (array > known.high)).any():
        return f"{brief(array)}, none of {space}"
    finite = np.isfinite(array)
    return None if finite.all() else f"not finite: {array[~finite][0]}"


def _blank(space: gym.Space[Any]) -> Any:
    """An element of `space`, whichever."""
    space = copy.deepcopy(space)
    space.seed(0)
    return space.sample()
