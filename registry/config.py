"""Configuration: frozen pydantic models <-> TOML, with Hydra-style `key=value` overrides.

A configuration is data: it names catalogue entries, never import paths, and reading it runs no code. Whatever is wrong
with it is reported at once, each problem with its dotted path, the value, what was allowed and the nearest known key.
"""

import copy
import json
import logging
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, cast

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from registry.errors import ConfigError, suggest
from registry.fields import allowed, place_of

M = TypeVar("M", bound=BaseModel)


class Config(BaseModel):
    """Base of every settings model: frozen, no unknown keys, no NaN or infinity.

    Every field has a default and a description, which become help and documentation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


INCIDENTAL: dict[str, Any] = {"incidental": True}
"""`json_schema_extra` of a setting that changes no result, such as where something is computed or how often it is
shown: a run may go on with another value of it. What is inside such a setting is incidental too."""

_log = logging.getLogger(__name__)
_GIVEN = Path("/dev/fd")
"""Where a shell puts the output of a command that stands for a file; whoever writes it is there."""

Width: TypeAlias = Annotated[int, Field(ge=1)]
"""Of a layer in a setting: one of no units would let nothing through, and say nothing of it."""


def incidental(model: type[BaseModel]) -> set[str]:
    """The settings of `model` that are declared `INCIDENTAL`."""
    fields = model.model_fields.items()
    return {name for name, field in fields if cast(dict[str, Any], field.json_schema_extra or {}).get("incidental")}


class Part(Config):
    """A catalogue entry by name with its settings, which its own model checks later.

    In TOML `[agent]` with `name = "rl2"` and `learning_rate = 1e-3`; a bare string stands for the name alone.
    """

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, description="Name of a catalogue entry, short or `provider/name`.")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings beside the name."""
        return copy.deepcopy(self.model_extra or {})

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        if not isinstance(data, str | Mapping | Part):
            expected = "the name of an entry, or a table of its `name` and settings"
            raise ValueError(f'expected {expected}: {{ name = "...", ... }}')  # noqa: TRY004
        return {"name": data} if isinstance(data, str) else cast(Any, data)

    @model_validator(mode="after")
    def _plain(self) -> "Part":
        _refuse_unwritable(self.settings, self.name)
        return self


def stated(variable: str, usual: int) -> int:
    """The whole number that the environment variable states, or the `usual` one where it is not set.

    Raises `ConfigError` for what is no whole number from 1 on.
    """
    text = os.environ.get(variable, "")
    if not text:
        return usual
    if not re.fullmatch(r"0*[1-9]\d{0,17}", text, re.ASCII):
        raise ConfigError([f"{variable} = {_shorten(repr(text))}: expected a whole number, 1 or more"], "environment")
    return int(text)


def waited_for(path: str | Path) -> bool:
    """Whether reading the file `path` may wait for ever, since it is a pipe that no shell has made."""
    return Path(path).is_fifo() and Path(path).parent != _GIVEN


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises `ConfigError` naming the file and the line."""
    try:
        if waited_for(path):
            raise ConfigError(["it is a pipe, which might be waited for: expected a file"], str(path))
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(["no such file"], str(path)) from None
    except OSError as error:
        raise ConfigError([f"cannot be read: {error.strerror}"], str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"not UTF-8 text: byte {error.start} is invalid"], str(path)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not valid TOML: {error}"], str(path)) from None
    except RecursionError:
        raise ConfigError(["not valid TOML: nested too deeply"], str(path)) from None


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with Hydra-style overrides applied in order.

    `a.b=1` sets, `~a.b` deletes; a name with dots stands in quotes, `vary."body_mass.*".high=3`. A value is a TOML
    value, or bare text. Where `data` has text and a setting inside it is given (`agent=random agent.epsilon=0.1`), the
    text becomes the `name` of a table. Another part, `agent=ppo` or `agent.name=ppo`, comes without the settings that
    `data` has for the one before; what that undoes of the overrides before it is told. Raises `ConfigError` with every
    malformed override.
    """
    result = copy.deepcopy(dict(data))
    problems: list[str] = []
    given: dict[tuple[str, ...], str] = {}
    for override in overrides:
        try:
            path, switched = _apply(result, override)
        except ValueError as error:
            problems.append(f"{override!r}: {error}")
        else:
            undone = [each for place, each in given.items() if place[: len(switched)] == switched != place != path]
            if switched and undone:
                _log.warning("%s undoes %s, given before it", override, ", ".join(undone))
            given[path] = override
    if problems:
        raise ConfigError(problems, "overrides")
    return result


def differing(one: Any, other: Any, path: str = "") -> list[str]:
    """Dotted paths at which two configurations, as plain data, differ; of a table that one of them lacks its own."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        first, second = cast(Mapping[str, Any], one), cast(Mapping[str, Any], other)
        keys = dict.fromkeys([*first, *second])
        found = [differing(first.get(key), second.get(key), f"{path}.{key}" if path else key) for key in keys]
    elif isinstance(one, list) and isinstance(other, list) and len(cast(list[Any], one)) == len(cast(list[Any], other)):
        pairs = zip(cast(list[Any], one), cast(list[Any], other), strict=True)
        found = [differing(*pair, f"{path}[{index}]") for index, pair in enumerate(pairs)]
    else:
        alike = type(cast(object, one)) is type(cast(object, other))  # 1, 1.0 and true are not the same
        return [] if alike and one == other else [path]
    return [inner for each in found for inner in each]


def inside(path: str, settings: Iterable[str]) -> bool:
    """Whether the dotted `path` is one of `settings` or leads into one."""
    return any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in settings)


def parse(model: type[M], data: Mapping[str, Any], where: str = "configuration", prefix: str = "") -> M:
    """Check `data` against `model`; types are strict, as written in TOML.

    `prefix` (such as "agent.") goes before every path. Raises `ConfigError` with every problem.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=_plain), strict=True)
    except ValidationError as error:
        problems = [_sentence(model, details, prefix) for details in error.errors(include_url=False)]
        raise ConfigError(problems, where) from None


