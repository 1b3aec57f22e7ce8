import math

import torch

from agents.common.losses import approximate_kl, clipped_surrogate, weighted_mean


def test_surrogate_is_clipped_only_where_that_is_pessimistic():
    log_ratio = torch.log(torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5]))
    advantage = torch.tensor([2.0, 1.0, -1.0, 1.0, -1.0])
    loss = clipped_surrogate(log_ratio, advantage, 0.2)
    torch.testing.assert_close(loss, -torch.tensor([2.0, 1.2, -1.5, 0.5, -0.8]))


def test_approximate_kl_is_exact_in_expectation():
    old, new = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])
    estimate = (old * approximate_kl((new / old).log())).sum()
    exact = 0.2 * math.log(0.2 / 0.5) + 0.8 * math.log(0.8 / 0.5)
    torch.testing.assert_close(estimate, torch.tensor(exact))


def test_weighted_mean():
    assert weighted_mean(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([1.0, 0.0, 3.0])) == 7.0
