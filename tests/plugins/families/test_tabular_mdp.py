"""Tabular MDPs: tables with the stated distributions, and play that follows the tables."""

import pytest
import torch
from torch import Tensor

from taskgen.build import build_family

STATES, ACTIONS, HORIZON = 10, 5, 10


def tables(count: int, **knobs: float) -> tuple[Tensor, Tensor]:
    """Mean rewards [count, pairs] and transitions [count, pairs, states]."""
    family = build_family("tabular-mdp")
    batch = family.batch(count)
    batch.set_tasks([family.spec(knobs, seed=seed) for seed in range(count)])
    descriptor = batch.descriptor()
    pairs = STATES * ACTIONS
    return descriptor[:, :pairs], descriptor[:, pairs:].view(count, pairs, STATES)


def test_default_tables_have_the_distributions_of_the_paper() -> None:
    rewards, transitions = tables(2000)
    count = rewards.numel()
    assert abs(float(rewards.mean()) - 1.0) < 4 / count**0.5
    assert abs(float(rewards.var()) - 1.0) < 4 * (2 / count) ** 0.5
    assert torch.allclose(transitions.sum(-1), torch.ones(2000, 50), atol=1e-5)
    # Dirichlet(1, ..., 1) over 10: mean 1/10, variance (1/10)(9/10)/11; kurtosis bounded generously by factor 3.
    variance = 0.09 / 11
    cells = transitions.numel()
    assert abs(float(transitions.mean(dim=(0, 1)).sub(0.1).abs().max())) < 4 * (variance / (cells / 10)) ** 0.5
    assert abs(float(transitions.var()) / variance - 1) < 4 * 3 / cells**0.5


@pytest.mark.parametrize("concentration", [0.05, 0.5, 20.0])
def test_concentration(concentration: float) -> None:
    _, transitions = tables(200, concentration=concentration)
    variance = 0.09 / (10 * concentration + 1)
    assert torch.isfinite(transitions).all()
    assert float(transitions.var()) == pytest.approx(variance, rel=0.05)


def test_reward_knobs() -> None:
    rewards, _ = tables(500, reward_mean=-2.0, reward_spread=0.5)
    assert float(rewards.mean()) == pytest.approx(-2.0, abs=4 * 0.5 / rewards.numel() ** 0.5)
    assert float(rewards.std()) == pytest.approx(0.5, rel=0.02)


def test_tables_belong_to_the_seed_and_not_to_the_noise() -> None:
    family = build_family("tabular-mdp")
    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=3), family.spec(seed=3)])
    before = batch.descriptor()
    batch.reset(seeds=[8, 9])
    assert torch.equal(before[0], before[1])
    assert torch.equal(batch.descriptor(), before)


def test_tables_do_not_depend_on_the_tasks_beside_them() -> None:
    """Of concentrations 1 and others alike, which are drawn by other formulas."""
    family = build_family("tabular-mdp")
    specs = [family.spec({"concentration": value}, seed=3) for value in (1.0, 0.2, 1.0, 7.0)]
    batch = family.batch(4)
    batch.set_tasks(specs)
    for slot, spec in enumerate(specs):
        alone = family.batch(1)
        alone.set_tasks([spec])
        assert torch.equal(alone.descriptor()[0], batch.descriptor()[slot])


def test_play_follows_the_tables() -> None:
    """From state 0, one action: frequencies of next states and the distribution of rewards within four sigma."""
    slots = 40_000
    family = build_family("tabular-mdp")
    batch = family.batch(slots)
    batch.set_tasks([family.spec({"reward_noise": 2.0}, seed=1)] * slots)
    batch.reset(seeds=range(slots))
    outcome = batch.step(torch.full((slots,), 3))
    descriptor = batch.descriptor()[0]
    mean = float(descriptor[3])
    transitions = descriptor[50:].view(STATES, ACTIONS, STATES)[0, 3]
    frequency = outcome.observation.mean(0)
    sigma = (transitions * (1 - transitions) / slots).sqrt()
    assert ((frequency - transitions).abs() <= 4 * sigma).all()
    assert abs(float(outcome.reward.mean()) - mean) < 4 * 2.0 / slots**0.5
    assert abs(float(outcome.reward.var()) / 4.0 - 1) < 4 * (2 / slots) ** 0.5
    kurtosis = float(((outcome.reward - mean) / 2.0).pow(4).mean())
    assert abs(kurtosis - 3) < 4 * (96 / slots) ** 0.5


def test_rewards_without_noise_are_the_means_along_the_way() -> None:
    slots = 50
    family = build_family("tabular-mdp")
    batch = family.batch(slots)
    batch.set_tasks([family.spec({"reward_noise": 0.0}, seed=seed) for seed in range(slots)])
    observation = batch.reset()
    assert observation.argmax(1).tolist() == [0] * slots
    rewards = batch.descriptor()[:, :50].view(slots, STATES, ACTIONS)
    generator = torch.Generator().manual_seed(0)
    seen: set[int] = set()
    for step in range(1, HORIZON + 1):
        action = torch.randint(ACTIONS, (slots,), generator=generator)
        state = observation.argmax(1)
        outcome = batch.step(action)
        assert torch.equal(outcome.reward, rewards[torch.arange(slots), state, action])
        assert outcome.observation.sum(1).tolist() == [1.0] * slots
        assert outcome.truncated.tolist() == [step == HORIZON] * slots
        assert not outcome.terminated.any()
        observation = outcome.observation
        seen.update(observation.argmax(1).tolist())
    assert seen == set(range(STATES))


def test_one_state_and_one_action() -> None:
    family = build_family("tabular-mdp", {"states": 1, "actions": 1, "horizon": 1})
    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=seed) for seed in range(2)])
    batch.reset()
    assert batch.step(torch.zeros(2, dtype=torch.int64)).observation.tolist() == [[1.0], [1.0]]
