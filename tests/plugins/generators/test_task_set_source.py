"""A saved task set as a source."""

import json
from pathlib import Path

import numpy as np
import pytest

from plugins.families.bandit import Bandit, BanditConfig
from plugins.generators.task_set import TaskSetConfig, TaskSetSource
from registry.errors import CheckpointError, ConfigError, TaskError
from taskgen.taskset import write_tasks
from taskgen.testing import check_source

FAMILY = Bandit(BanditConfig(arms=2), name="builtin/bandit")
SPECS = [FAMILY.spec(seed=seed) for seed in range(7)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tasks(tmp_path / "tasks.jsonl", SPECS)
    return tmp_path / "tasks.jsonl"


def make(path: Path, *, shuffle: bool = True, seed: int = 0) -> TaskSetSource:
    config = TaskSetConfig(path=str(path), shuffle=shuffle)
    return TaskSetSource(config, family=FAMILY, seed=np.random.SeedSequence(seed))


@pytest.mark.parametrize("shuffle", [True, False])
def test_conformance(path: Path, shuffle: bool) -> None:
    check_source(lambda: make(path, shuffle=shuffle), FAMILY)


def test_file_order(path: Path) -> None:
    assert make(path, shuffle=False).ask(10) == [*SPECS, *SPECS[:3]]


def test_every_pass_holds_every_task_in_its_own_order(path: Path) -> None:
    asked = [spec.seed for spec in make(path).ask(42)]
    passes = [tuple(asked[start : start + 7]) for start in range(0, 42, 7)]
    assert all(sorted(order) == list(range(7)) for order in passes)
    assert len(set(passes)) >= 5
    assert [spec.seed for spec in make(path, seed=1).ask(42)] != asked


def test_state_knows_the_file(path: Path) -> None:
    state = json.loads(json.dumps(make(path).state_dict()))
    write_tasks(path, SPECS[:-1], overwrite=True)
    with pytest.raises(CheckpointError, match="the task file has changed"):
        make(path).load_state_dict(state)
    with pytest.raises(CheckpointError, match="position"):
        make(path).load_state_dict({**state, "position": "many"})


def test_refusals(path: Path) -> None:
    with pytest.raises(ConfigError, match="name the task file"):
        TaskSetSource(TaskSetConfig(), family=FAMILY, seed=np.random.SeedSequence(0))
    other = Bandit(BanditConfig(arms=3), name="builtin/bandit")
    with pytest.raises(TaskError, match="arms = 3, found 2"):
        TaskSetSource(TaskSetConfig(path=str(path)), family=other, seed=np.random.SeedSequence(0))
    path.write_text("\n")
    with pytest.raises(ConfigError, match="holds no tasks"):
        make(path)
