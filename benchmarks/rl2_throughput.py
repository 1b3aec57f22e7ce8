"""RL^2 training throughput and its split into collecting and learning, one torch thread (and CUDA where there is one).

    python -m benchmarks.rl2_throughput              about four minutes; nothing else should run beside it
    python -m benchmarks.rl2_throughput --kernels    only print the pairs

Pairs are iterations with the kernels of `agents.networks.kernels` and with torch's own operations alone, in turn in one
process, by the processor time they take: what else the machine does meets both alike.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from agents.networks import kernels
from agents.training.experiment import Parts, build_parts, load_experiment
from agents.training.loop import train
from agents.training.progress import Progress
from agents.training.run import RunDirectory
from benchmarks.harness import Row, record, row
from taskgen.interaction.collect import collect

EXPERIMENTS = ("rl2-bandit", "rl2-tabular", "dr-maze")
ITERATIONS = 60
WARM_UP = 10
PAIRS = 20


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


def _iteration(way: str, parts: Parts, tasks: int, episodes: int) -> tuple[float, float]:
    """Seconds of the processor to collect and to learn."""
    os.environ[kernels.VARIABLE] = way
    specs, plan = parts.source.ask(tasks), parts.player.plan(episodes)
    batch = parts.family.batch(tasks * plan.slots, "cpu")
    start = time.process_time()
    trial = collect(parts.player, batch, specs, plan=plan)
    collected = time.process_time()
    parts.player.learn(trial)
    return collected - start, time.process_time() - collected


def _pairs(experiment: str) -> Iterator[Row]:
    plan = load_experiment(experiment, ["device=cpu"]).config
    arms = {way: build_parts(plan) for way in ("torch", "compiled")}
    before, (tasks, episodes) = os.environ.get(kernels.VARIABLE, ""), (plan.training.tasks, plan.training.episodes)
    pairs = [[_iteration(way, arms[way], tasks, episodes) for way in arms] for _ in range(PAIRS + 1)]
    os.environ[kernels.VARIABLE] = before
    seconds = np.array(pairs[1:])  # [pair, way, part]; the first is warming up
    for name, found in (("collect", seconds[..., 0]), ("learn", seconds[..., 1]), ("do both", seconds.sum(2))):
        low, middle, high = np.quantile(found[:, 0] / found[:, 1], [0.1, 0.5, 0.9]).tolist()
        yield row(f"{experiment}, cpu: times faster to {name} by kernels (median of pairs, 10-90%)", middle, low, high)


def main(arguments: list[str] | None = None) -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rl2_throughput", description=__doc__)
    parser.add_argument("--kernels", action="store_true", help="only print the pairs")
    only = parser.parse_args(arguments).kernels
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = [] if only else [found for name in EXPERIMENTS for device in devices for found in _rows(name, device)]
    rows += [found for name in EXPERIMENTS for found in _pairs(name)]
    if only:
        print(
            "\n".join(
                f"{found['what']}: {found['value']:.4g} [{found['low']:.3g}, {found['high']:.3g}]" for found in rows
            )
        )
        return
    record("rl2_throughput", rows, seeds=[0])


if __name__ == "__main__":
    main()
