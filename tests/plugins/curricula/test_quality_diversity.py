"""Quality-diversity: grids and cells by hand, what is kept, drawn and made of elites; sides, streams and states."""

import json

import numpy as np
import pytest

import registry
from plugins.curricula.cells import Cells, Grid
from registry.config import Part
from registry.errors import CheckpointError, ConfigError
from taskgen.build import build_family, build_source
from taskgen.source import Illuminating, TaskResult
from taskgen.streams import seed_sequence
from taskgen.testing import check_source

GRID = build_family("grid-navigation")
MAZE = build_family("maze", {"size": 5})
POLES = build_family("cartpole")


def source(family=MAZE, **settings):
    given = {"name": "quality-diversity", "initial": 16, "cells": 5, **settings}
    if family is MAZE:
        given = {"source": "random-mazes", **given}
    return build_source(Part.model_validate(given), family, seed_sequence(0, "test"))


def tell(curriculum, specs, score=lambda spec: (spec.seed % 97) / 97):
    curriculum.tell([TaskResult(spec, (0.0, 1.0), dict.fromkeys(curriculum.scores, score(spec))) for spec in specs])


def rounds(curriculum, count, n=8, portions=(8,)):
    """Ids of the tasks of so many rounds, asked in portions of these sizes by turns."""
    ids = []
    for _ in range(count):
        specs, turn = [], 0
        while len(specs) < n:
            specs += curriculum.ask(min(portions[turn % len(portions)], n - len(specs)))
            turn += 1
        ids.append([spec.id for spec in specs])
        tell(curriculum, specs, lambda spec: int(spec.id[:6], 16) % 97 / 97)
    return ids


def forces(*values):
    return [POLES.spec({"force": value}, seed=seed) for seed, value in enumerate(values)]


def offered(cells, specs, scores, time=1):
    zeros = np.zeros(len(specs))
    generation = np.zeros(len(specs), dtype=np.int64)
    return cells.offer(
        specs, time, score=np.array(scores), result=zeros, best=zeros, generation=generation
    ).tolist()  # fmt: skip


def test_cells_of_a_grid_by_hand():
    """Force varies from 5 to 15: five cells of 2; what lies beyond is in the outermost ones."""
    grid = Grid(["force"], 5, POLES, "here")
    assert grid.measures == {"force": (5.0, 15.0)}
    assert [grid.place(spec.context) for spec in forces(5.0, 6.99, 7.0, 14.99, 15.0, 1.0, 90.0)] == [
        *((0,), (0,), (1,), (4,), (4,), (0,), (4,))
    ]
    assert len(Grid((), 5, MAZE, "here")) == 25
    walls = [[0, 1, 1, 1, 0], *[[0] * 5] * 4]
    context = MAZE.spec({"walls": walls, "start": (0, 0), "goal": (0, 4)}).context  # 3 walls of 12.5, 6 steps of 16
    assert Grid((), 5, MAZE, "here").place(context) == (1, 1)
    assert Grid(["shortest_path"], 5, MAZE, "here").place(context) == (1,)
    arms = build_family("bandit", {"arms": 2})
    context = arms.spec({"probabilities": (0.2, 0.6)}).context  # the mean of an array
    assert Grid(["probabilities"], 10, arms, "here").place(context) == (4,)


@pytest.mark.parametrize(
    ("family", "measures", "cells", "message"),
    [
        (POLES, (), 5, "cartpole has no measures of its own: name `measures`, of .*force"),
        (POLES, ("farce",), 5, "unknown 'farce'. Did you mean 'force'"),
        (POLES, ("force", "force"), 5, "'force' is named twice"),
        (MAZE, (), 1000, "more than 100,000: take fewer"),
    ],
)
def test_grids_that_cannot_be_are_refused_by_name(family, measures, cells, message):
    with pytest.raises(ConfigError, match=message):
        source(family, measures=measures, cells=cells)


def test_the_best_of_every_cell_stays():
    cells = Cells(Grid(["force"], 5, POLES, "here"))
    first = forces(5.0, 5.5, 9.5, 5.7)
    assert offered(cells, first, [0.2, 0.5, 0.1, 0.5]) == [-1, 0, 1, -1]  # of equal ones the first
    assert cells.specs == [first[1], first[2]]
    second = forces(6.0, 9.6, 9.7, 14.0)[:]
    assert offered(cells, second, [0.5, 0.2, 0.3, -1.0], time=2) == [-1, -1, 1, 2]  # as good is not better
    assert cells.specs == [first[1], second[2], second[3]]
    assert cells["score"].tolist() == [0.5, 0.3, -1.0]
    assert cells["played"].tolist() == [1, 2, 2]
    assert cells.cells == [(0,), (2,), (4,)]
    assert [cells.at((place,)) for place in range(5)] == [0, -1, 1, -1, 2]
    again = Cells(cells.grid)
    again.load_state_dict(json.loads(json.dumps(cells.state_dict())), POLES)
    assert (again.specs, again.cells, again.at((2,))) == (cells.specs, cells.cells, 1)
    crowded = {**cells.state_dict(), "tasks": [spec.to_json() for spec in forces(5.0, 5.1, 14.0)]}
    with pytest.raises(CheckpointError, match="two of them are in one cell"):
        again.load_state_dict(crowded, POLES)


