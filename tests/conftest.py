"""Shared by all tests."""

import os
from collections.abc import Generator

import pytest
from jaxtyping import install_import_hook

from registry.discovery import AUTOLOAD_VARIABLE, DISABLE_VARIABLE, FILES_VARIABLE
from registry.errors import UserError

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: on tiny tensors its threads only wait
install_import_hook("agents.common", "beartype.beartype")  # before anything imports it: shapes are checked in tests

import torch  # noqa: E402 - for the same reason, after the number of its threads


@pytest.fixture(autouse=True)
def plugin_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test sees the built-in plugins alone and leaves no trace in the environment."""
    monkeypatch.setenv(FILES_VARIABLE, "")
    monkeypatch.setenv(DISABLE_VARIABLE, "")
    monkeypatch.setenv(AUTOLOAD_VARIABLE, "1")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that is marked `cuda` is passed over where there is no card."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """A test that asks for the kernels of networks is passed over where no C compiler is there to make them."""
    try:
        return (yield)
    except UserError as error:
        if "there is no C compiler" in str(error):
            pytest.skip(str(error))
        raise
