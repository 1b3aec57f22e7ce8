"""The kits over every family of the catalogue."""

import pytest

import registry
from taskgen.build import build_family, family_of
from taskgen.testing import check_family

FAMILIES = [item.full_name for item in registry.catalogue().items("families")]


def _shorter(name: str) -> dict[str, int]:
    """Settings with a horizon of 200 where the default is above 1000: the kit plays whole episodes."""
    horizon = registry.catalogue().get("families", name).config_class().model_fields.get("horizon")
    return {"horizon": 200} if horizon is not None and horizon.default > 1000 else {}


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    check_family(build_family(name, _shorter(name)))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_rebuilt_from_a_task(name: str) -> None:
    family = build_family(name)
    spec = family.spec(seed=3)
    rebuilt = family_of(spec)
    assert rebuilt.name == name
    assert rebuilt.structure == family.structure
    rebuilt.check(spec)
