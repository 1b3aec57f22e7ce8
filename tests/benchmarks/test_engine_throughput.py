"""The throughput benchmark: its hand-written opponents are sound, and it measures what it says."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import taskgen
from benchmarks import engine_throughput as benchmark


@pytest.mark.parametrize("case", [benchmark.CASES[0], benchmark.CASES[2]], ids=lambda case: case.family)
def test_opponents_play_the_same_dynamics(case: benchmark.Case) -> None:
    family = taskgen.build_family(case.family, case.settings)
    env = case.plain(family, 0)
    check_env(env, skip_render_check=True)
    assert env.observation_space == family.observation_space
    assert env.action_space == family.action_space
    observation, _ = env.reset(seed=0)
    ends, rewards = [], []
    for _ in range(2000):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert not terminated
        rewards.append(reward)
        ends.append(truncated)
        if truncated:
            env.reset()
    assert np.flatnonzero(ends).tolist() == list(range(family.horizon - 1, 2000, family.horizon))
    assert 0.1 < np.mean(rewards) < 2.0


@pytest.mark.parametrize("case", benchmark.CASES, ids=lambda case: f"{case.family}-{case.settings}")
def test_rows(case: benchmark.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "TURNS", 2)
    monkeypatch.setattr(benchmark, "SECONDS", 0.005)
    rows = list(benchmark.rows(replace(case, targets={3: ">= 0"}), 3))
    assert all(row["value"] > 0 and row["low"] <= row["value"] <= row["high"] for row in rows)
    met = [row["met"] for row in rows if row["target"]]
    assert met
    assert all(met)
