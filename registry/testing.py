"""Conformance kit for plugins, entries and settings. Each check raises `AssertionError` with every problem it found.

from registry.testing import check_plugin

def test_plugin():
    check_plugin(my_plugin)
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import tomli_w
import typer
from pydantic import BaseModel

from registry.catalogue import Item, build, entry_problem
from registry.config import Config, Part, parse, to_toml
from registry.discovery import Discovery, PluginRecord, load_file, register
from registry.entry import KINDS
from registry.errors import UserError
from registry.fields import nested_model
from registry.hookspecs import PROJECT, Hooks

METHODS = {"trackers": ("log", "close")}
"""What a target that is a class must have, by kind, where no kit of another room plays with it."""
_SENTENCE = re.compile(r"[^a-z].*\.")


def check_plugin(plugin: ModuleType | str | Path) -> list[Item]:
    """Load a plugin, a module or the path of a file, by itself, and check every entry it registers.

    Returns them. Raises `AssertionError` naming everything that is wrong with them.
    """
    path = None if isinstance(plugin, ModuleType) else Path(plugin).resolve()
    provider = path.stem if path else str(getattr(plugin, "__name__", plugin)).replace("_", "-")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    record = PluginRecord(f"checked:{provider}", provider, file=str(path or ""))
    record = register(manager, record, lambda: load_file(path) if path else plugin)
    catalogue = build(Discovery(manager, (record,)))
    (record,) = catalogue.plugins
    if record.status != "loaded":
        raise AssertionError(f"{provider}: {record.status}: {record.error}\n{record.traceback}".rstrip())
    items = [item for kind in KINDS for item in catalogue.items(kind)]
    problems = [problem for item in items for problem in _entry_problems(item)]
    _report(provider, problems)
    return items


def check_entry(item: Item) -> None:
    """Check that an entry is well-formed, that its target loads and is documented, and that its settings are sound."""
    _report(item.full_name, _entry_problems(item))


def check_config(model: type[BaseModel]) -> None:
    """Check a settings model: frozen, strict, every field with default and description, equal after a trip to TOML."""
    _report(model.__qualname__, _config_problems(model))


def _report(what: str, problems: list[str]) -> None:
    if problems:
        raise AssertionError("\n".join([f"{what}:", *(f"  - {problem}" for problem in problems)]))


def _entry_problems(item: Item) -> list[str]:
    entry = item.entry
    problems = [problem] if (problem := entry_problem(entry)) else []
    if not _SENTENCE.fullmatch(entry.summary) or ". " in entry.summary:
        problems.append(f"summary {entry.summary!r} is not one sentence with a capital and a full stop")
    try:
        target = item.load()
        model = item.config_class()
    except UserError as error:
        return [*problems, str(error)]
    if item.kind == "experiments":
        return [*problems, *_experiment_problems(target)]
    if not callable(target):
        problems.append(f"target {entry.target} is {target!r}, which cannot be called")
    elif not (vars(target).get("__doc__") if isinstance(target, type) else getattr(target, "__doc__", None)):
        problems.append(f"target {entry.target} has no docstring")
    if item.kind in METHODS and isinstance(target, type):
        lacking = [name for name in METHODS[item.kind] if not callable(getattr(target, name, None))]
        problems += [f"target {entry.target} lacks {name}()" for name in lacking]
    if item.kind == "commands":
        problems += _command_problems(target)
    return problems if entry.config is None else [*problems, *_config_problems(model)]


def _experiment_problems(target: Any) -> list[str]:
    if not isinstance(target, Mapping) or not target:
        return [f"an experiment is a mapping that reads like a TOML file, not {target!r}"]
    try:
        text = tomli_w.dumps(target)  # pyright: ignore[reportUnknownArgumentType]
    except (TypeError, ValueError) as error:
        return [f"cannot be written as TOML: {error}"]
    return [] if tomllib.loads(text) == target else ["is not the same after writing and reading TOML"]


def _command_problems(target: Any) -> list[str]:
    application = typer.Typer()
    application.command()(target)
    try:
        typer.main.get_command(application)
    except Exception as error:  # noqa: BLE001  typer raises whatever a faulty signature leads to
        return [f"typer cannot make a verb of it: {error}"]
    return []


def _config_problems(model: type[BaseModel]) -> list[str]:
    name = model.__qualname__
    if not issubclass(model, Config):  # pyright: ignore[reportUnnecessaryIsInstance]
        return [f"{name} is not a subclass of registry.config.Config"]
    if issubclass(model, Part):
        return []
    problems = [] if vars(model).get("__doc__") else [f"{name} has no docstring"]
    wanted = {key: Config.model_config.get(key) for key in ("frozen", "extra", "allow_inf_nan")}
    problems += [
        f"{name}: model_config must keep {key}={value!r}"
        for key, value in wanted.items()
        if model.model_config.get(key) != value
    ]
    for field_name, field in model.model_fields.items():
        if field.is_required():
            problems.append(f"{name}.{field_name} has no default")
        if not field.description:
            problems.append(f"{name}.{field_name} has no description")
        nested = nested_model(field)
        if nested is not None:
            problems += _config_problems(nested)
    return problems or _round_trip_problems(model)


def _round_trip_problems(model: type[Config]) -> list[str]:
    try:
        default = model()
        again = parse(model, tomllib.loads(to_toml(default)))
    except (ValueError, TypeError, UserError) as error:
        return [f"{model.__qualname__}: its defaults do not survive a trip to TOML: {error}"]
    return [] if again == default else [f"{model.__qualname__}: {again!r} after a trip to TOML, {default!r} before"]
