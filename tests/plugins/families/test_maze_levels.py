"""Mazes of JaxUED, minimax and DCD: the same maze in all three forms, the published ones, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import taskgen
from plugins.families.maze_levels import FORMS
from plugins.generators.named_mazes import NAMED_MAZES
from registry.cli import main
from registry.errors import TaskError
from taskgen.tables import read_form

MAZE = taskgen.build_family("maze", {"size": 4})

# Three rows and four columns, no symmetry: start in row 2, column 0, facing up; goal in row 0, column 3.
WALLS = [[0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
SAME = {
    "jaxued": ".#.G\n...#\n^#..\n",
    "minimax": json.dumps(
        {"wall_map": ["0 1 0 0", "0 0 0 1", "0 1 0 0"], "agent_pos": [0, 2], "goal_pos": [3, 0], "agent_dir_idx": 3}
    ),
    "dcd": json.dumps({"bit_map": WALLS, "start_pos": [1, 3], "goal_pos": [4, 1]}),
}


def levels(directory: Path, text: str) -> Path:
    (directory / "levels").write_text(text, encoding="utf-8")
    return directory / "levels"


@pytest.mark.parametrize("form", SAME)
def test_a_maze_reads_the_same_in_every_form(form: str, tmp_path: Path) -> None:
    (spec,) = read_form(levels(tmp_path, SAME[form]), MAZE, form)
    facing = 0 if form == "dcd" else 3  # DCD does not say
    padded = (*(tuple(row) for row in WALLS), (1, 1, 1, 1))
    places = {"start": (2, 0), "direction": facing, "goal": (0, 3)}
    assert dict(spec.context) == dict(MAZE.spec({"walls": padded, **places}).context)


def _to_jaxued(walls: np.ndarray, start: tuple[int, int], direction: int, goal: tuple[int, int]) -> str:
    cells = np.where(walls == 1, "#", ".")
    cells[start], cells[goal] = ">v<^"[direction], "G"
    return "\n".join("".join(row) for row in cells) + "\n"


def _to_minimax(walls: np.ndarray, start: tuple[int, int], direction: int, goal: tuple[int, int]) -> str:
    rows = [" ".join(map(str, row)) for row in walls.tolist()]
    turned = {"agent_pos": start[::-1], "goal_pos": goal[::-1], "agent_dir_idx": direction or None}
    return json.dumps({"wall_map": rows, **turned})


def _to_dcd(walls: np.ndarray, start: tuple[int, int], direction: int, goal: tuple[int, int]) -> str:
    places = {"start_pos": [start[1] + 1, start[0] + 1], "goal_pos": [goal[1] + 1, goal[0] + 1]}
    return json.dumps([{"bit_map": walls.tolist(), **places, "size": len(walls) + 2}])


@pytest.mark.parametrize(("form", "write"), [*zip(FORMS, (_to_jaxued, _to_minimax, _to_dcd), strict=True)])
def test_published_mazes(form: str, write: Callable[..., str], tmp_path: Path) -> None:
    family = taskgen.build_family("maze", {"size": 19})
    for name, maze in NAMED_MAZES.items():
        layout = maze(np.random.Generator(np.random.PCG64(3)))
        layout = layout._replace(direction=0) if form == "dcd" else layout
        (spec,) = read_form(levels(tmp_path, write(*layout)), family, form)
        assert dict(spec.context) == dict(family.spec(family.fitted(*layout)).context), name


def test_the_published_labyrinth_is_entered_where_it_was(tmp_path: Path) -> None:
    """Its start and goal as its authors print them: DCD (1, 13) and (7, 7), minimax (0, 12) and (6, 6)."""
    walls = NAMED_MAZES["labyrinth"](np.random.Generator(np.random.PCG64(0))).walls.tolist()
    family = taskgen.build_family("maze")
    theirs = {
        "dcd": {"bit_map": walls, "start_pos": [1, 13], "goal_pos": [7, 7]},
        "minimax": {"wall_map": walls, "agent_pos": [0, 12], "goal_pos": [6, 6]},
    }
    for form, level in theirs.items():
        (spec,) = read_form(levels(tmp_path, json.dumps(level)), family, form)
        assert (spec.context["start"], spec.context["goal"]) == ((12, 0), (6, 6))


def test_several_levels_are_numbered_and_several_goals_are_several_mazes(tmp_path: Path) -> None:
    text = f"\n{SAME['jaxued']}\n\n{SAME['jaxued'].replace('^', '>')}"
    specs = list(read_form(levels(tmp_path, text), MAZE, "jaxued"))
    assert [(spec.seed, spec.context["direction"]) for spec in specs] == [(0, 3), (1, 0)]
    level = {"wall_map": [[0, 0], [0, 0]], "agent_pos": [0, 0], "goal_pos": [[1, 0], [0, 1]], "agent_dir_idx": None}
    specs = list(read_form(levels(tmp_path, json.dumps(level)), MAZE, "minimax"))
    assert [spec.context["goal"] for spec in specs] == [(0, 1), (1, 0)]


GOOD = {"bit_map": WALLS, "start_pos": [1, 3], "goal_pos": [4, 1]}
REFUSED = [
    ("jaxued", "..G\n.X.\n>..", "line 1: 'X' in '.X.' is none of"),
    ("jaxued", "\n..G\n...", "line 2: a maze has one agent; this drawing has 0"),
    ("jaxued", ">.G\n..G", "line 1: a maze has one goal; this drawing has 2"),
    ("jaxued", ">.G\n..", "line 1: row 1 has 2 cells, row 0 has 3"),
    (
        "jaxued",
        ">....\nG....",
        "a maze of 2 x 5 cells does not fit in size = 4; take family.size=5",
    ),
    ("jaxued", ">#\n#G", "line 1: builtin/maze: walls cut goal"),
    ("jaxued", " \n", "there is no task in it"),
    ("minimax", "[", "not valid JSON"),
    ("minimax", "[3]", "number 0: expected an object, a maze, not 3"),
    ("minimax", json.dumps({"wall_map": ["0 0"], "agent_pos": [0, 0]}), "number 0: 'goal_pos' is missing"),
    ("minimax", json.dumps({"wall_map": ["0 2"], "agent_pos": [0, 0], "goal_pos": [1, 0]}), "row 0: '2' is neither"),
    ("minimax", json.dumps({"wall_map": [], "agent_pos": [0, 0], "goal_pos": [1, 0]}), "walls are rows of 0 and 1"),
    (
        "minimax",
        json.dumps({"wall_map": ["0 0"], "agent_pos": [0, 1], "goal_pos": [1, 0]}),
        "[1, 0] is outside",
    ),
    (
        "minimax",
        json.dumps({"wall_map": ["0 0"], "agent_pos": [0, 0], "goal_pos": [1, 0], "agent_dir_idx": 4}),
        "agent_dir_idx = 4: expected 0 right",
    ),
    (
        "dcd",
        json.dumps({**GOOD, "start_pos": [0, 3]}),
        "[0, 3]: expected [x, y], column before row, counted from 1",
    ),
    ("dcd", json.dumps({**GOOD, "start_pos": [1.5, 3]}), "start_pos = [1.5, 3]: expected [x, y]"),
    ("dcd", json.dumps({**GOOD, "size": 4}), "size = 4: with the outer wall"),
    (
        "dcd",
        json.dumps([GOOD, {**GOOD, "startpos": 1}]),
        "number 1: 'startpos' is no key of a maze of this form.",
    ),
    ("dcd", json.dumps({**GOOD, "start_pos": [2, 1]}), "number 0: builtin/maze: start = [0, 1] is a wall"),
    ("xland", "", "builtin/maze reads no form 'xland'. Known: dcd, jaxued, minimax."),
]


@pytest.mark.parametrize(("form", "text", "told"), REFUSED)
def test_what_is_no_maze_is_told_by_file_and_place(form: str, text: str, told: str, tmp_path: Path) -> None:
    path = levels(tmp_path, text)
    with pytest.raises(TaskError) as error:
        list(read_form(path, MAZE, form))
    assert told in str(error.value)
    assert form == "xland" or str(error.value).startswith(f"{path}: ")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = levels(tmp_path, SAME["jaxued"]), tmp_path / "mazes.jsonl"
    words = ["import", str(path), "--form", "jaxued", "-f", "maze", "-o", str(output), "family.size=4"]
    assert main(words) == 0
    assert "1 tasks of builtin/maze" in capsys.readouterr().out
    assert taskgen.load_tasks(output)[0].context["start"] == (2, 0)
    assert main(["import", str(path), "--form", "jaxued", "-f", "bandit", "-o", str(tmp_path / "b.jsonl")]) == 4
    assert "builtin/bandit reads no form 'jaxued'. There is none to choose from." in capsys.readouterr().err
