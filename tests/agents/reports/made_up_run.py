"""Run directories with made-up figures of a realistic shape, as training leaves them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.evaluation.statistics import intervals
from taskgen.archive import Archive
from taskgen.spec import TaskSpec

PLAYERS = {"random": 5.0, "thompson": 5.84, "greedy": 6.63, "bayes-optimal": 6.66, "bandit-oracle": 8.33}

CONFIG = """\
name = {name!r}
seed = {seed}
device = "cpu"

[family]
name = "builtin/bandit"
arms = 5
pulls = 1

[source]
name = "builtin/domain-randomization"

[agent]
name = "builtin/{agent}"
learning_rate = 0.002

[training]
iterations = 600
tasks = 500
episodes = {episodes}
"""


def player(rng: np.random.Generator, total: float, episodes: int, *, adapts: bool) -> dict:
    curve = 1 - np.exp(-np.arange(episodes) / 3) if adapts else np.ones(episodes)
    base = 0.5 if adapts else total / episodes
    gain = (total - base * episodes) / max(curve.sum(), 1e-9) if adapts else 0.0
    returns = rng.normal((base + gain * curve)[:, None], 0.45, (episodes, 400))
    means, middles = zip(*(intervals(row[None]) for row in returns), strict=True)
    trial, _ = intervals(returns.sum(0)[None])
    columns = {"mean": means, "low": means, "high": means, "iqm": middles, "iqm_low": middles, "iqm_high": middles}
    places = {"mean": 0, "low": 1, "high": 2, "iqm": 0, "iqm_low": 1, "iqm_high": 2}
    return {
        "returns": {key: [interval[places[key]] for interval in rows] for key, rows in columns.items()},
        "trial": {"mean": trial.value, "low": trial.low, "high": trial.high},
    }


def make_run(
    path: Path,
    *,
    seed: int = 0,
    agent: str = "rl2",
    name: str = "rl2-bandit",
    episodes: int = 10,
    iterations: int = 600,
    players: Sequence[str] = tuple(PLAYERS),
    specs: Sequence[TaskSpec] | None = None,
    final: float = 6.63,
) -> Path:
    """A run directory as training leaves it, with made-up figures of a realistic shape."""
    rng = np.random.Generator(np.random.PCG64([seed, len(agent)]))
    path.mkdir(parents=True)
    (path / "config.toml").write_text(CONFIG.format(name=name, seed=seed, agent=agent, episodes=episodes))
    machine = {"processor": "Processor 3000", "cores": 2, "memory_gib": 8.0, "accelerator": "none"}
    parts = {"builtin/rl2": {"kind": "agents", "provider": "builtin", "version": "0.1.0"}}
    parts["mine/walls"] = {"kind": "generators", "provider": "mine", "version": "1.2"}
    provenance = {
        "parts": parts,
        "api_level": 1,
        "versions": {"python": "3.11.2"},
        "machine": machine,
        "commit": "abc12",
    }
    (path / "provenance.json").write_text(json.dumps(provenance))
    progress = 5 + (final - 5) * (1 - np.exp(-np.arange(1, iterations + 1) / (iterations / 6)))
    lines = [
        {
            "step": i + 1,
            "time": 1.0,
            "metrics": {"charts/steps": 5000.0 * (i + 1), "meta/trial_return": value, "x": None},
        }
        for i, value in enumerate(progress + rng.normal(0, 0.07, iterations))
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    every = max(1, iterations // 6)
    checkups = [
        {
            "iteration": i,
            "steps": 5000 * i,
            "seconds": 0.12 * i,
            "trial": {"mean": progress[i - 1], "low": progress[i - 1] - 0.08, "high": progress[i - 1] + 0.08},
        }
        for i in range(every, iterations + 1, every)
    ]
    (path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in checkups))
    figures = {agent: player(rng, final, episodes, adapts=True)}
    for reference in players:
        fixed = reference in ("random", "bandit-oracle")
        figures[reference] = player(rng, PLAYERS.get(reference, 6.0), episodes, adapts=not fixed)
    summary = {"iteration": iterations, "steps": 5000 * iterations, "episodes": episodes, "tasks": 20_000}
    summary["sets"] = {"held-out": {"players": figures}}
    (path / "evaluation.json").write_text(json.dumps(summary))
    if specs is None:
        specs = [
            TaskSpec("builtin/bandit", {"arms": 5, "pulls": 1, "probabilities": rng.random(5).tolist()}, seed=i)
            for i in range(256)
        ]
    with Archive(path / "archive.sqlite", write=True) as archive:
        archive.add(specs, generator="builtin/domain-randomization", split="train")
    return path
