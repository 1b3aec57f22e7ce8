"""Networks and losses of the soft actor-critic, on constant critics."""

import pytest
import torch

from agents.common.soft_actor_critic import Actor, SoftActorCritic


def _model(**settings):
    return SoftActorCritic(3, (8,), 2, **{"temperature": 0.5, "averaging": 0.25, **settings})


def _constant(*values):
    return lambda inputs, **_: torch.stack([torch.full((len(inputs), 1), value) for value in values])


def test_target_is_reward_and_discounted_soft_value_of_the_smaller_critic():
    model = _model()
    model.targets.forward = _constant(8.0, 6.0)
    following = torch.rand(4, 3)
    ended = torch.tensor([True, False, False, False])
    _, log_prob = model.actor(following).sample_with_log_prob(torch.Generator().manual_seed(3))
    target = model.target(torch.ones(4), ended, following, 0.9, torch.Generator().manual_seed(3))
    expected = 1 + 0.9 * (6.0 - 0.5 * log_prob)
    expected[0] = 1.0
    torch.testing.assert_close(target, expected.detach())
    assert not target.requires_grad


def test_critic_loss_is_summed_over_critics_and_averaged_over_transitions():
    model = _model()
    model.critics.forward = _constant(1.0, 3.0)
    loss, value = model.critic_loss(torch.zeros(2, 3), torch.zeros(2, 2), torch.tensor([1.0, 2.0]))
    assert loss.item() == pytest.approx((0 + 1) / 2 + (4 + 1) / 2)
    assert value.item() == pytest.approx(2.0)


def test_policy_loss_weighs_entropy_against_the_smaller_critic_and_moves_the_actor_alone():
    model = _model()
    critics = model.critics.forward
    model.critics.forward = _constant(1.0, 3.0)
    loss, entropy = model.policy_loss(torch.zeros(2, 3), torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(-0.5 * entropy.item() - 1.0, rel=1e-5)
    model.critics.forward = critics
    model.policy_loss(torch.zeros(2, 3), torch.Generator().manual_seed(0))[0].backward()
    assert all(parameter.grad is not None for parameter in model.actor.parameters())
    assert all(parameter.grad is None for parameter in model.critics.parameters())
    assert model.log_temperature.grad is None


def test_targets_begin_as_the_critics_and_follow_them():
    model = _model()
    before = [parameter.clone() for parameter in model.critics.parameters()]
    with torch.no_grad():
        for parameter in model.critics.parameters():
            parameter.add_(1.0)
    model.average()
    for old, target in zip(before, model.targets.parameters(), strict=True):
        torch.testing.assert_close(target, old + 0.25)


def test_spreads_stay_where_densities_are_finite():
    actor = Actor(3, (8,), 3)
    torch.nn.init.zeros_(actor.head.weight)
    with torch.no_grad():
        actor.head.bias.copy_(torch.tensor([0.1, 0.2, 0.3, -1.5, 5.0, -30.0]))
    policy = actor(torch.zeros(4, 2, 3))._gaussian
    assert policy.mean.shape == (4, 2, 3)
    torch.testing.assert_close(policy.mean[0, 0], torch.tensor([0.1, 0.2, 0.3]))
    assert policy.log_std[3, 1].tolist() == [-1.5, 2.0, -20.0]
