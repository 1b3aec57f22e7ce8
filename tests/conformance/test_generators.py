"""The kit over every generator and every curriculum of the catalogue, on every family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import registry
from registry.config import Part
from registry.errors import ConfigError
from taskgen import artefacts, lineage
from taskgen.archive import Archive
from taskgen.build import SOURCES, build_family, build_source
from taskgen.family import Measured, Mutable, TaskFamily
from taskgen.interaction.score import Optimal
from taskgen.streams import seed_sequence
from taskgen.taskset import write_tasks
from taskgen.testing import check_source


def _ranges(family: TaskFamily[Any]) -> dict[str, Any]:
    """A knob for curricula over knobs, where the family varies none by itself that they would take."""
    knobs = family.context_space.knobs
    if any(knob.vary is not None and not (knob.integer and knob.shape) for knob in knobs.values()):
        return {}
    name, knob = next(((name, knob) for name, knob in knobs.items() if not (knob.integer and knob.shape)), (None, None))
    return {} if knob is None else {"ranges": {name: {"low": knob.low, "high": knob.high}}}


_DRAWN = {"name": "domain-randomization"}
_MIXED = {"a": _DRAWN, "b": {"name": "deduplicated"}}
NEEDED: dict[str, Callable[[TaskFamily[Any]], dict[str, Any]]] = {
    "builtin/staged": lambda family: {"stages": [{"episodes": 1, "iterations": 1}, {}]},
    "builtin/mix": lambda family: {"sources": _MIXED, "weights": {"a": 0.3, "b": 0.7}},
    "builtin/schedule": lambda family: {
        "sources": _MIXED,
        "points": [{"iteration": 0, "weights": {"a": 1.0}}, {"iteration": 2, "weights": {"b": 1.0}}],
    },
    "builtin/solvable": lambda family: {"player": "random", "least_return": -1e9},
    "builtin/interesting": lambda family: {"episodes": 2},
    "builtin/quality-diversity": lambda family: (
        {}
        if isinstance(family, Measured)
        else {
            **({} if isinstance(family, Mutable) else _ranges(family)),
            "measures": list(family.context_space.knobs)[:2],
            "cells": 3,
        }
    ),
    "builtin/adr": lambda family: {**_ranges(family), "narrow_below": 0.0, "widen_above": 0.5, "queue": 1, "step": 0.1},
    "builtin/alp-gmm": _ranges,
    "builtin/learning-progress": lambda family: {"tasks": 5},
    "builtin/within": lambda family: {
        "knobs": {name: {"low": knob.low} for name, knob in family.context_space.knobs.items()}
    },
}
"""What a source must be told, by its name: least settings over a family."""


GOALS = {
    "builtin/ant": "position",
    "builtin/half-cheetah": "velocity",
    "builtin/hopper": "velocity",
    "builtin/walker2d": "velocity",
}
"""The task of a robot that has a goal among its observations."""


def _pairs() -> list[tuple[str, str]]:
    catalogue = registry.catalogue()
    return [
        (source.full_name, family.full_name)
        for source in catalogue.items(SOURCES)
        for family in catalogue.items("families")
        if not catalogue.incompatibilities([source, family])
    ]


def _short_episodes(name: str, steps: int) -> dict[str, int]:
    """Settings with a horizon of so many steps where the default is above 50."""
    horizon = registry.catalogue().get("families", name).config_class().model_fields.get("horizon")
    return {"horizon": steps} if horizon is not None and horizon.default > 50 else {}


def test_every_source_fits_some_family() -> None:
    assert {name for name, _ in _pairs()} == {item.full_name for item in registry.catalogue().items(SOURCES)}


@pytest.mark.parametrize(("name", "family_name"), _pairs())
def test_source(name: str, family_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = {"builtin/diayn": 5, "builtin/solvable": 5, "builtin/interesting": 20}.get(name)
    task = {"task": GOALS[family_name]} if name == "builtin/dense-rewards" and family_name in GOALS else {}
    family = build_family(family_name, {**task, **(_short_episodes(family_name, played) if played else {})})
    needed = dict(NEEDED.get(name, lambda family: {})(family))
    if name == "builtin/task-set":
        needed["path"] = str(tmp_path / "tasks.jsonl")
        write_tasks(tmp_path / "tasks.jsonl", [family.spec(seed=seed) for seed in range(3)])
    if name == "builtin/poet":
        needed["path"] = str(tmp_path / "archive.sqlite")
        with Archive(tmp_path / "archive.sqlite", write=True) as archive:
            specs = [family.spec(seed=seed) for seed in range(3)]
            archive.add(specs, generator="builtin/poet", scores={lineage.CREATED: 1.0, lineage.SOLVED: 2.0})
    if name == "builtin/diayn":  # what was hardly learned follows the protocol as well
        monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
        needed |= {"iterations": 1, "slots": 4, "skills": 2, "least_accuracy": 1e-9}
    part = Part.model_validate({"name": name, **needed})
    if (name, family_name) in {
        (curriculum, "builtin/re-seen-choice")
        for curriculum in ("builtin/adr", "builtin/alp-gmm", "builtin/quality-diversity")
    }:
        with pytest.raises(ConfigError, match="no knob of builtin/re-seen-choice varies by itself"):
            build_source(part, family, seed_sequence(0, "conformance"))
        return
    if name == "builtin/interesting" and not isinstance(family, Optimal):
        with pytest.raises(ConfigError, match=f"{family_name} does not know the best return"):
            build_source(part, family, seed_sequence(0, "conformance"))
        return
    check_source(lambda: build_source(part, family, seed_sequence(0, "conformance")), family)
