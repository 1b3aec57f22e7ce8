"""What can be wrong with an installation, found without changing anything."""

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from registry.catalogue import Item
from registry.discovery import DISTRIBUTION
from registry.errors import UserError
from registry.names import PACKAGES, shadowed

_LIBRARIES = (
    "torch",
    "gymnasium",
    "pettingzoo",
    "mujoco",
    "numpy",
    "pluggy",
    "pydantic",
    "typer",
    "deap",
    "tensorboard",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the key libraries, "not installed" where missing."""
    found = {"python": f"{platform.python_version()} on {platform.platform()}"}
    for name in (DISTRIBUTION, *_LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def clashes(owners: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Other installed distributions that use one of our import names, with the way out.

    `owners` maps import names to distributions, as `importlib.metadata.packages_distributions()` does by default.
    """
    known = importlib.metadata.packages_distributions() if owners is None else owners
    foreign: dict[str, list[str]] = {}
    for package in PACKAGES:
        for owner in sorted(set(known.get(package, ()))):
            if re.sub(r"[-_.]+", "-", owner).lower() != DISTRIBUTION:
                foreign.setdefault(owner, []).append(package)
    return [
        f"{owner} installs the import name {' and '.join(map(repr, packages))} too: run `pip uninstall {owner}`, then "
        f"install {DISTRIBUTION} again, whose files it may have replaced"
        for owner, packages in foreign.items()
    ]


def strangers() -> list[str]:
    """Cheap check at start-up: which of our import names mean other files than ours, and who else uses them."""
    found = list(shadowed().values())
    return found + clashes() if found else []


def unloadable(items: Iterable[Item]) -> Iterator[tuple[Item, str]]:
    """Entries whose target or settings cannot be imported, with the reason. Imports everything they name."""
    for item in items:
        try:
            item.load()
            item.config_class()
        except UserError as error:
            yield item, str(error)
