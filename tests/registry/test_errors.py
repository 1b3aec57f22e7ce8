"""Every exception of ours can go from one process to another and says the same there."""

import ast
import copy
import importlib
import pickle
from pathlib import Path
from types import MappingProxyType

import pytest

from registry.errors import brief

ROOT = Path(__file__).parents[2]
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "ConfigError": (["lr = -1: too small", "x: unknown key"], "mine.toml"),
    "NotKept": ("not kept.", {"episodes": 3}),
}
"""Of those that take more than a text."""


def exceptions() -> list[type[BaseException]]:
    """All exception classes that the four packages define, found in their source."""
    found: list[type[BaseException]] = []
    for package in ("registry", "taskgen", "plugins", "agents"):
        for file in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            bases = {
                node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
                for node in tree.body
                if isinstance(node, ast.ClassDef)
            }
            for name, above in bases.items():
                if any(base.endswith(("Error", "Exception")) for base in above):
                    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                    found.append(getattr(importlib.import_module(module), name))
    return found


def test_the_sweep_finds_them() -> None:
    assert {one.__name__ for one in exceptions()} >= {"UserError", "ConfigError", "TaskError", "Stopped"}


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__name__)
def test_an_exception_survives_pickling(kind: type[BaseException]) -> None:
    error = kind(*ARGUMENTS.get(kind.__name__, ("no.",)))
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_what_is_frozen_is_told_as_what_it_was_made_of() -> None:
    frozen = MappingProxyType({"knobs": MappingProxyType({}), "ranges": {"low": 1}})
    assert brief(frozen) == brief({"knobs": {}, "ranges": {"low": 1}}) == "{'knobs': {}, 'ranges': {'low': 1}}"
    assert brief(MappingProxyType(dict.fromkeys(range(100)))).endswith(", ...}")