def to_toml(model: BaseModel) -> str:
    """The settings as TOML text that `parse` reads back to an equal model. Settings that are None are left out."""
    return tomli_w.dumps(model.model_dump(mode="json", exclude_none=True))


def _plain(value: Any) -> Any:
    """Numbers and arrays of other libraries, such as NumPy's, as Python's; anything else as text."""
    return value.tolist() if hasattr(value, "dtype") and hasattr(value, "tolist") else str(value)


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NAME = re.compile(r"""([A-Za-z0-9_-]+)|"([^"\\]+)"|'([^']+)'""")
_KEY = re.compile(rf"({_NAME.pattern})(\.({_NAME.pattern}))*")


def _apply(data: dict[str, Any], override: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Apply one; its path, and that of the table whose settings it has replaced, if any."""
    delete = override.startswith("~")
    path, equals, text = override.removeprefix("~").partition("=")
    path = path.strip()
    if not _KEY.fullmatch(path) or delete == bool(equals):
        raise ValueError(
            "expected key=value, such as agent.learning_rate=1e-3, or ~key to delete; a name with dots or other signs "
            "stands in quotes, and the whole in others: 'vary.\"body_mass.*\".high=3'"
        )
    steps = tuple(str(bare or double or single) for bare, double, single in _NAME.findall(path))
    *tables, key = steps
    for table in tables:
        inner = data.setdefault(table, {})
        if isinstance(inner, str):
            inner = data[table] = {"name": inner}
        if not isinstance(inner, dict):
            raise ValueError(f"{table!r} is {inner!r}, which has no settings inside")  # noqa: TRY004
        data = cast(dict[str, Any], inner)
    if delete:
        if key not in data:
            raise ValueError(f"there is no {path!r} to delete. {suggest(key, data)}")
        del data[key]
        return steps, ()
    before = data.get(key)
    data[key] = _value(text.strip())
    if isinstance(before, dict):
        return steps, steps
    if tables and key == "name" and isinstance(before, str) and _short(before) != _short(str(data[key])):
        for setting in set(data) - {key}:
            del data[setting]
        return steps, steps[:-1]
    return steps, ()


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _value(text: str) -> Any:
    """A TOML value, a number as Python writes it, or bare text."""
    try:
        document = tomllib.loads(f"value = {text}")
        if document.keys() == {"value"}:
            return document["value"]
    except tomllib.TOMLDecodeError as error:
        if text[:1] in tuple("[{\"'"):
            raise ValueError(f"not a TOML value: {error}") from None
    if _NUMBER.fullmatch(text):
        return float(text)
    return {"True": True, "False": False}.get(text, text)


def _sentence(model: type[BaseModel], details: ErrorDetails, prefix: str) -> str:
    """One problem as a sentence: path, value, what was allowed."""
    place = place_of(model, details["loc"])
    location = place.path
    inside = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")
    path = f"{prefix}{inside}" if inside else prefix.rstrip(".")
    if details["type"] == "extra_forbidden":
        owner, key = place_of(model, details["loc"][:-1]), str(location[-1])
        deeper = [inner for inner in owner.inner if inner.endswith(f".{key}")]
        if deeper:
            return f"{path}: unknown key. Did you mean {' or '.join(repr(inner) for inner in deeper)}?"
        return f"{path}: unknown key. {suggest(key, owner.keys) if owner.keys else 'There are no settings here.'}"
    if details["type"] == "union_tag_invalid":
        given = details.get("ctx", {})
        known = [word.strip("' ") for word in str(given["expected_tags"]).split(",")]
        where = ".".join(part for part in (path, str(given["discriminator"]).strip("'")) if part)
        return f"{where} = {given['tag']!r}: is none. {suggest(str(given['tag']), known)}"
    if details["type"] == "missing":
        return f"{path}: is required"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace("Input should", "should")
    if details["type"] in ("list_type", "tuple_type") and isinstance(details["input"], str):
        message = f"should be a list, such as {json.dumps([details['input']])}"
    if isinstance(details["input"], Mapping) and details["type"] == "value_error":
        return f"{path}: {message}" if path else message  # settings contradict each other; the message names them
    value = _shorten(repr(cast(object, details["input"])))
    stated = f"{path} = {value}" if path else value
    field = place.field
    limits = allowed(field) if field is not None and not isinstance(location[-1], int) else ""
    if limits and "one of" not in limits:
        message += f" (allowed: {limits})"
    return f"{stated}: {message}"


def _shorten(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _refuse_unwritable(value: Any, path: str) -> None:
    """Raise `ValueError` for a value TOML or JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}: {value} is not a finite number")
    if isinstance(value, Mapping):
        for key, item in cast(Mapping[str, Any], value).items():
            _refuse_unwritable(item, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(cast(Sequence[Any], value)):
            _refuse_unwritable(item, f"{path}[{index}]")
    elif not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"{path}: {type(value).__name__} is not a value a configuration can hold")  # noqa: TRY004
