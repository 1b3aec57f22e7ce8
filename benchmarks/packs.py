"""Six trained agents as files to send round: by memory, by gradient, by inference, of a curriculum, of learned rewards.

    python -m benchmarks.packs packs               the directory that takes them; about half an hour on one thread

Each is a shipped experiment, seed 0, judged; `taskgen unpack` makes a run of it again. Runs go to runs/benchmarks/ and
are resumed where they stopped. What follows the directory overrides the experiments' settings: `training.iterations=2`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from agents.sweeps.packing import pack
from benchmarks.learning import run_seed

EXPERIMENTS = ("rl2-bandit", "rl2-grid", "maml-navigation", "pearl-sparse-point", "accel-maze", "uml-diayn")


def main(words: Sequence[str]) -> None:
    """Train, judge and pack; raises `SystemExit` where no directory is named."""
    if not words:
        raise SystemExit("say where the packs go: python -m benchmarks.packs DIRECTORY")
    torch.set_num_threads(1)
    directory = Path(words[0])
    directory.mkdir(parents=True, exist_ok=True)
    for experiment in EXPERIMENTS:
        run = run_seed(f"pack-{experiment}", experiment, 0, words[1:])
        output = directory / f"{experiment}.zip"
        files, _ = pack(run.path, output)
        print(f"{output}: {files} files, {output.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
