"""The conformance kit finds what it should find."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from registry.catalogue import Item
from registry.config import Config
from registry.discovery import PluginRecord
from registry.entry import Entry
from registry.testing import check_config, check_entry, check_plugin


class Good(Config):
    """Good settings."""

    size: int = Field(default=3, ge=1, description="Size.")


class Undescribed(Config):
    """Settings."""

    size: int = 3


class Undocumented(Config):
    size: int = Field(default=3, description="Size.")


class WithoutDefault(Config):
    """Settings."""

    size: int = Field(description="Size.")


class Loose(Config, extra="allow", frozen=False):
    """Settings."""


class Nesting(Config):
    """Settings."""

    inner: Undescribed = Field(default=Undescribed(), description="Inner.")


class InvalidDefault(Config):
    """Settings."""

    size: int = Field(default=0, ge=1, description="Size.")


class Foreign(BaseModel):
    """No Config."""


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Undescribed, "Undescribed.size has no description"),
        (Undocumented, "Undocumented has no docstring"),
        (WithoutDefault, "WithoutDefault.size has no default"),
        (Loose, "model_config must keep extra='forbid'"),
        (Loose, "model_config must keep frozen=True"),
        (Nesting, "Undescribed.size has no description"),
        (InvalidDefault, "do not survive a trip to TOML"),
        (Foreign, "is not a subclass of registry.config.Config"),
    ],
)
def test_faulty_settings(model: type[BaseModel], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check_config(model)
    check_config(Good)


class Target:
    """A documented target."""


class Silent:
    pass


class Inherits(Target):
    pass


def verb(value: int | str) -> None:
    """A verb that typer cannot offer."""


def item(kind: str = "agents", **fields: Any) -> Item:
    entry = {"name": "x", "target": f"{__name__}:Target", "summary": "A summary.", **fields}
    return Item(kind, Entry(**entry), PluginRecord("test:x", "test"))


@pytest.mark.parametrize(
    ("faulty", "problem"),
    [
        (item(summary="no capital."), "is not one sentence"),
        (item(summary="No full stop"), "is not one sentence"),
        (item(summary="Two. Sentences."), "is not one sentence"),
        (item(target=f"{__name__}:Silent"), "has no docstring"),
        (item(target=f"{__name__}:Inherits"), "has no docstring"),
        (item(target=f"{__name__}:ITEM_COUNT"), "has no 'ITEM_COUNT'"),
        (item(target=f"{__name__}:__name__"), "which cannot be called"),
        (item(config=f"{__name__}:Undescribed"), "has no description"),
        (item("experiments"), "an experiment is a mapping"),
        (item("experiments", target=f"{__name__}:UNWRITABLE"), "cannot be written as TOML"),
        (item("commands", target=f"{__name__}:verb"), "typer cannot make a verb of it"),
    ],
)
def test_faulty_entries(faulty: Item, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check_entry(faulty)
    check_entry(item(config=f"{__name__}:Good"))


UNWRITABLE = {"x": None}


def test_plugins_are_checked_as_a_whole(tmp_path: Path) -> None:
    head = "from registry import Entry, hookimpl\n@hookimpl\ndef register_agents():\n    return "
    good, faulty, broken = (tmp_path / f"kit_{name}.py" for name in ("good", "faulty", "broken"))
    good.write_text(f"{head}[Entry('x', 'collections:OrderedDict', 'S.')]")
    faulty.write_text(f"{head}[Entry('x', 'collections:OrderedDict', 's'), Entry('y', 'no_such:Y', 'S.')]")
    broken.write_text(f"{head}1 / 0")
    assert [found.full_name for found in check_plugin(good)] == ["kit_good/x"]
    with pytest.raises(AssertionError, match=r"kit_faulty:\n  - summary 's'.*\n  - kit_faulty/y .*no module 'no_such'"):
        check_plugin(faulty)
    with pytest.raises(AssertionError, match="kit_broken: failed: ZeroDivisionError"):
        check_plugin(broken)
