"""Meta-gradients against finite differences of exact expected returns, and the inner loop by hand."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.common import inner_loop
from agents.common.encoding import StepEncoder
from agents.common.fast_policy import FastPolicy
from agents.common.inner_loop import Experience, experience, gradient_step, policy_gradient_loss
from taskgen.interaction.agent import Rollout

RATE = 0.7
START = np.array([0.3, -0.4])
"""The two logits of a policy on two arms."""


def _bandit(probabilities, rewards, pulls):
    """Every episode of `pulls` pulls in its exact proportion: `rewards` [2] or [2, 2] come at the end."""
    episodes = list(np.ndindex(*(2,) * pulls))
    weight = [np.prod([probabilities[arm] for arm in episode]) for episode in episodes]
    earned = [rewards[episode] for episode in episodes]
    return Experience(
        observation=torch.zeros(1, pulls, len(episodes), 1, dtype=torch.float64),
        action=torch.tensor(episodes).T[None],
        advantage=torch.tensor([[earned] * pulls], dtype=torch.float64),
        weight=torch.tensor([[weight] * pulls], dtype=torch.float64),
    )


def _softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def _exact(logits, rewards, pulls):
    """Expected return of the policy, and its gradient, by the chain rule over p(a) p(b)."""
    p = _softmax(logits)
    jacobian = np.diag(p) - np.outer(p, p)
    if pulls == 1:
        return p @ rewards, jacobian @ rewards
    return p @ rewards @ p, jacobian @ (rewards + rewards.T) @ p


def _adapted_return(logits, rewards, pulls):
    return _exact(logits + RATE * _exact(logits, rewards, pulls)[1], rewards, pulls)[0]


def _finite_differences(rewards, pulls):
    h = 1e-5
    moves = np.eye(2) * h
    rises = [_adapted_return(START + m, rewards, pulls) - _adapted_return(START - m, rewards, pulls) for m in moves]
    return np.array(rises) / (2 * h)


def _meta_gradient(rewards, pulls, *, credit=0.0, differentiable=True, baseline=0.0):
    """Of the return after one inner step, with respect to the logits, by the agents' own functions."""
    policy = FastPolicy(1, gym.spaces.Discrete(2), (), "tanh", std=1.0, least_std=0.0, device=torch.device("cpu"))
    start = torch.zeros(1, policy.size, dtype=torch.float64)
    start[0, -2:] = torch.tensor(START)
    start.requires_grad_()
    data = _bandit(_softmax(START), rewards - baseline, pulls)
    fast = gradient_step(
        lambda parameters: policy_gradient_loss(policy, parameters, data, credit),
        start,
        RATE * pulls,  # the loss is a mean over steps, the return a sum
        differentiable=differentiable,
    )
    p = policy(fast, torch.zeros(1, 1, 1, dtype=torch.float64)).log_probabilities[0, 0].exp()
    pay = torch.tensor(rewards)
    value = p @ pay if pulls == 1 else p @ pay @ p
    assert value.item() == pytest.approx(_adapted_return(START, rewards, pulls), abs=1e-12)
    return torch.autograd.grad(value, start)[0][0, -2:].numpy()


ONE = np.array([1.0, -0.5])
TWO = np.array([[1.0, -0.5], [0.2, 2.0]])


@pytest.mark.parametrize("credit", [0.0, 1.0])
@pytest.mark.parametrize("baseline", [0.0, 0.8])
def test_meta_gradient_on_a_bandit_is_exact(credit, baseline):
    found = _meta_gradient(ONE, 1, credit=credit, baseline=baseline)
    np.testing.assert_allclose(found, _finite_differences(ONE, 1), rtol=1e-6, atol=1e-9)


def test_meta_gradient_with_the_inner_step_detached_is_another_one():
    exact = _finite_differences(ONE, 1)
    assert np.abs(_meta_gradient(ONE, 1, differentiable=False) - exact).max() > 0.1 * np.abs(exact).max()


def test_credit_for_earlier_actions_makes_longer_episodes_exact():
    exact = _finite_differences(TWO, 2)
    np.testing.assert_allclose(_meta_gradient(TWO, 2, credit=1.0), exact, rtol=1e-6, atol=1e-9)
    assert np.abs(_meta_gradient(TWO, 2, credit=0.0) - exact).max() > 1e-3


