"""Plans: a configuration whose every `Part` has been looked up, completed and checked, all problems at once.

A field that names catalogue entries says of which kind: `Field(Part(name="gru"), json_schema_extra={"kind":
"networks"})`. It may hold a `Part`, a tuple of them or a mapping to them, and sit at any depth, in the settings of
another part too.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError

from registry.catalogue import Catalogue, Item
from registry.config import Config, Part, parse
from registry.errors import ConfigError, UserError
from registry.fields import nested_model

C = TypeVar("C", bound=Config)


@dataclass(frozen=True, slots=True)
class Plan(Generic[C]):
    """A checked configuration and the catalogue entries it uses."""

    config: C
    """Every part with its full name and complete settings: what it says does not change when defaults do."""
    items: tuple[Item, ...]
    incidental: frozenset[str] = frozenset()
    """Dotted paths of the settings that change no result, as their models declare (`registry.config.INCIDENTAL`)."""


def resolve(config: C, catalogue: Catalogue, where: str = "configuration") -> Plan[C]:
    """Look up, complete and check every part of `config`. Raises `ConfigError` with every problem found."""
    walk = _Walk(catalogue)
    data = walk.model(config, "")
    problems = walk.problems
    if not problems:
        problems = [*catalogue.incompatibilities(walk.items), *catalogue.validate(data)]
    if problems:
        raise ConfigError(problems, where)
    return Plan(parse(type(config), data, where), tuple(walk.items), frozenset(walk.incidental))


def problems_of_parts(model: type[Config], data: Mapping[str, Any], catalogue: Catalogue) -> list[str]:
    """What is wrong with the parts in `data`, of which `model` makes nothing for other reasons."""
    walk = _Walk(catalogue)
    walk.plain(model, data, "")
    return walk.problems


class _Walk:
    """Collects items, incidental settings and problems on the way through a configuration."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.items: list[Item] = []
        self.problems: list[str] = []
        self.incidental: set[str] = set()

    def model(self, config: Config, path: str) -> dict[str, Any]:
        """`config` as plain data with its parts completed."""
        data = config.model_dump(mode="json", exclude_none=True)
        for name, field in type(config).model_fields.items():
            extra = cast(dict[str, Any], field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {})
            kind = str(extra.get("kind", ""))
            if extra.get("incidental"):
                self.incidental.add(f"{path}{name}")
            if name in data:
                data[name] = self._value(getattr(config, name), data[name], kind, f"{path}{name}")
        return data

    def plain(self, model: type[Config], data: Mapping[str, Any], path: str) -> None:
        """Look at the parts in `data` that are parts, whatever else there is."""
        for name, field in model.model_fields.items():
            extra = cast(dict[str, Any], field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {})
            value, kind, inner = data.get(name), str(extra.get("kind", "")), nested_model(field)
            if kind:
                for place, part in _parts(value, f"{path}{name}"):
                    with suppress(ValidationError):
                        self._part(Part.model_validate(part), kind, place)
            elif inner is not None and issubclass(inner, Config) and isinstance(value, Mapping):
                self.plain(inner, cast(Mapping[str, Any], value), f"{path}{name}.")

    def _value(self, value: object, plain: Any, kind: str, path: str) -> Any:
        if isinstance(value, Part):
            return self._part(value, kind, path) if kind else plain
        if isinstance(value, Config):
            return self.model(value, f"{path}.")
        if kind and isinstance(value, tuple):
            items = cast(Iterable[object], value)
            return [self._value(item, plain[i], kind, f"{path}[{i}]") for i, item in enumerate(items)]
        if kind and isinstance(value, Mapping):
            entries = cast(Mapping[str, object], value)
            return {key: self._value(item, plain[key], kind, f"{path}.{key}") for key, item in entries.items()}
        return plain

    def _part(self, part: Part, kind: str, path: str) -> dict[str, Any]:
        try:
            item = self.catalogue.get(kind, part.name)
            settings = item.configure(part.settings, prefix=f"{path}.")
        except ConfigError as error:
            self.problems += error.problems
        except UserError as error:
            self.problems.append(f"{path}: {error}")
        else:
            self.items.append(item)
            return {"name": item.full_name, **self.model(settings, f"{path}.")}
        return {"name": part.name, **part.settings}


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What may be parts in the plain `value` of a setting that holds one, a list or a table of them; where each is."""
    if isinstance(value, list):
        yield from ((f"{path}[{i}]", item) for i, item in enumerate(cast("list[Any]", value)))
    elif isinstance(value, Mapping) and "name" not in value:
        yield from ((f"{path}.{key}", item) for key, item in cast("Mapping[str, Any]", value).items())
    else:
        yield path, value
