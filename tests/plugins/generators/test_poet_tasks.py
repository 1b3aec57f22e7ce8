"""The archive of a POET run as a source."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plugins.families.cartpole import CartPole, CartPoleConfig
from plugins.generators.poet import PoetTasks, PoetTasksConfig
from registry.cli import main
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen import lineage
from taskgen.archive import Archive
from taskgen.streams import seed_sequence
from taskgen.taskset import TaskSet
from taskgen.testing import check_source

FAMILY = CartPole(CartPoleConfig(), name="builtin/cartpole")
SPECS = [FAMILY.spec({"force": 10.0 + i}, seed=i) for i in range(5)]
SCORES: list[dict[str, float]] = [
    {lineage.SOLVED: 2.0, lineage.RETIRED: 9.0},
    {lineage.RETIRED: 9.0},
    {lineage.RETIRED: 5.0, lineage.FAILED: 1.0},
    {lineage.SOLVED: 7.0},
    {},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with Archive(tmp_path / "archive.sqlite", write=True) as archive:
        archive.add([FAMILY.spec(seed=99)], generator="builtin/domain-randomization")  # no niche
        for i, (spec, scores) in enumerate(zip(SPECS, SCORES, strict=True)):
            archive.add([spec], generator="builtin/poet", scores={lineage.CREATED: float(i), **scores})
    return tmp_path


def make(run: Path, seed: int = 0, **settings: Any) -> PoetTasks:
    config = PoetTasksConfig(path=str(run), **settings)
    return PoetTasks(config, family=FAMILY, seed=np.random.SeedSequence(seed))


@pytest.mark.parametrize("settings", [{}, {"niches": "all", "pace": 2}, {"fresh_seeds": True}])
def test_conformance(run: Path, settings: dict[str, Any]) -> None:
    check_source(lambda: make(run, **settings), FAMILY)


def test_which_niches(run: Path) -> None:
    for niches, expected in (("solved", {0, 3}), ("active", {3, 4}), ("all", {0, 1, 3, 4})):
        assert {spec.seed for spec in make(run, niches=niches).ask(100)} == expected
    assert make(run / "archive.sqlite").ask(5) == make(run).ask(5) != make(run, seed=1).ask(5)


def test_niches_join_in_by_order_of_creation(run: Path) -> None:
    asked = [spec.seed for spec in make(run, niches="all", pace=20).ask(200)]
    assert set(asked[:20]) == {0}
    assert set(asked[20:40]) == {0, 1}
    assert set(asked[40:60]) == {0, 1, 3}
    assert set(asked[60:]) == {0, 1, 3, 4}


def test_fresh_seeds_keep_the_context(run: Path) -> None:
    asked = make(run, fresh_seeds=True).ask(50)
    assert {spec.context["force"] for spec in asked} == {10.0, 13.0}
    assert len({spec.seed for spec in asked}) == 50


def test_what_cannot_be_drawn_from_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the directory of a POET run"):
        PoetTasks(PoetTasksConfig(), family=FAMILY, seed=np.random.SeedSequence(0))
    with pytest.raises(TaskError, match="there is no such archive"):
        make(tmp_path / "nowhere.sqlite")
    with Archive(tmp_path / "other.sqlite", write=True) as archive:
        archive.add(SPECS, generator="builtin/domain-randomization")
    with pytest.raises(ConfigError, match=r"none of its 0 evolved tasks will do \(solved\); try niches=all"):
        make(tmp_path / "other.sqlite")
    with pytest.raises(TaskError, match="horizon"):
        PoetTasks(
            PoetTasksConfig(path=str(run)),
            family=CartPole(CartPoleConfig(horizon=7), name="builtin/cartpole"),
            seed=np.random.SeedSequence(0),
        )


def test_an_archive_that_went_on_is_not_resumed_from(run: Path) -> None:
    state = make(run).state_dict()
    with Archive(run / "archive.sqlite", write=True) as archive:
        archive.add_scores({SPECS[4].id: {lineage.SOLVED: 8.0}})
    with pytest.raises(CheckpointError, match="copy archive.sqlite first"):
        make(run).load_state_dict(state)


def test_generate_like_any_other(run: Path) -> None:
    output = run / "tasks.jsonl"
    command = ["generate", "poet", "--family", "cartpole", f"path={run}", "-n", "6", "-o", str(output)]
    assert main(command) == 0
    source = PoetTasks(PoetTasksConfig(path=str(run)), family=FAMILY, seed=seed_sequence(0, "tasks"))
    assert list(TaskSet.read(output)) == source.ask(6)
