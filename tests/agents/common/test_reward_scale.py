"""Standardised rewards by hand, in any currency, step by step and at once."""

import pytest
import torch

from agents.common.reward_scale import TrialStandard


def test_by_hand() -> None:
    reward = torch.tensor([[9.0], [1.0], [3.0], [3.0], [5.0]])  # the first belongs to no step of this trial
    start = torch.tensor([[True], [False], [False], [False], [False]])
    # 1: alone; 3 among 1, 3: mean 2, spread 1; 3 among 1, 3, 3: mean 7/3, spread sqrt(8)/3; 5: mean 3, spread sqrt(2)
    expected = [0.0, 0.0, 1.0, (2 / 3) / (8**0.5 / 3), 2 / 2**0.5]
    assert TrialStandard.sequence(reward, start)[:, 0].tolist() == pytest.approx(expected, rel=1e-6)


def test_scale_and_offset_do_not_matter() -> None:
    reward = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    start = torch.zeros(20, 3, dtype=torch.bool)
    start[0] = True
    torch.testing.assert_close(
        TrialStandard.sequence(reward, start), TrialStandard.sequence(7.0 * reward - 100.0, start), rtol=1e-2, atol=1e-3
    )


def test_a_new_trial_forgets_and_rows_are_independent() -> None:
    reward = torch.randn(10, 2, generator=torch.Generator().manual_seed(1))
    start = torch.zeros(10, 2, dtype=torch.bool)
    start[0] = True
    start[5, 0] = True
    both = TrialStandard.sequence(reward, start)
    assert torch.equal(both[5:, :1], TrialStandard.sequence(reward[5:, :1], start[5:, :1]))
    assert torch.equal(both[:, 1:], TrialStandard.sequence(reward[:, 1:], start[:, 1:]))
