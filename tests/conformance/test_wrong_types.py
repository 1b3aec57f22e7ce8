"""Settings are data: a value of a wrong type in any of them is a sentence, whatever entry reads it."""

from contextlib import suppress
from typing import Any

import pytest

import registry
from registry.entry import KINDS
from registry.errors import UserError

ENTRIES = [item for kind in KINDS if kind != "experiments" for item in registry.catalogue().items(kind)]
VALUES: tuple[Any, ...] = (None, [], {}, "x", "", -1, 1.5, True, [[]], ["x"], [None], {"a": 1}, 10**400, [1])


@pytest.mark.parametrize("item", ENTRIES, ids=lambda item: f"{item.kind}/{item.full_name}")
def test_a_wrong_type_is_a_sentence(item):
    for field in item.config_class().model_fields:
        for value in VALUES:
            with suppress(Named):
                _configure(item, field, value)


class Named(Exception):
    """A wrong value was refused, by name."""


def _configure(item: Any, field: str, value: Any) -> None:
    try:
        item.configure({field: value})
    except UserError as error:
        raise (Named if field in str(error) else AssertionError)(str(error)) from error
