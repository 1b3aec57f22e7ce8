"""Schedules by hand."""

import pytest

from agents.common.schedule import USUAL_END, annealed, changing, final_rate, share_left


def test_the_share_that_is_left_falls_from_one_to_zero_and_no_further():
    assert [share_left(done, 4) for done in (0, 1, 4, 5)] == [1.0, 0.75, 0.0, 0.0]
    assert share_left(3, 0) == 1.0  # no end is planned


@pytest.mark.parametrize(("left", "expected"), [(1.0, 2.0), (0.25, 0.8), (0.0, 0.4)])
def test_a_straight_line(left, expected):
    assert annealed(2.0, 0.4, left) == pytest.approx(expected)


def test_the_last_rate_is_the_one_set_or_the_usual_one_or_the_first():
    assert (final_rate(1e-3, 5e-4), final_rate(1e-3, 1e-2)) == (5e-4, 1e-2)
    assert (final_rate(1e-3, None), final_rate(1e-5, None)) == (USUAL_END, 1e-5)


def test_which_settings_change():
    assert changing(1e-3, None, 0.0) == {"learning_rate"}
    assert changing(1e-3, 1e-3, 0.01) == {"entropy"}
    assert changing(1e-5, None, 0.0) == frozenset()
