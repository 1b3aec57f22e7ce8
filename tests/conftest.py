"""Shared by all tests."""

import pytest
from jaxtyping import install_import_hook

from registry.discovery import AUTOLOAD_VARIABLE, DISABLE_VARIABLE, FILES_VARIABLE

install_import_hook("agents.common", "beartype.beartype")  # before anything imports it: shapes are checked in tests


@pytest.fixture(autouse=True)
def plugin_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sees the built-in plugins alone and leaves no trace in the environment."""
    monkeypatch.setenv(FILES_VARIABLE, "")
    monkeypatch.setenv(DISABLE_VARIABLE, "")
    monkeypatch.setenv(AUTOLOAD_VARIABLE, "1")
