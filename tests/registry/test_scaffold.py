import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from registry.cli import main
from registry.entry import KINDS
from registry.errors import UserError
from registry.scaffold import EXAMPLES, new_plugin


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    line, merged = [str(word) for word in command], {**os.environ, **environment}
    done = subprocess.run(line, cwd=cwd, env=merged, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A plugin of every kind, beside what tells Python that it is installed."""
    home = tmp_path_factory.mktemp("plugins")
    roots = {kind: new_plugin(f"my-{kind}", home, kind) for kind in EXAMPLES}
    for kind, root in roots.items():
        facts = root / "src" / f"my_{kind}-0.1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-{kind}\nVersion: 0.1.0\n")
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        points = [f"{name} = {module}\n" for name, module in project["entry-points"]["taskgen"].items()]
        (facts / "entry_points.txt").write_text("".join(["[taskgen]\n", *points]))
    return roots


def searched(roots: dict[str, Path]) -> dict[str, str]:
    """Environment in which the plugins are found."""
    path = os.pathsep.join([*(str(root / "src") for root in roots.values()), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "TASKGEN_DISABLE_PLUGIN_AUTOLOAD": ""}


def test_the_tests_of_every_kind_pass(written: dict[str, Path]) -> None:
    tests = [root / "tests" for root in written.values()]
    flags = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib")
    out = run(sys.executable, "-m", "pytest", *flags, *tests, cwd=tests[0].parents[1], **searched(written))
    assert "failed" not in out
    assert int(out.split(" passed")[0].split()[-1]) >= 3 * len(EXAMPLES) - 2


def test_what_is_written(written: dict[str, Path]) -> None:
    for kind, root in written.items():
        files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        assert {name for name in files if "dist-info" not in name and "pycache" not in name} == {
            "pyproject.toml",
            "README.md",
            f"src/my_{kind}/__init__.py",
            f"src/my_{kind}/{kind}.py",
            f"tests/test_my_{kind}.py",
        }
        assert EXAMPLES[kind].try_it in (root / "README.md").read_text()


@pytest.mark.slow
def test_the_commands_of_every_kind_work(
    written: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the READMEs say to try, all in one process; trainings are made short."""
    small = ("training.iterations=2", "training.tasks=4", "evaluation.final_tasks=4", "evaluation.tasks=4")
    lines = [shlex.split(example.try_it)[1:] for example in EXAMPLES.values()]
    lines = [[*line, *(small if line[0] == "train" else ())] for line in lines]
    code = f"import sys; from registry.cli import main; sys.exit(max(main(line) for line in {lines!r}))"
    run(sys.executable, "-c", code, cwd=tmp_path, **searched(written))
    assert (tmp_path / "runs" / "table" / "metrics.csv").read_text().startswith("step,charts/steps,meta/trial_return")


def test_every_kind_of_entry_has_an_example() -> None:
    assert {example.entries for example in EXAMPLES.values()} == set(KINDS)


def test_the_page_shows_what_is_written(written: dict[str, Path]) -> None:
    page = Path(__file__).parents[2] / "docs" / "plugin-kinds.md"
    assert page.read_text(encoding="utf-8") == plugin_page(written), "run `python -m tests.registry.test_scaffold`"


def plugin_page(roots: dict[str, Path]) -> str:
    """docs/plugin-kinds.md: the example of every kind."""
    parts = [HEAD]
    for kind, root in roots.items():
        example = EXAMPLES[kind]
        hook = (root / "src" / f"my_{kind}" / "__init__.py").read_text(encoding="utf-8").partition("@hookimpl")
        code = (root / "src" / f"my_{kind}" / f"{kind}.py").read_text(encoding="utf-8")
        registered = f"{hook[1]}{hook[2]}".rstrip()
        parts.append(
            f"\n## {kind.capitalize()}\n\n`taskgen new-plugin my-{kind} --kind {kind}`. {example.summary} Try it:\n\n"
            f"```\n{example.try_it}\n```\n\n```python\n{code.rstrip()}\n```\n\n```python\n{registered}\n```\n"
        )
    return "".join(parts)


HEAD = """# Plugins of every kind

A complete example of each, as `taskgen new-plugin NAME --kind KIND` writes it, with tests: change it into your own.
First the file, then how it is registered. [The plugin guide](plugin-guide.md) says what all plugins have in common.
This page is written by `python -m tests.registry.test_scaffold`.
"""


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--kind agnet: no such kind of plugin. Did you mean 'agent'"):
        new_plugin("mine", tmp_path, "agnet")
    assert list(tmp_path.iterdir()) == []


def test_the_generated_code_is_formatted_and_clean(written: dict[str, Path]) -> None:
    ruff = (sys.executable, "-m", "ruff")
    style = ("--isolated", "--line-length=120")
    for root in written.values():
        run(*ruff, "check", *style, "--select=E,F,I,D1,UP,B,PT", "--ignore=D107,D103,D105", ".", cwd=root)
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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = {kind: new_plugin(f"my-{kind}", Path(folder), kind) for kind in EXAMPLES}
        (Path(__file__).parents[2] / "docs" / "plugin-kinds.md").write_text(plugin_page(made), encoding="utf-8")
