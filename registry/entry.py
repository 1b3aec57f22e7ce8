"""The entry: one line of the catalogue, cheap to make and heavy only when used."""

import importlib.util
from dataclasses import dataclass

API_LEVEL = 2
"""The one integer that says whether a plugin and this host understand each other. Level 2 moved modules
(`registry.moved`); hooks and contracts are those of level 1."""
OLDEST_LEVEL = 1
"""Plugins from this level on are loaded: one of level 1 works unless it imports what moved, and is told where to."""

KINDS: dict[str, str] = {
    "families": "register_task_families",
    "rewards": "register_rewards",
    "generators": "register_task_generators",
    "curricula": "register_curricula",
    "agents": "register_agents",
    "networks": "register_networks",
    "experiments": "register_experiments",
    "runners": "register_runners",
    "trackers": "register_trackers",
    "commands": "register_commands",
}
"""Kind of entry -> the hook that registers it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a plugin offers under a name.

    Targets are strings ("package.module:Object"), so registering imports nothing heavy; the object is loaded when used.
    """

    name: str
    """Short name, lower-case words joined by hyphens; the full name is "provider/name"."""
    target: str
    """ "module:Object", called as `Object(config, ...)` by whoever builds this kind; an experiment, which is data, may
    also be a file of a package, "package:name.toml"."""
    summary: str
    """One sentence for `taskgen list`."""
    config: str | None = None
    """ "module:Config", the frozen pydantic model of the settings; None when there are none."""
    citation: str = ""
    """Source: authors, year, title, section."""
    tags: tuple[str, ...] = ()
    """Free words for filtering."""
    needs: tuple[str, ...] = ()
    """Capabilities some other part of a plan must offer; "a|b" is satisfied by either."""
    offers: tuple[str, ...] = ()
    """Capabilities this part brings to a plan, such as "discrete-actions"."""
    package: str = ""
    """Import name of a package that our own do not need and this part does. Where it is absent, the part is not listed,
    and who asks for it is told how to install it."""

    @property
    def absent(self) -> bool:
        """Whether the package is needed and not installed."""
        return bool(self.package) and importlib.util.find_spec(self.package) is None
