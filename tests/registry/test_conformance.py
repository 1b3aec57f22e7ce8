"""The registry's conformance kit over every entry of the catalogue."""

import pytest

import registry
from registry.catalogue import Item
from registry.testing import check_entry, check_plugin

ITEMS = [item for kind in registry.KINDS for item in registry.catalogue().items(kind) if item.provider == "builtin"]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.kind}-{item.entry.name}")
def test_entry(item: Item) -> None:
    check_entry(item)


def test_every_builtin_plugin_loads() -> None:
    keys = {record.key for record in registry.catalogue().plugins if record.status == "loaded"}
    assert keys == {f"taskgen-metarl:builtin-{part}" for part in ("agents", "commands", "tasks")}


def test_builtin_plugins_stand_alone() -> None:
    import agents.plugin
    import plugins.plugin
    import taskgen.plugin

    found = [item for module in (agents.plugin, plugins.plugin, taskgen.plugin) for item in check_plugin(module)]
    assert len(found) == len(ITEMS)
