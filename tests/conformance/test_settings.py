"""Settings that mean the same wherever they occur."""

import pytest

import registry
from registry.errors import ConfigError

LAYERED = [
    (item, name)
    for kind in ("agents", "generators", "rewards")
    for item in registry.catalogue().items(kind)
    for name in item.config_class().model_fields
    if name.endswith("hidden")
]


@pytest.mark.parametrize(("item", "name"), LAYERED, ids=lambda given: getattr(given, "full_name", given))
def test_a_layer_without_units_is_refused(item, name):
    with pytest.raises(ConfigError, match=rf"{name}\[1\] = 0: should be greater than or equal to 1"):
        item.configure({name: [8, 0]})


def test_every_kind_has_layers():
    assert {item.entry.name for item, _ in LAYERED} >= {"rl2", "ppo", "sac", "pearl", "maml", "es", "diayn"}
