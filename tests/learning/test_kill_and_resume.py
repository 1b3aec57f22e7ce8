"""Kill -9 at random moments of a short training run; resume; the final checkpoint is that of an uninterrupted run."""

import subprocess
import sys
import time

import numpy as np
import pytest

from agents.training.run import RunDirectory
from tests.agents.training.test_loop import digest

KILLS = 20
COMMAND = [
    *(sys.executable, "-m", "registry.cli", "train", "rl2-bandit"),
    *("training.iterations=60", "training.tasks=64", "training.evaluate_every=20", "training.checkpoint_every=3"),
    *("evaluation.tasks=50", "evaluation.final_tasks=50", 'evaluation.players=["random"]'),
]


def _train(directory, *options):
    return subprocess.Popen([*COMMAND, "--run", str(directory), *options], stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_twenty_times_and_resumed(tmp_path):
    whole = tmp_path / "whole"
    began = time.monotonic()
    assert _train(whole).wait(timeout=600) == 0
    seconds = time.monotonic() - began
    moments = np.random.default_rng(0)
    for kill in range(KILLS):
        directory = tmp_path / f"cut-{kill}"
        process = _train(directory)
        time.sleep(moments.uniform(0.2, 1.0) * seconds)
        process.kill()
        process.wait()
        assert _train(directory, "--resume").wait(timeout=600) == 0
        assert digest(RunDirectory(directory)) == digest(RunDirectory(whole)), f"kill {kill}"