def test_new_tasks_first_then_elites_and_children():
    curriculum = source(replay=0.5)
    assert isinstance(curriculum, Illuminating)
    kinds = []
    for _ in range(60):
        specs = curriculum.ask(8)
        known = {spec.id for spec in curriculum._elites.specs}
        elites = [spec.id in known for spec in specs]
        learned = curriculum.learns_from(specs)
        assert len(set(learned)) == 1
        assert all(elites) or not learned[0]
        kinds.append(learned[0])
        tell(curriculum, specs)
    assert not any(kinds[:2])  # 16 are from the source
    assert np.mean(kinds[2:]) == pytest.approx(0.5, abs=0.2)  # 3 standard errors
    assert [curriculum.updates(count, 8) for count in (2, 3, 4, 12)] == [0, 0, 1, 5]
    assert len(set(curriculum._elites.cells)) == len(curriculum._elites.specs) > 5


def test_elites_are_drawn_evenly_whatever_their_score():
    curriculum = source(POLES, measures=["force"], initial=4, replay=1.0)
    specs = forces(5.0, 7.0, 9.0, 11.0)
    curriculum.sources["source"].ask = lambda n: specs[:n]
    tell(curriculum, curriculum.ask(4), lambda spec: spec.seed / 10)
    drawn = curriculum.ask(4000)
    counts = np.array([sum(spec is one for one in drawn) for spec in specs])
    assert counts / 4000 == pytest.approx([0.25] * 4, abs=0.03)
    assert curriculum.metrics()["tasks/quality_diversity"] == pytest.approx(0.6)
    assert curriculum.metrics()["tasks/buffer_fill"] == 0.8
    tell(curriculum, [specs[3], specs[3]], lambda spec: 0.1)  # an elite is worth what it was at its last play
    assert curriculum.metrics()["tasks/quality_diversity"] == pytest.approx(0.4)
    assert curriculum.elites()["elites by learnability"].scores == (0.1, 0.2, 0.1, 0.0)
    assert curriculum.elites()["elites by learnability"].places == ((3,), (2,), (1,), (0,))


def test_children_are_near_elites_and_descend_from_them():
    curriculum = source(replay=0.0, initial=8)
    tell(curriculum, curriculum.ask(8))
    elites = list(curriculum._elites.specs)
    children = curriculum.ask(12)
    above = [one.parent for one in curriculum._children]
    assert {id(parent) for parent in above} <= {id(elite) for elite in elites}
    for child, parent in zip(children, above, strict=True):
        rows = zip(child.context["walls"], parent.context["walls"], strict=True)
        assert sum(a != b for row in rows for a, b in zip(*row, strict=True)) <= 5
        assert child.seed == parent.seed
    resumed = source(replay=0.0, initial=8)  # stopped between ask and tell
    resumed.load_state_dict(json.loads(json.dumps(curriculum.state_dict(), allow_nan=False)))
    for run in (curriculum, resumed):
        tell(run, children, lambda spec: 2.0)
    assert resumed.state_dict() == curriculum.state_dict()
    line = next(line for child in children if len(line := curriculum.lineage(child)) == 2)
    assert [record.generator for record in line] == ["builtin/random-mazes", "builtin/quality-diversity"]
    assert [record.generation for record in line] == [0, 1]
    assert line[1].parents == (line[0].spec.id,)
    assert line[1].scores["learnability"] == 2.0
    assert curriculum.metrics()["tasks/generation"] > 0


def test_a_family_without_mutate_takes_gaussian_steps_of_the_knobs():
    family = build_family("bandit", {"arms": 2})
    curriculum = source(family, measures=["probabilities"], replay=0.0, initial=1, step=0.05)
    curriculum.sources["source"].ask = lambda n: [family.spec({"probabilities": (0.5, 0.5)})] * n
    tell(curriculum, curriculum.ask(1))
    steps = np.array([spec.context["probabilities"] for spec in curriculum.ask(2000)]) - 0.5
    assert steps.mean(axis=0) == pytest.approx([0.0, 0.0], abs=0.004)
    assert steps.std(axis=0) == pytest.approx([0.05, 0.05], rel=0.06)
    with pytest.raises(ConfigError, match="unknown context knob 'farce'"):
        source(family, measures=["probabilities"], ranges={"farce": {"low": 0.1}})


