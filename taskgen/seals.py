"""JSON that tells when it was changed: an object, or each line of a file, carries a hash of its content.

    {"step": 3, "metrics": {...}, "digest": "5f0c..."}

The hash of a line covers that of the line before, so that lines which are gone are told too. It is taken of values, not
of text: whoever writes the same values otherwise changes nothing. What has no hash, as before there were some, is read
as it is; a line after one that has a hash must have one. The first line of a run's files covers the hash of its
provenance.json (`first`), so that those of another run are told.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from taskgen.files import read_regular

KEY = "digest"


def sealed(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`value`, which JSON can hold, with its hash; `before` is that of the line before, if it has one."""
    content = {key: item for key, item in value.items() if key != KEY}
    return {**content, KEY: _digest(content, before)}


def loaded(text: str | bytes, before: str = "") -> dict[str, Any]:
    """The object in the JSON `text`, with its hash. Raises `ValueError` for other JSON and for a wrong hash."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - one kind of damage as any
    fields = cast(dict[str, Any], found)
    if before and KEY not in fields:
        raise ValueError("its digest is missing")
    if KEY in fields and fields[KEY] != _digest({key: item for key, item in fields.items() if key != KEY}, before):
        raise ValueError("its content does not match its digest")
    return fields


def first(directory: Path) -> str:
    """What the first line of a file in the run directory `directory` covers; nothing where there is no run."""
    try:
        return seal_of(read_regular(directory / "provenance.json"))
    except OSError:
        return ""


def seal_of(line: str | bytes) -> str:
    """The hash that a line of JSON carries; empty where it has none or is no object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return str(cast(dict[str, Any], found).get(KEY, "")) if isinstance(found, dict) else ""


def _digest(value: Mapping[str, Any], before: str) -> str:
    plain = json.loads(json.dumps(value, allow_nan=False))  # as it is read: keys are text, tuples are lists
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{before}{text}".encode()).hexdigest()[:16]
