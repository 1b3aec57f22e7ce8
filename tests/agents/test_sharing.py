"""Two processes train what one trains: the same tasks, the same agent up to rounding."""

import json

import pytest
import torch

import registry
from agents.common import parallel
from agents.run import RunDirectory
from agents.sharing import CAPABILITY
from agents.tree import flatten
from registry.cli import main
from tests.agents.processes import together
from tests.agents.test_loop import digest

SMALL = (
    "training.iterations=3",
    "training.tasks=8",
    "training.checkpoint_every=2",
    "training.evaluate_every=2",
    "evaluation.tasks=8",
    "evaluation.final_tasks=8",
    'evaluation.players=["random"]',
)
RUNS = {
    "rl2": ("rl2-bandit", "agent.network.hidden_size=8", "agent.minibatches=3", "training.episodes=4"),
    "ppo": ("ppo-grid", "agent.hidden=[8]", "agent.epochs=2", "training.episodes=2", "agent.context=one-hot"),
    "maml": ("maml-navigation", "agent.hidden=[8]", "agent.trajectories=2", "training.episodes=4", "family.horizon=8"),
    "reptile": (
        *("reptile-navigation", "agent.hidden=[8]", "agent.trajectories=2", "training.episodes=4", "family.horizon=8"),
    ),
}


def train(path, agent, *more):
    return main(["train", *RUNS[agent], *SMALL, *more, "--run", str(path)])


def state(path):
    return RunDirectory(path).restore()


def metrics(path):
    return [json.loads(line)["metrics"] for line in (path / "metrics.jsonl").read_text().splitlines()]


def assert_same(one, other):
    """Counts, sources and streams to the bit; whatever is a float within 1e-5."""
    (json_one, tensors_one), (json_other, tensors_other) = flatten(one), flatten(other)
    assert json_one == json_other
    assert list(tensors_one) == list(tensors_other)
    for name, tensor in tensors_one.items():
        torch.testing.assert_close(tensor, tensors_other[name], rtol=0, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_every_agent_that_says_so_is_tried():
    able = {item.entry.name for item in registry.catalogue().items("agents") if CAPABILITY in item.entry.offers}
    assert able == set(RUNS)


@pytest.mark.parametrize("agent", list(RUNS))
def test_two_processes_train_the_agent_of_one(tmp_path, agent):
    assert train(tmp_path / "one", agent) == 0
    assert together(lambda rank: train(tmp_path / "two", agent)) == [0, 0]
    assert_same(state(tmp_path / "one"), state(tmp_path / "two"))
