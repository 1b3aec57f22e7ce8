"""What a settings model allows, in words: for help, documentation and error messages."""

import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a model, ready to print."""

    path: str
    type: str
    default: str
    allowed: str
    description: str


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Every setting of `model` with its dotted path; settings of a nested model follow one by one."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        nested = nested_model(field)
        if nested is not None and nested.model_config.get("extra") != "allow":
            yield from settings(nested, f"{path}.")
            continue
        yield Setting(path, type_name(field.annotation), _default(field), allowed(field), field.description or "")


def nested_model(field: FieldInfo) -> type[BaseModel] | None:
    """The model a field holds itself, not in a list, table or choice."""
    annotation: Any = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def type_name(annotation: Any) -> str:
    """A type as a person writes it: "number", "integer", "list of text"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return "choice"
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(argument) for argument in arguments if argument is not type(None))
    if origin in (list, tuple, set, frozenset, Sequence):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        return f"list of {type_name(inner[0])}" if inner else "list"
    if origin is not None:
        return type_name(origin)
    words = {bool: "true or false", int: "integer", float: "number", str: "text", dict: "table", Any: "any value"}
    return words.get(annotation) or str(getattr(annotation, "__name__", annotation)).lower()


def allowed(field: FieldInfo) -> str:
    """The values a field takes beyond its type, such as ">= 0 and <= 1"; empty when there is no such limit."""
    choices = _choices(field.annotation)
    if choices:
        return "one of " + ", ".join(repr(choice) for choice in choices)
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of"}
    signs |= {"min_length": "length >=", "max_length": "length <=", "pattern": "matches"}
    limits = [
        f"{sign} {limit}"
        for constraint in field.metadata
        for name, sign in signs.items()
        if (limit := getattr(constraint, name, None)) is not None
    ]
    return " and ".join(limits)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the path of an error leads in a model."""

    path: tuple[str | int, ...]
    """As somebody wrote it: without the kinds of choices, which pydantic puts into a path and nobody wrote there."""
    annotation: Any
    """Type of what stands there; None where the path leads out of the model."""
    field: FieldInfo | None
    """The field that stands there, unless it is a value of a table or beyond the model."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Those of the model that stands here; none where no model does."""
        return tuple(field for model in _models(self.annotation)[:1] for field in model.model_fields)

    @property
    def inner(self) -> tuple[str, ...]:
        """Dotted paths of all settings of the model that stands here, through those it holds itself."""
        return tuple(one.path for model in _models(self.annotation)[:1] for one in settings(model))


def place_of(model: type[BaseModel], path: Sequence[str | int]) -> Place:
    """What stands at `path`, through nested models, lists, tables and choices told apart by a field of theirs."""
    annotation: Any = model
    field: FieldInfo | None = None
    written: list[str | int] = []
    for step in path:
        models, table = _models(annotation), _table_values(annotation)
        chosen = [one for one in models if len(models) > 1 and _is_tag(one, step)]
        if isinstance(step, int):
            pass
        elif table is not None:
            annotation, field = table, None
        elif chosen:
            annotation = chosen[0]
            continue
        else:
            field = next((one.model_fields[step] for one in models if step in one.model_fields), None)
            annotation = None if field is None else field.annotation
        written.append(step)
    return Place(tuple(written), annotation, field)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation, looking through `Optional`, `Annotated`, lists and tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]


def _table_values(annotation: Any) -> Any:
    """The type of a table's values; None for what is no table."""
    if typing.get_origin(annotation) is dict:
        return typing.get_args(annotation)[1]
    found = (_table_values(argument) for argument in typing.get_args(annotation))
    return next((values for values in found if values is not None), None)


def _is_tag(model: type[BaseModel], step: str | int) -> bool:
    """Whether `step` is the word by which a choice is known to be `model`."""
    return any(_choices(field.annotation) == (step,) for field in model.model_fields.values())


def _choices(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is Literal:
        return typing.get_args(annotation)
    nested = [_choices(argument) for argument in typing.get_args(annotation)]
    return tuple(choice for choices in nested for choice in choices)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
        if value.keys() == {"name"}:
            return str(value["name"])
    return "" if value is None else str(value)
