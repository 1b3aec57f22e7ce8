"""`taskgen new-plugin`: an installable plugin with a working task generator and tests, from templates in the wheel."""

import importlib.metadata
import importlib.resources
import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from registry.discovery import BUILTIN, DISTRIBUTION
from registry.entry import API_LEVEL
from registry.errors import UserError

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_SUFFIX = ".tmpl"


def new_plugin(name: str, directory: Path) -> Path:
    """Write the plugin `name` into a new folder of that name in `directory` and return its path.

    Raises `UserError` for a name that cannot be a Python package or is taken, and for a folder that exists. The folder
    appears complete or not at all.
    """
    name = name.replace("_", "-")
    package = name.replace("-", "_")
    _check_name(name, package)
    root = directory.expanduser().resolve() / name
    if root.exists() or root.is_symlink():
        raise UserError(f"{root} exists already; nothing was changed. Choose another name or --directory")
    if not root.parent.is_dir():
        raise UserError(f"--directory {str(directory)!r}: no such folder")
    words = {
        "name": name,
        "package": package,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "distribution": DISTRIBUTION,
        "host_version": importlib.metadata.version(DISTRIBUTION),
        "api_level": str(API_LEVEL),
    }
    staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root.parent))
    try:
        _render(importlib.resources.files("registry") / "templates" / "plugin", staging, words)
        staging.chmod(0o755)
        staging.rename(root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return root


def _check_name(name: str, package: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(package):
        raise UserError(
            f"{name!r} cannot name a plugin: use lower-case letters and digits in words joined by hyphens, "
            "beginning with a letter, such as my-tasks"
        )
    if package in sys.stdlib_module_names or name == BUILTIN:
        raise UserError(f"{name!r} is the name of a part of Python or of taskgen; choose another, such as my-{name}")
    if importlib.util.find_spec(package) is not None:
        raise UserError(f"a package {package!r} is installed already; choose another name, such as my-{name}")


def _render(source: Traversable, target: Path, words: dict[str, str]) -> None:
    """Copy a template folder: `$words` in the files are filled in, and PACKAGE in their names."""
    for entry in source.iterdir():
        path = target / entry.name.removesuffix(_SUFFIX).replace("PACKAGE", words["package"])
        if entry.is_dir():
            path.mkdir()
            _render(entry, path, words)
        elif entry.name.endswith(_SUFFIX):
            path.write_text(Template(entry.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