def test_the_likelihood_ratio_makes_of_another_policys_pulls_the_return_of_this_one():
    policy = FastPolicy(1, gym.spaces.Discrete(2), (), "tanh", std=1.0, least_std=0.0, device=torch.device("cpu"))
    start = torch.zeros(1, policy.size, dtype=torch.float64)
    start[0, -2:] = torch.tensor(START)
    other = _softmax(np.array([-1.0, 0.5]))
    data = _bandit(other, ONE, 1)
    data = replace(data, log_prob=torch.tensor(np.log(other))[data.action])
    loss = policy_gradient_loss(policy, start.requires_grad_(), data, 0.0)
    value, slope = _exact(START, ONE, 1)
    assert loss.item() == pytest.approx(-value, abs=1e-12)
    np.testing.assert_allclose(torch.autograd.grad(loss.sum(), start)[0][0, -2:].numpy(), -slope, atol=1e-12)


def test_steps_longer_than_allowed_are_scaled_down_task_by_task():
    slopes = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    stepped = gradient_step(lambda parameters: (slopes * parameters).sum(1), torch.zeros(2, 2), 1.0, longest=1.0)
    torch.testing.assert_close(stepped, torch.tensor([[-0.6, -0.8], [-0.3, -0.4]]))


def test_experience_is_task_major_normalised_and_blind_to_what_came_after_the_end():
    steps, tasks, abreast = 6, 2, 3
    generator = torch.Generator().manual_seed(0)
    slots = tasks * abreast
    flags = torch.zeros(steps, slots, dtype=torch.bool)
    valid = torch.ones(steps, slots, dtype=torch.bool)
    valid[3:, 4] = False  # the second episode of the second task
    observation = torch.randn(steps, slots, 2, generator=generator)
    observation[..., 0] = torch.arange(slots) + 10.0 * torch.arange(steps)[:, None]
    action = torch.arange(slots).expand(steps, -1)
    reward = torch.randn(steps, slots, generator=generator)

    def lesson(reward):
        rollout = Rollout(
            observation, action, reward, flags, flags, observation, flags, flags, flags.long(), valid, record={}
        )
        space = gym.spaces.Box(-np.inf, np.inf, (2,))
        return experience(rollout, StepEncoder(space, gym.spaces.Discrete(9)), tasks, discount=0.9, trace=0.95)

    data = lesson(reward)
    assert data.action[1, 0].tolist() == [3, 4, 5]
    assert data.observation[1, 2, 0, 0] == 3.0 + 20.0
    assert data.weight[1, :, 1].tolist() == [1, 1, 1, 0, 0, 0]
    mean = (data.advantage * data.weight).sum((1, 2)) / data.weight.sum((1, 2))
    torch.testing.assert_close(mean, torch.zeros(2), atol=1e-6, rtol=0)
    spread = ((data.advantage**2) * data.weight).sum((1, 2)) / data.weight.sum((1, 2))
    torch.testing.assert_close(spread, torch.ones(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(lesson(torch.where(valid, reward, 1e6)).advantage, data.advantage)


def test_influence_of_earlier_actions_falls_by_the_credit(monkeypatch):
    """Second derivatives of the loss in the log-probabilities: -c^(u - s) A_u / T for s < u, -A_s / T for s = u."""
    monkeypatch.setattr(inner_loop, "log_probability", lambda policy, parameters, data: parameters[:, :, None])
    advantage = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)[None, :, None]
    blank = torch.zeros(1, 3, 1)
    data = Experience(observation=blank, action=blank, advantage=advantage, weight=torch.ones_like(advantage))
    policy = FastPolicy(1, gym.spaces.Discrete(2), (), "tanh", std=1.0, least_std=0.0, device=torch.device("cpu"))

    def loss(log_prob):
        return policy_gradient_loss(policy, log_prob[None], data, 0.5).sum()

    point = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    slope, curvature = torch.func.grad(loss)(point), torch.func.hessian(loss)(point)
    torch.testing.assert_close(slope, torch.tensor([-2.0, -3.0, -5.0], dtype=torch.float64) / 3)
    expected = [[2.0, 0.5 * 3, 0.25 * 5], [0.5 * 3, 3.0, 0.5 * 5], [0.25 * 5, 0.5 * 5, 5.0]]
    torch.testing.assert_close(curvature, -torch.tensor(expected, dtype=torch.float64) / 3)


def test_advantages_that_hardly_differ_are_not_blown_up():
    """0 and 4e-8 spread by 2e-8, to which 1e-8 is added."""
    advantage = torch.tensor([0.0, 4e-8]).view(1, 2, 1)
    found = inner_loop._normalised(advantage, torch.ones(1, 2, 1))
    assert found.flatten().tolist() == pytest.approx([-2 / 3, 2 / 3], rel=1e-4)
