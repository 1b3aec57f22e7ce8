"""The catalogue: every entry of every plugin that loads, found by name, imported when used.

Hooks are called once, here; what they return is checked and frozen. Nothing installed decides anything inside a run:
a name in a configuration leads to one entry or to an error.
"""

import functools
import importlib
import importlib.resources
import logging
import os
import re
import tomllib
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pluggy

from registry.config import Config, parse
from registry.discovery import (
    AUTOLOAD_VARIABLE,
    BUILTIN,
    DISABLE_VARIABLE,
    FILES_VARIABLE,
    Discovery,
    PluginRecord,
    discover,
    one_line,
)
from registry.entry import KINDS, Entry
from registry.errors import PluginError, UserError, suggest
from registry.moved import advice

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PACKAGE = re.compile(r"([A-Za-z_]\w*)?")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_FILE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[\w-]+\.toml")
"""A TOML file in a package, which loads as its mapping."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the catalogue: an entry, its kind and where it came from."""

    kind: str
    entry: Entry
    plugin: PluginRecord

    @property
    def provider(self) -> str:
        """ "builtin", the distribution's name, or the file's stem."""
        return self.plugin.provider

    @property
    def full_name(self) -> str:
        """ "provider/name"."""
        return f"{self.plugin.provider}/{self.entry.name}"

    @property
    def version(self) -> str:
        """Version of the distribution it came from; empty for a plugin of one file."""
        return self.plugin.version

    def load(self) -> Any:
        """The target, imported now. Raises `PluginError` saying what is missing where."""
        return self._resolve(self.entry.target)

    def config_class(self) -> type[Config]:
        """The model of its settings; the empty `Config` when it has none. Raises `PluginError` where it is none."""
        if self.entry.config is None:
            return Config
        found = self._resolve(self.entry.config)
        if not (isinstance(found, type) and issubclass(found, Config)):
            raise PluginError(f"{self._place}: {self.entry.config} is not a subclass of registry.config.Config")
        if "name" in found.model_fields and self.kind not in ("commands", "experiments"):
            raise PluginError(
                f"{self._place}: {self.entry.config} has a setting `name`, which is what experiments call the part by: "
                "give it another name"
            )
        return found

    def configure(self, settings: Mapping[str, Any] | None = None, prefix: str = "") -> Config:
        """`settings` checked. Raises `ConfigError` with every problem; `prefix` (as "agent.") goes before paths."""
        return parse(self.config_class(), settings or {}, f"settings of {self.full_name}", prefix)

    def build(self, settings: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
        """`load()(configure(settings), **arguments)`. What a plugin's target raises becomes a `PluginError`."""
        target, config = self.load(), self.configure(settings)
        try:
            return target(config, **arguments)
        except UserError:
            raise
        except Exception as error:
            if self.provider == BUILTIN:
                raise
            given = ", ".join(("config", *(f"{name}=" for name in arguments)))
            raise PluginError(f"{self._place}: {self.entry.target}({given}) raised {one_line(error)}") from error

    @property
    def lacks(self) -> str:
        """What to do where it is absent, to end a sentence with."""
        extra = f"taskgen-metarl[{self.entry.package}]" if self.provider == BUILTIN else self.entry.package
        return f"needs the package {self.entry.package}, which is not installed: pip install '{extra}'"

    @property
    def _place(self) -> str:
        return f"{self.full_name} ({self.kind}, from {self.plugin.file or self.plugin.key})"

    def _resolve(self, target: str) -> Any:
        module_name, _, path = target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except UserError:
            raise
        except ModuleNotFoundError as error:
            moved = advice(error)
            if moved or (error.name is not None and f"{module_name}.".startswith(f"{error.name}.")):
                raise PluginError(f"{self._place}: there is no module {error.name!r} for {target!r}{moved}") from error
            raise PluginError(f"{self._place}: needs the package {error.name!r}, which is not installed") from error
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self._place}: importing {module_name!r} fails: {one_line(error)}") from error
        if _FILE.fullmatch(target):
            return self._read(module_name, path)
        found: Any = module
        for name in path.split("."):
            if not hasattr(found, name):
                close = suggest(name, _public(found))
                raise PluginError(f"{self._place}: {module_name} has no {path!r}. {close}")
            found = getattr(found, name)
        return found

    def _read(self, package: str, name: str) -> dict[str, Any]:
        try:
            return tomllib.loads(importlib.resources.files(package).joinpath(name).read_text("utf-8"))
        except (OSError, TypeError) as error:
            raise PluginError(f"{self._place}: {package!r} holds no file {name!r} ({one_line(error)})") from error
        except ValueError as error:
            raise PluginError(f"{self._place}: {name} is no TOML: {one_line(error)}") from error


