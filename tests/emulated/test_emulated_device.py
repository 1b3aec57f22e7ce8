"""The checks of this folder, each file in a process of its own: the emulated device is installed for good."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("check", sorted(HERE.glob("check_*.py")), ids=lambda path: path.stem)
def test_on_the_emulated_device(check: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", str(check)]
    result = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-2_000:]
