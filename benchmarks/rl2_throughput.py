"""RL^2 training throughput and its split into collecting and learning, one torch thread (and CUDA where there is one).

python -m benchmarks.rl2_throughput        about two minutes; nothing else should run beside it
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from agents.training.experiment import load_experiment
from agents.training.loop import train
from agents.training.progress import Progress
from agents.training.run import RunDirectory
from benchmarks.harness import Row, record, row

EXPERIMENTS = ("rl2-bandit", "rl2-tabular")
ITERATIONS = 60
WARM_UP = 10


def _metrics(experiment: str, device: str) -> list[dict[str, float]]:
    """Metrics of each iteration after the first few."""
    settings = (f"training.iterations={ITERATIONS}", "training.evaluate_every=0", f"device={device}")
    with tempfile.TemporaryDirectory() as directory:
        plan = load_experiment(experiment, [*settings, "evaluation.tasks=2", "evaluation.final_tasks=2"])
        run = RunDirectory(Path(directory) / "run")
        run.create(plan)
        with Progress() as progress:
            train(plan, run, progress)
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["metrics"] for line in lines[WARM_UP:]]


def _rows(experiment: str, device: str) -> Iterator[Row]:
    found = _metrics(experiment, device)
    parts = {name: np.array([line[f"time/{name}_seconds"] for line in found]) for name in ("ask", "collect", "learn")}
    total = sum(parts.values())
    speed = np.array([line["charts/SPS"] for line in found])
    low, middle, high = np.quantile(speed, [0.1, 0.5, 0.9]).tolist()
    yield row(f"{experiment}, {device}: environment steps per second (median, 10-90%)", middle, low, high)
    for name, seconds in parts.items():
        yield row(f"{experiment}, {device}: share of time to {name} (median)", float(np.median(seconds / total)))


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = [found for experiment in EXPERIMENTS for device in devices for found in _rows(experiment, device)]
    record("rl2_throughput", rows, seeds=[0])


if __name__ == "__main__":
    main()