ACTIONS = frozenset({"discrete-actions", "continuous-actions", "multi-discrete-actions", "mixed-actions"})
"""What a family can offer of actions: one choice, numbers, several choices, numbers and choices."""


class Catalogue:
    """All entries by kind and name. Made by `build`; use `registry.catalogue()`."""

    def __init__(self, manager: pluggy.PluginManager, plugins: Iterable[PluginRecord], items: Iterable[Item]) -> None:
        self.plugins = tuple(plugins)
        self._manager = manager
        self._items = {kind: tuple(item for item in items if item.kind == kind) for kind in KINDS}
        self._silenced: set[tuple[str, str]] = set()

    def items(self, kind: str) -> list[Item]:
        """Entries of one kind, or of several ("generators|curricula"), by name; those that lack a package left out.

        Raises `UserError` for no such kind.
        """
        found: list[Item] = []
        for one in kind.split("|"):
            if one not in KINDS:
                raise UserError(f"there is no kind {one!r} of catalogue entry. {suggest(one, KINDS)}")
            found += [item for item in self._items[one] if not item.entry.absent]
        return sorted(found, key=lambda item: (item.entry.name, item.plugin.provider))

    def broken(self) -> list[PluginRecord]:
        """Plugins that should have loaded and did not."""
        return [record for record in self.plugins if record.status in ("failed", "incompatible")]

    def find(self, kind: str, name: str) -> list[Item]:
        """Entries that `name`, short or full, may mean."""
        return [item for item in self.items(kind) if name in (item.entry.name, item.full_name)]

    def absent(self, kind: str) -> list[Item]:
        """Entries of one kind, or of several, that need a package which is not installed."""
        return [item for one in kind.split("|") for item in self._items[one] if item.entry.absent]

    def known(self, kind: str) -> list[Item]:
        """Entries of one kind, or of several, whose names may be meant by one that is misspelt: absent ones too."""
        return [*self.items(kind), *self.absent(kind)]

    def refuse_absent(self, kind: str, name: str) -> None:
        """Raise `UserError` where `name` is that of an entry which lacks a package."""
        for item in self.absent(kind):
            if name in (item.entry.name, item.full_name):
                raise UserError(f"{item.full_name} {item.lacks}")

    def get(self, kind: str, name: str) -> Item:
        """The entry called `name`: "provider/name", or the short name where it is unique.

        Raises `UserError` for an unknown name (with the nearest one, and the plugins that failed to load), for a
        short name that two providers use (naming both), and for an entry that lacks a package (and how to install it).
        """
        found = self.find(kind, name)
        kinds = kind.replace("|", " or ")
        if len(found) == 1:
            return found[0]
        if found:
            choices = " or ".join(repr(item.full_name) for item in found)
            raise UserError(f"{name!r} is ambiguous among the {kinds}: say {choices}")
        self.refuse_absent(kind, name)
        known = self.known(kind)
        names = [item.full_name if "/" in name else item.entry.name for item in known]
        provider = name.partition("/")[0]
        if "/" in name and provider not in {record.provider for record in self.plugins}:
            advice = f"no plugin called {provider!r} is here: install it, or name its file with --plugin"
            raise UserError(f"{name!r} is not among the {kinds}: {advice}.{self.broken_note()}")
        raise UserError(f"{name!r} is not among the {kinds}. {suggest(name, names)}{self.broken_note()}")

    def broken_note(self) -> str:
        """A sentence naming the plugins that failed to load, to end an error with; empty when all loaded."""
        broken = ", ".join(record.key for record in self.broken())
        return f" Not loaded: {broken} (see `taskgen list --broken`)." if broken else ""

    def short_name(self, item: Item) -> str:
        """The shortest name that means `item` alone."""
        return item.entry.name if len(self.find(item.kind, item.entry.name)) == 1 else item.full_name

    def incompatibilities(self, items: Sequence[Item]) -> list[str]:
        """What parts of one plan need that none of them offers, one sentence each.

        A family that says nothing of its actions may have any kind, as its settings decide: once it is built, agents
        that cannot play it say so themselves.
        """
        offered = {word for item in items for word in item.entry.offers}
        if any(item.kind == "families" and not ACTIONS & set(item.entry.offers) for item in items):
            offered |= ACTIONS
        return [
            f"{item.full_name} ({item.kind}) needs {need.replace('|', ' or ')}, which no part of the plan offers; "
            f"offered are: {', '.join(sorted(offered)) or 'nothing'}"
            for item in items
            for need in item.entry.needs
            if not offered.intersection(need.split("|"))
        ]

    def validate(self, plan: Mapping[str, Any]) -> list[str]:
        """Problems that plugins find in a plan (`validate_run`), one sentence each."""
        problems: list[str] = []
        for implementation in self._manager.hook.validate_run.get_hookimpls():
            try:
                problems += [str(problem) for problem in _call(implementation, {"plan": plan}) or ()]
            except (Exception, SystemExit) as error:
                problems.append(f"{implementation.plugin_name}: validate_run itself failed: {one_line(error)}")
        return problems

    def described(self, item: Item) -> dict[str, str]:
        """What plugins say of an entry besides (`describe_entry`), by heading."""
        said: dict[str, str] = {}
        for implementation in self._manager.hook.describe_entry.get_hookimpls():
            try:
                said |= _call(implementation, {"kind": item.kind, "name": item.full_name}) or {}
            except (Exception, SystemExit) as error:
                said[f"{implementation.plugin_name} failed"] = one_line(error)
        return said

    def notify(self, hook_name: str, **arguments: Any) -> None:
        """Call an observer hook in every plugin. One that raises is switched off with one logged traceback."""
        for implementation in getattr(self._manager.hook, hook_name).get_hookimpls():
            key = (implementation.plugin_name, hook_name)
            if key in self._silenced:
                continue
            try:
                _call(implementation, arguments)
            except (Exception, SystemExit):
                self._silenced.add(key)
                _log.exception("plugin %s: observer %s failed and is switched off", *key)


