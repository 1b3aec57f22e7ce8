"""Tasks from tables that other programs write: CSV with a column for each knob, or JSON with an object for each task.

    arms (a setting, which must be the family's), probabilities, seed
    3,                                            "[0.1, 0.5, 0.9]", 7

Names are those of the knobs (`taskgen describe FAMILY`) and "seed"; `probabilities[0]` and so on are the numbers of an
array. What is left out, or empty, has its default; tasks without a seed are numbered by their place. Besides, whatever
a family reads in forms of other programs.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

from registry.errors import TaskError, brief, suggest
from taskgen.family import Readable, TaskFamily
from taskgen.spec import TaskSpec

_PLACE = re.compile(r"(.+)\[(\d+)\]")
_SEED = "seed"


def read_table(path: Path, family: TaskFamily[Any], delimiter: str = ",") -> Iterator[TaskSpec]:
    """The tasks of a table, .csv or .json, in its order. Raises `TaskError` naming file, line or number, and value."""
    if path.suffix not in (".csv", ".json"):
        raise TaskError(f"{path}: expected a file that ends in .csv or .json; tasks themselves are JSON lines already")
    text = _text(path)
    rows = _csv(path, text, delimiter) if path.suffix == ".csv" else _json(path, text)
    number = -1
    for number, (where, row) in enumerate(rows):
        try:
            yield _task(family, row, number)
        except TaskError as error:
            raise TaskError(f"{path}: {where}: {error}") from None
    if number < 0:
        raise TaskError(f"{path}: there is no task in it")


def read_form(path: Path, family: TaskFamily[Any], form: str) -> Iterator[TaskSpec]:
    """The tasks that another program wrote in a form which the family reads, numbered by their place.

    Raises `TaskError` naming file, line or number, and value; for a form that the family does not read, those it does.
    """
    known = family.forms if isinstance(family, Readable) else ()
    if form not in known or not isinstance(family, Readable):
        raise TaskError(f"{family.name} reads no form {form!r}. {suggest(form, known)}")
    text, number = _text(path), -1
    try:
        for number, (where, context) in enumerate(family.read(form, text)):
            try:
                spec = family.spec(context, seed=number)
            except TaskError as error:
                raise TaskError(f"{where}: {error}") from None
            yield spec
    except TaskError as error:
        raise TaskError(f"{path}: {error}") from None
    if number < 0:
        raise TaskError(f"{path}: there is no task in it")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 text: byte {error.start} is invalid") from None


def _task(family: TaskFamily[Any], row: Mapping[str, Any], number: int) -> TaskSpec:
    context, parts = dict[str, Any](), dict[str, dict[int, Any]]()
    for name, value in row.items():
        found = _PLACE.fullmatch(name)
        if found:
            parts.setdefault(found.group(1), {})[int(found.group(2))] = value
        elif name != _SEED:
            context[name] = value
    for name, numbers in parts.items():
        if name in context or sorted(numbers) != list(range(len(numbers))):
            raise TaskError(f"{name}: expected {name}[0] to {name}[{max(numbers)}], each once, or one {name}")
        context[name] = [numbers[place] for place in sorted(numbers)]
    return TaskSpec.from_dict(family.spec(context, seed=row.get(_SEED, number)).to_dict())  # its seed has a range too


def _csv(path: Path, text: str, delimiter: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with the line that each ends in."""
    reader = csv.reader(text.splitlines(), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        names = [name.strip() for name in next(reader, list[str]())]
        if len(set(names)) < len(names) or "" in names:
            twice = next(name for name in names if names.count(name) > 1 or not name)
            raise TaskError(f"{path}: line 1: the column {twice!r} comes twice, or has no name")
        for cells in reader:
            if len(cells) != len(names) and cells:
                raise TaskError(f"{path}: line {reader.line_num}: {len(cells)} values for {len(names)} columns")
            filled = {name: _value(cell.strip()) for name, cell in zip(names, cells, strict=False) if cell.strip()}
            if cells:
                yield f"line {reader.line_num}", filled
    except csv.Error as error:
        raise TaskError(f"{path}: line {reader.line_num}: {error}") from None


def _json(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a list, or of the list that is the only entry of an object, with their numbers."""
    try:
        data: Any = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path}: not valid JSON: {error}") from None
    if isinstance(data, dict):
        data = list(cast("dict[str, Any]", data).values())
        data = data[0] if len(data) == 1 else None
    if not isinstance(data, list):
        raise TaskError(f"{path}: expected a list of objects, one for each task, or an object with nothing but that")
    for number, row in enumerate(cast("list[Any]", data)):
        if not isinstance(row, dict):
            raise TaskError(f"{path}: number {number}: expected an object of knobs, not {brief(row)}")
        yield f"number {number}", cast("dict[str, Any]", row)


def _value(cell: str) -> Any:
    """A number, list or other value of JSON, or the text as it stands."""
    try:
        return json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return cell


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number that a task may hold")
