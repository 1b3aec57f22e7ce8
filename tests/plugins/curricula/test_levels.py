"""The buffer of levels against values worked out by hand."""

import json

import numpy as np
import pytest

from plugins.curricula.levels import Levels, replay_weights
from registry.errors import CheckpointError
from taskgen.build import build_family
from taskgen.spec import TaskSpec

BANDIT = build_family("bandit")


def spec(seed):
    return BANDIT.spec(seed=seed)


def offer(levels, seeds, scores, time=1, generation=None):
    numbers = np.array(scores, dtype=float)
    generation = np.zeros(len(seeds), dtype=np.int64) if generation is None else np.array(generation)
    found = levels.offer(
        [spec(seed) for seed in seeds], time, score=numbers, result=numbers * 2, best=numbers * 3, generation=generation
    )
    return found.tolist()


def seeds(levels):
    return [held.seed for held in levels.specs]


def test_rank_prioritisation():
    """Scores 0.2, 0.9, 0.5 have ranks 3, 1, 2; beta 0.5 squares 1 / rank: 1/9, 1, 1/4 of 49/36."""
    weights = replay_weights(np.array([0.2, 0.9, 0.5]), np.zeros(3), "rank", 0.5, 0.0)
    assert weights == pytest.approx([4 / 49, 36 / 49, 9 / 49])


def test_power_prioritisation():
    """Beta 0.5 squares the scores 0.1, 0.3, -1: 0.01, 0.09, 0."""
    weights = replay_weights(np.array([0.1, 0.3, -1.0]), np.zeros(3), "power", 0.5, 0.0)
    assert weights == pytest.approx([0.1, 0.9, 0.0])
    assert replay_weights(np.zeros(4), np.zeros(4), "power", 0.5, 0.0) == pytest.approx([0.25] * 4)


def test_staleness_is_mixed_in():
    """rho 0.25 of ages 0, 1, 3 and 0.75 of ranks 1, 2, 3 at beta 1: (6, 3, 2) / 11."""
    weights = replay_weights(np.array([3.0, 2.0, 1.0]), np.array([0.0, 1.0, 3.0]), "rank", 1.0, 0.25)
    expected = [0.75 * 6 / 11, 0.75 * 3 / 11 + 0.25 / 4, 0.75 * 2 / 11 + 0.25 * 3 / 4]
    assert weights == pytest.approx(expected)
    assert replay_weights(np.zeros(2), np.zeros(2), "power", 1.0, 1.0) == pytest.approx([0.5, 0.5])


def test_the_smallest_temperature_does_not_overflow():
    weights = replay_weights(np.array([1e300, 1.0]), np.ones(2), "power", 1e-3, 0.0)
    assert weights == pytest.approx([1.0, 0.0])


def test_the_lowest_score_is_evicted_for_a_higher_one():
    levels = Levels(3)
    assert offer(levels, [1, 2], [0.5, 0.1]) == [0, 1]
    assert offer(levels, [3, 4, 5], [0.2, 0.1, 0.6], time=2) == [1, -1, 2]  # 5 takes the room, 3 is better than 2
    assert seeds(levels) == [1, 3, 5]
    assert levels["score"].tolist() == [0.5, 0.2, 0.6]
    assert levels["played"].tolist() == [1, 2, 2]
    assert offer(levels, [6], [0.2]) == [-1]  # as good is not better
    assert levels.find([spec(seed) for seed in (1, 2, 3, 4, 5, 6)]).tolist() == [0, -1, 1, -1, 2, -1]


def test_equal_content_is_one_level():
    levels = Levels(10)
    assert offer(levels, [1, 1, 2], [0.1, 0.3, 0.2]) == [-1, 0, 1]  # the better of the two
    assert seeds(levels) == [1, 2]
    other = BANDIT.spec({"probabilities": [0.9] * 5}, seed=1)
    assert levels.find([TaskSpec.from_json(spec(1).to_json()), other]).tolist() == [0, -1]


def test_a_level_played_several_times_counts_with_the_mean():
    levels = Levels(4)
    offer(levels, [1, 2], [0.5, 0.4])
    levels.update(
        np.array([1, 1, 0]),
        7,
        score=np.array([0.2, 0.4, 0.9]),
        result=np.array([1.0, 3.0, 5.0]),
        best=np.array([1.0, 8.0, 0.1]),
        replayed=True,
    )
    assert levels["score"].tolist() == pytest.approx([0.9, 0.3])
    assert levels["result"].tolist() == [5.0, 2.0]
    assert levels["best"].tolist() == pytest.approx([1.5, 8.0])
    assert levels["replays"].tolist() == [1, 2]
    assert levels["played"].tolist() == [7, 7]


def test_state_survives_json():
    levels, other = Levels(4), Levels(4)
    offer(levels, [1, 2, 3], [0.4, 0.5, 0.1], generation=[0, 3, 1])
    state = json.loads(json.dumps(levels.state_dict(), allow_nan=False))
    other.load_state_dict(state, BANDIT)
    assert other.state_dict() == levels.state_dict()
    assert offer(other, [1, 5, 6, 7], [9.0, 0.2, 0.3, 0.0]) == offer(levels, [1, 5, 6, 7], [9.0, 0.2, 0.3, 0.0])
    assert other.state_dict() == levels.state_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": ["{}"]},
        {"score": [0.1]},
        {"played": [0.5, 1.0]},
        {"tasks": [build_family("darkroom").spec(seed=seed).to_json() for seed in (1, 2)]},
        {"tasks": [spec(seed).to_json() for seed in range(9)]},
        {"tasks": [spec(1).to_json()] * 2},
    ],
)
def test_another_state_is_refused(change):
    levels = Levels(2)
    offer(levels, [1, 2], [0.5, 0.4])
    state = levels.state_dict() | change
    with pytest.raises(CheckpointError, match="state of levels"):
        levels.load_state_dict(state, BANDIT)
    assert seeds(levels) == [1, 2]
    with pytest.raises(CheckpointError, match="state of levels"):
        levels.load_state_dict(None, BANDIT)
