"""Shared by the tests of taskgen."""

from pathlib import Path

import pytest

from registry.discovery import FILES_VARIABLE


@pytest.fixture
def scripted_families(plugin_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue also holds "scripted_families/coins" and "scripted_families/drift"."""
    monkeypatch.setenv(FILES_VARIABLE, str(Path(__file__).parent / "scripted_families.py"))
