import math

import pytest
import torch

from agents.common.distributions import Categorical, DiagonalGaussian, Mixed, MultiCategorical
from agents.common.divergence import kl_divergence


def test_categorical_by_hand():
    old, new = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    expected = 0.5 * math.log(2.0) + 0.5 * math.log(2 / 3)
    found = kl_divergence(Categorical(old.log()), Categorical(new.log()))
    torch.testing.assert_close(found, torch.tensor(expected))


def test_gaussian_by_hand():
    # one coordinate: log 2 + (1 + 3^2) / (2 * 4) - 1/2; the other is the same in both
    old = DiagonalGaussian(torch.tensor([[0.0, 5.0]]), torch.tensor([0.0, 1.0]))
    new = DiagonalGaussian(torch.tensor([[3.0, 5.0]]), torch.tensor([math.log(2.0), 1.0]))
    torch.testing.assert_close(kl_divergence(old, new), torch.tensor([math.log(2.0) + 10 / 8 - 0.5]))


def test_gaussian_agrees_with_torch_where_each_task_has_its_own_spread():
    generator = torch.Generator().manual_seed(0)
    means, spreads = torch.randn(2, 3, 5, 2, generator=generator), torch.randn(2, 3, 1, 2, generator=generator)
    old, new = (DiagonalGaussian(mean, spread) for mean, spread in zip(means, spreads, strict=True))
    theirs = [
        torch.distributions.Independent(torch.distributions.Normal(d.mean, d.log_std.exp().expand_as(d.mean)), 1)
        for d in (old, new)
    ]
    torch.testing.assert_close(kl_divergence(old, new), torch.distributions.kl_divergence(*theirs))


def test_divergences_of_independent_parts_add_up():
    logits = torch.tensor([[0.5, 0.5, 0.2, 0.8]]).log(), torch.tensor([[0.25, 0.75, 0.2, 0.8]]).log()
    old, new = (MultiCategorical(each, (2, 2)) for each in logits)
    expected = 0.5 * math.log(2.0) + 0.5 * math.log(2 / 3)  # of the first choice, the second is the same
    torch.testing.assert_close(kl_divergence(old, new), torch.tensor([expected]))
    numbers = (DiagonalGaussian(torch.tensor([[mean]]), torch.zeros(1)) for mean in (0.0, 3.0))
    mixed = (Mixed(number, choices) for number, choices in zip(numbers, (old, new), strict=True))
    torch.testing.assert_close(kl_divergence(*mixed), torch.tensor([expected + 4.5]))  # and (3 - 0)^2 / 2


def test_kinds_do_not_mix():
    with pytest.raises(TypeError, match="Categorical and a DiagonalGaussian"):
        kl_divergence(Categorical(torch.zeros(1, 2)), DiagonalGaussian(torch.zeros(1, 2), torch.zeros(2)))
