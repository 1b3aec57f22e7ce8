"""Shared by the tests of taskgen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.config import Part
from registry.discovery import FILES_VARIABLE
from taskgen.build import build_source
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec


@pytest.fixture
def scripted_families(plugin_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue also holds "scripted_families/coins" and "scripted_families/drift"."""
    monkeypatch.setenv(FILES_VARIABLE, str(Path(__file__).parent / "scripted_families.py"))


@pytest.fixture
def drawn_tasks() -> Callable[..., list[TaskSpec]]:
    """Different tasks of any family, drawn by the generator that is made for it."""

    def draw(family: TaskFamily[Any], count: int = 3) -> list[TaskSpec]:
        generator = "random-mazes" if family.name == "builtin/maze" else "domain-randomization"
        return list(build_source(Part(name=generator), family, np.random.SeedSequence(0)).ask(count))

    return draw
