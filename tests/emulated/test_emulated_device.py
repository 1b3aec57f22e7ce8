"""The checks of this folder, each file in a process of its own: the emulated device is installed for good.

Those marked `cuda` make the same checks of a card.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = "test_acting_never_waits or test_what_is_learned or test_the_agent_keeps"
"""Of `check_agents`, what has a process of its own beside the rest: agents are many."""
CHECKS = [(path.stem, "") for path in sorted(HERE.glob("check_*.py")) if path.stem != "check_agents"]
CHECKS += [("check_agents", LONG), ("check_agents", f"not ({LONG})")]


def check(name: str, which: str, **changes: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", str(HERE / f"{name}.py")]
    command += ["-k", which] if which else []
    environment = {**os.environ, "TASKGEN_KERNELS": "torch", **changes}  # on the CPU too, whose bits are the device's
    result = subprocess.run(
        command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-2_000:]


@pytest.mark.parametrize(("name", "which"), CHECKS)
def test_on_the_emulated_device(name: str, which: str) -> None:
    check(name, which)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["check_chunk", "check_runs", "check_families", "check_agents"])
def test_on_a_card(name: str) -> None:
    check(name, "", TASKGEN_TESTS_DEVICE="cuda")
