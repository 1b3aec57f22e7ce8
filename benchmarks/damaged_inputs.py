"""Damage of what users write: plugins that break their contracts, altered lines of task files, altered experiments.

All of it is harmless to whatever reads it: small, shallow, and without models of MuJoCo.
"""

import copy
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from random import Random
from typing import Any
from unittest import mock

import tomli_w

import registry
from agents.training.experiment import load_experiment
from benchmarks.damage import Found, outcome, say
from benchmarks.damaged_runs import Bench
from benchmarks.harness import ROOT
from registry.discovery import BUILTIN, FILES_VARIABLE, load_file
from taskgen import taskset
from taskgen.borders import asked
from taskgen.build import build_family, build_source

PLUGIN = ROOT / "tests" / "toys" / "broken_parts.py"
MODELS = f"{BUILTIN}/mujoco-any"
"""A family whose tasks hold a model, which nobody alters here."""
LONGEST = 20_000
"""Bytes of the longest line that is read here; what is too long need not be long."""
ODD: tuple[Any, ...] = (
    *(None, True, False, "", "x", "1", [], {}, [1], {"a": 1}, 0, -1, 1, 2**31, 2**53 - 1, 2**53, 2**63, 10**400, 0.5),
    *(-0.5, 1e-320, 1e300, 1.0, -0.0, float("nan"), float("inf"), "\ud800", "\u00e9", "name", 64, 65, 1024, 4097),
)
"""Values that are put in place of others."""
_COMPLETED = ("final_tasks", "horizon")
"""Settings of which 0 asks for the number that follows from others, which a plan then holds."""


@cache
def broken() -> list[tuple[str, dict[str, Any], str, str]]:
    """Every way to break a plugin: its name, an experiment with it, the entry that is told of, and what is said."""
    return list(load_file(PLUGIN).cases())


def plugins(bench: Bench, number: int, _: Random, found: Found) -> None:
    """Training with one broken part; the message names it, in one line."""
    name, settings, entry, words = broken()[number % len(broken())]
    with bench.folder() as folder, mock.patch.dict(os.environ, {FILES_VARIABLE: str(PLUGIN)}):
        (folder / "experiment.toml").write_text(tomli_w.dumps(settings))
        said = say("train", folder / "experiment.toml", "--run", folder / "run")
    message = " ".join(said.error.split())
    told = re.search(rf"error: broken_parts/{entry}.*{words}", message)
    found.enter(f"{name}: {message[-300:]}", [said], right=said.code != 0 and told is not None)


def task_lines(bench: Bench, _: int, rng: Random, found: Found) -> None:
    """One altered line between two intact ones: read as it is written, or refused by file and line."""
    before, line, after = (rng.choice(_lines()) for _ in range(3))
    how, altered = _altered(line, rng, json.loads, _dumped)
    content = b"\n".join((before, altered, after, b""))
    with bench.folder() as folder, mock.patch.object(taskset, "MAX_LINE", LONGEST):
        path = folder / "tasks.jsonl"
        path.write_bytes(content)
        said, read = outcome(lambda: taskset.read_tasks(path))
    lines = [(number, one) for number, one in enumerate(content.split(b"\n"), 1) if one.strip()]
    if said.code:
        place = re.match(rf"{re.escape(str(path))}: .*\n  lines? (\d+)", said.error)
        right = place is not None and dict(lines).get(int(place[1])) not in (before, after, None)
    else:
        right = [spec.canonical() for spec in read or ()] == [_task_of(one) for _, one in lines]
    found.enter(f"{how}: {altered[:200]!r}: {said.error[-200:]!r}", [said], right=right)


def experiments(bench: Bench, _: int, rng: Random, found: Found) -> None:
    """One alteration of a shipped experiment: planned as it is written, or refused by the name of the file."""
    how, altered = _altered(rng.choice(_experiments()), rng, lambda text: tomllib.loads(text.decode()), _written)
    with bench.folder() as folder:
        path = folder / "experiment.toml"
        path.write_bytes(altered)
        said, plan = outcome(lambda: load_experiment(str(path)))
    if plan is None:
        right = said.error.startswith((str(path), "overrides"))
    else:
        tables = tomllib.loads(altered.decode())
        right = _as_written(tables, plan.config.model_dump(mode="json", exclude_none=True))
    found.enter(f"{how}: {said.error[-300:]!r}", [said], right=right)


@cache
def _lines() -> list[bytes]:
    """Lines of tasks of every family."""
    found: list[bytes] = []
    for item in registry.catalogue().items("families"):
        if item.full_name != MODELS:
            family = build_family(item.full_name)
            source = build_source("domain-randomization", family, 0)
            found += [spec.to_json().encode() for spec in asked(source, 4, family)]
    return found


@cache
def _experiments() -> list[bytes]:
    """The files of shipped experiments."""
    return [path.read_bytes() for path in sorted((ROOT / "agents" / "experiments").glob("*.toml"))]


Tree = dict[str, Any]


def _altered(
    text: bytes, rng: Random, parse: Callable[[bytes], Tree], write: Callable[[Tree, Random], bytes]
) -> tuple[str, bytes]:
    """`text` with one alteration, and which."""
    if rng.random() < 0.3:
        return _bytes(text, rng)
    tree = parse(text)
    how = _tree(tree, rng)
    return how, write(tree, rng)


