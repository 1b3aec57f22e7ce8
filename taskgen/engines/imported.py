"""What tasks and settings name by "module:name".

They are data, and importing a module runs it: so it is one that is imported already, that a plugin brings, or of a
package that is trusted as such.
"""

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import registry
from registry.errors import UserError


def named(name: str, setting: str = "id", packages: Sequence[str] = ()) -> tuple[ModuleType, Any]:
    """The module of "module:name", and what the name is in it; None where nothing is.

    Modules of `packages` are imported for it. Raises `UserError`, which begins with `setting`, for other modules that
    nobody has imported.
    """
    place, _, path = name.partition(":")
    module = sys.modules.get(place)
    if module is None:
        loaded = [getattr(plugin.module, "__name__", "") for plugin in registry.catalogue().plugins if plugin.module]
        known = {*packages, *(one.partition(".")[0] for one in loaded if one)}
        if place in sys.modules or place.partition(".")[0] in known:
            module = importlib.import_module(place)
    if module is None:
        raise UserError(
            f"{setting} = {name!r}: {place} is no module of a plugin, and none that is imported; give its file with "
            f"--plugin {place.rpartition('.')[2]}.py, or import it first"
        )
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return module, found


def import_module_of(name: str) -> None:
    """Import the module of "module:name", which the process that asks this one has found to be a plugin's, or imported.

    Anything without a colon is left alone.
    """
    module, colon, _ = name.partition(":")
    if colon:
        registry.catalogue()
        importlib.import_module(module)
