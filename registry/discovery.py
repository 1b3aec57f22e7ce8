"""Finding plugins: one at a time, so that a broken one is a line in a table and nothing else.

Installed plugins are the entry points of the group "taskgen"; a plugin may also be one Python file. Environment:

- `TASKGEN_PLUGINS`: files to load, separated like `PATH`;
- `TASKGEN_DISABLE_PLUGINS`: comma-separated providers or keys that are listed but not imported;
- `TASKGEN_DISABLE_PLUGIN_AUTOLOAD=1`: of the installed plugins only the built-in ones are imported.

Everything here imports plugin modules only; a plugin module is meant to be light, since targets are strings.
"""

import contextlib
import difflib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pluggy

from registry.entry import API_LEVEL, OLDEST_LEVEL
from registry.errors import PluginError
from registry.hookspecs import PROJECT, Hooks
from registry.moved import advice
from registry.nameable import nameable

GROUP = "taskgen"
DISTRIBUTION = "taskgen-metarl"
BUILTIN = "builtin"
FILES_VARIABLE = "TASKGEN_PLUGINS"
DISABLE_VARIABLE = "TASKGEN_DISABLE_PLUGINS"
AUTOLOAD_VARIABLE = "TASKGEN_DISABLE_PLUGIN_AUTOLOAD"

Status = Literal["loaded", "disabled", "incompatible", "failed"]


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """What became of one plugin."""

    key: str
    """ "distribution:entry-point", or "file:stem" for a plugin of one file."""
    provider: str
    """First half of the full names of its entries."""
    version: str = ""
    file: str = ""
    status: Status = "loaded"
    import_seconds: float = 0.0
    error: str = ""
    """One line; empty when loaded."""
    traceback: str = ""
    module: Any = field(default=None, repr=False, compare=False)

    def failed(self, error: str) -> "PluginRecord":
        """This plugin, found faulty."""
        return replace(self, status="failed", error=error, module=None)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The plugins found, in order, and the manager in which the loaded ones are registered."""

    manager: pluggy.PluginManager
    records: tuple[PluginRecord, ...]


class IncompatibleError(PluginError):
    """A plugin was written for another API level."""


def discover(environment: Mapping[str, str] = os.environ) -> Discovery:
    """Find, import and register every plugin. Never raises for what a plugin does."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    disabled = {name.strip() for name in environment.get(DISABLE_VARIABLE, "").split(",")}
    builtin_only = environment.get(AUTOLOAD_VARIABLE, "") not in ("", "0")
    records: list[PluginRecord] = []
    for record, load in (*_installed(), *_files(environment.get(FILES_VARIABLE, ""))):
        off = bool({record.provider, record.key} & disabled)
        if off or (builtin_only and record.provider != BUILTIN and not record.key.startswith("file:")):
            why = DISABLE_VARIABLE if off else AUTOLOAD_VARIABLE
            records.append(replace(record, status="disabled", error=f"switched off by {why}"))
        elif clash := _provider_clash(record, records):
            records.append(record.failed(clash))
        else:
            records.append(register(manager, record, load))
    return Discovery(manager, tuple(records))


def register(manager: pluggy.PluginManager, record: PluginRecord, load: Callable[[], Any]) -> PluginRecord:
    """Import one plugin and register its hooks; the record says how that went."""
    start = time.perf_counter()
    module: Any = None
    try:
        # What a plugin prints while it is imported must not end up in the output of `taskgen list --json`.
        with contextlib.redirect_stdout(sys.stderr):
            module = load()
        _check_level(module)
        manager.register(module, record.key)
        _check_hooks(manager, module)
    except (Exception, SystemExit) as error:
        if module is not None and manager.get_plugin(record.key) is module:
            manager.unregister(module)
        return replace(
            record,
            status="incompatible" if isinstance(error, IncompatibleError) else "failed",
            import_seconds=time.perf_counter() - start,
            error=one_line(error),
            traceback="" if isinstance(error, PluginError) else traceback.format_exc(),
        )
    file = record.file or getattr(inspect.getmodule(module), "__file__", None) or ""
    return replace(record, module=module, file=file, import_seconds=time.perf_counter() - start)


def typed(command: str) -> str:
    """What to type for the `taskgen` command `command`, with the plugin files in use."""
    files = [file for file in os.environ.get(FILES_VARIABLE, "").split(os.pathsep) if file]
    return " ".join(["taskgen", *(f"--plugin {shlex.quote(file)}" for file in files), command])


