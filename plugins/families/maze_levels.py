"""Mazes as other programs write them, as text or JSON: JaxUED's, minimax's and DCD's.

All three give places as (x, y), column before row, which read the wrong way round is often another maze that is as
valid; DCD counts them from 1, inside an outer wall that its map leaves out. What they draw at random is fixed here: who
is given no direction faces right, and a maze with several goals is as many mazes.

    jaxued   a drawing, '#' a wall, '.' free, 'G' the goal, one of '>v<^' the agent; an empty line between two drawings
    minimax  {"wall_map": ["0 1", "0 0"], "agent_pos": [0, 0], "goal_pos": [1, 1], "agent_dir_idx": 0}, or a list
    dcd      {"bit_map": [[0, 1], [0, 0]], "start_pos": [1, 1], "goal_pos": [2, 2]}, or a list

Sources: Coward, Beukman, Foerster 2024, "JaxUED" (its `Level.from_str`); Jiang et al. 2023, "minimax" (its
`MazeSingleton`); Jiang et al. 2021, "Replay-Guided Adversarial Environment Design", whose code is DCD (its `MazeEnv`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from registry.errors import TaskError, brief, suggest

_FACING = ">v<^"


class Layout(NamedTuple):
    """A maze of r x c cells, places as (row, column) from 0."""

    walls: NDArray[np.int64]
    """[r, c], 1 where a cell is a wall."""
    start: tuple[int, int]
    direction: int
    """0 right, 1 down, 2 left, 3 up."""
    goal: tuple[int, int]


def read_layouts(form: str, text: str) -> Iterator[tuple[str, Layout]]:
    """The mazes of a text in a form of `FORMS`, each with where it stands. Raises `TaskError` that says where."""
    pieces, layouts = FORMS[form]
    for where, piece in pieces(text):
        try:
            found = list(layouts(piece))
        except TaskError as error:
            raise TaskError(f"{where}: {error}") from None
        yield from ((where, layout) for layout in found)


def _drawings(text: str) -> Iterator[tuple[str, list[str]]]:
    """Rows of each drawing, with the line that it begins in."""
    lines = [*text.splitlines(), ""]
    begin = 0
    for end, line in enumerate(lines):
        if not line.strip():
            if begin < end:
                yield f"line {begin + 1}", [row.strip() for row in lines[begin:end]]
            begin = end + 1


def _jaxued(rows: list[str]) -> Iterator[Layout]:
    places: dict[str, list[tuple[int, int]]] = {"agent": [], "goal": []}
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            if cell not in f"#.G{_FACING}":
                raise TaskError(f"{cell!r} in {row!r} is none of '#', '.', 'G' and {', '.join(map(repr, _FACING))}")
            if cell not in "#.":
                places["goal" if cell == "G" else "agent"].append((r, c))
    for what, found in places.items():
        if len(found) != 1:
            raise TaskError(f"a maze has one {what}; this drawing has {len(found)}")
    start = places["agent"][0]
    walls = _grid([[int(cell == "#") for cell in row] for row in rows])
    yield Layout(walls, start, _FACING.index(rows[start[0]][start[1]]), places["goal"][0])


def _minimax(level: Mapping[str, Any]) -> Iterator[Layout]:
    keys = ("wall_map", "agent_pos", "goal_pos")
    rows, agent, goals = _values(level, keys, optional=("agent_dir_idx",))
    if isinstance(rows, list):
        rows = [row.split() if isinstance(row, str) else row for row in rows]
    walls, start = _grid(rows), _place("agent_pos", agent)
    several = isinstance(goals, list) and bool(goals) and isinstance(goals[0], list)
    for goal in goals if several else [goals]:
        yield Layout(walls, start, _facing(level.get("agent_dir_idx")), _place("goal_pos", goal))


def _dcd(level: Mapping[str, Any]) -> Iterator[Layout]:
    rows, agent, goal = _values(level, ("bit_map", "start_pos", "goal_pos"), optional=("size",))
    walls = _grid(rows)
    if level.get("size", len(walls) + 2) != len(walls) + 2:
        raise TaskError(f"size = {brief(level['size'])}: with the outer wall it is that of the map and 2 more")
    yield Layout(walls, _place("start_pos", agent, 1), 0, _place("goal_pos", goal, 1))


def _objects(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with its number, or one alone."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"not valid JSON: {error}") from None
    for number, level in enumerate(cast("list[Any]", data) if isinstance(data, list) else [data]):
        if not isinstance(level, dict):
            raise TaskError(f"number {number}: expected an object, a maze, not {brief(level)}")
        yield f"number {number}", cast("dict[str, Any]", level)


def _values(level: Mapping[str, Any], keys: tuple[str, ...], optional: tuple[str, ...]) -> tuple[Any, ...]:
    """The values of `keys`. Raises `TaskError` where one is missing, or another is there that would be passed over."""
    for key in level:
        if key not in (*keys, *optional):
            raise TaskError(f"{key!r} is no key of a maze of this form. {suggest(key, (*keys, *optional))}")
    for key in keys:
        if key not in level:
            raise TaskError(f"{key!r} is missing; a maze of this form has {', '.join(keys)}")
    return tuple(level[key] for key in keys)


def _grid(rows: Any) -> NDArray[np.int64]:
    """[r, c] of rows of zeros and ones, numbers or text."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise TaskError(f"walls are rows of 0 and 1, not {brief(rows)}")
    cells = cast("list[list[Any]]", rows)
    for number, row in enumerate(cells):
        if len(row) != len(cells[0]):
            raise TaskError(f"row {number} has {len(row)} cells, row 0 has {len(cells[0])}")
        for cell in row:
            if str(cell) not in ("0", "1", "False", "True"):
                raise TaskError(f"row {number}: {brief(cell)} is neither 0 nor 1")
    return np.array([[str(cell) in ("1", "True") for cell in row] for row in cells], dtype=np.int64)


def _place(key: str, place: Any, first: int = 0) -> tuple[int, int]:
    """(row, column) from 0 of [x, y] from `first`."""
    whole = isinstance(place, list) and len(place) == 2 and all(type(number) is int for number in place)
    if not whole or min(place) < first:
        raise TaskError(f"{key} = {brief(place)}: expected [x, y], column before row, counted from {first}")
    return place[1] - first, place[0] - first


def _facing(direction: Any) -> int:
    if direction is not None and (type(direction) is not int or not 0 <= direction <= 3):
        raise TaskError(f"agent_dir_idx = {brief(direction)}: expected 0 right, 1 down, 2 left, 3 up, or null")
    return direction or 0


FORMS: Mapping[str, tuple[Callable[[str], Iterator[tuple[str, Any]]], Callable[[Any], Iterator[Layout]]]] = (
    MappingProxyType({"jaxued": (_drawings, _jaxued), "minimax": (_objects, _minimax), "dcd": (_objects, _dcd)})
)
"""Of each form: what takes a text to pieces and says where they stand, and what reads the mazes of a piece."""