@pytest.mark.parametrize("side", ["train", "test"])
def test_children_keep_to_the_side_of_their_source(side):
    curriculum = source(GRID, measures=["goal"], replay=0.3, source={"name": "domain-randomization", "split": side})
    assert curriculum.side == side
    for _ in range(12):
        specs = curriculum.ask(8)
        assert {GRID.split.side(spec.context) for spec in specs} == {side}
        tell(curriculum, specs)


@pytest.mark.parametrize("family", [MAZE, GRID], ids=["maze", "grid"])
def test_the_same_stream_however_it_is_asked_and_after_every_stop(family):
    settings = {} if family is MAZE else {"measures": ["goal"]}
    make = lambda: source(family, **settings)  # noqa: E731
    whole = make()
    expected = rounds(whole, 10)
    assert expected == rounds(make(), 10, portions=(1,)) == rounds(make(), 10, portions=(3, 1))
    for cut in range(10):
        first, second = make(), make()
        assert rounds(first, cut) == expected[:cut]
        second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
        assert second.metrics() == first.metrics()
        assert rounds(second, 10 - cut) == expected[cut:]
        assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize("name", ["maze", "terrain-walker", "bandit"])
def test_kit_in_a_round_of_children(name):
    family = build_family(name)
    measures = {} if name != "bandit" else {"measures": ["probabilities"]}

    def make():
        curriculum = source(family, replay=0.0, initial=4, **measures)
        tell(curriculum, curriculum.ask(4))
        return Scored(curriculum)

    check_source(make, family)


class Scored:
    """Adds the score that the curriculum wants to results that have none."""

    def __init__(self, curriculum):
        self._curriculum = curriculum

    def __getattr__(self, name):
        return getattr(self._curriculum, name)

    def tell(self, results):
        scores = dict.fromkeys(self._curriculum.scores, 0.25)
        self._curriculum.tell([TaskResult(result.spec, result.returns, scores) for result in results])


def test_inside_other_curricula():
    """Its archive is told by those around it, by the name that it has there."""
    inner = {"name": "quality-diversity", "source": "random-mazes", "initial": 4, "cells": 4, "replay": 0.5}
    for outer, title in (
        (
            {"name": "staged", "source": inner, "stages": [{"episodes": 2, "iterations": 3}, {}]},
            "elites by learnability",
        ),
        (
            {"name": "mix", "weights": {"a": 0.5, "b": 0.5}, "sources": {"a": inner, "b": "random-mazes"}},
            "a: elites by learnability",
        ),
    ):
        around = build_source(Part.model_validate(outer), MAZE, seed_sequence(0, "test"))
        for _ in range(6):
            tell(around, around.ask(8))
        assert len(around.elites()[title].places) > 1
        again = build_source(Part.model_validate(outer), MAZE, seed_sequence(0, "test"))
        again.load_state_dict(json.loads(json.dumps(around.state_dict(), allow_nan=False)))
        assert [spec.id for spec in again.ask(8)] == [spec.id for spec in around.ask(8)]


@pytest.mark.parametrize(
    "change",
    [{"archive": None}, {"archive": {"scored": 1, "children": [["x", "y", 0]]}}, {"lineage": 3}, {"emitter": None}],
)
def test_another_state_is_refused(change):
    with pytest.raises(CheckpointError, match="state of "):
        source().load_state_dict({**source().state_dict(), **change})


def test_measured_families_say_so():
    named = {item.entry.name for item in registry.catalogue().items("families") if measures(item.full_name)}
    assert named == {"maze", "terrain-walker", "bipedal-walker"}


def measures(name):
    return getattr(build_family(name), "measures", None)


@pytest.mark.parametrize(
    ("name", "settings", "ignored"),
    [
        ("maze", {"step": 0.2, "generation": 8}, ("step", "generation")),
        ("bandit", {"measures": ["probabilities"], "edits": 3}, ("edits",)),
        ("bandit", {"measures": ["probabilities"], "emitter": "cma-me", "edits": 3}, ("edits",)),
    ],
)
def test_settings_of_who_makes_no_children_are_refused_by_name(name, settings, ignored):
    with pytest.raises(ConfigError) as error:
        source(build_family(name), **settings)
    assert all(f"{one} changes nothing" in str(error.value) for one in ignored)
