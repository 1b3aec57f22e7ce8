"""What counts as a small change, which are drawn, and which tests are asked."""

import re
import sys

import pytest

from benchmarks import mutants
from benchmarks.mutants import EQUIVALENT, Mutant, operators, sample
from registry.errors import UserError

SOURCE = """def scaled(x: float | None, *, by: float = 2.0, **more: int) -> int | float:
    if x is None and not by > 1:
        return -by
    return by * x, {**more, "x": 0}
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A project of two files, of which one holds words."""
    pytest.importorskip("cosmic_ray")
    for name in ("agents/common/scaled.py", "agents/common/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SOURCE)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return tmp_path


def test_changes_are_of_what_a_file_does(tree):
    """Not of annotations, nor of the mark of arguments by name."""
    found = {
        (mutant.line, mutant.changed.strip())
        for mutant in mutants.mutants(tree / "agents/common/scaled.py", operators())
    }
    assert found == {
        (2, "if not x is None and not by > 1:"),
        (2, "if x is not None and not by > 1:"),
        (2, "if x is None or not by > 1:"),
        (2, "if x is None and  by > 1:"),
        (2, "if x is None and not by >= 1:"),
        (3, "return by"),
        (4, 'return by / x, {**more, "x": 0}'),
    }


def test_places_are_drawn_first_and_the_same_ones_by_the_same_seed(tree):
    drawn = sample("mathematics", 10, seed=0)
    assert sorted(mutant.line for mutant in drawn) == [2, 3, 4]  # one change of each, fewer places than asked for
    assert all(mutant.path == "agents/common/scaled.py" for mutant in drawn)
    assert sample("mathematics", 10, seed=0) == drawn
    assert len({tuple(sample("mathematics", 1, seed)) for seed in range(9)}) > 1


def test_tests_are_those_of_its_name_then_those_that_name_it():
    found = mutants.tests_of("agents/common/returns.py")
    assert found[0] == "tests/agents/common/test_returns.py"
    assert "tests/agents/test_ppo.py" in mutants.tests_of("agents/ppo.py")
    assert mutants.tests_of("agents/networks/mlp.py")[0] == "tests/agents/networks/test_mlp.py"
    assert mutants.tests_of("agents/no_such_module.py") == []


def test_a_change_is_named_by_its_file_and_line():
    mutant = Mutant("a/b.py", 7, "    return -x", "ReplaceUnaryOperator_Delete_USub", 0)
    assert (mutant.key, mutant.name) == ("a/b.py:7: return -x", "a/b.py: return -x")


def _words(line):
    """What no change of an operator touches."""
    return re.sub(r"\b(not|and|or|is)\b|\W", "", line)


@pytest.mark.parametrize("name", EQUIVALENT)
def test_what_is_called_equivalent_changes_a_line_of_the_present_code_and_has_a_reason(name):
    path, _, changed = name.partition(": ")
    lines = [line.strip() for line in (mutants.ROOT / path).read_text().splitlines()]
    assert changed not in lines
    assert [line for line in lines if _words(line) == _words(changed)]
    assert EQUIVALENT[name]


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cosmic_ray.operators.provider", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[mutation\]'"):
        operators()
