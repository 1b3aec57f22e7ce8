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


def field_at(model: type[BaseModel] | None, path: Sequence[str | int]) -> FieldInfo | None:
    """The field `path` leads to through nested models and lists of models; None when it leads elsewhere."""
    field: FieldInfo | None = None
    for step in path:
        if isinstance(step, int):
            continue
        if model is None or step not in model.model_fields:
            return None
        field = model.model_fields[step]
        model = _model(field.annotation)
    return field


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model whose fields stand at `path`: `model` itself for the empty path."""
    if not path:
        return model
    field = field_at(model, path)
    return None if field is None else _model(field.annotation)


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation, looking through `Optional`, `Annotated`, lists and tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


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
