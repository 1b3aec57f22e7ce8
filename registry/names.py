"""Whether the import names of this distribution still mean its own files, and what to do where they do not.

They are generic, so a folder `agents` beside a script shadows ours, and another distribution may replace our files.
Only the standard library is used here and nothing of `registry`: `taskgen` runs this file by its path, before it trusts
a name.
"""

import importlib.util
import sys
from pathlib import Path

DISTRIBUTION = "taskgen-metarl"
PACKAGES = ("registry", "taskgen", "plugins", "agents")
"""The import names of this distribution."""
HOME = Path(__file__).resolve().parents[1]
"""The folder in which they lie."""


def shadowed(home: Path = HOME) -> dict[str, str]:
    """A sentence, by import name, on every package whose name means something else; empty when all is well."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        own = home / name / "__init__.py"
        place = _place(name)
        if place is None:
            found[name] = f"the package {name!r} is missing: install {DISTRIBUTION} again"
        elif place != own.resolve():
            found[name] = (
                f"the import name {name!r} means {place}, which shadows {own} of {DISTRIBUTION}: rename it, or start "
                "Python from where it is not found first"
            )
        elif DISTRIBUTION not in own.read_text(encoding="utf-8"):
            found[name] = (
                f"{own} was replaced by another distribution's: uninstall that (`taskgen doctor` names it where it "
                f"can), then install {DISTRIBUTION} again with `pip install --force-reinstall --no-deps`"
            )
    return found


def advice(error: BaseException) -> str:
    """What stands in the way of a failed import of one of our names, as the end of a message; else empty."""
    name = (error.name if isinstance(error, ImportError) else None) or ""
    sentence = shadowed().get(name.partition(".")[0])
    return f"; {sentence}" if sentence else ""


def _place(name: str) -> Path | None:
    """The file that `import name` runs or has run, or a folder without such a file."""
    module = sys.modules.get(name)
    try:
        spec = importlib.util.find_spec(name) if module is None else module.__spec__
    except (ImportError, ValueError):
        spec = None
    origin = getattr(module, "__file__", None) if spec is None else spec.origin
    if origin is None:
        folders = list((spec.submodule_search_locations if spec else None) or getattr(module, "__path__", ()))
        origin = folders[0] if folders else None
    return None if origin is None else Path(origin).resolve()
