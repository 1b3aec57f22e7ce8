"""Shared by all tests."""

import os
from collections.abc import Generator

import pytest
from jaxtyping import install_import_hook

from registry.discovery import AUTOLOAD_VARIABLE, DISABLE_VARIABLE, FILES_VARIABLE
from registry.errors import UserError

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: on tiny tensors its threads only wait
install_import_hook("agents.common", "beartype.beartype")  # before anything imports it: shapes are checked in tests


@pytest.fixture(autouse=True)
def plugin_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sees the built-in plugins alone and leaves no trace in the environment."""
    monkeypatch.setenv(FILES_VARIABLE, "")
    monkeypatch.setenv(DISABLE_VARIABLE, "")
    monkeypatch.setenv(AUTOLOAD_VARIABLE, "1")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """A test that asks for the kernels of networks is passed over where no C compiler is there to make them."""
    try:
        return (yield)
    except UserError as error:
        if "there is no C compiler" in str(error):
            pytest.skip(str(error))
        raise
