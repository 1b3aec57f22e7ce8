"""Import names that mean somebody else's files are said in one sentence: at the first import, in the CLI, by doctor."""

import subprocess
import sys
from pathlib import Path

import pytest

from registry import doctor, names
from registry.discovery import one_line

ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python started in `folder`, which it then searches first."""
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def package(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    return folder / name / "__init__.py"


def test_all_is_well_here() -> None:
    assert names.shadowed() == {}
    assert doctor.strangers() == []


@pytest.mark.parametrize("name", ["agents", "plugins"])
def test_a_folder_beside_a_script_is_named_at_the_first_import(tmp_path: Path, name: str) -> None:
    file = package(tmp_path, name)
    done = run(tmp_path, "-c", "import taskgen; print(taskgen.TaskSpec.__name__)")
    assert done.stdout.split() == ["TaskSpec"]  # the rest works
    sentence = f"the import name {name!r} means {file}, which shadows {ROOT / name / '__init__.py'} of taskgen-metarl"
    assert done.stderr.count(sentence) == 1
    assert "rename it" in done.stderr


def test_a_module_of_the_name_is_named_too_and_without_registry_nothing_goes(tmp_path: Path) -> None:
    (tmp_path / "registry.py").write_text("")
    done = run(tmp_path, "-c", "import taskgen")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: the import name 'registry' means {tmp_path / 'registry.py'}, which shadows")


def test_what_was_imported_before_counts(tmp_path: Path) -> None:
    file = package(tmp_path, "agents")
    code = "import sys; sys.path.insert(0, '.'); import agents; sys.path.pop(0); import taskgen"
    done = run(tmp_path, "-P", "-c", code)
    assert done.returncode == 0
    assert f"means {file}" in done.stderr


def test_the_command_line_says_it_as_a_warning(tmp_path: Path) -> None:
    file = package(tmp_path, "agents")
    listed = run(tmp_path, "-m", "registry.cli", "list", "families")
    assert listed.returncode == 0
    assert [line for line in listed.stderr.splitlines() if str(file) in line and line.startswith("warning: ")]
    assert "RuntimeWarning" not in listed.stderr


@pytest.mark.slow
def test_doctor_says_it_once_and_a_failed_run_names_it(tmp_path: Path) -> None:
    file = package(tmp_path, "agents")
    examined = run(tmp_path, "-m", "registry.cli", "doctor")
    assert examined.returncode == 1
    assert examined.stdout.count(f"  - the import name 'agents' means {file}") == 1
    trained = run(tmp_path, "-m", "registry.cli", "train", "rl2-bandit")
    assert trained.returncode != 0
    assert f"means {file}" in trained.stderr


def test_a_folder_without_init_shadows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where our packages lie on the path, as installed ones do; those that a finder maps come after it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(names.__file__).parents[1]))
    (tmp_path / "agents").mkdir()
    assert run(tmp_path, "-W", "error", "-c", "import taskgen").returncode == 0


def test_workers_say_it(tmp_path: Path) -> None:
    file = package(tmp_path, "agents")
    code = (
        "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing, operator\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:\n"
        "        pool.submit(__import__, 'taskgen.spec').exception()\n"
    )
    (tmp_path / "script.py").write_text(code)
    assert f"means {file}" in run(tmp_path, "script.py").stderr


def test_files_that_another_distribution_replaced_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names.PACKAGES:
        package(tmp_path, name).write_text('"""Part of taskgen-metarl."""')
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert names.shadowed(tmp_path) == {}
    (tmp_path / "agents" / "__init__.py").write_text("from .agent import Agent")
    (sentence,) = names.shadowed(tmp_path).values()
    assert sentence.startswith(f"{tmp_path / 'agents' / '__init__.py'} was replaced by another distribution's")
    assert set(names.shadowed(ROOT)) == set(names.PACKAGES)  # found in tmp_path, not there


def test_a_failed_import_says_what_stands_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'agents.rl2'", name="agents.rl2")
    assert "shadows" not in one_line(error)
    package(tmp_path, "agents")
    monkeypatch.delitem(sys.modules, "agents", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert f"; the import name 'agents' means {tmp_path}" in one_line(error)


def test_the_command_line_says_it_even_where_its_own_package_is_shadowed(tmp_path: Path) -> None:
    assert run(tmp_path, "-m", "taskgen", "--version").stdout.startswith("taskgen-metarl ")
    (tmp_path / "registry.py").write_text("")
    done = run(tmp_path, "-m", "taskgen", "--version")
    assert done.returncode == 1
    assert f"ImportError: the import name 'registry' means {tmp_path / 'registry.py'}" in done.stderr
