"""Whole runs on the emulated device, tiny: trained, stopped, resumed from a checkpoint, evaluated."""

import json
import math

import pytest

from agents.training.experiment import load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import train
from agents.training.run import RunDirectory
from tests.agents.training.test_loop import Quiet
from tests.emulated import device

device.install()

COMMON = (
    f"device={device.NAME}",
    "training.iterations=4",
    "training.tasks=4",
    "training.evaluate_every=2",
    "training.checkpoint_every=2",
    "evaluation.tasks=4",
    "evaluation.final_tasks=4",
)
MAZE = ("family={name='maze', size=5, horizon=6}", "source.source={name='random-mazes', most_walls=4}")
CURATED = (
    *MAZE,
    "agent.network.hidden_size=4",
    "source.capacity=8",
    "evaluation.source={name='random-mazes', most_walls=4}",
    "evaluation.out_of_distribution={}",
)
RUNS = {
    "rl2-bandit": ("agent.network.hidden_size=4", "training.episodes=3"),
    "rl2-bandit-horizon": (
        "agent.network.hidden_size=4",
        "training.episodes=3",
        "source.stages=[{episodes=2, iterations=2}, {}]",
    ),
    "ppo-grid": ("family.horizon=5", "training.episodes=2", "agent.epochs=1", "agent.minibatches=2"),
    "plr-maze": CURATED,
    "robust-plr-maze": CURATED,
    "accel-maze": CURATED,
    "sfl-maze": (
        *(setting for setting in CURATED if not setting.startswith("source.capacity")),
        *("source.candidates=4", "source.plays=2", "source.kept=2", "source.refresh=1"),
    ),
    "qd-maze": (
        *(setting for setting in CURATED if not setting.startswith("source.capacity")),
        *("source.cells=4", "source.initial=4", "source.replay=0.5"),
    ),
    "paired-maze": (
        "runner.design.placements=6",
        "family={name='maze', size=5, horizon=6, solvable=false}",
        "source.most_walls=4",
        "agent.network.hidden_size=4",
        "evaluation.out_of_distribution={}",
    ),
    "poet-cartpole": (
        "family.horizon=10",
        "training.tasks=1",
        "training.episodes=4",
        "runner.judged_episodes=2",
        "runner.reproduce_from=3.0",
        "runner.lowest=2.0",
        "runner.highest=10.0",
        "runner.solved=8.0",
        "runner.children=2",
        "runner.admitted=1",
        "runner.max_active=2",
        "runner.transfer_every=2",
    ),
    "uml-random": ("family.horizon=6", "training.episodes=2", "agent.network.hidden_size=4"),
    "pearl-sparse-point": (
        "family.horizon=10",
        "training.episodes=3",
        "agent.hidden=[8]",
        "agent.encoder_hidden=[8]",
        "agent.warm_up=0",
        "agent.updates_per_step=0.02",
        "agent.batch=8",
        "agent.tasks=4",
        "agent.meta_batch=2",
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_whole_run(name, tmp_path):
    plan = load_experiment(name, [*COMMON, *RUNS[name]])
    run = RunDirectory(tmp_path / "run")
    run.create(plan)
    assert not train(plan, run, Quiet(stop_after=3))
    assert train(run.open(), run, Quiet())
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(math.isfinite(value) for line in lines for value in line["metrics"].values())
    if plan.config.runner is not None and plan.config.runner.name == "builtin/poet":
        return  # it judges itself
    players = evaluate_run(run)["sets"]["held-out"]["players"]
    assert len(players) == 1 + len(plan.config.evaluation.players)
    assert all(math.isfinite(player["trial"]["mean"]) for player in players.values())
