import gymnasium as gym
import pytest
import torch

from agents.common.distributions import Categorical, DiagonalGaussian, action_size
from registry.errors import UserError


def test_categorical_samples_with_its_probabilities():
    probabilities = torch.tensor([0.1, 0.6, 0.3])
    policy = Categorical(probabilities.log().expand(40_000, 3))
    drawn = torch.bincount(policy.sample(torch.Generator().manual_seed(0)), minlength=3) / 40_000
    assert (drawn - probabilities).abs().max() < 4 * (0.25 / 40_000) ** 0.5
    torch.testing.assert_close(policy.log_prob(torch.ones(40_000, dtype=torch.int64))[0].exp(), torch.tensor(0.6))
    expected = -(probabilities * probabilities.log()).sum()
    torch.testing.assert_close(policy.entropy()[0], expected)


def test_gaussian_agrees_with_torch():
    mean, log_std = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([0.1, -0.7])
    ours = DiagonalGaussian(mean, log_std)
    theirs = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    action = torch.tensor([[0.0, 0.3], [1.0, -2.0]])
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    sample = DiagonalGaussian(mean[:1].expand(40_000, 2), log_std).sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(sample.std(0), log_std.exp(), atol=0.03, rtol=0)


def test_unsupported_action_space_is_named():
    assert action_size(gym.spaces.Discrete(3)) == 3
    assert action_size(gym.spaces.Box(-1, 1, (4,))) == 4
    with pytest.raises(UserError, match=r"MultiBinary.*use Discrete"):
        action_size(gym.spaces.MultiBinary(2))