def build(discovery: Discovery) -> Catalogue:
    """Call the registration hooks of every loaded plugin, check what they return, and freeze it.

    A plugin with a raising hook or a faulty entry becomes a failed one, as a whole; the others are not touched.
    """
    plugins: list[PluginRecord] = []
    items: list[Item] = []
    for record in discovery.records:
        if record.status == "loaded":
            try:
                found = list(_entries(discovery.manager, record))
                _check_unique([*items, *found], record)
                items += found
            except (Exception, SystemExit) as error:
                known = isinstance(error, PluginError)
                discovery.manager.unregister(record.module)
                record = replace(  # noqa: PLW2901
                    record.failed(one_line(error)), traceback="" if known else traceback.format_exc()
                )
        plugins.append(record)
    return Catalogue(discovery.manager, plugins, items)


def catalogue() -> Catalogue:
    """The catalogue of what is installed and what the environment names, built once per state of the environment."""
    return _cached(*(os.environ.get(name, "") for name in (FILES_VARIABLE, DISABLE_VARIABLE, AUTOLOAD_VARIABLE)))


def being_built() -> bool:
    """Whether a catalogue is being built right now, so that asking for one would begin another inside it."""
    calls = _cached.cache_info()
    return calls.misses > calls.currsize


@functools.cache
def _cached(files: str, disabled: str, autoload: str) -> Catalogue:
    return build(discover({FILES_VARIABLE: files, DISABLE_VARIABLE: disabled, AUTOLOAD_VARIABLE: autoload}))


