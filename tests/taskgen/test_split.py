"""Sides of a family's split, what counts as the same task, and that nothing crosses over."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from registry.config import Part
from registry.errors import ConfigError, TaskError
from taskgen.archive import Archive
from taskgen.build import build_family, build_source
from taskgen.source import TaskResult
from taskgen.streams import seed_sequence
from taskgen.taskset import TaskSet, check_disjoint

SPLITS = {
    "grid-navigation": ({}, "goal", 17, 4),
    "darkroom": ({}, "goal", 80, 20),
    "bus": ({"variant": "distraction"}, "permutation", 53, 523),
    "cooking": ({}, "kitchen", 63, 1),
}
"""Structure, knob, tasks for training and for testing."""


def draw(family, n=400, **settings):
    part = Part.model_validate({"name": "domain-randomization", **settings})
    return build_source(part, family, seed_sequence(0, "split")).ask(n)


def test_the_same_goal_is_never_on_both_sides_of_a_task_file():
    specs = draw(build_family("grid-navigation"))
    train, held_out = TaskSet(tuple(specs)).split(0.3)
    goals = [{spec.context["goal"] for spec in side} for side in (train, held_out)]
    assert goals[0] & goals[1] == set()
    assert len(goals[0] | goals[1]) == 21
    check_disjoint(train, held_out)


def test_the_seed_counts_where_the_tables_are_drawn_from_it():
    tables = TaskSet(tuple(build_family("tabular-mdp").spec(seed=seed) for seed in range(2000)))
    train, held_out = tables.split(0.2)
    assert 320 < len(held_out) < 480  # 5 standard deviations
    check_disjoint(train, held_out)


def test_two_sets_that_differ_in_luck_alone_are_not_disjoint():
    family = build_family("cooking")
    with pytest.raises(TaskError, match=f"1 tasks are in both sets: {family.spec(seed=2).id}"):
        check_disjoint([family.spec(seed=1)], [family.spec(seed=2)])


def test_keys():
    from taskgen.build import task_hash, task_key

    bandit, walker = build_family("bandit"), build_family("terrain-walker")
    assert task_key(bandit.spec(seed=3)) == task_key(bandit.spec(seed=4)) == bandit.spec(seed=0).id
    assert task_key(bandit.spec({"probabilities": [0.1] * 5})) != task_key(bandit.spec())
    rough = walker.spec({"roughness": 1.0}, seed=3)
    assert task_key(rough) == rough.id != task_key(replace(rough, seed=4))
    assert task_key(walker.spec(seed=3)) == task_key(walker.spec(seed=4))  # there is one flat course
    assert task_hash(walker.spec(seed=3)) == task_hash(walker.spec(seed=4))
    assert task_hash(bandit.spec(seed=3)) == task_hash(bandit.spec(seed=4))
    assert task_hash(bandit.spec({"probabilities": [0.1] * 5})) != task_hash(bandit.spec())
    assert task_hash(rough) != task_hash(replace(rough, seed=4))
    with pytest.raises(TaskError, match="nobody/here"):
        task_key(replace(rough, family="nobody/here"))


def test_an_archive_keeps_a_task_in_one_split_whatever_its_luck(tmp_path: Path):
    family = build_family("cooking")
    with Archive(tmp_path / "a.sqlite", write=True) as archive:
        archive.add([family.spec(seed=1)], generator="g", split="train")
        archive.add([family.spec(seed=2)], generator="g", split="train")
        archive.add([family.spec(seed=4)], generator="g")
        for taken in (3, 4):
            with pytest.raises(TaskError, match="is in split 'train' and cannot also be in 'held-out'"):
                archive.add([family.spec(seed=taken)], generator="g", split="held-out")
        assert archive.splits() == {None: 1, "train": 2}
    with (
        Archive(tmp_path / "a.sqlite", write=True) as archive,
        pytest.raises(TaskError, match="cannot also be in 'held-out'"),
    ):
        archive.add([family.spec(seed=3)], generator="g", split="held-out")


@pytest.mark.parametrize("name", SPLITS)
def test_sides(name):
    structure, knob, train, test = SPLITS[name]
    family = build_family(name, structure)
    split = family.split
    assert (split.knob, len(split.train), len(split.test)) == (knob, train, test)
    drawn = {side: {spec.context[knob] for spec in draw(family, 8000, split=side)} for side in ("train", "test", "all")}
    assert [len(drawn[side]) for side in ("train", "test")] == [train, test]
    assert drawn["train"] & drawn["test"] == set()
    assert drawn["all"] == drawn["train"] | drawn["test"]


def test_the_papers_sides():
    bus = build_family("bus", {"variant": "distraction"}).split
    assert sorted(bus.train)[:3] == [0, 11, 22]
    assert max(bus.train) == 572
    assert build_family("cooking").split.test == {10}
    assert build_family("bus").split is None
    assert build_family("grid-navigation").split.test == {7, 14, 16, 23}  # (1, 2), (2, 4), (3, 1), (4, 3)
    assert build_family("darkroom", {"size": 5}).split.test == {0, 7, 14, 16, 23}


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("bus", {"split": "test"}, "split = test: builtin/bus sets no tasks apart"),
        ("cooking", {"split": "test", "fixed": {"kitchen": 3}}, "split = test decides kitchen, and so does fixed"),
        ("cooking", {"split": "all", "vary": {"kitchen": {"kind": "choice", "values": [1]}}}, "so does vary.kitchen"),
    ],
)
def test_sides_that_cannot_be_are_refused(name, settings, problem):
    with pytest.raises(ConfigError, match=problem):
        draw(build_family(name), 1, **settings)


@pytest.mark.parametrize(
    ("settings", "side"),
    [
        ({}, "train"),
        ({"split": "all"}, None),
        ({"split": "test"}, "test"),
        ({"fixed": {"kitchen": 10}}, "test"),
        ({"vary": {"kitchen": {"kind": "integer-range", "low": 11, "high": 20}}}, "train"),
        ({"vary": {"kitchen": {"kind": "integer-range", "low": 10, "high": 20}}}, None),
    ],
)
def test_a_source_knows_its_side(settings, side):
    from taskgen.source import side_of

    part = Part.model_validate({"name": "domain-randomization", **settings})
    inner = build_source(part, build_family("cooking"), seed_sequence(0, "split"))
    assert side_of(inner) == side
    around = Part.model_validate({"name": "accel", "source": {"name": "domain-randomization", **settings}})
    assert side_of(build_source(around, build_family("cooking"), seed_sequence(0, "split"))) == side


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("source", ["accel", "alp-gmm", "adr", "learning-progress", "quality-diversity"])
def test_what_training_tasks_are_made_into_are_training_tasks(name, source):
    """Edited or placed, 200 of each: most neighbours of a training city are test cities."""
    structure, knob, *_ = SPLITS[name]
    family = build_family(name, structure)
    needed = {
        "adr": {"narrow_below": 0.0, "widen_above": 0.5},
        "learning-progress": {"cells": {knob: 3}},
        "quality-diversity": {"measures": [knob], "initial": 20, "replay": 0.0},
    }.get(source, {})
    given = {} if name in ("bus", "cooking") else {"split": "train"}
    inner = {"name": "domain-randomization", **given}
    made = build_source(
        Part.model_validate({"name": source, "source": inner, **needed}), family, seed_sequence(0, "split")
    )
    if source == "accel":
        made._parents, made._round = draw(family, 20, **given), "edit"
    if source == "quality-diversity":
        made.tell([TaskResult(spec, (0.0,), {"learnability": 0.25}) for spec in made.ask(20)])
    cities = set(range(576)) - set(range(0, 576, 11))
    apart = {"bus": cities, "cooking": {10}}.get(name) or family.split.test
    assert {spec.context[knob] for spec in made.ask(200)} & apart == set()


def test_mutation_across_the_only_test_task_is_refused():
    from taskgen.family import mutated

    family, rng = build_family("cooking"), np.random.default_rng(0)
    context = family.spec({"kitchen": 10}).context
    assert mutated(family, context, rng, None)["kitchen"] != 10
    with pytest.raises(TaskError, match="no other test task near kitchen = 10"):
        mutated(family, context, rng, "test")
