import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.cli import main
from registry.errors import UserError
from registry.scaffold import new_plugin


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    line, merged = [str(word) for word in command], {**os.environ, **environment}
    done = subprocess.run(line, cwd=cwd, env=merged, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_generated_tests_pass(tmp_path: Path) -> None:
    root = new_plugin("my-tasks", tmp_path)
    assert root == tmp_path / "my-tasks"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {
        "pyproject.toml",
        "README.md",
        "src/my_tasks/__init__.py",
        "src/my_tasks/generator.py",
        "tests/test_my_tasks.py",
    }
    path = os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])
    out = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=root, PYTHONPATH=path)
    assert "5 passed" in out


def test_the_generated_code_is_formatted_and_clean(tmp_path: Path) -> None:
    root = new_plugin("neat", tmp_path)
    ruff = (sys.executable, "-m", "ruff")
    style = ("--isolated", "--line-length=120")
    run(*ruff, "check", *style, "--select=E,F,I,D1,UP,B,PT", "--ignore=D107,D103", ".", cwd=root)
    run(*ruff, "format", *style, "--check", ".", cwd=root)


@pytest.mark.slow
def test_the_generated_plugin_installs_and_generates_tasks(tmp_path: Path) -> None:
    root = new_plugin("my-tasks", tmp_path)
    site = tmp_path / "site"
    flags = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--target", site)
    run(sys.executable, "-m", "pip", "install", *flags, root, cwd=tmp_path)
    switches = {"PYTHONPATH": str(site), "TASKGEN_DISABLE_PLUGIN_AUTOLOAD": ""}
    taskgen = (sys.executable, "-m", "registry.cli")
    assert "my-tasks" in run(*taskgen, "list", "generators", cwd=tmp_path, **switches)
    assert "Share of every knob's range" in run(*taskgen, "describe", "my-tasks/middle", cwd=tmp_path, **switches)
    line = ("generate", "middle", "--family", "bandit", "-n", "5", "-o", "tasks.jsonl", "width=0.2")
    run(*taskgen, *line, cwd=tmp_path, **switches)
    assert len((tmp_path / "tasks.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize("name", ["2fast", "Über", "a--b", "", "class", "../up", "My-Tasks", "a b"])
def test_names_that_cannot_be_packages(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot name a plugin"):
        new_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("json", "part of Python"),
        ("builtin", "part of Python or of taskgen"),
        ("agents", "installed already"),
        ("numpy", "installed already"),
    ],
)
def test_names_that_are_taken(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason):
        new_plugin(name, tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "my-own").mkdir()
    with pytest.raises(UserError, match="exists already; nothing was changed"):
        new_plugin("my-own", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["my-own"]
    with pytest.raises(UserError, match="no such folder"):
        new_plugin("my-own", tmp_path / "nowhere")


def test_command_says_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "my_tasks", "--directory", str(tmp_path)]) == 0
    assert f"wrote {tmp_path / 'my-tasks'}" in capsys.readouterr().out
    assert main(["new-plugin", "my-tasks", "--directory", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
