"""The wheel holds the four packages, everything they need at run time, and nothing else; and it works."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import registry

ROOT = Path(__file__).parents[2]
PACKAGES = ("registry", "taskgen", "plugins", "agents")
LIST = """
import sys, registry.cli
code = registry.cli.main(["list", "--json"])
print(code, "torch" in sys.modules, registry.cli.__file__, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows or would add, so that leftovers of other builds play no part."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in _files():
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source"]
    subprocess.run(list(map(str, command)), capture_output=True, check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_contents(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {name for name in _files() if name.partition("/")[0] in PACKAGES}
    assert {name.partition("/")[0] for name in names} == set(PACKAGES)


@pytest.mark.slow
def test_it_lists_every_builtin_where_only_the_wheel_is_installed(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    flags = ("--no-deps", "--no-index", "--quiet", "--target", str(site))
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, str(wheel)], check=True, timeout=300)
    # The libraries come from this environment, as plain folders on the path: the source tree is not among them.
    libraries = sysconfig.get_paths()["purelib"]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True, timeout=300)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), libraries])}
    command = [str(tmp_path / "venv" / "bin" / "python"), "-c", LIST]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.split() == ["0", "False", str(site / "registry" / "cli.py")]
    listed = {(row["kind"], row["full_name"]) for row in json.loads(done.stdout)}
    here = registry.catalogue()
    assert listed == {(kind, item.full_name) for kind in registry.KINDS for item in here.items(kind)}


def _files() -> list[str]:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]
