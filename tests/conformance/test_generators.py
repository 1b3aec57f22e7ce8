"""The kit over every generator of the catalogue, on every family."""

from pathlib import Path

import pytest

import registry
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.streams import seed_sequence
from taskgen.taskset import write_tasks
from taskgen.testing import check_source

FAMILIES = [item.full_name for item in registry.catalogue().items("families")]
GENERATORS = [item.full_name for item in registry.catalogue().items("generators")]


@pytest.mark.parametrize("family_name", FAMILIES)
@pytest.mark.parametrize("name", GENERATORS)
def test_generator(name: str, family_name: str, tmp_path: Path) -> None:
    family = build_family(family_name)
    needed: dict[str, object] = {}
    if name == "builtin/task-set":
        needed["path"] = str(tmp_path / "tasks.jsonl")
        write_tasks(tmp_path / "tasks.jsonl", [family.spec(seed=seed) for seed in range(3)])
    part = Part.model_validate({"name": name, **needed})
    check_source(lambda: build_source(part, family, seed_sequence(0, "conformance")), family)
