"""Shared by all tests."""

import pytest

from registry.discovery import AUTOLOAD_VARIABLE, DISABLE_VARIABLE, FILES_VARIABLE


@pytest.fixture(autouse=True)
def plugin_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sees the built-in plugins alone and leaves no trace in the environment."""
    monkeypatch.setenv(FILES_VARIABLE, "")
    monkeypatch.setenv(DISABLE_VARIABLE, "")
    monkeypatch.setenv(AUTOLOAD_VARIABLE, "1")
