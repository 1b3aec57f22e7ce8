"""Sampling for learnability: what is scored, kept and mixed; verdicts, streams and states."""

import json

import numpy as np
import pytest

import registry
from registry.config import Part
from registry.errors import CheckpointError, ConfigError
from taskgen.build import build_family, build_source
from taskgen.source import TaskResult
from taskgen.streams import seed_sequence
from taskgen.testing import check_source

FAMILY = build_family("grid-navigation")


def source(family=FAMILY, **settings):
    part = Part.model_validate({"name": "sfl", "candidates": 6, "plays": 2, "kept": 3, "refresh": 2, **settings})
    return build_source(part, family, seed_sequence(0, "test"))


def tell(curriculum, specs, success):
    """Results in which `success(spec, turn)` of the episodes of the turn-th play of a task of the round are solved."""
    turns: dict[str, int] = {}
    results = []
    for spec in specs:
        turn = turns[spec.id] = turns.get(spec.id, -1) + 1
        results.append(TaskResult(spec, (0.0,), {"success": float(success(spec, turn))}))
    curriculum.tell(results)


def rounds(curriculum, count, n=8, portions=(8,)):
    """Ids of the tasks of so many rounds, asked in portions of these sizes by turns; success by the task and turn."""
    ids = []
    for _ in range(count):
        specs, turn = [], 0
        while len(specs) < n:
            specs += curriculum.ask(min(portions[turn % len(portions)], n - len(specs)))
            turn += 1
        ids.append([spec.id for spec in specs])
        tell(curriculum, specs, lambda spec, turn: (spec.seed + turn) % 3 == 0)
    return ids


@pytest.mark.parametrize("family", registry.catalogue().items("families"), ids=lambda item: item.entry.name)
def test_kit(family):
    world = build_family(family.full_name)

    def make():
        """In the middle of a run, in a round that is learned from."""
        curriculum = source(world, candidates=4, refresh=100)
        specs = curriculum.ask(8)
        tell(curriculum, specs, lambda spec, turn: turn)
        assert curriculum.metrics()["tasks/kept"] >= 1.0
        return Scored(curriculum)

    check_source(make, world)


class Scored:
    """Adds the score that the curriculum wants to results that have none."""

    def __init__(self, curriculum):
        self._curriculum = curriculum

    def __getattr__(self, name):
        return getattr(self._curriculum, name)

    def tell(self, results):
        self._curriculum.tell([TaskResult(result.spec, result.returns, {"success": 0.5}) for result in results])


def test_candidates_are_played_in_a_row_and_not_learned_from():
    curriculum = source()
    specs = curriculum.ask(5)
    assert specs[0] is specs[1]
    assert specs[2] is specs[3]
    assert len({spec.id for spec in specs}) == 3
    assert curriculum.learns_from(specs) == [False] * 5
    assert curriculum.ask(1)[0] is specs[4]  # the round goes on


def test_the_most_learnable_are_kept_by_hand():
    """Six candidates, four plays each, solved 0, 1, 2, 3, 4 and 2 times: of p (1 - p) the best are 1/4, 1/4, 3/16."""
    curriculum = source(plays=4, share=1.0)
    specs = curriculum.ask(24)
    order = list(dict.fromkeys(spec.id for spec in specs))
    solved = dict(zip(order, (0, 1, 2, 3, 4, 2), strict=True))
    tell(curriculum, specs, lambda spec, turn: turn < solved[spec.id])
    metrics = curriculum.metrics()
    assert metrics["tasks/scoring"] == 1.0
    assert metrics["tasks/kept"] == 3.0
    assert metrics["tasks/kept_success"] == pytest.approx((2 / 4 + 2 / 4 + 1 / 4) / 3)
    assert metrics["tasks/kept_learnability"] == pytest.approx((1 / 4 + 1 / 4 + 3 / 16) / 3)
    assert [spec.id for spec in curriculum.highlights()["most learnable"]] == [order[2], order[5], order[1]]
    again = curriculum.ask(3000)
    counts = np.array([sum(spec.id == order[place] for spec in again) for place in (2, 5, 1)])
    assert counts.sum() == 3000
    assert counts / 3000 == pytest.approx([1 / 3] * 3, abs=0.03)  # evenly
    assert curriculum.learns_from(again[:4]) == [True] * 4


