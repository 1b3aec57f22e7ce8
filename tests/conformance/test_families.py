"""The kits over every family of the catalogue."""

import pytest

import registry
from taskgen.build import build_family, family_of
from taskgen.testing import check_family

FAMILIES = [item.full_name for item in registry.catalogue().items("families")]


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    check_family(build_family(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_rebuilt_from_a_task(name: str) -> None:
    family = build_family(name)
    spec = family.spec(seed=3)
    rebuilt = family_of(spec)
    assert rebuilt.name == name
    assert rebuilt.structure == family.structure
    rebuilt.check(spec)
