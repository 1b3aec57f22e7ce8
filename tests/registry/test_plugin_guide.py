"""The plugin of the plugin guide, as printed there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from registry.catalogue import KINDS
from registry.cli import main
from registry.discovery import FILES_VARIABLE
from registry.testing import check_plugin

GUIDE = Path(__file__).parents[2] / "docs" / "plugin-guide.md"

SMALL = ("training.iterations=2", "training.tasks=8", "evaluation.tasks=20", "evaluation.final_tasks=20")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    path = tmp_path / "mine.py"
    path.write_text(code.group(1))
    monkeypatch.chdir(tmp_path)
    return path


def test_the_reward_of_the_guide_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskgen.build import build_family
    from taskgen.spec import RewardSpec
    from taskgen.testing import check_reward

    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "StayNear" in code
    path = tmp_path / "near.py"
    path.write_text(code)
    check_plugin(path)
    monkeypatch.setenv(FILES_VARIABLE, str(path))
    for name in ("point-navigation", "grid-navigation"):
        check_reward(build_family(name), [RewardSpec("stay-near", {"value": value}) for value in (0.0, 0.5, 1.0)])


def test_it_has_at_most_25_lines(plugin: Path) -> None:
    assert len(plugin.read_text().splitlines()) <= 25


def test_it_conforms(plugin: Path) -> None:
    from taskgen.build import build_family
    from taskgen.testing import check_source

    (item,) = check_plugin(plugin)
    for family in (build_family("bandit"), build_family("tabular-mdp")):
        check_source(lambda family=family: item.build(family=family, seed=np.random.SeedSequence(3)), family)


def test_the_commands_of_the_guide_work(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("taskgen --plugin mine.py")
    ]
    assert len(lines) >= 3
    assert any(" train " in line for line in lines)
    for line in lines:
        small = SMALL if " train " in line else ()
        assert main([*shlex.split(line)[1:], *small]) == 0, capsys.readouterr().err
    assert (plugin.parent / "runs" / "corners" / "report.html").exists()
    capsys.readouterr()
    assert main(["show", "corners.jsonl"]) == 0
    assert "100 tasks" in capsys.readouterr().out


def test_the_guide_names_every_registration_hook() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for hook in KINDS.values():
        assert f"`{hook}`" in text