def test_a_candidate_that_straddles_two_rounds_is_scored_by_all_its_plays():
    curriculum = source(candidates=2, plays=3, kept=1, share=1.0)
    first = curriculum.ask(4)
    curriculum.tell([TaskResult(spec, (0.0,), {"success": 1.0}) for spec in first])  # 3 of one, 1 of the next
    assert curriculum.metrics()["tasks/kept"] == 0.0
    second = curriculum.ask(2)
    assert second[0] is second[1] is first[3]
    curriculum.tell([TaskResult(spec, (0.0,), {"success": 0.5}) for spec in second])
    assert curriculum.metrics()["tasks/kept_success"] == pytest.approx((1.0 + 0.5 + 0.5) / 3)  # the other is mastered
    assert curriculum.metrics()["tasks/kept"] == 1.0


def test_a_task_that_comes_again_is_kept_once():
    """The source has but two tasks, and gives each three times."""
    specs = [FAMILY.spec({"goal": goal}) for goal in (2, 3)]
    curriculum = source()
    curriculum.sources["source"].ask = lambda n: (specs * n)[:n]
    tell(curriculum, curriculum.ask(12), lambda spec, turn: turn % 2)
    assert curriculum.metrics()["tasks/kept"] == 2.0


def test_more_kept_than_scored_is_refused():
    with pytest.raises(ConfigError, match="fewer are kept than are scored"):
        source(candidates=3, kept=3)


def test_the_share_of_tasks_kept():
    curriculum = source(share=0.25, refresh=100)
    specs = curriculum.ask(12)
    tell(curriculum, specs, lambda spec, turn: turn)
    kept = {spec.id for spec in curriculum.highlights()["most learnable"]}
    asked = curriculum.ask(4000)
    assert np.mean([spec.id in kept for spec in asked]) == pytest.approx(0.25, abs=0.03)


def test_where_nothing_is_learnable_all_tasks_are_new():
    curriculum = source(share=1.0)
    specs = curriculum.ask(12)
    tell(curriculum, specs, lambda spec, turn: 1.0)
    assert curriculum.metrics()["tasks/kept"] == 0.0
    assert "tasks/kept_success" not in curriculum.metrics()
    new = curriculum.ask(8)
    assert not {spec.id for spec in new} & {spec.id for spec in specs}
    assert curriculum.learns_from(new) == [True] * 8


def test_turns_of_scoring_and_learning():
    curriculum, told = source(), []
    for _ in range(10):
        rounds(curriculum, 1)
        told.append(curriculum.metrics()["tasks/scoring"])
    assert told == [1, 1, 0, 0, 1, 1, 0, 0, 1, 1]  # 12 plays are two rounds of 8
    assert [curriculum.updates(count, 8) for count in (0, 2, 3, 4, 5, 10)] == [0, 0, 1, 2, 2, 4]
    curriculum = source()
    curriculum.tell([])  # nothing was played
    assert curriculum.ask(1)[0] is curriculum.ask(1)[0]


def test_the_same_stream_for_1_2_and_8_slots():
    whole = rounds(source(), 12)
    assert whole == rounds(source(), 12, portions=(1,)) == rounds(source(), 12, portions=(3, 1))


def test_resumes_identically_at_every_round():
    whole = source()
    expected = rounds(whole, 9)
    for cut in range(9):
        first, second = source(), source()
        assert rounds(first, cut) == expected[:cut]
        second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
        assert second.metrics() == first.metrics()
        assert rounds(second, 9 - cut) == expected[cut:]
        assert second.state_dict() == whole.state_dict()


def test_states_that_do_not_fit_are_refused():
    state = source().state_dict()
    other = build_family("bandit").spec().to_json()
    for changed in (None, {**state["sfl"], "kept": [[other, 0.5]]}, {**state["sfl"], "candidate": "no task"}):
        with pytest.raises(CheckpointError, match="state of sfl: "):
            source().load_state_dict({**state, "sfl": changed})