def _call(implementation: Any, arguments: Mapping[str, Any]) -> Any:
    """Call one implementation with those of the arguments it takes."""
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _entries(manager: pluggy.PluginManager, record: PluginRecord) -> Iterator[Item]:
    for kind, hook_name in KINDS.items():
        for implementation in getattr(manager.hook, hook_name).get_hookimpls():
            if implementation.plugin is not record.module:
                continue
            returned = _call(implementation, {})
            if not isinstance(returned, Iterable):
                raise PluginError(f"{hook_name} returned {returned!r}; expected a list of registry.Entry")
            for entry in cast(Iterable[Any], returned):
                if not isinstance(entry, Entry):
                    raise PluginError(f"{hook_name} returned {entry!r}; expected a registry.Entry")
                problem = entry_problem(entry) or _own_target_problem(entry, record)
                if problem:
                    raise PluginError(f"{hook_name}, entry {entry.name!r}: {problem}")
                yield Item(kind, entry, record)


def entry_problem(entry: Entry) -> str:
    """What is wrong with the form of an entry, or nothing."""
    texts = {name: getattr(entry, name) for name in ("name", "target", "summary", "citation", "package")}
    for field, value in texts.items():
        if not isinstance(value, str):
            return f"{field} = {value!r}: expected text"
    for field, form, expected in (
        ("name", _NAME, "lower-case letters and digits in words joined by hyphens"),
        ("package", _PACKAGE, "the name that it is imported by, without dots"),
    ):
        if not form.fullmatch(texts[field]):
            return f"{field} = {texts[field]!r}: expected {expected}"
    for field, target in {"target": entry.target, "config": entry.config}.items():
        if target is None or (isinstance(target, str) and (_TARGET.fullmatch(target) or _FILE.fullmatch(target))):  # pyright: ignore[reportUnnecessaryIsInstance]
            continue
        return f'{field} = {target!r}: expected "package.module:Object", or "package:file.toml" of an experiment'
    if not entry.summary.strip() or "\n" in entry.summary:
        return f"summary = {entry.summary!r}: expected one sentence"
    for field, words in {"tags": entry.tags, "needs": entry.needs, "offers": entry.offers}.items():
        if not isinstance(words, tuple) or not all(isinstance(word, str) and word for word in words):  # pyright: ignore[reportUnnecessaryIsInstance]
            return f"{field} = {words!r}: expected a tuple of words"
    return ""


def _own_target_problem(entry: Entry, record: PluginRecord) -> str:
    """A target in the plugin's own module, which is imported already, is looked up at once."""
    for target in (entry.target, entry.config or ""):
        module, _, path = target.partition(":")
        name = path.partition(".")[0]
        if _FILE.fullmatch(target):
            continue
        if module == getattr(record.module, "__name__", None) and not hasattr(record.module, name):
            return f"{module} has no {name!r}. {suggest(name, _public(record.module))}"
    return ""


def _check_unique(items: Iterable[Item], record: PluginRecord) -> None:
    seen: set[tuple[str, str]] = set()
    for item in items:
        key = (item.kind, item.full_name)
        if item.provider == record.provider and key in seen:
            raise PluginError(f"registers two {item.kind} called {item.entry.name!r}")
        seen.add(key)


def _public(owner: Any) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_")]