def load_file(path: Path) -> ModuleType:
    """Import a plugin of one file under the name of the file, so that its targets can be "stem:Object".

    Raises `PluginError` for a file that is missing, no Python or named like a module that exists, and whatever the file
    raises while it is imported.
    """
    if not path.is_file():
        raise PluginError(f"no such file: {path}")
    stem = path.stem
    if not stem.isidentifier():
        raise PluginError(f"{path.name}: name the file like a Python module: letters, digits and underscores")
    present = sys.modules.get(stem)
    if present is None or not getattr(present, "__taskgen_plugin__", False):
        found = importlib.util.find_spec(stem)
        if found is not None and (found.origin is None or Path(found.origin).resolve() != path):
            raise PluginError(f"{path.name}: a module {stem!r} exists already ({found.origin}); rename the file")
    elif present.__file__ == str(path):
        return present
    spec = importlib.util.spec_from_file_location(stem, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path.name}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__taskgen_plugin__"] = True
    sys.modules[stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[stem]
        raise
    return module


def one_line(error: BaseException) -> str:
    """An exception as one line: its message, with the type where that says more, and where to find what moved."""
    text = " ".join(str(error).split()) + advice(error)
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _installed() -> Iterator[tuple[PluginRecord, Callable[[], Any]]]:
    """Installed plugins, the built-in ones first, then by distribution and entry point."""
    found: list[tuple[PluginRecord, Callable[[], Any]]] = []
    for point in importlib.metadata.entry_points(group=GROUP):
        name, version = (point.dist.name, point.dist.version) if point.dist else (point.module, "")
        name = re.sub(r"[-_.]+", "-", name).lower()
        provider = BUILTIN if name == DISTRIBUTION else name
        found.append((PluginRecord(f"{name}:{point.name}", provider, version), point.load))
    yield from sorted(found, key=lambda pair: (pair[0].provider != BUILTIN, pair[0].key))


def _files(paths: str) -> Iterator[tuple[PluginRecord, Callable[[], Any]]]:
    """Plugins of one file, in the order given; a file given twice counts once."""
    for path in dict.fromkeys(Path(text).expanduser().resolve() for text in paths.split(os.pathsep) if text):
        yield PluginRecord(f"file:{path.stem}", path.stem, file=str(path)), lambda path=path: load_file(path)


def _provider_clash(record: PluginRecord, earlier: Iterable[PluginRecord]) -> str:
    """Why this plugin's provider name is taken, or nothing. Plugins of one distribution share their provider."""
    if record.provider == BUILTIN and not record.key.startswith(f"{DISTRIBUTION}:"):
        return f"the provider name {BUILTIN!r} belongs to {DISTRIBUTION}; rename the plugin"
    origin = record.key.partition(":")[0]
    for other in earlier:
        if other.provider == record.provider and (origin == "file" or other.key.partition(":")[0] != origin):
            return f"the provider name {record.provider!r} is taken by {other.key} ({other.file}); rename the plugin"
    return ""


def _check_level(module: Any) -> None:
    level = getattr(module, "API_LEVEL", API_LEVEL)
    if level not in range(OLDEST_LEVEL, API_LEVEL + 1):
        known = f"this is level {API_LEVEL} and takes plugins from level {OLDEST_LEVEL} on"
        raise IncompatibleError(f"written for API level {level!r}, while {known}; look for an update")


def _check_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """Refuse misspelt hooks and hook wrappers; a module with neither a hook nor what tasks may name is no plugin."""
    known = [name for name in vars(Hooks) if not name.startswith("_")]
    callers = manager.get_hookcallers(module) or []
    if not callers and not environments(module) and not (inspect.ismodule(module) and nameable(module)):
        raise PluginError("has no function marked @registry.hookimpl, so it registers nothing")
    for name in known:
        function = vars(module).get(name) if inspect.ismodule(module) else None
        if inspect.isfunction(function) and not hasattr(function, f"{PROJECT}_impl"):
            raise PluginError(f"{name} is not marked with @registry.hookimpl, so what it registers would be missing")
    for caller in callers:
        if caller.name not in known:
            close = difflib.get_close_matches(caller.name, known, n=1, cutoff=0.5)
            advice = f"did you mean {close[0]!r}?" if close else f"hooks are {', '.join(known)}"
            raise PluginError(f"there is no hook {caller.name!r}; {advice}")
        for implementation in caller.get_hookimpls():
            if implementation.plugin is module and (implementation.hookwrapper or implementation.wrapper):
                raise PluginError(f"{caller.name} is a hook wrapper; hooks here register, they wrap nothing")
    manager.check_pending()


def environments(module: Any) -> list[str]:
    """Classes of `module` that are Gymnasium environments, which the family `gymnasium` finds by name."""
    core = getattr(sys.modules.get("gymnasium.core"), "Env", None)
    if core is None or not inspect.ismodule(module):
        return []  # where nobody has imported Gymnasium there is none
    own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    return [value.__qualname__ for value in own if isinstance(value, type) and issubclass(value, core)]
