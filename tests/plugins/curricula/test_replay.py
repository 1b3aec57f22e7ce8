"""PLR and robust PLR: rounds, scores, verdicts, streams; and what the training loop makes of them."""

import json

import numpy as np
import pytest

import registry
from registry.config import Part
from registry.errors import CheckpointError, ConfigError, UserError
from taskgen.build import build_family, build_source
from taskgen.source import Curriculum, Sparing, TaskResult, Traceable
from taskgen.streams import seed_sequence
from taskgen.testing import check_source

FAMILY = build_family("grid-navigation")
NAMES = ("plr", "robust-plr", "accel")


def source(name="plr", family=FAMILY, **settings):
    part = Part.model_validate({"name": name, "capacity": 16, "minimum_fill": 0.5, **settings})
    return build_source(part, family, seed_sequence(0, "test"))


def told(curriculum, specs, value=lambda spec: (spec.seed % 97) / 97, returns=None):
    """Results with made-up scores, a function of the task."""
    scores = lambda spec: dict.fromkeys(curriculum.scores, value(spec))  # noqa: E731
    return [TaskResult(spec, returns or (value(spec), 1.0), scores(spec)) for spec in specs]


def rounds(curriculum, count, n=8, portions=(8,)):
    """Ids of the tasks of so many rounds, asked in portions of these sizes by turns."""
    ids = []
    for _ in range(count):
        specs, turn = [], 0
        while len(specs) < n:
            specs += curriculum.ask(min(portions[turn % len(portions)], n - len(specs)))
            turn += 1
        ids.append([spec.id for spec in specs])
        curriculum.tell(told(curriculum, specs))
    return ids


@pytest.mark.parametrize("family", registry.catalogue().items("families"), ids=lambda item: item.entry.name)
@pytest.mark.parametrize("name", NAMES)
def test_kit(name, family):
    item = registry.catalogue().get("curricula", name)
    if registry.catalogue().incompatibilities([item, family]):
        pytest.skip("refused before a run")
    world = build_family(family.full_name)
    part = Part.model_validate({"name": name, "capacity": 3, "minimum_fill": 0.3, "replay": 1.0})

    def make():
        """A curriculum in the middle of a run, in a round of replays or of edits."""
        curriculum = build_source(part, world, seed_sequence(0, "conformance"))
        for _ in range(3 if name == "accel" else 2):
            curriculum.tell(told(curriculum, curriculum.ask(3)))
        return Scored(curriculum)

    check_source(make, world)
    assert isinstance(build_source(part, world, seed_sequence(0)), Curriculum)


class Scored:
    """Adds the scores that a curriculum wants to results that have none."""

    def __init__(self, curriculum):
        self._curriculum = curriculum

    def __getattr__(self, name):
        return getattr(self._curriculum, name)

    def tell(self, results):
        scores = dict.fromkeys(self._curriculum.scores, 0.25)
        self._curriculum.tell([TaskResult(result.spec, result.returns, scores) for result in results])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_stream_for_1_2_and_8_slots(name):
    whole = rounds(source(name), 20)
    assert whole == rounds(source(name), 20, portions=(1,)) == rounds(source(name), 20, portions=(2,))
    assert whole == rounds(source(name), 20, portions=(3, 1))
    assert len({id_ for ids in whole for id_ in ids}) < 20 * 8  # there were replays


@pytest.mark.parametrize("name", NAMES)
def test_resumes_identically_at_every_round(name):
    whole, state = source(name), None
    expected = rounds(whole, 12)
    for cut in range(12):
        first, second = source(name), source(name)
        assert rounds(first, cut) == expected[:cut]
        state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
        second.load_state_dict(state)
        assert second.metrics() == first.metrics()
        assert rounds(second, 12 - cut) == expected[cut:]
        assert second.state_dict() == whole.state_dict()


def test_no_replay_before_the_minimum_fill():
    curriculum = source(replay=1.0, capacity=16, minimum_fill=0.75)
    first, second, third = rounds(curriculum, 3, n=6)
    assert not set(first) & set(second)  # 6 of 12 levels
    assert set(third) <= set(first + second)  # 12 of 12
    assert curriculum.metrics()["tasks/replay_share"] == 1.0


