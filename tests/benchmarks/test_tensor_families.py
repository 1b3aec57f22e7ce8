"""The benchmark of the tensor families: its hand-written opponents play the same dynamics, and it measures."""

from typing import Any

import numpy as np
import pytest
import torch

import registry
import taskgen
from benchmarks import tensor_families as benchmark
from benchmarks.plain_bandits import RECURRING
from benchmarks.plain_worlds import PLAIN, context
from taskgen.engines.tensor import TensorBatch

DRAWN = ("cartpole", "pendulum")
"""Gymnasium's own, whose equality with ours the tests of the families show."""


def begin(name: str, env: Any, batch: Any, seed: int | None) -> None:
    """Reset both to the same episode: what an episode draws is taken over from ours. Compare the observations."""
    env.reset(seed=seed)
    ours = batch.reset()[0].numpy()
    state = batch.position.state[0]
    if name == "bus":
        env.goal = int(state[0]) % 4
    if name in RECURRING:
        env.cues = batch.tables["cues"][0].numpy()
        env.situation = int(state if state.ndim == 0 else state[0])
    if name == "catch":
        env.column = int(state[0])
    if name == "cooking":
        env.recipe = divmod(int(state[2]) % 16, 4)
    if name == "linear-system":
        env.state = state.double().numpy()
    observation = env._observation() if hasattr(env, "_observation") else env.reset()[0]
    np.testing.assert_allclose(ours, observation, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in PLAIN if name not in DRAWN])
def test_opponents_play_the_same_dynamics(name: str) -> None:
    family, seen = taskgen.build_family(name), set()
    for number in range(3):
        task = context(name, number)
        env, batch = PLAIN[name](task), family.batch(1)
        batch.set_tasks([family.spec(task, seed=number)])
        begin(name, env, batch, seed=0)
        env.action_space.seed(number)
        for _ in range(700):
            action = env.action_space.sample()
            observation, reward, terminated, _, _ = env.step(action)
            ours = batch.step(torch.as_tensor(action)[None])
            np.testing.assert_allclose(ours.observation[0].numpy(), observation, atol=1e-4)
            assert float(ours.reward) == pytest.approx(reward, rel=1e-5, abs=1e-3)
            assert bool(ours.terminated) == terminated
            seen.add(round(float(reward), 2))
            if terminated or bool(ours.truncated):
                begin(name, env, batch, seed=None)
    assert len(seen) > 1


def test_every_tensor_family_has_an_opponent() -> None:
    """Bandits and tabular MDPs have theirs in `engine_throughput`; POMDPs are the latter with one draw more."""
    tensor = {
        item.entry.name
        for item in registry.catalogue().items("families")
        if isinstance(taskgen.build_family(item.full_name).batch(1), TensorBatch)
    }
    assert tensor - {"bandit", "tabular-mdp", "tabular-pomdp"} == set(PLAIN)


@pytest.mark.parametrize("name", ["point-navigation", "pendulum"])
def test_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "TURNS", 2)
    monkeypatch.setattr(benchmark, "SECONDS", 0.005)
    rows = list(benchmark.rows(name, 3))
    assert all(row["value"] > 0 and row["low"] <= row["value"] <= row["high"] for row in rows)
    assert [row["target"] for row in rows if row["target"]] == [">= 4"]
