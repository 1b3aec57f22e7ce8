import jaxtyping
import pytest
import torch

from agents.common.returns import generalized_advantages, lambda_returns


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


def test_hand_computed_lambda_returns():
    # rewards 1, 2, 3; values of what follows 4, 8, 0 (the end); gamma .5, .25, 1; lambda .5, 1, 0
    # 3 + 1 * 0 = 3; 2 + .25 * (0 * 8 + 1 * 3) = 2.75; 1 + .5 * (.5 * 4 + .5 * 2.75) = 2.6875
    column = {"reward": [1.0, 2.0, 3.0], "following": [4.0, 8.0, 0.0], "discount": [0.5, 0.25, 1.0]}
    column = {name: torch.tensor(values)[:, None] for name, values in column.items()}
    goes_on, trace = torch.tensor([[True], [True], [False]]), torch.tensor([[0.5], [1.0], [0.0]])
    assert lambda_returns(**column, goes_on=goes_on, trace=trace)[:, 0].tolist() == [2.6875, 2.75, 3.0]


def test_a_cut_is_bootstrapped_and_later_rows_do_not_count():
    reward, following = torch.tensor([[1.0], [10.0]]), torch.tensor([[4.0], [6.0]])
    cut = lambda_returns(reward, following, torch.tensor([[False], [False]]), 0.5, 1.0)
    assert cut[:, 0].tolist() == [3.0, 13.0]


def _one_by_one(reward, following, goes_on, discount, trace):
    """The definition, from the last step to the first, element by element."""
    discount, trace = (torch.as_tensor(each).expand_as(reward) for each in (discount, trace))
    returns = [[torch.zeros(())] * reward.shape[1] for _ in range(len(reward) + 1)]
    for t in reversed(range(len(reward))):
        for b in range(reward.shape[1]):
            ahead = following[t, b]
            if goes_on[t, b]:
                ahead = (1 - trace[t, b]) * following[t, b] + trace[t, b] * returns[t + 1][b]
            returns[t][b] = reward[t, b] + discount[t, b] * ahead
    return torch.stack([torch.stack(row) for row in returns[:-1]])


@pytest.mark.parametrize("steps", [1, 2, 7, 8])
@pytest.mark.parametrize("shape", ["scalar", "step", "element"])
def test_lambda_returns_and_their_gradients_are_those_of_a_loop(steps, shape):
    generator = torch.Generator().manual_seed(steps)

    def draw(*size):
        return torch.rand(size, generator=generator, dtype=torch.float64).requires_grad_()

    size = {"scalar": (), "step": (steps, 1), "element": (steps, 3)}[shape]
    inputs = [draw(steps, 3), draw(steps, 3), draw(*size), draw(*size)]
    goes_on = torch.rand(steps, 3, generator=generator) > 0.2
    goes_on[-1] = torch.tensor([True, False, True])  # what is after the last row is not known: the value counts
    reward, following, discount, trace = inputs
    here = lambda_returns(reward, following, goes_on, discount, trace)
    inside = goes_on.clone()
    inside[-1] = False
    there = _one_by_one(reward, following, inside, discount, trace)
    weight = torch.rand(steps, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(here, there)
    gradients = [torch.autograd.grad((each * weight).sum(), inputs, materialize_grads=True) for each in (here, there)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
