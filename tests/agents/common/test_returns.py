import jaxtyping
import pytest
import torch

from agents.common.returns import generalized_advantages


def test_hand_computed_advantages():
    # rewards 1, 2, 3; values .5, 1, 2; discount .5, trace .5; the end is terminal
    # delta: 3 - 2 = 1; 2 + .5*2 - 1 = 2; 1 + .5*1 - .5 = 1.  advantage: 1; 2 + .25*1 = 2.25; 1 + .25*2.25 = 1.5625
    reward = torch.tensor([[1.0], [2.0], [3.0]])
    value = torch.tensor([[0.5], [1.0], [2.0]])
    goes_on = torch.tensor([[True], [True], [False]])
    advantage = generalized_advantages(reward, value, goes_on, 0.5, 0.5)
    assert advantage[:, 0].tolist() == [1.5625, 2.25, 1.0]


def test_a_cut_stops_both_bootstrap_and_trace():
    reward = torch.tensor([[1.0], [10.0]])
    value = torch.tensor([[0.0], [4.0]])
    cut = generalized_advantages(reward, value, torch.tensor([[False], [False]]), 1.0, 1.0)
    assert cut[:, 0].tolist() == [1.0, 6.0]
    whole = generalized_advantages(reward, value, torch.tensor([[True], [False]]), 1.0, 1.0)
    assert whole[:, 0].tolist() == [11.0, 6.0]


def test_last_value_bootstraps_after_the_last_row():
    advantage = generalized_advantages(
        torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor([[True]]), 0.9, 0.3, last_value=torch.tensor([10.0])
    )
    torch.testing.assert_close(advantage, torch.tensor([[10.0]]))


def test_trace_of_one_is_return_minus_value():
    reward, value = torch.rand(7, 3), torch.rand(7, 3)
    goes_on = torch.ones(7, 3, dtype=torch.bool)
    goes_on[-1] = False
    expected = reward.flip(0).cumsum(0).flip(0) - value
    torch.testing.assert_close(generalized_advantages(reward, value, goes_on, 1.0, 1.0), expected)


def test_shapes_are_checked():
    flags = torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(jaxtyping.TypeCheckError):
        generalized_advantages(torch.zeros(3, 2), torch.zeros(2, 3), flags, 1.0, 1.0)
