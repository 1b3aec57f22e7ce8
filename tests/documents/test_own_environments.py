"""Learners and worlds that pin what we do not: what a page says of each, in an environment of its own beside ours."""

import os
import re
import subprocess
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.documents.test_pages import DOCS, blocks

ROOT = Path(__file__).parents[2]
PAGE = "keep-your-learner"
_WANTED = re.compile(r"```\npip install taskgen-metarl ([^\n]+)\n```\n\nSave this as `([\w.]+)`")
WANTED = {file: packages for packages, file in _WANTED.findall((DOCS / f"{PAGE}.md").read_text(encoding="utf-8"))}
"""File -> what `pip` is told."""


def test_every_one_says_its_version() -> None:
    assert WANTED.keys() == {"agilerl_trials.py", "rllib_trials.py"}
    for packages in WANTED.values():
        assert all(re.fullmatch(r'"?[\w\[\]-]+==[\d.]+"?', package) for package in packages.split())


def beside(path: Path) -> Path:
    """The Python of a new environment at `path`, in which what it has itself comes before ours."""
    venv.create(path, with_pip=True)
    (own,) = path.glob("lib/python*/site-packages")
    (own / "beside.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})")
    return path / "bin" / "python"


@pytest.mark.slow  # minutes
@pytest.mark.parametrize("pinned", [False, True], ids=["MuJoCo 4", "its own MuJoCo"])
def test_meta_world_in_an_environment_of_its_own(pinned: bool, tmp_path: Path) -> None:
    """Its tests and its page. Beside MuJoCo 4 as the page has it, and with the one that it pins."""
    python = beside(tmp_path / "venv")
    packages = ["metaworld==3.1.1", *(["mujoco==3.3.0"] if pinned else [])]
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *packages], check=True)
    chosen = [
        *("-m", "slow or not slow", "tests/plugins/families/test_metaworld.py"),
        "tests/documents/test_pages.py::test_a_page_works_from_top_to_bottom[meta-world]",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.slow  # minutes, most of them for what is fetched
@pytest.mark.parametrize("file", WANTED)
def test_a_learner_in_an_environment_of_its_own(file: str, tmp_path: Path) -> None:
    """Packages that it pins otherwise come before ours, and torch stays as it is."""
    python = beside(tmp_path / "venv")
    kept = [f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "numpy")]
    packages = WANTED[file].replace('"', "").split()
    subprocess.run([python, "-m", "pip", "install", "-q", *packages, *kept], check=True)
    assert not [*(tmp_path / "venv").glob("lib/python*/site-packages/torch")]
    (script,) = (text for saved, _, text in blocks(PAGE) if saved == file)
    (tmp_path / file).write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [python, "-W", "ignore", file], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 2.0 < float(done.stdout.splitlines()[-1]) < 8.0
