"""CMA-ME: what is given out, how it is ranked, where searches begin and stop; streams and states."""

import json

import numpy as np
import pytest

pytest.importorskip("ribs", reason="taskgen-metarl[qd] is not installed")

from registry.config import Part
from registry.errors import CheckpointError
from taskgen.build import build_family, build_source
from taskgen.source import TaskResult
from taskgen.streams import seed_sequence

POLES = build_family("cartpole")


def source(family=POLES, **settings):
    given = {"name": "quality-diversity", "emitter": "cma-me", "measures": ["force"], "initial": 8, "cells": 5}
    part = Part.model_validate({**given, "generation": 6, "replay": 0.3, **settings})
    return build_source(part, family, seed_sequence(0, "test"))


def tell(curriculum, specs, score):
    curriculum.tell([TaskResult(spec, (0.0, 1.0), dict.fromkeys(curriculum.scores, score(spec))) for spec in specs])


def searching(*forces, **settings):
    """Elites of these forces, each of score 0.5; from then on children."""
    curriculum = source(replay=0.0, initial=len(forces), **settings)
    specs = [POLES.spec({"force": force}) for force in forces]
    curriculum.sources["source"].ask = lambda n: specs[:n]
    tell(curriculum, curriculum.ask(len(forces)), lambda spec: 0.5)
    return curriculum


def test_ranked_by_new_cells_then_by_improvement(monkeypatch):
    """Of six children two get empty cells, two improve, two do not: four parents in this order."""
    curriculum = searching(10.0)
    curriculum.ask(6)
    (search,) = curriculum._emitter._searches
    told = []
    search.strategy.tell = lambda order, ranks, parents: told.append((order.tolist(), ranks.tolist(), parents))
    monkeypatch.setattr(search.strategy, "check_stop", lambda ranks: False)
    for one, force in zip(curriculum._children, (10.0, 5.0, 10.5, 14.0, 9.5, 9.0), strict=True):
        object.__setattr__(one, "spec", POLES.spec({"force": force, "gravity": 9.0}))
    scores = iter([0.6, 0.1, 0.5, 0.9, 0.8, 0.2])
    tell(curriculum, [one.spec for one in curriculum._children], lambda spec: next(scores))
    ((order, ranks, parents),) = told
    assert ranks == [pytest.approx(row) for row in ([1, 0.1], [2, 0.1], [0, 0.0], [2, 0.9], [1, 0.3], [0, -0.3])]
    assert order == [3, 1, 4, 0, 2, 5]
    assert parents == 4
    assert search.generation == 1


def test_a_search_that_adds_nothing_begins_anew_at_an_elite():
    curriculum, bases = searching(6.0, 14.0, measures=["gravity"], cells=1), set()
    for _ in range(12):
        children = curriculum.ask(6)
        (search,) = curriculum._emitter._searches
        bases.add(search.base.context["force"])
        tell(curriculum, children, lambda spec: 0.0)
    assert bases == {6.0}  # of one cell, where the first of two as good stays
    curriculum, bases = searching(6.0, 14.0, cells=2), set()
    for _ in range(12):
        children = curriculum.ask(6)
        (search,) = curriculum._emitter._searches
        bases.add(search.base.context["force"])
        tell(curriculum, children, lambda spec: 0.0)
    assert bases == {6.0, 14.0}


def test_children_are_points_of_the_search():
    """With sigma 0.1 of the knobs' ranges around the elite; as many searches as a round has children for."""
    curriculum = searching(10.0, generation=500)
    points = curriculum._emitter.knobs.points(curriculum.ask(1000))
    assert points.mean(axis=0) == pytest.approx(curriculum._emitter.knobs.points([POLES.spec()])[0], abs=0.02)
    assert points.std(axis=0)[-1] == pytest.approx(0.1, rel=0.1)  # of the force, whose default is far from the ends
    assert [search.given for search in curriculum._emitter._searches] == [500, 500]


def played(curriculum, count, n=8, portions=(8,)):
    """Ids of the tasks of so many rounds, asked in portions of these sizes by turns; heavier poles are worth more."""
    ids = []
    for _ in range(count):
        specs = []
        while len(specs) < n:
            specs += curriculum.ask(min(portions[len(ids) % len(portions)], n - len(specs)))
        ids.append([spec.id for spec in specs])
        tell(curriculum, specs, lambda spec: spec.context["pole_mass"])
    return ids


def resumed(curriculum, **settings):
    again = source(**settings)
    again.load_state_dict(json.loads(json.dumps(curriculum.state_dict(), allow_nan=False)))
    return again


def test_the_same_stream_however_it_is_asked_and_after_every_stop():
    settings = {"cells": 20, "replay": 0.2, "generation": 8}
    whole = source(**settings)
    expected = played(whole, 30)
    assert max(search.strategy.cov.updated_eval for search in whole._emitter._searches) > 0  # C was decomposed
    assert expected == played(source(**settings), 30, portions=(1,)) == played(source(**settings), 30, portions=(3, 5))
    for cut in (1, 4, 11, 19, 28):
        first = source(**settings)
        assert played(first, cut) == expected[:cut]
        second = resumed(first, **settings)
        assert played(second, 30 - cut) == expected[cut:]
        assert second.state_dict() == whole.state_dict()
        first.ask(3)  # stopped in the middle of a round
        assert resumed(first, **settings).ask(12) == first.ask(12)


def test_it_climbs_to_where_the_score_is_high():
    """Score falls with the distance to a corner of the knobs that random tasks hardly reach: mutation is told apart."""
    curriculum = source(measures=["force", "pole_mass"], generation=12)
    knobs = curriculum._emitter.knobs
    worth = lambda spec: float(1.0 - np.linalg.norm(knobs.points([spec])[0] - 1.0))  # noqa: E731
    best = []
    for _ in range(60):
        specs = curriculum.ask(12)
        tell(curriculum, specs, worth)
        best.append(float(curriculum._elites["score"].max()))
    assert best[-1] > 0.9 > best[0]
    assert curriculum.metrics()["tasks/buffer_fill"] == 1.0


def test_another_state_is_refused():
    curriculum = source()
    played(curriculum, 8)
    state = curriculum.state_dict()
    (first, *_) = state["emitter"]["searches"]
    for change in (
        {"verdicts": []},
        {"given": 99},
        {"base": "{}"},
        {"vectors": {}},
        {"matrices": {**first["matrices"], "cov": [[1.0]]}},
    ):
        broken = {**state, "emitter": {**state["emitter"], "searches": [{**first, **change}]}}
        with pytest.raises(CheckpointError, match="state of cma-me"):
            source().load_state_dict(broken)
