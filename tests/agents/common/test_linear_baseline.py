"""The baseline against returns it can and cannot express."""

import torch

from agents.common.linear_baseline import baseline_features, fitted_values


def test_features_by_hand():
    observation = torch.tensor([[[[2.0, -30.0]], [[0.5, 1.0]]]])  # one task, two steps, one episode
    features = baseline_features(observation)
    expected = [
        [2.0, -10.0, 4.0, 100.0, 0.0, 0.0, 0.0, 1.0],
        [0.5, 1.0, 0.25, 1.0, 0.01, 1e-4, 1e-6, 1.0],
    ]
    torch.testing.assert_close(features[0, :, 0], torch.tensor(expected))


def test_each_task_is_fitted_to_its_own_returns():
    observation = torch.randn(2, 30, 4, 3, generator=torch.Generator().manual_seed(0))
    time = (torch.arange(30) / 100)[None, :, None]
    returns = 1.0 + 2.0 * observation[..., 0] - observation[..., 2] ** 2 + 3.0 * time
    returns[1] = -5.0 * returns[1]
    values = fitted_values(baseline_features(observation), returns, torch.ones(2, 30, 4))
    torch.testing.assert_close(values, returns, atol=1e-3, rtol=1e-3)


def test_steps_after_the_end_do_not_count():
    observation = torch.randn(1, 20, 5, 2, generator=torch.Generator().manual_seed(0))
    returns, weight = observation.sum(-1), torch.ones(1, 20, 5)
    weight[:, 15:, 3] = 0.0
    spoiled = torch.where(weight > 0, returns, 1e6)
    features = baseline_features(observation)
    clean = fitted_values(features, returns * weight, weight)
    torch.testing.assert_close(fitted_values(features, spoiled, weight), clean)
    torch.testing.assert_close(clean[:, :15], returns[:, :15], atol=1e-3, rtol=1e-3)


def test_the_mean_is_fitted_where_nothing_else_is_known():
    returns = torch.tensor([[[1.0, 3.0]]])  # no observation and t = 0: only the constant is left
    values = fitted_values(baseline_features(torch.zeros(1, 1, 2, 0)), returns, torch.ones(1, 1, 2), ridge=0.01)
    torch.testing.assert_close(values, torch.full((1, 1, 2), 4.0 / 2.01))
