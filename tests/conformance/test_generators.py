"""The kit over every generator of the catalogue, on every family."""

from pathlib import Path

import pytest

import registry
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.streams import seed_sequence
from taskgen.taskset import write_tasks
from taskgen.testing import check_source


def _pairs() -> list[tuple[str, str]]:
    catalogue = registry.catalogue()
    return [
        (generator.full_name, family.full_name)
        for generator in catalogue.items("generators")
        for family in catalogue.items("families")
        if not catalogue.incompatibilities([generator, family])
    ]


def test_every_generator_fits_some_family() -> None:
    assert {name for name, _ in _pairs()} == {item.full_name for item in registry.catalogue().items("generators")}


@pytest.mark.parametrize(("name", "family_name"), _pairs())
def test_generator(name: str, family_name: str, tmp_path: Path) -> None:
    family = build_family(family_name)
    needed: dict[str, object] = {}
    if name == "builtin/task-set":
        needed["path"] = str(tmp_path / "tasks.jsonl")
        write_tasks(tmp_path / "tasks.jsonl", [family.spec(seed=seed) for seed in range(3)])
    part = Part.model_validate({"name": name, **needed})
    check_source(lambda: build_source(part, family, seed_sequence(0, "conformance")), family)
