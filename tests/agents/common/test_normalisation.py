import pytest
import torch

from agents.common.normalisation import LIMIT, RunningNormalizer


def test_statistics_are_those_of_all_rows_together():
    rows = 5 + 3 * torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    normalizer = RunningNormalizer(4)
    for part in rows.split([1, 9, 200, 90]):
        normalizer.update(part)
    torch.testing.assert_close(normalizer.mean, rows.mean(0))
    torch.testing.assert_close(normalizer.variance, rows.var(0, correction=0))
    shown = normalizer(rows)
    torch.testing.assert_close(shown.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(shown.std(0, correction=0), torch.ones(4), atol=1e-3, rtol=0)


def test_what_never_changes_is_zero_and_outliers_are_clipped():
    normalizer = RunningNormalizer(2)
    normalizer.update(torch.tensor([[7.0, 0.0], [7.0, 2.0]]))
    assert normalizer(torch.tensor([7.0, 1.0])).tolist() == [0, 0]
    assert normalizer(torch.tensor([8.0, -1e6])).tolist() == [LIMIT, -LIMIT]
    assert normalizer(torch.tensor([7.001, 2.0])).tolist() == pytest.approx([0.1, 1.0], abs=1e-3)
