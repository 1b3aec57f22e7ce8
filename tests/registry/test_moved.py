"""Every path of API level 1 that level 2 does not have is told its new one, which exists; the others still work."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from registry.discovery import discover
from registry.entry import API_LEVEL, OLDEST_LEVEL
from registry.moved import MOVED, advice

GUIDE = (Path(__file__).parents[2] / "docs" / "plugin-guide.md").read_text(encoding="utf-8")
PLUGIN = """
from registry import Entry, hookimpl
{imports}
API_LEVEL = {level}

@hookimpl
def register_agents():
    return [Entry("good", "collections:OrderedDict", "A good agent.")]
"""


def status(tmp_path: Path, level: object, imports: str = "") -> tuple[str, str]:
    name = f"plugin_of_level_{abs(hash((level, imports)))}"
    (tmp_path / f"{name}.py").write_text(PLUGIN.format(level=repr(level), imports=imports))
    found = discover({"TASKGEN_PLUGINS": str(tmp_path / f"{name}.py"), "TASKGEN_DISABLE_PLUGIN_AUTOLOAD": "1"})
    (record,) = [record for record in found.records if record.provider == name]
    return record.status, record.error


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0, "incompatible"), (1, "loaded"), (2, "loaded"), (3, "incompatible"), ("2", "incompatible")],
)
def test_plugins_of_this_level_and_the_one_before_are_loaded(tmp_path: Path, level: object, expected: str) -> None:
    assert (OLDEST_LEVEL, API_LEVEL) == (1, 2)
    assert status(tmp_path, level)[0] == expected


@pytest.mark.parametrize(
    "imports",
    [
        "from taskgen.archive import Archive, Record",
        "from taskgen.engines.base import TaskBatch, Transition",
        "from taskgen.engines.design import Design",
        "from taskgen.interaction.build import build_agent, problem_of",
    ],
)
def test_paths_that_are_said_to_work_do(tmp_path: Path, imports: str) -> None:
    assert status(tmp_path, 1, imports) == ("loaded", "")


def test_a_function_that_is_gone_from_a_module_whose_name_is_now_a_package_is_found(tmp_path: Path) -> None:
    kind, error = status(tmp_path, 1, "from agents.evaluation import evaluate")
    assert kind == "failed"
    assert error.endswith("since API level 2 it is agents.evaluation.play")


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_where_a_module_went_is_where_it_is(old: str, new: str) -> None:
    if re.fullmatch(r"[\w.]+", new):
        assert importlib.util.find_spec(new) is not None
    room, _, name = old.rpartition(".")
    assert f"`{old}`" in GUIDE or (f"`{name}`" in GUIDE and f"`{room}." in GUIDE)
    found = importlib.util.find_spec(old)
    assert found is None or found.submodule_search_locations is not None  # a package, in place of the module


def test_other_errors_are_given_no_advice() -> None:
    assert advice(ModuleNotFoundError("No module named 'x'", name="x")) == ""
    assert advice(ImportError("nameless")) == ""
    assert advice(ValueError("agents.gradient")) == ""
