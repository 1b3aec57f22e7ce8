"""The benchmark of the control families: its hand-written opponents play the same dynamics, and it measures."""

import numpy as np
import pytest
import torch

import taskgen
from benchmarks import tensor_families as benchmark


@pytest.mark.parametrize("name", ["point-navigation", "mountain-treasure"])
def test_opponents_play_the_same_dynamics(name: str) -> None:
    env, family = benchmark.PLAIN[name](3), taskgen.build_family(name)
    x, y = env.goal  # type: ignore[attr-defined]
    context = {"goal": (x, y)} if name == "point-navigation" else {"angle": float(np.arctan2(y, x) % (2 * np.pi))}
    batch = family.batch(1)
    batch.set_tasks([family.spec(context)])
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(batch.reset()[0].numpy(), observation, atol=1e-5)
    env.action_space.seed(0)
    for _ in range(50):
        action = env.action_space.sample()
        observation, reward, terminated, _, _ = env.step(action)
        ours = batch.step(torch.as_tensor(action)[None])
        np.testing.assert_allclose(ours.observation[0].numpy(), observation, atol=1e-4)
        assert float(ours.reward) == pytest.approx(reward, abs=1e-3)
        assert bool(ours.terminated) == terminated


@pytest.mark.parametrize("name", ["point-navigation", "pendulum"])
def test_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "TURNS", 2)
    monkeypatch.setattr(benchmark, "SECONDS", 0.005)
    rows = list(benchmark.rows(name, 3))
    assert all(row["value"] > 0 and row["low"] <= row["value"] <= row["high"] for row in rows)
    assert [row["target"] for row in rows if row["target"]] == [">= 4"]
