"""Conjugate gradient and line search by hand."""

import pytest
import torch

from agents.common.trust_region import conjugate_gradient, line_search

MATRIX = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
TARGET = torch.tensor([1.0, 2.0], dtype=torch.float64)


def _product(vector):
    return MATRIX @ vector


def test_two_by_two_is_solved_in_two_iterations():
    # determinant 11; (3 * 1 - 1 * 2, -1 * 1 + 4 * 2) / 11
    solution = conjugate_gradient(_product, TARGET, 2)
    torch.testing.assert_close(solution, torch.tensor([1.0, 7.0], dtype=torch.float64) / 11)


def test_the_first_iteration_is_steepest_descent_with_the_best_length():
    # b b / b A b = 5 / (4 + 4 + 12)
    torch.testing.assert_close(conjugate_gradient(_product, TARGET, 1), 0.25 * TARGET)


def test_a_zero_target_needs_no_iteration():
    assert conjugate_gradient(_product, torch.zeros(2), 5).tolist() == [0.0, 0.0]


def _bowl(parameters):
    """Loss (x - 1)^2 and divergence x^2."""
    return (parameters[0] - 1.0).square(), parameters[0].square()


def test_line_search_shrinks_until_inside_the_trust_region():
    start, step = torch.zeros(1), torch.tensor([-1.0])  # x = 1, 0.5, 0.25; divergence 1, 0.25, 0.0625
    found = line_search(_bowl, start, step, loss=1.0, limit=0.1, shrink=0.5)
    assert found.accepted
    assert found.parameters.tolist() == [0.25]
    assert (found.divergence, found.improvement) == (0.0625, 1.0 - 0.5625)


def test_line_search_gives_back_the_start_where_nothing_improves():
    for step, loss in ((1.0, 1.0), (-0.1, 0.0)):  # uphill; or nothing is below the loss
        start = torch.zeros(1)
        found = line_search(_bowl, start, torch.tensor([step]), loss=loss, limit=10.0)
        assert not found.accepted
        assert found.parameters is start


def test_line_search_refuses_what_is_not_finite():
    start = torch.zeros(1)
    for outcome in ((float("nan"), 0.0), (0.0, float("nan"))):
        found = line_search(lambda _: tuple(map(torch.tensor, outcome)), start, torch.ones(1), loss=1.0, limit=1.0)  # noqa: B023
        assert not found.accepted


def test_iterations_stop_below_the_tolerance():
    """The squared residual is 5 at first."""
    torch.testing.assert_close(conjugate_gradient(_product, TARGET, 1, tolerance=5.0), 0.25 * TARGET)
    assert conjugate_gradient(_product, TARGET, 1, tolerance=5.1).tolist() == [0.0, 0.0]


def test_steps_shrink_in_proportion():
    start, step = torch.zeros(1), torch.tensor([-0.8])  # x = 0.8, 0.4, 0.2; divergence 0.64, 0.16, 0.04
    found = line_search(_bowl, start, step, loss=1.0, limit=0.1, shrink=0.5)
    assert found.parameters.tolist() == pytest.approx([0.2])
    assert found.improvement == pytest.approx(1.0 - 0.64)


def test_line_search_takes_what_is_at_the_limit_and_not_what_is_no_better():
    start = torch.zeros(1)
    assert line_search(_bowl, start, torch.tensor([-0.5]), loss=1.0, limit=0.25, attempts=1).accepted
    assert not line_search(_bowl, start, torch.tensor([-2.0]), loss=1.0, limit=10.0, attempts=1).accepted
