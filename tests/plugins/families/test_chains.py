"""The chains against rewards and values worked out by hand."""

import numpy as np
import pytest
import torch

from plugins.families.discounting_chain import DiscountingChain, DiscountingChainConfig
from plugins.families.signal_noise_chain import SignalNoiseChain, SignalNoiseChainConfig
from taskgen.testing import check_family


def signal_noise(**settings):
    return SignalNoiseChain(SignalNoiseChainConfig(**settings), name="builtin/signal-noise-chain")


def discounting(**settings):
    return DiscountingChain(DiscountingChainConfig(**settings), name="builtin/discounting-chain")


def play(family, contexts, actions):
    """Observations, rewards and terminations [T, B] of as many tasks, each with one action throughout."""
    batch = family.batch(len(contexts))
    batch.set_tasks([family.spec(context, seed=seed) for seed, context in enumerate(contexts)])
    seen, steps = [batch.reset()], []
    for _ in range(family.horizon):
        steps.append(batch.step(torch.tensor(actions)))
        seen.append(steps[-1].observation)
    reward = torch.stack([step.reward for step in steps])
    return torch.stack(seen), reward, torch.stack([step.terminated for step in steps])


@pytest.mark.parametrize(
    "family", [signal_noise(horizon=3), discounting(observation="one-hot"), discounting(horizon=5)], ids=["a", "b", "c"]
)
def test_settings_conform_too(family):
    check_family(family)


def test_even_states_pay_signal_and_odd_ones_noise():
    slots = 4000
    seen, reward, terminated = play(signal_noise(), [{"signal": 0.3, "noise": 2.0}] * slots, [0, 1] * (slots // 2))
    assert (reward[::2] == torch.tensor(0.3)).all()
    noise = reward[1::2]
    assert abs(float(noise.mean())) < 4 * 2 / (5 * slots) ** 0.5
    assert float(noise.std()) == pytest.approx(2.0, abs=4 * 2 / (10 * slots) ** 0.5)
    assert abs(float(torch.corrcoef(noise)[0, 1])) < 4 / slots**0.5
    assert terminated[:-1].logical_not().all()
    assert terminated[-1].all()
    assert torch.equal(seen[:10, 0], torch.eye(10))
    assert not seen[10].any()


def test_values_of_the_noisy_chain_by_hand():
    family = signal_noise(horizon=4)
    context = family.spec({"signal": 0.2}).context
    # from the end: 0; 0.2 + .5 * 0; .5 * 0.2; 0.2 + .5 * 0.1
    np.testing.assert_allclose(family.values(context, 0.5), [0.25, 0.1, 0.2, 0.0])
    assert family.optimal_return(family.spec({"signal": 0.2})) == pytest.approx(0.4)


@pytest.mark.parametrize("observation", ["index", "one-hot"])
def test_each_chain_pays_once_after_its_delay(observation):
    _, reward, terminated = play(discounting(observation=observation), [{"mapping": 3}] * 5, list(range(5)))
    for action, (delay, paid) in enumerate(zip((1, 3, 10, 30, 100), (1.0, 1.0, 1.0, 1.1, 1.0), strict=True)):
        assert reward[:, action].nonzero().flatten().tolist() == [delay - 1]
        assert float(reward[delay - 1, action]) == pytest.approx(paid)
    assert terminated[:-1].logical_not().all()
    assert terminated[-1].all()


def test_the_first_action_alone_counts():
    family = discounting()
    batch = family.batch(1)
    batch.set_tasks([family.spec({"mapping": 1})])
    assert batch.reset().tolist() == [[-1.0, 0.0]]
    outcome = [batch.step(torch.tensor([action])) for action in (1, 0, 4)]
    assert [float(step.reward) for step in outcome] == pytest.approx([0.0, 0.0, 1.1])
    assert outcome[-1].observation[0].tolist() == pytest.approx([1.0, 0.03])


def test_the_state_is_told_one_hot():
    seen, _, _ = play(discounting(observation="one-hot", horizon=7), [{}, {}], [0, 2])
    # before the choice 0; then chain * 7 + steps made
    assert seen.argmax(2).tolist() == [[0, 0], *([time, 14 + time] for time in range(1, 8))]
    assert (seen.sum(2) == 1).all()


def test_returns_by_chain_and_the_best_of_them():
    family = discounting()
    context = family.spec({"mapping": 3}).context
    np.testing.assert_allclose(family.returns(context), [1.0, 1.0, 1.0, 1.1, 1.0])
    np.testing.assert_allclose(family.returns(context, 0.95)[[0, 1, 3]], [1.0, 0.95**2, 1.1 * 0.95**29])
    assert family.optimal_return(family.spec({"mapping": 3})) == pytest.approx(1.1)
    assert discounting(horizon=29).optimal_return(discounting(horizon=29).spec({"mapping": 3})) == 1.0
