"""Tabular POMDPs: tables with the stated distributions, play that follows them, a state that hides."""

import pytest
import torch

from taskgen.build import build_family
from taskgen.testing import check_family

STATES, ACTIONS, LOOKS = 4, 3, 2


def tables(count, settings=None, **knobs):
    """R [count, S, A], P [count, S, A, S] and Z [count, S, O]."""
    family = build_family("tabular-pomdp", settings)
    states, actions, looks = (getattr(family.config, name) for name in ("states", "actions", "observations"))
    batch = family.batch(count)
    batch.set_tasks([family.spec(knobs, seed=seed) for seed in range(count)])
    parts = batch.descriptor().split([states * actions, states**2 * actions, states * looks], dim=1)
    shapes = ((states, actions), (states, actions, states), (states, looks))
    return [part.view(count, *shape) for part, shape in zip(parts, shapes, strict=True)]


def test_tables_have_the_stated_distributions():
    paid, moves, looks = tables(2000, blur=1.0)
    for values, mean, variance in (
        (paid, 1 / 2, 1 / 12),
        (moves, 1 / STATES, (1 / 4) * (3 / 4) / (1 + STATES * 0.1)),  # Dirichlet(0.1, ...)
        (looks, 1 / LOOKS, 1 / 12),  # Dirichlet(1, 1) is uniform
    ):
        assert float(values.mean()) == pytest.approx(mean, abs=4 * (variance / values.numel()) ** 0.5 + 1e-6)
        assert float(values.var()) == pytest.approx(variance, rel=0.05)
    for shares in (moves, looks):
        torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:-1]))


def test_blur_mixes_each_states_own_look_with_others():
    own = torch.eye(3)[[0, 1, 2, 0, 1]]
    _, _, clear = tables(2, {"states": 5, "observations": 3}, blur=0.0)
    assert torch.equal(clear, own.expand(2, -1, -1))
    _, _, blurred = tables(2, {"states": 5, "observations": 3}, blur=1.0)
    _, _, half = tables(2, {"states": 5, "observations": 3}, blur=0.25)
    torch.testing.assert_close(half, 0.75 * own + 0.25 * blurred)


def test_tables_belong_to_the_seed_and_not_to_the_noise_or_to_other_tasks():
    family = build_family("tabular-pomdp")
    specs = [family.spec({"concentration": concentration}, seed=3) for concentration in (1.0, 1.0, 0.2)]
    batch, alone = family.batch(3), family.batch(1)
    batch.set_tasks(specs)
    alone.set_tasks(specs[:1])
    before = batch.descriptor()
    batch.reset(seeds=[8, 9, 10])
    assert torch.equal(before[0], before[1])
    assert torch.equal(batch.descriptor(), before)
    assert torch.equal(alone.descriptor()[0], before[0])


def test_play_follows_the_tables():
    """First states, looks, rewards and next states of one task: frequencies within four sigma."""
    slots = 40_000
    family = build_family("tabular-pomdp")
    batch = family.batch(slots)
    batch.set_tasks([family.spec({"concentration": 0.5, "blur": 0.6}, seed=1)] * slots)
    seen = batch.reset(seeds=range(slots))
    told = batch.descriptor()[0]
    paid, moves, looks = told.split([STATES * ACTIONS, STATES**2 * ACTIONS, STATES * LOOKS])
    paid, moves, looks = paid.view(STATES, ACTIONS), moves.view(STATES, ACTIONS, STATES), looks.view(STATES, LOOKS)
    first = batch.position.state[:, 0]
    outcome = batch.step(torch.full((slots,), 2))
    following = batch.position.state[:, 0]

    def frequent(samples, probability):
        """Whether the rows of `samples` have the stated mean."""
        sigma = (probability * (1 - probability) / len(samples)).sqrt()
        return bool(((samples.float().mean(0) - probability).abs() <= 4 * sigma + 1e-6).all())

    assert frequent(torch.nn.functional.one_hot(first, STATES), torch.full((STATES,), 1 / STATES))
    assert set(outcome.reward.tolist()) == {0.0, 1.0}
    for state in range(STATES):
        here, there = first == state, following == state
        assert frequent(seen[here], looks[state])
        assert frequent(outcome.observation[there], looks[state])
        assert frequent(outcome.reward[here], paid[state, 2])
        assert frequent(torch.nn.functional.one_hot(following[here], STATES), moves[state, 2])
    assert not outcome.terminated.any()


@pytest.mark.parametrize(
    "settings",
    [{"states": 1, "actions": 1, "observations": 1}, {"states": 3, "observations": 5}, {"states": 7, "actions": 2}],
)
def test_other_sizes_play(settings):
    if settings["states"] > 1:
        check_family(build_family("tabular-pomdp", settings))
    family = build_family("tabular-pomdp", settings)
    batch = family.batch(2)
    batch.set_tasks([family.spec(seed=seed) for seed in range(2)])
    assert batch.reset().sum(1).tolist() == [1.0, 1.0]
    outcome = batch.step(torch.zeros(2, dtype=torch.int64))
    assert outcome.observation.shape == (2, family.config.observations)
