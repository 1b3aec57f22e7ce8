"""The checks of the twins in JAX in a process of their own: JAX has threads, and other tests fork."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("check_jax_twins.py")


@pytest.mark.skipif(find_spec("jax") is None, reason="taskgen-metarl[twins] is not installed")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_the_twins(which: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-m", which, str(CHECKS)]
    result = subprocess.run(command, cwd=CHECKS.parents[2], capture_output=True, text=True, timeout=1200, check=False)
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-2_000:]
