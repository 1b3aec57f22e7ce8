"""`taskgen list` and `--help` import nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "gymnasium", "mujoco", "deap", "pettingzoo", "numpy", "scipy", "matplotlib", "jinja2", "tensorboard")
SCRIPT = """
import sys
from registry.cli import main
code = main({arguments})
print(code, *sorted(name for name in {heavy} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "line", ["list", "list agents --json", "--help", "train --help", "generate --help", "--version"]
)
def test_imports(line: str) -> None:
    script = SCRIPT.format(arguments=line.split(), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout
    assert done.stderr == "0\n"