@pytest.mark.parametrize(("replay", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_the_share_of_replay_rounds(replay, share):
    curriculum, replays = source(replay=replay, staleness=1.0), []
    for _ in range(400):
        curriculum.tell(told(curriculum, curriculum.ask(8)))
        replays.append(curriculum.metrics()["tasks/replay_share"])
    assert replays[0] == 0.0
    assert np.mean(replays[1:]) == pytest.approx(share, abs=0.08)  # 3 standard errors


def test_replays_follow_the_probabilities():
    """Four levels of ranks 1, 2, 3, 4 at beta 1, all of one age: shares of 12, 6, 4, 3 in 25."""
    curriculum = source(replay=1.0, capacity=4, minimum_fill=1.0, temperature=1.0, staleness=0.0)
    specs = curriculum.ask(4)
    order = {spec.id: rank for rank, spec in enumerate(specs)}
    curriculum.tell(told(curriculum, specs, lambda spec: 1.0 - 0.1 * order[spec.id]))
    counts = np.bincount([order[spec.id] for spec in curriculum.ask(10_000)])
    assert counts / 10_000 == pytest.approx(np.array([12, 6, 4, 3]) / 25, abs=0.015)


def test_max_mc_is_the_largest_return_so_far_less_the_value():
    family = build_family("maze", {"size": 4})
    curriculum = source(score="max-mc", family=family, capacity=1, minimum_fill=1.0, replay=1.0)
    assert curriculum.scores == {"mean-value"}
    (spec,) = curriculum.ask(1)
    for returns, value, expected in (((0.2, 0.7), 0.5, 0.2), ((0.1, 0.0), 0.3, 0.4), ((0.9, 0.4), 1.0, -0.1)):
        curriculum.tell([TaskResult(spec, returns, {"mean-value": value})])
        assert curriculum.metrics()["tasks/score_median"] == pytest.approx(expected)


@pytest.mark.parametrize(("score", "expected"), [("max-mc", 0.25), ("gae", 0.25), ("regret", 3.0), ("success", 3.0)])
def test_a_level_s_return_is_in_the_currency_of_its_score(score, expected):
    curriculum = source("accel", score=score, capacity=1, minimum_fill=1.0)
    (spec,) = curriculum.ask(1)
    scores = dict.fromkeys(curriculum.scores, 0.5)
    curriculum.tell([TaskResult(spec, (0.0, 0.5), scores, family_returns=(2.0, 4.0))])
    assert curriculum.lineage(spec)[-1].scores["return"] == expected


def test_robust_learns_from_replays_alone():
    for name, on_new in (("plr", True), ("robust-plr", False), ("accel", False)):
        curriculum = source(name, replay=1.0)
        specs = curriculum.ask(8)
        assert curriculum.learns_from(specs) == [on_new] * 8
        curriculum.tell(told(curriculum, specs))
        assert curriculum.learns_from(curriculum.ask(8)) == [True] * 8


def test_a_source_inside_is_told_of_its_tasks_and_asked_for_its_verdict():
    inner = {"name": "robust-plr", "capacity": 100, "minimum_fill": 1.0}
    curriculum = source("plr", source=inner, replay=0.0)
    specs = curriculum.ask(8)
    assert curriculum.learns_from(specs) == [False] * 8
    curriculum.tell(told(curriculum, specs))
    assert curriculum.state_dict()["sources"]["source"]["standing"]["rounds"] == 1


def test_a_round_of_which_nothing_was_played_goes_on():
    curriculum = source(replay=0.5)
    rounds(curriculum, 3)
    state = curriculum.state_dict()
    curriculum.tell([])
    assert curriculum.state_dict() == state


def test_highlights_metrics_and_lineage():
    curriculum = source(replay=1.0, staleness=0.0)
    assert curriculum.highlights() == {"easiest": [], "hardest": [], "most replayed": []}
    specs = curriculum.ask(8)
    curriculum.tell(told(curriculum, specs, lambda spec: float(specs.index(spec))))
    shown = curriculum.highlights()
    assert shown["easiest"] == specs[::-1]
    assert shown["hardest"] == specs
    metrics = curriculum.metrics()
    assert metrics["tasks/buffer_fill"] == 0.5
    assert metrics["tasks/score_median"] == 3.5
    assert metrics["tasks/score_low"] == pytest.approx(0.7)  # of 0 to 7
    assert metrics["tasks/score_high"] == pytest.approx(6.3)
    assert metrics["tasks/staleness"] == 0.0
    assert metrics["tasks/mean_goal"] == pytest.approx(np.mean([spec.context["goal"] for spec in specs]))
    assert isinstance(curriculum, Traceable)
    (record,) = curriculum.lineage(specs[3])
    assert (record.generator, record.parents, record.generation) == ("builtin/domain-randomization", (), 0)
    assert record.scores == {"learnability": 3.0, "return": 2.0, "replays": 0.0}
    assert not curriculum.lineage(FAMILY.spec(seed=123456))
    counts = [spec.id for spec in curriculum.ask(8)]
    curriculum.tell(told(curriculum, [spec for id_ in counts for spec in specs if spec.id == id_]))
    most = max(set(counts), key=counts.count)
    assert curriculum.highlights()["most replayed"][0].id == most


def test_a_score_that_is_not_finite_is_refused():
    curriculum = source()
    specs = curriculum.ask(2)
    with pytest.raises(UserError, match=f"learnability of task {specs[1].id} is not finite"):
        curriculum.tell(told(curriculum, specs, lambda spec: float("nan") if spec is specs[1] else 0.5))


@pytest.mark.parametrize(
    "change", [{"standing": {"round": "sleep"}}, {"standing": {"round": "replay"}}, {"standing": None}, {"levels": {}}]
)
def test_another_state_is_refused(change):
    curriculum = source()
    empty = source().state_dict()
    levels = {"tasks": [], "score": [], "result": [], "best": [], "played": [], "replays": [], "generation": []}
    assert empty["levels"] == levels
    if change == {"levels": {}}:
        curriculum.load_state_dict(empty | change)  # no levels at all is a state
        return
    with pytest.raises(CheckpointError):
        curriculum.load_state_dict(empty | change)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"staleness": 1.5}, {"replay": -0.1}, {"capacity": 0}, {"prioritisation": "top"}]
)
def test_settings_out_of_range_are_named(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        source(**settings)


def test_expected_updates():
    """8 of 16 levels take 2 rounds of 4; robust PLR then learns in p of the rounds, ACCEL in p / (1 + p)."""
    for name, expected in (("plr", 102), ("robust-plr", 80), ("accel", 44)):
        curriculum = source(name, replay=0.8)
        assert isinstance(curriculum, Sparing)
        assert curriculum.updates(102, 4) == expected
    mixed = source("plr", source={"name": "robust-plr", "capacity": 16})
    assert mixed.updates(102, 4) == 102


def test_staleness_is_counted_in_rounds():
    """Three rounds of new tasks and one of replays of two of the first: of four levels 2 were played 0 rounds ago."""
    curriculum = source(capacity=4, minimum_fill=1.0, replay=1.0)
    first = curriculum.ask(2)
    curriculum.tell(told(curriculum, first))
    assert curriculum.metrics()["tasks/staleness"] == 0.0
    curriculum.tell(told(curriculum, curriculum.ask(2)))
    assert curriculum.metrics()["tasks/staleness"] == 0.5  # 1 1 0 0
    curriculum.tell(told(curriculum, first))
    assert curriculum.metrics()["tasks/staleness"] == 0.5  # 0 0 1 1
    curriculum.tell(told(curriculum, first))
    assert curriculum.metrics()["tasks/staleness"] == 1.0  # 0 0 2 2
    assert curriculum.lineage(first[0])[-1].scores["replays"] == 2.0


def test_of_equal_returns_the_higher_score_is_worth_more_of_a_look():
    curriculum = source()
    specs = curriculum.ask(3)
    scores = {spec.id: score for spec, score in zip(specs, (0.2, 0.6, 0.4), strict=True)}
    curriculum.tell(told(curriculum, specs, lambda spec: scores[spec.id], returns=(1.0,)))
    for title in ("easiest", "hardest"):
        assert curriculum.highlights()[title] == [specs[1], specs[2], specs[0]]
