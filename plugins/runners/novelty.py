"""How new a task is: its mean distance to the nearest ones that were there before, or by how much they reach less far.

Sources: Lehman and Stanley 2011, "Abandoning Objectives: Evolution Through the Search for Novelty Alone"; Wang et al.
2019, "Paired Open-Ended Trailblazer (POET)", section 3; PATA-EC: Wang et al. 2020, "Enhanced POET", section 4.1, and
its released code for vectors of unequal length.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from taskgen.source import RESOLUTION

Floats: TypeAlias = NDArray[np.float64]


def novelty(point: Floats, others: Sequence[Floats], neighbours: int) -> float:
    """Mean distance from `point` to the nearest `neighbours` of `others`, to all where there are fewer; 0 to none."""
    nearest = sorted(distance(point, other) for other in others)[:neighbours]
    return float(np.mean(nearest)) if nearest else 0.0


def reach(point: Floats, others: Sequence[Floats]) -> float:
    """By what share of itself the reach of `others` would grow with `point`, summed over features; 0 within.

    The reach of a feature is from its least to its greatest value. Where they are all alike any other value counts 1,
    and so does at most each feature, whatever its unit: so what has grown but little counts as much as what has grown
    far. With no `others` it is 0.
    """
    if not others:
        return 0.0
    low, high = np.min(others, axis=0), np.max(others, axis=0)
    beyond = np.maximum(np.maximum(low - point, point - high), 0.0)
    grown = high - low + beyond
    return float(np.divide(beyond, grown, out=np.zeros_like(beyond), where=grown > 0).sum())


def distance(one: Floats, other: Floats) -> float:
    """Euclidean; what the longer of two vectors has more is compared with the last number of the shorter."""
    short, long = sorted((one, other), key=len)
    if not len(short):
        return 0.0
    return float(np.hypot(np.linalg.norm(long[: len(short)] - short), np.linalg.norm(long[len(short) :] - short[-1])))


def performance_vector(scores: Sequence[float], low: float, high: float) -> Floats:
    """PATA-EC: [A] what agents earn on a task, clipped to [low, high], as centred ranks from -0.5 to 0.5.

    Equal scores have equal ranks (the release ranks them by place), and so have those that differ by rounding. A score
    that is not a number counts as the lowest. One agent alone has rank 0.
    """
    clipped = np.clip(np.nan_to_num(np.asarray(scores, dtype=np.float64), nan=low, posinf=high, neginf=low), low, high)
    if len(clipped) < 2:
        return np.zeros(len(clipped))
    order = np.argsort(clipped, kind="stable")
    ordered = clipped[order]
    apart = np.diff(ordered) > np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1])) / RESOLUTION
    groups = np.empty(len(clipped))
    groups[order] = np.concatenate([[0], np.cumsum(apart)])
    return (rankdata(groups) - 1.0) / (len(clipped) - 1) - 0.5
