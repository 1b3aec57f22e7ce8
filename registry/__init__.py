"""Plugin host of taskgen-metarl: hooks, discovery, catalogue, configuration, conformance kit, command line."""

from registry.catalogue import Catalogue, Item, catalogue
from registry.discovery import PluginRecord
from registry.entry import API_LEVEL, KINDS, Entry
from registry.hookspecs import hookimpl

__all__ = ["API_LEVEL", "KINDS", "Catalogue", "Entry", "Item", "PluginRecord", "catalogue", "hookimpl"]
