"""Spaces, read in one place: which of Gymnasium's a family may have, and how their values stand in its tensors.

A batch speaks tensors with a row for every slot:

    Discrete                    [B] int64, counted from the space's `start`
    MultiDiscrete, MultiBinary  [B, *shape] int64
    Box                         [B, *shape]; observed in the space's own type, an image in uint8; acted in float32
    Dict, Tuple                 [B, P], the numbers of all parts side by side in Gymnasium's order, also of nested ones

`pack` and `unpack` lead from Gymnasium's values to such rows and back. Agents answer in a simpler space
(`played_space`); what they answer becomes an element of the family's own in `taskgen.interaction.acting`.

Axes: P numbers of a value.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, cast

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from numpy.typing import NDArray

from registry.errors import UserError

Array: TypeAlias = NDArray[Any]
_LEAVES = (Box, Discrete, MultiDiscrete, MultiBinary)
_READ = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"


class Leaf(NamedTuple):
    """A part of a space that has no parts itself."""

    path: str
    """Keys and numbers that lead to it, joined by dots; empty where it is the whole space."""
    space: gym.Space[Any]
    first: int
    """Where its numbers begin in a packed value."""
    size: int
    """How many there are."""


def leaves(space: gym.Space[Any]) -> list[Leaf]:
    """The parts of `space` that have no parts themselves, in order. Raises `ValueError` naming one that is not read."""
    found: list[Leaf] = []
    first = 0
    for path, part in _walk(space, ""):
        if not isinstance(part, _LEAVES):
            problem = f"{f'its part {path} is a' if path else 'that is a'} {type(part).__name__}; read are {_READ}"
            raise ValueError(problem)  # noqa: TRY004
        size = _numbers(cast("gym.Space[Any]", part))
        found.append(Leaf(path, part, first, size))
        first += size
    return found


def _numbers(space: gym.Space[Any]) -> int:
    """How many a value of a space without parts has."""
    return math.prod(space.shape or ())


def is_composite(space: gym.Space[Any]) -> bool:
    """Whether `space` is made of others, so that its values are packed side by side."""
    return isinstance(space, Dict | Tuple)


def inner(space: gym.Space[Any]) -> list[tuple[Any, gym.Space[Any]]]:
    """The parts of a Dict or Tuple by key or number; none of any other space."""
    if not is_composite(space):
        return []
    parts: Any = cast(Any, space).spaces
    keys: Iterable[Any] = parts.keys() if isinstance(space, Dict) else range(len(parts))
    return [(key, parts[key]) for key in keys]


def rebuilt(space: gym.Space[Any], parts: Iterable[Any]) -> Any:
    """The value of a Dict or Tuple of which `parts` are the values of its `inner` parts, in order."""
    built = dict(zip((key for key, _ in inner(space)), parts, strict=True))
    return built if isinstance(space, Dict) else tuple(built.values())


def row_shape(space: gym.Space[Any]) -> tuple[int, ...]:
    """The shape of one row of a tensor of values of `space`."""
    if not is_composite(space):
        return tuple(space.shape or ())
    return (sum(leaf.size for leaf in leaves(space)),)


def is_whole(space: gym.Space[Any]) -> bool:
    """Whether all numbers of a value are integers by the kind of space they belong to, a Box's by its type."""
    return all(np.issubdtype(cast(Any, leaf.space).dtype, np.integer) for leaf in leaves(space))


