"""Novelty and PATA-EC against values worked out by hand."""

import numpy as np
import pytest

from plugins.runners.novelty import distance, novelty, performance_vector, reach


def points(*rows: list[float]) -> list[np.ndarray]:
    return [np.array(row) for row in rows]


def test_mean_distance_to_the_nearest() -> None:
    here, *others = points([0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [6.0, 8.0])
    assert novelty(here, others, 2) == pytest.approx((1 + 5) / 2)


def test_fewer_others_than_neighbours() -> None:
    here, *others = points([0.0], [1.0], [3.0])
    assert novelty(here, others, 5) == pytest.approx(2.0)
    assert novelty(here, others[:1], 5) == 1.0


def test_alone_is_no_nan() -> None:
    assert novelty(np.array([1.0]), [], 5) == 0.0
    assert novelty(np.array([]), [np.array([])], 5) == 0.0


def test_vectors_of_unequal_length_compare_the_tail_with_the_last_number() -> None:
    short, long = points([0.0, 0.5], [0.0, 0.5, 0.5, -0.5])
    assert distance(short, long) == distance(long, short) == pytest.approx(1.0)  # 0, 0, 0, 1
    assert distance(np.array([1.0, 0.0]), np.array([0.0, 1.0, 2.0])) == pytest.approx(np.sqrt(1 + 1 + 4))
    short, long = points([1.0, 2.0], [4.0, 6.0, 14.0])  # 3, 4, and 14 against 2
    assert distance(short, long) == distance(long, short) == pytest.approx(13.0)


def test_performance_is_clipped_then_ranked() -> None:
    assert performance_vector([0.0, 400.0, 100.0, 200.0], 50.0, 300.0).tolist() == pytest.approx(
        [-0.5, 0.5, -1 / 6, 1 / 6]
    )


def test_what_the_criterion_does_not_tell_apart_has_one_rank() -> None:
    vector = performance_vector([10.0, 20.0, 100.0, 900.0, 300.0], 50.0, 300.0)  # ranks 1.5 1.5 3 4.5 4.5
    assert vector.tolist() == pytest.approx([-0.375, -0.375, 0.0, 0.375, 0.375])
    assert performance_vector([1.0, 2.0, 3.0], 50.0, 300.0).tolist() == [0.0, 0.0, 0.0]


def test_a_failed_evaluation_ranks_lowest_and_one_agent_has_rank_zero() -> None:
    assert performance_vector([np.nan, 100.0], 50.0, 300.0).tolist() == [-0.5, 0.5]
    assert performance_vector([np.inf, 100.0], 50.0, 300.0).tolist() == [0.5, -0.5]
    assert performance_vector([77.0], 50.0, 300.0).tolist() == [0.0]


def test_what_differs_by_rounding_has_one_rank() -> None:
    once, other = float(np.float32(-2.0)), float(np.nextafter(np.float32(-2.0), np.float32(-3.0)))
    assert performance_vector([once, other, once, other], -10.0, 10.0).tolist() == [0.0] * 4
    assert performance_vector([0.0, 0.0], -10.0, 10.0).tolist() == [0.0] * 2
    assert performance_vector([1.0, 1e9, 1.5], -1e9, 1e9).tolist() == [-0.5, 0.5, 0.0]


def test_reach_is_by_what_share_of_itself_it_grows() -> None:
    known = points([0.0, 2.0, 5.0], [4.0, 2.0, 5.0])
    assert reach(np.array([1.0, 2.0, 5.0]), known) == 0.0  # within
    assert reach(np.array([4.0, 2.0, 5.0]), known) == 0.0  # at the end
    assert reach(np.array([5.0, 2.0, 5.0]), known) == pytest.approx(1 / 5)
    assert reach(np.array([-6.0, 2.0, 5.0]), known) == pytest.approx(6 / 10)  # below counts as above does
    assert reach(np.array([5.0, 2.1, 5.0]), known) == pytest.approx(1 / 5 + 1)  # never anything else: the most
    assert reach(np.array([12.0, -50.0, 6.0]), known) == pytest.approx(8 / 12 + 1 + 1)


def test_reach_has_no_units() -> None:
    known, point = points([0.0, 1.0], [2.0, 3.0], [1.0, 7.0]), np.array([2.5, 7.5])
    scale = np.array([1000.0, 0.01])
    assert reach(scale * point, [scale * other for other in known]) == pytest.approx(reach(point, known))
    assert reach(point, []) == 0.0
