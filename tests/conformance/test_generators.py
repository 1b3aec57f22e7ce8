"""The kit over every generator of the catalogue, on every family."""

from pathlib import Path

import pytest

import registry
from registry.config import Part
from taskgen import artefacts
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


def _short_episodes(name: str) -> dict[str, int]:
    """Settings with a horizon of 5 where the default is above 50."""
    horizon = registry.catalogue().get("families", name).config_class().model_fields.get("horizon")
    return {"horizon": 5} if horizon is not None and horizon.default > 50 else {}


def test_every_generator_fits_some_family() -> None:
    assert {name for name, _ in _pairs()} == {item.full_name for item in registry.catalogue().items("generators")}


@pytest.mark.parametrize(("name", "family_name"), _pairs())
def test_generator(name: str, family_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = build_family(family_name, _short_episodes(family_name) if name == "builtin/diayn" else {})
    needed: dict[str, object] = {}
    if name == "builtin/task-set":
        needed["path"] = str(tmp_path / "tasks.jsonl")
        write_tasks(tmp_path / "tasks.jsonl", [family.spec(seed=seed) for seed in range(3)])
    if name == "builtin/diayn":  # what was hardly learned follows the protocol as well
        monkeypatch.setenv(artefacts.VARIABLE, str(tmp_path))
        needed |= {"iterations": 1, "slots": 4, "skills": 2, "least_accuracy": 1e-9}
    part = Part.model_validate({"name": name, **needed})
    check_source(lambda: build_source(part, family, seed_sequence(0, "conformance")), family)
