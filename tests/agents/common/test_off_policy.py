"""Off-policy policies by kind of action: losses and values by hand, who is reached by gradients, what is drawn."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from agents.common.distributions import SquashedGaussian
from agents.common.off_policy import BoxActorCritic, DoubleDQN

BOX = gym.spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))


class Table(nn.Module):
    """Values by hand, whatever the input says."""

    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, inputs):
        return self.values.expand(*inputs.shape[:-1], -1)


def luck(seed=0):
    return torch.Generator().manual_seed(seed)


def double_dqn(newer=(1.0, 5.0), older=(30.0, 20.0), target_updates=3):
    policy = DoubleDQN(2, (4,), 2, target_updates=target_updates)
    policy.newer, policy.older = Table(newer), Table(older)
    return policy


def test_what_follows_is_the_older_value_of_the_newer_choice():
    assert double_dqn().following(torch.zeros(3, 2, 2), luck()).tolist() == [[20.0, 20.0]] * 3


def test_hubers_loss_counts_what_was_done_in_steps_that_were_played():
    policy = double_dqn()
    action, target = torch.tensor([[1], [0]]), torch.tensor([[5.5], [100.0]])
    inputs = torch.zeros(2, 1, 2)
    valid = torch.tensor([[True], [False]])
    assert policy.loss(inputs, action, target, valid, luck()).item() == 0.125  # .5 * (5 - 5.5)^2
    assert policy.loss(inputs, action, target, ~valid, luck()).item() == 98.5  # |1 - 100| - .5


def test_older_values_are_renewed_every_so_many_updates():
    policy = double_dqn(target_updates=3)
    for updates, expected in ((1, 30.0), (2, 30.0), (3, 1.0)):
        policy.renew(updates)
        assert policy.older.values[0].item() == expected


def test_the_best_number_is_played_or_with_epsilon_any():
    policy = double_dqn()
    assert policy.act(torch.zeros(50, 2), 0.0, luck()).tolist() == [1] * 50
    assert 0.4 < policy.act(torch.zeros(2000, 2), 1.0, luck()).float().mean() < 0.6


def actor_critic(**settings):
    torch.manual_seed(0)
    return BoxActorCritic(3, (8,), BOX, averaging=0.1, target_entropy=-1.5, **settings)


def test_an_actor_critics_loss_by_hand():
    """Over the valid rows: squared errors of both critics, the actor's loss, the temperature times the surplus."""
    policy = actor_critic()
    inputs, target = torch.randn(3, 2, 3), torch.randn(3, 2)
    action = torch.rand(3, 2, 2) * torch.tensor([2.0, 4.0]) - torch.tensor([1.0, 0.0])
    valid = torch.tensor([[True, True], [True, False], [False, False]])
    found = policy.loss(inputs, action, target, valid, luck(5))

    model, rows = policy.model, valid.flatten()
    unit = (action.flatten(0, 1) - torch.tensor([0.0, 2.0])) / torch.tensor([1.0, 2.0])
    flat = inputs.flatten(0, 1)
    drawn, log_prob = model.actor(flat).sample_with_log_prob(luck(5))
    critics = model.critics(torch.cat([flat, unit], -1))[..., 0]
    critic = sum((one - target.flatten())[rows].square().mean() for one in critics)
    best = model.critics(torch.cat([flat, drawn], -1))[..., 0].amin(0)
    actor = (0.1 * log_prob - best)[rows].mean()
    surplus = -log_prob[rows].mean() - 2 * -1.5
    torch.testing.assert_close(found, critic + actor + np.log(0.1) * surplus)


def test_gradients_of_the_critics_reach_the_input_and_none_of_the_actor():
    policy = actor_critic()
    inputs = torch.randn(3, 2, 3, requires_grad=True)
    action, target = torch.zeros(3, 2, 2) + torch.tensor([0.0, 2.0]), torch.zeros(3, 2)
    policy.loss(inputs, action, target, torch.ones(3, 2, dtype=torch.bool), luck()).backward()
    unit = torch.zeros(6, 2)
    alone = inputs.detach().flatten(0, 1).requires_grad_()
    policy.model.critic_loss(alone, unit, target.flatten())[0].backward()
    torch.testing.assert_close(inputs.grad.flatten(0, 1), alone.grad)
    assert policy.model.log_temperature.grad is not None
    assert all(parameter.grad is None for parameter in policy.model.targets.parameters())


def test_what_follows_a_box_action_is_the_lesser_older_value_with_the_entropy():
    policy = actor_critic()
    inputs = torch.randn(2, 3, 3)
    found = policy.following(inputs, luck(1))
    flat = inputs.flatten(0, 1)
    drawn, log_prob = policy.model.actor(flat).sample_with_log_prob(luck(1))
    older = policy.model.targets(torch.cat([flat, drawn], -1))[..., 0].amin(0)
    torch.testing.assert_close(found, (older - 0.1 * log_prob).view(2, 3).detach())
    assert not found.requires_grad


def test_box_actions_are_drawn_judged_by_the_mean_or_any():
    policy = actor_critic()
    inputs = torch.randn(4, 3)
    mean = policy.act(inputs, 0.0, luck(), judged=True)
    torch.testing.assert_close(mean, policy._box.from_unit(policy.model.actor(inputs).mode()))
    assert not torch.allclose(mean, policy.act(inputs, 0.0, luck()))
    policy.model.actor.forward = lambda inputs: SquashedGaussian(torch.full((len(inputs), 2), 9.0), torch.zeros(()))
    anything = policy.act(torch.zeros(4000, 3), 1.0, luck())
    torch.testing.assert_close(anything.mean(0), torch.tensor([0.0, 2.0]), atol=0.1, rtol=0)
    assert anything[:, 1].min() >= 0.0
    assert anything[:, 1].max() <= 4.0
    half = policy.act(torch.zeros(4000, 3), 0.25, luck(), judged=True)
    assert (half[:, 0] > 0.999).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_averages_take_their_share():
    policy = actor_critic()
    with torch.no_grad():
        for parameter in policy.model.critics.parameters():
            parameter.fill_(1.0)
        for parameter in policy.model.targets.parameters():
            parameter.fill_(0.0)
    policy.renew(1)
    assert all((parameter == 0.1).all() for parameter in map(torch.Tensor.float, policy.model.targets.parameters()))