def bounds(space: gym.Space[Any]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """[P] float64 the least and the most that each number of a value may be, and [P] whether it is a whole one."""
    low, high, whole = zip(*(_bounds(leaf.space) for leaf in leaves(space)), strict=True)
    return np.concatenate(low), np.concatenate(high), np.concatenate(whole)


def misfit(space: gym.Space[Any], row: Array, *, any_number: bool = True) -> str:
    """Which number of the packed value `row` [*row_shape] its part of `space` does not hold; empty where all fit.

    Whole numbers, such as choices, come first: they are read by their place in the space. Without `any_number` they
    alone are looked at.
    """
    numbers = row.reshape(-1)
    low, high, whole = bounds(space)
    if np.issubdtype(numbers.dtype, np.floating):  # a bound may be no number of single precision
        low, high = low.astype(numbers.dtype), high.astype(numbers.dtype)
    odd = ((numbers < low) | (numbers > high)) & (any_number | whole) | (whole & (numbers != np.floor(numbers)))
    if not odd.any():
        return ""
    place = int(np.argmax(odd & whole if (odd & whole).any() else odd))
    leaf = next(leaf for leaf in leaves(space) if place < leaf.first + leaf.size)
    keys = [str(key) for key, _ in inner(cast("gym.Space[Any]", space))] if isinstance(space, Dict) else []
    order = f" (the parts of a Dict stand in Gymnasium's order: {', '.join(keys)})" if len(keys) > 1 else ""
    part = f" in its part {leaf.path}" if leaf.path else ""
    return f"{numbers[place]:g}{part}, which {leaf.space} does not hold{order}"


def image_shape(space: gym.Space[Any]) -> tuple[int, int, int] | None:
    """(height, width, channels) where `space` holds images: bytes [height, width, channels] or [height, width].

    None for every other space, parts of a Dict or Tuple included.
    """
    shape, kind = list(space.shape or ()), cast(Any, space).dtype
    if not isinstance(space, Box) or kind != np.uint8 or len(shape) not in (2, 3):
        return None
    height, width, channels = (*shape, 1)[:3]
    return height, width, channels


def refuse_unreadable(observation_space: gym.Space[Any], action_space: gym.Space[Any], family: str) -> None:
    """Raise `UserError` for spaces of `family` that no agent and no player can be given, saying which are."""
    for kind, space in (("observation", observation_space), ("action", action_space)):
        if (problem := space_problem(space, acted=kind == "action")) is not None:
            raise UserError(f"{family} has the {kind} space {space}: {problem}")


def space_problem(space: object, *, acted: bool) -> str | None:
    """Why `space` cannot be observed or, if `acted`, acted in, and what to do about it; None where it can."""
    if not isinstance(space, gym.Space):
        return f"that is a {type(space).__name__}, no gymnasium.Space"
    try:
        parts = leaves(cast("gym.Space[Any]", space))
    except ValueError as error:
        return str(error)
    if not sum(leaf.size for leaf in parts):
        return "it has no numbers, so there is nothing to choose" if acted else "it has no numbers; give a constant"
    for leaf in parts:
        where, kind = f"its part {leaf.path} has" if leaf.path else "it has", cast(Any, leaf.space).dtype
        if acted and isinstance(leaf.space, Box) and not np.issubdtype(kind, np.floating):
            return f"{where} whole numbers ({kind}): make it a Discrete or MultiDiscrete with `start`"
    return None


class _Choice(NamedTuple):
    """One of `choices` whole numbers from `start` on."""

    choices: int
    start: int


class _Interval(NamedTuple):
    """A number from `low` to `high`, which may be infinite."""

    low: float
    high: float


@dataclass(frozen=True)
class ActionLayout:
    """How an agent's answer in `played` becomes a row of a family's action space."""

    played: gym.Space[Any]
    """See `played_space`."""
    column: tuple[int, ...]
    """[P] for each number of the family's row its place in the agent's answer."""
    start: tuple[int, ...]
    """[P] what is added to it."""
    low: Array
    """[P] the least the family is given."""
    high: Array
    """[P] the most."""
    shape: tuple[int, ...]
    """Of a family's row."""
    whole: bool
    """Whether a family's row is int64, not float32."""


def played_space(space: gym.Space[Any]) -> gym.Space[Any]:
    """The space in which agents answer for a family with the action space `space`, which `space_problem` finds right.

    One of four, so that an agent need not know more: `Discrete` counted from 0; `Box` [k] of float32; `MultiDiscrete`
    [m] counted from 0, for several choices at once; and a `Tuple` of such a Box and such a MultiDiscrete, whose values
    are packed, [k + m] with the numbers first.
    """
    return action_layout(space).played


def action_layout(space: gym.Space[Any]) -> ActionLayout:
    """How agents' answers are mapped to the action space `space`, which `space_problem` finds right."""
    parts = [part for leaf in leaves(space) for part in _parts(leaf.space)]
    numbers = [part for part in parts if isinstance(part, _Interval)]
    choices = [part for part in parts if isinstance(part, _Choice)]
    seen = {_Interval: iter(range(len(numbers))), _Choice: iter(range(len(numbers), len(parts)))}
    low, high = _ends(parts)
    return ActionLayout(
        played=_played(numbers, choices),
        column=tuple(next(seen[type(part)]) for part in parts),
        start=tuple(part.start if isinstance(part, _Choice) else 0 for part in parts),
        low=low,
        high=high,
        shape=row_shape(space),
        whole=not numbers,
    )


def numbers_and_choices(space: gym.Space[Any]) -> tuple["Box[np.float32] | None", tuple[int, ...]]:
    """The numbers and the choices of a `played_space`: its Box, and how many there are to choose from each time.

    Raises `UserError` for any other space.
    """
    known = cast(Any, space)
    if isinstance(space, Discrete) and known.start == 0:
        return None, (int(known.n),)
    if isinstance(space, Box) and len(known.shape) == 1:
        return known, ()
    if isinstance(space, MultiDiscrete) and known.nvec.ndim == 1 and not known.start.any():
        return None, tuple(int(count) for count in known.nvec)
    if isinstance(space, Tuple) and len(known.spaces) == 2 and isinstance(known.spaces[0], Box):
        return known.spaces[0], numbers_and_choices(known.spaces[1])[1]
    raise UserError(
        f"the action space {space} is not what agents answer in: Discrete or MultiDiscrete from 0, Box with one axis, "
        "or a Tuple of the latter two; see taskgen.spaces.played_space"
    )


def pack(space: gym.Space[Any], value: Any) -> Array:
    """[..., *row_shape] the numbers of `value`, an element of `space`, or of `batch_space` of it with a leading axis.

    They are int64 where all are choices, else float32; those of a Box of whole numbers keep its type.
    """
    if not is_composite(space):
        kind = np.int64 if is_whole(space) else np.float32
        return np.asarray(value, dtype=cast(Any, space).dtype if kind == np.int64 and type(space) is Box else kind)
    columns: list[Array] = []
    for part, found in beside(space, value):
        array, shape = np.asarray(found), part.shape or ()
        columns.append(array.reshape(*array.shape[: array.ndim - len(shape)], _numbers(part)))
    return np.concatenate(columns, axis=-1).astype(np.int64 if is_whole(space) else np.float32)


def unpack(space: gym.Space[Any], row: Array) -> Any:
    """What `row` [..., *row_shape] is in `space`, in the types of its parts; with leading axes, as `batch_space`."""
    if not is_composite(space):
        return _typed(space, row)
    lead = row.shape[:-1]
    parts = iter(
        row[..., leaf.first : leaf.first + leaf.size].reshape(lead + tuple(leaf.space.shape or ()))
        for leaf in leaves(space)
    )
    return _rebuilt(space, parts)


def flattened(space: gym.Space[Any], rows: Array) -> NDArray[np.float32]:
    """[N, F] packed values `rows` [N, ...] of `space` as `gymnasium.spaces.flatten` has each: choices one-hot."""
    numbers = rows.reshape(len(rows), -1)
    parts: list[Array] = []
    for leaf in leaves(space):
        columns, known = numbers[:, leaf.first : leaf.first + leaf.size], cast(Any, leaf.space)
        if type(known) not in (Discrete, MultiDiscrete):
            parts.append(columns)
            continue
        counts = np.ravel(known.n if type(known) is Discrete else known.nvec)
        chosen = (columns - np.ravel(known.start)).astype(np.int64)
        parts += [np.arange(count) == chosen[:, place, None] for place, count in enumerate(counts)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _bounds(space: gym.Space[Any]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """`bounds` of a space without parts."""
    known, size = cast(Any, space), _numbers(space)
    if isinstance(space, Box):
        low, high = known.low, known.high
    else:
        low = np.broadcast_to(np.ravel(getattr(space, "start", 0)), size)
        count = 2 if isinstance(space, MultiBinary) else known.n if isinstance(space, Discrete) else known.nvec
        high = low + np.ravel(count) - 1
    low, high = (np.asarray(end, dtype=np.float64).ravel() for end in (low, high))
    return low, high, np.full(size, np.issubdtype(known.dtype, np.integer))


def _walk(space: gym.Space[Any], path: str) -> Iterator[tuple[str, gym.Space[Any]]]:
    if not is_composite(space):
        yield path, space
    for key, part in inner(space):
        yield from _walk(part, f"{path}.{key}" if path else str(key))


def beside(space: gym.Space[Any], value: Any) -> Iterator[tuple[gym.Space[Any], Any]]:
    """The leaves of `space` with what `value` holds for each."""
    if not is_composite(space):
        yield space, value
    for key, part in inner(space):
        yield from beside(part, value[key])


def _rebuilt(space: gym.Space[Any], parts: Iterator[Array]) -> Any:
    if is_composite(space):
        return rebuilt(space, [_rebuilt(part, parts) for _, part in inner(space)])
    return _typed(space, next(parts))


def _typed(space: gym.Space[Any], values: Array) -> Any:
    """`values` as `space` without parts holds them: one choice is a number, everything else an array."""
    typed = np.asarray(values).astype(cast(Any, space).dtype, copy=False)
    return typed[()] if isinstance(space, Discrete) else typed


def _parts(space: gym.Space[Any]) -> list[_Choice | _Interval]:
    """What there is to choose in a space without parts, number by number."""
    known = cast(Any, space)
    if isinstance(space, Discrete):
        return [_Choice(int(known.n), int(known.start))]
    if isinstance(space, MultiDiscrete):
        return [_Choice(int(n), int(start)) for n, start in zip(known.nvec.flat, known.start.flat, strict=True)]
    if isinstance(space, MultiBinary):
        return [_Choice(2, 0)] * _numbers(space)
    return [_Interval(float(low), float(high)) for low, high in zip(known.low.flat, known.high.flat, strict=True)]


def _ends(parts: list[_Choice | _Interval]) -> tuple[Array, Array]:
    """[P] float32 bounds that lie inside those of the parts: a bound may be no number of single precision."""
    low = np.array([part.low if isinstance(part, _Interval) else part.start for part in parts], dtype=np.float64)
    high = np.array(
        [part.high if isinstance(part, _Interval) else part.start + part.choices - 1 for part in parts],
        dtype=np.float64,
    )
    least, most = low.astype(np.float32), high.astype(np.float32)
    least = np.where(least < low, np.nextafter(least, np.float32(np.inf)), least)
    most = np.where(most > high, np.nextafter(most, np.float32(-np.inf)), most)
    return least, np.maximum(least, most)


def _played(numbers: list[_Interval], choices: list[_Choice]) -> gym.Space[Any]:
    counts = [choice.choices for choice in choices]
    if not numbers:
        return Discrete(counts[0]) if len(counts) == 1 else MultiDiscrete(counts)
    box = Box(*_ends(list(numbers)), dtype=np.float32)
    return Tuple((box, MultiDiscrete(counts))) if choices else box