def _bytes(text: bytes, rng: Random) -> tuple[str, bytes]:
    first = rng.randrange(len(text))
    end = min(first + rng.choice((1, 1, 2, 8, len(text))), len(text))
    noise = bytes(rng.choice((rng.randrange(256), *b'0-.e"{}[]:,\\')) for _ in range(end - first))
    flipped = bytes((text[first] ^ 1 << rng.randrange(8),))
    ways = {
        "a bit": text[:first] + flipped + text[first + 1 :],
        "bytes gone": text[:first] + text[end:],
        "bytes twice": text[:end] + text[first:end] + text[end:],
        "bytes in between": text[:first] + noise[:8] + text[first:],
        "other bytes": text[:first] + noise + text[end:],
        "cut": text[:first],
    }
    how = rng.choice(list(ways))
    return f"{how} at {first}", ways[how]


def _tree(tree: Tree, rng: Random) -> str:
    """Alter one place of `tree`, which is changed."""
    holder, key = rng.choice(list(_places(tree)))
    value = holder[key]
    how = rng.choice(("value", "value", "near", "nested", "size", "gone", "renamed", "added"))
    if how == "near" and isinstance(value, int | float) and not isinstance(value, bool):
        holder[key] = rng.choice((value + 1, value - 1, -value, value * 2, float(value), value / 3, value * 1e-30))
    elif how == "nested":
        for _ in range(rng.choice((1, 2, 60, 1200))):
            value = [value] if rng.random() < 0.5 else {"name": value}
        holder[key] = value
    elif how == "size":
        few = [value] * rng.choice((0, 2, 9, 65, 257))
        sizes = {list: [*value, *value[-1:]] if isinstance(value, list) else [], str: f"{value}" * rng.choice((2, 999))}
        holder[key] = sizes.get(type(value), few)
    elif how in ("gone", "renamed") and isinstance(holder, dict):
        del holder[key]
        if how == "renamed":
            holder[rng.choice((f"{key}_", key.upper(), key[:-1], "", "name", "seed"))] = value
    elif how == "added" and isinstance(holder, dict):
        holder[rng.choice((f"{key}_", "id", "name", "seed", "reward", ""))] = rng.choice(ODD)
    else:
        how = "value"
        holder[key] = copy.deepcopy(rng.choice(ODD))
    return f"{how} at {key}"


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder of a value, with its key or index."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _dumped(tree: Tree, rng: Random) -> bytes:
    """A line with the id that was there, with none, or with the right one; now and then with a key twice."""
    kind = rng.choice(("kept", "none", "right"))
    try:
        if kind != "kept":
            tree.pop("id", None)
        text = json.dumps(tree)
        if kind == "right" and (content := _task_of(text.encode())) is not None:
            text = json.dumps({"id": hashlib.sha256(content.encode()).hexdigest()[:16], **tree})
    except (ValueError, RecursionError):
        text = "[" * 3000
    if rng.random() < 0.1 and (places := [place.end() for place in re.finditer("{", text)]):
        where = rng.choice(places)
        key = re.match(r'"[^"]*"', text[where:])
        text = f"{text[:where]}{key[0] if key else 0}:{json.dumps(rng.choice(ODD))},{text[where:]}"
    return text.encode()


def _written(tree: Tree, _: Random) -> bytes:
    try:
        return tomli_w.dumps(_without_none(tree)).encode(errors="surrogatepass")
    except (ValueError, RecursionError):
        return b"[" * 3000


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return "none" if value is None else value


def _task_of(line: bytes) -> str | None:
    """The canonical text of the task that a line says, read apart from the platform; None of what is no task."""

    def once(pairs: list[tuple[str, Any]]) -> Tree:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key appears twice")
        return dict(pairs)

    try:
        tree = json.loads(line.decode(), object_pairs_hook=once)
        reward = tree.get("reward")
        task = {"family": tree["family"], "context": tree["context"], "seed": tree.get("seed", 0)}
        task["reward"] = reward and {"name": reward["name"], "settings": reward.get("settings", {})}
        text = json.dumps(task, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    stated = tree.get("id", right := hashlib.sha256(text.encode()).hexdigest()[:16])
    whole = tree.keys() <= {"id", "family", "context", "reward", "seed"} and stated == right
    return text if whole and len(line) <= LONGEST else None


def _as_written(given: Any, planned: Any) -> bool:
    """Whether everything in `given` is in the complete configuration `planned`, where parts have their full names."""
    if isinstance(given, Mapping):
        return isinstance(planned, Mapping) and all(
            key in planned and (_named(value, planned[key]) if key == "name" else _as_written(value, planned[key]))
            for key, value in given.items()
            if key not in _COMPLETED or value != 0
        )
    if isinstance(given, list):
        alike = isinstance(planned, list) and len(given) == len(planned)
        return alike and all(map(_as_written, given, planned))
    if isinstance(given, str) and isinstance(planned, Mapping):
        return _named(given, planned.get("name"))
    return given == planned and isinstance(given, bool) == isinstance(planned, bool)


def _named(given: Any, planned: Any) -> bool:
    return planned in (given, f"{BUILTIN}/{given}")
