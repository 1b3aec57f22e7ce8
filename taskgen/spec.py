"""`TaskSpec`, the frozen value that is a task: family + context + reward + seed, with a content hash as id."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Union, cast

from registry.errors import TaskError, brief

JsonValue = Union[None, bool, int, float, str, Sequence["JsonValue"], Mapping[str, "JsonValue"]]

_FIELDS = frozenset(("family", "context", "reward", "seed", "id"))
_LEAVES = frozenset((type(None), bool, int, str))
_MAPPINGS = (dict, MappingProxyType, Mapping)
"""The first are looked at faster."""
MAX_SEED = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """A reward function by catalogue name and settings, replacing the family's own."""

    name: str
    settings: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task. Equal content means equal `id`, whatever made it.

    The context is complete: the family's structural settings and every knob, defaults filled in. Make one with
    `family.spec(...)`, which fills and validates, or read one with `TaskSpec.from_json`.
    """

    family: str
    """Full catalogue name, such as "builtin/bandit"."""
    context: Mapping[str, JsonValue]
    reward: RewardSpec | None = None
    """None: the family's own reward."""
    seed: int = 0
    """Fixes everything random about the task that the context does not fix."""
    _ids: tuple[str, str] | None = field(default=None, init=False, repr=False, compare=False)
    """`id` and `seedless` once one was asked for: a task is written out once, however many ask."""

    def canonical(self) -> str:
        """The canonical JSON text: keys sorted, no spaces, no NaN or infinity; floats as Python's shortest repr."""
        return _canonical(self.to_dict())

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return (self._ids or self._hashed())[0]

    @property
    def seedless(self) -> str:
        """The id of the task that has this family, context and reward, and seed 0."""
        return (self._ids or self._hashed())[1]

    def _hashed(self) -> tuple[str, str]:
        text = self.canonical().encode()
        same = text[: text.rindex(b":") + 1] + b"0}"  # "seed" is the last key
        ids = hashlib.sha256(text).hexdigest()[:16], hashlib.sha256(same).hexdigest()[:16]
        object.__setattr__(self, "_ids", ids)  # frozen, and the same as before to whoever looks
        return ids

    @property
    def number(self) -> int:
        """The id as a signed 64-bit integer, which arrays of numbers hold: `f"{number % 2**64:016x}"` is the id."""
        return int.from_bytes(bytes.fromhex(self.id), "big", signed=True)

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain values, without the id."""
        reward = None if self.reward is None else {"name": self.reward.name, "settings": dict(self.reward.settings)}
        return {"family": self.family, "context": dict(self.context), "reward": reward, "seed": self.seed}

    @classmethod
    def from_dict(cls, data: object) -> "TaskSpec":
        """Read plain values. Raises `TaskError` naming the field, the value and what was allowed."""
        if not isinstance(data, (dict, Mapping)):  # the first is looked at faster
            raise TaskError(f"a task is a JSON object, not {type(data).__name__}")
        fields = cast(Mapping[str, Any], data)
        if not fields.keys() <= _FIELDS:
            unknown = brief(min(fields.keys() - _FIELDS))
            raise TaskError(f"unknown task field {unknown}; allowed: family, context, reward, seed, id")
        family, context, seed = fields.get("family"), fields.get("context"), fields.get("seed", 0)
        if not isinstance(family, str) or not family:
            raise TaskError(f"family = {brief(family)}: expected the name of a task family, such as 'builtin/bandit'")
        if not isinstance(context, (dict, Mapping)):
            raise TaskError(f"context = {brief(context)}: expected a JSON object of knob values")
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
            raise TaskError(f"seed = {brief(seed)}: expected an integer from 0 to 2**53 - 1")
        spec = cls(family, freeze(cast(JsonValue, context), "context"), _reward(fields.get("reward")), seed)
        if "id" in fields and (stated := fields["id"]) != spec.id:
            raise TaskError(
                f"id = {brief(stated)} does not match the content, whose id is {spec.id!r}: the task was altered"
            )
        return spec

    def to_json(self) -> str:
        """One line of JSON with the id, for task files."""
        return _line({"id": self.id, **self.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> "TaskSpec":
        """Read one line of JSON. NaN, infinity and duplicate keys are refused with `TaskError`."""
        try:
            return cls.from_dict(_decoded(text))
        except ValueError as error:
            raise TaskError(f"not valid JSON: {error}") from None
        except RecursionError:
            raise TaskError("nested too deeply") from None

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Callable[[str], "TaskSpec"], tuple[str]]:
        """Copies and other processes get the JSON text: read-only mappings know neither copy nor pickle."""
        return TaskSpec.from_json, (self.to_json(),)


def freeze(value: Any, where: str) -> Any:
    """A read-only copy of a JSON value: mappings as proxies, lists as tuples. Raises `TaskError` for anything else."""
    if type(value) in _LEAVES or isinstance(value, (int, str)):
        return value
    if type(value) in (list, tuple) and flat(value):
        return tuple(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TaskError(f"{where} = {value!r}: a task holds finite numbers only")
        return value
    if isinstance(value, (dict, Mapping)):
        items = cast(Mapping[Any, Any], value)
        frozen = {key: item if type(item) in _LEAVES else freeze(item, f"{where}.{key}") for key, item in items.items()}
        if set(map(type, frozen)) - {str}:
            _refuse_keys(frozen, where)
        return MappingProxyType(frozen)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(freeze(item, f"{where}[{i}]") for i, item in enumerate(cast(Sequence[Any], value)))
    raise TaskError(f"{where} = {brief(value)}: {type(value).__name__} is not a JSON value")


def identical(one: Any, other: Any) -> bool:
    """Whether two JSON values have the same canonical text: 1, 1.0 and true have not, nor have 0.0 and -0.0."""
    if one is other:
        return True
    if type(one) in _LEAVES or type(one) is float:
        return type(one) is type(other) and one == other and (one != 0 or repr(one) == repr(other))
    if isinstance(one, _MAPPINGS) and isinstance(other, _MAPPINGS):
        first, second = cast(Mapping[str, Any], one), cast(Mapping[str, Any], other)
        return first.keys() == second.keys() and all(identical(first[key], second[key]) for key in first)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        items, others = cast(Sequence[Any], one), cast(Sequence[Any], other)
        return len(items) == len(others) and all(map(identical, items, others))
    return False


def flat(values: Sequence[Any]) -> bool:
    """Whether `values` are all finite floats, or all of one of JSON's other leaves: looked at without a loop."""
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return not kinds
    (kind,) = kinds
    return kind in _LEAVES or (kind is float and math.isfinite(sum(values)))  # a sum beyond all floats is looked at


def _refuse_keys(keys: Iterable[object], where: str) -> None:
    for key in keys:
        if not isinstance(key, str):
            raise TaskError(f"{where}: key {brief(key)} is not a string")


def _reward(value: object) -> RewardSpec | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TaskError(f"reward = {brief(value)}: expected null or an object with name and settings")
    data = cast(Mapping[str, Any], value)
    name, settings = data.get("name"), data.get("settings", {})
    if set(data) - {"name", "settings"} or not isinstance(name, str) or not isinstance(settings, Mapping):
        raise TaskError(f"reward = {brief(dict(data))}: expected exactly a string name and an object settings")
    return RewardSpec(name, freeze(settings, "reward.settings"))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast(Mapping[str, object], value))
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number a task may hold")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"key {twice!r} appears twice")
    return result


_decoded = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique_keys).decode
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain).encode
_line = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode
