"""`dense-rewards`: the tasks of another source, each with a reward that draws to its own goal."""

import pytest

from registry.config import Part
from registry.errors import ConfigError, TaskError, UserError
from taskgen.build import build_family, build_source
from taskgen.streams import child, seed_sequence

SPARSE = {"goals": "half-circle", "reward": "sparse"}


def _source(family_settings=SPARSE, **settings):
    part = Part.model_validate({"name": "dense-rewards", **settings})
    return build_source(part, build_family("point-navigation", family_settings), seed_sequence(0, "test"))


def test_the_reward_leads_to_the_goal_of_the_context():
    (spec,) = _source(
        reach=0.5, contexts={"name": "domain-randomization", "fixed": {"angle": 0.0, "distance": 0.7}}
    ).ask(1)
    assert spec.reward.name == "builtin/goal-proximity"
    assert dict(spec.reward.settings) == {"goal": pytest.approx((0.7, 0.0)), "features": (0, 1), "reach": 0.5}


def test_contexts_are_those_of_the_inner_source():
    family = build_family("point-navigation", SPARSE)
    inner = build_source(Part(name="domain-randomization"), family, child(seed_sequence(0, "test"), "contexts"))
    assert [(spec.context, spec.seed) for spec in _source().ask(8)] == [
        (spec.context, spec.seed) for spec in inner.ask(8)
    ]


def test_entries_can_be_named_in_another_order():
    (spec,) = _source(
        {}, goal=[1, 0], features=[1, 0], contexts={"name": "domain-randomization", "fixed": {"goal": [0.1, 0.2]}}
    ).ask(1)
    assert dict(spec.reward.settings) == {"goal": (0.2, 0.1), "features": (1, 0), "reach": 1.0}


def test_settings_of_older_runs_make_the_same_tasks():
    stated = _source(goal=[0, 1], features=[0, 1]).ask(4)
    assert [spec.id for spec in stated] == [spec.id for spec in _source().ask(4)]


def test_curricula_go_around_it():
    with pytest.raises(ConfigError, match=r"contexts = .*plr: it decides by results.* the curriculum around this one"):
        _source(contexts={"name": "plr"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"goal": [0, 2]}, r"goal = \[0, 2\]: builtin/point-navigation has a goal of entries 0 to 1"),
        (
            {"features": [1, 0]},
            r"features = \[1, 0\]: entries \[0, 1\] of the goal .* entries \[0, 1\] of the obs",
        ),
        ({"goal": [1], "features": [0]}, r"compared with entries \[1\] of the observation"),
        ({"goal": [-1, 0]}, "goal"),
    ],
)
def test_entries_that_are_not_there_are_refused_before_any_task_is_made(settings, message):
    with pytest.raises((TaskError, UserError), match=message):
        _source(**settings)
