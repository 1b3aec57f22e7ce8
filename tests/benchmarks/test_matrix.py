"""The matrix: equal steps and tasks for all cells of a world, refusals by plan, figures and the page by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from agents.training.experiment import load_experiment
from benchmarks import harness, matrix, matrix_cells, matrix_page
from benchmarks.matrix_cells import AGENTS, PLAIN, SOURCES, WORLDS, Cell, Trials, refused, settings, source_of
from registry.errors import UserError


@pytest.mark.parametrize("world", WORLDS)
def test_cells_of_a_world_have_equal_steps_and_tasks(world):
    family = None
    for agent in AGENTS if world in ("point-navigation", "terrain-walker") else ("rl2-transformer", "maml", "oracle"):
        config = load_experiment(*settings(Cell(world, PLAIN, agent, 0))).config
        judged = config.evaluation.model_copy(update={"episodes": 0})
        family = family or (config.family, judged)
        assert (config.family, judged) == family
        assert (config.training.steps, config.training.iterations, config.runner) == (WORLDS[world].steps, None, None)
        assert config.agent.name == f"builtin/{Cell(world, PLAIN, agent, 0).player}"
        if agent == "rl2-transformer":
            trial = config.training.episodes * WORLDS[world].horizon
            assert config.agent.settings["network"]["window"] == trial
        if agent == "oracle":
            assert config.agent.settings["context"] == "descriptor"


def test_sources_have_the_shipped_settings_in_parts_of_a_run():
    trials = Trials(64_512, 64)
    found = {source: source_of(Cell("maze", source, "rl2-gru", 2), trials) for source in SOURCES}
    assert found["robust-plr"]["capacity"] == found["accel"]["capacity"] == 1008  # shipped: 1000
    assert (found["robust-plr"]["replay"], found["accel"]["replay"]) == (0.5, 0.8)
    sampled = found["sfl"]
    assert (sampled["candidates"], sampled["kept"], sampled["refresh"]) == (806, 101, 50)  # 800, 100, 50
    assert found["quality-diversity"]["initial"] == 512
    assert found["diayn"]["learning_seed"] == 2
    assert found["poet"]["path"].endswith("matrix-maze-poet-archive-2")
    assert found[PLAIN] == {"name": "random-mazes"}
    assert (found["adr"]["narrow_below"], found["adr"]["widen_above"]) == (0.05, 0.5)
    assert source_of(Cell("maze", "sfl", "maml", 0), Trials(100, 20))["candidates"] == 8  # and never none


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (("grid-navigation", PLAIN, "pearl"), "builtin/pearl .* needs continuous-actions"),
        (("point-navigation", "sfl", "rl2-gru"), "needs to know when an episode .* is solved"),
        (("point-navigation", "accel", "maml"), "needs a value function: MAML has none"),
        (("point-navigation", "random-rewards", "oracle"), "told the task's descriptor, 12 numbers .* and 2 here"),
    ],
)
def test_what_cannot_be_is_refused_by_its_plan(cell, said):
    with pytest.raises(UserError, match=f"{' '.join(cell)} is refused: .*{said}"):
        matrix.train(Cell(*cell, 0))


def test_what_can_be_is_not_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # skills that stand for DIAYN's are kept there
    assert refused(Cell("grid-navigation", "accel", "maml", 0)) is None
    assert refused(Cell("grid-navigation", "diayn", "rl2-gru", 0)) is None


def test_a_cell_is_named_in_full():
    assert matrix.named(["maze", "sfl", "maml", "3", "a=1"]) == Cell("maze", "sfl", "maml", 3, ("a=1",))
    assert Cell("maze", "sfl", "maml", 3, ("a=1",)).run.path.name == "matrix-tried-maze-sfl-maml-3"
    for words in (["maze", "sfl", "maml"], ["maze", "sfl", "mamba", "0"], ["maze", "sfl", "maml", "first"]):
        with pytest.raises(UserError):
            matrix.named(words)
    with pytest.raises(UserError, match="seed 5 is none of 0, 1, 2, 3, 4: nobody would record it"):
        matrix.named(["maze", "sfl", "maml", "5"])


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Writes the evaluation of a cell: returns [K, N] on both sets."""
    monkeypatch.setattr(matrix_cells, "RUNS", tmp_path)
    known = {tasks: {"random": [0.0, 0.0], "point-navigation-oracle": [5.0, 10.0]} for tasks in matrix.SETS}
    monkeypatch.setattr(matrix, "references", lambda world: known)

    def write(cell: Cell, returns, rounds: int = 0) -> None:
        cell.run.path.mkdir()
        told = {"tail": {"mean": 1.0}} | ({"rounds": {"mean": [0.0] * rounds}} if rounds else {})
        sets = {tasks: {"players": {cell.player: told}} for tasks in matrix.SETS}
        (cell.run.path / "evaluation.json").write_text(json.dumps({"steps": 7, "sets": sets}))
        arrays = {f"{tasks}/{cell.player}": np.asarray(returns, np.float64) for tasks in matrix.SETS}
        safetensors.numpy.save_file(arrays, cell.run.path / "evaluation.safetensors")

    return write


def test_players_that_learn_nothing_are_played_once_for_all_cells(tmp_path, monkeypatch):
    """Goals on the half circle, and half as far again: the oracle goes straight there."""
    monkeypatch.setattr(harness, "PROGRESS", tmp_path)
    monkeypatch.setitem(WORLDS, "point-navigation", replace(WORLDS["point-navigation"], judged=8))
    found = matrix.references("point-navigation")
    assert found.keys() == set(matrix.SETS)
    for returns in found.values():
        assert list(returns) == ["random", "point-navigation-oracle"]
        assert all(len(means) == 5 for means in returns.values())
        assert max(returns["random"]) < min(returns["point-navigation-oracle"])
    monkeypatch.setattr(matrix, "evaluate", None)  # nobody plays again
    assert matrix.references("point-navigation") == found


def test_figures_of_a_cell(ran):
    for seed, last in enumerate((4.0, 5.0, 6.0)):
        ran(Cell("point-navigation", PLAIN, "rl2-gru", seed), [[0.0, 2.0], [last - 1, last + 1]])
        ran(Cell("point-navigation", "accel", "rl2-gru", seed), [[0.0, 2.0], [last, last + 2]])
        ran(Cell("point-navigation", PLAIN, "maml", seed), [[0.0], [2.0], [3.0], [5.0]], rounds=2)
    found = {row["what"]: row for row in matrix.rows("point-navigation", matrix.finished())}
    who = "point-navigation, accel rl2-gru"
    assert found[f"{who}, beyond: return of episode 1"]["value"] == 1.0
    assert found[f"{who}, held-out: return of episode 2"]["value"] == 6.0
    assert found[f"{who}, held-out: share"]["value"] == pytest.approx(0.6)  # of the way from 0 to 10
    gain = found[f"{who}, held-out: gain"]
    assert (gain["value"], gain["low"], gain["met"]) == (1.0, 1.0, None)
    assert found[f"{who}, held-out: worst tenth of trials"]["value"] == 1.0
    assert found[f"{who}: environment steps"]["value"] == 7
    assert found["point-navigation, domain-randomization maml, held-out: return after 0 steps"]["value"] == 1.0
    assert found["point-navigation, domain-randomization maml, held-out: return after 1 steps"]["value"] == 4.0
    assert found["point-navigation, random, held-out: return of episode 2"]["value"] == 0.0
    assert not any(PLAIN in what and what.endswith("gain") for what in found)


def test_what_is_there_is_listed_and_recorded_with_what_is_refused(ran, tmp_path, monkeypatch):
    ran(Cell("point-navigation", PLAIN, "rl2-gru", 0), [[1.0, 2.0]])
    can = {f"{world} {PLAIN} {agent}" for world in ("point-navigation", "maze") for agent in ("rl2-gru", "maml")}
    known = {str(cell): "never" for cell in matrix_cells.cells() if str(cell) not in can}
    monkeypatch.setattr(matrix, "refusals", lambda: known)
    monkeypatch.setattr(matrix, "pace", lambda cell: (2.0, 1.0) if cell.agent == "maml" else (0.5, 0.5))
    monkeypatch.setattr(harness, "PROGRESS", tmp_path)
    lines = list(matrix.listing())
    assert lines[0] == "point-navigation: 1,000,000 steps a run, 1 runs there, 5 missing: 5.5 hours"  # 2 x 1 h, 3 x 3 h
    assert lines[2] == "maze: 1,000,000 steps a run, 0 runs there, 6 missing: 6.0 hours"
    assert lines[-1].startswith("11.5 hours of two cores are left, of 40;")
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    matrix.write()
    kept = json.loads((tmp_path / "results" / "matrix.json").read_text())
    assert kept["cells"]["point-navigation domain-randomization rl2-gru"] == [0]
    assert kept["cells"]["maze domain-randomization maml"] == []
    assert kept["cells"]["maze sfl maml"] == "never"
    page = matrix_page.tables([kept])
    assert "| domain-randomization | 0.15 | refused | refused | refused | refused | not run | refused |" in page


def test_missing_cells_come_seed_by_seed_and_more_of_what_is_not_told_apart(ran, monkeypatch):
    can = {"point-navigation domain-randomization rl2-gru", "point-navigation accel rl2-gru", "maze sfl maml"}
    known = {str(cell) for cell in matrix_cells.cells()} - can
    assert [(str(cell), cell.seed) for cell in matrix.missing(known)][:3] == [
        ("point-navigation domain-randomization rl2-gru", 0),
        ("point-navigation accel rl2-gru", 0),
        ("maze sfl maml", 0),
    ]
    for seed, apart in enumerate((1.0, 0.0, -1.0)):
        ran(Cell("point-navigation", PLAIN, "rl2-gru", seed), [[0.0, 1.0]])
        ran(Cell("point-navigation", "accel", "rl2-gru", seed), [[apart, 1.0 + apart]])
    left = [(str(cell), cell.seed) for cell in matrix.missing(known) if cell.world != "maze"]
    assert left == [(f"point-navigation {source} rl2-gru", seed) for seed in (3, 4) for source in (PLAIN, "accel")]


def test_the_page_by_hand():
    def row(cell, what, value, low=None, high=None, values=(1.0, 2.0, 3.0)):
        return {"what": f"{cell}: {what}", "value": value, "low": low, "high": high, "values": values}

    cells = {f"maze {source} {agent}": [0, 1, 2] for source in (PLAIN, "accel") for agent in ("a", "b", "c", "d")}
    cells |= {"maze sfl a": "no", "maze sfl b": "no", "maze sfl c": "why", "maze sfl d": []}
    rows = [
        row("maze, domain-randomization a, held-out", "return of episode 1", 3.0),
        row("maze, domain-randomization a, held-out", "share", 0.25, 0.125, 0.5),
        row("maze, accel a, held-out", "gain", 1.0, 0.5, 2.0),
        row("maze, accel b, held-out", "gain", -1.0, -2.0, -0.5),
        row("maze, accel c, held-out", "gain", 0.5, -0.5, 1.0),
        row("maze, accel d, held-out", "gain", 0.5, None, None, (1.0, 2.0)),
    ]
    for line in rows[2:]:
        rows = [*rows, {**line, "what": line["what"].replace("gain", "return of episode 1")}]
    page = matrix_page.tables([{"benchmark": "matrix", "cells": cells, "rows": rows}])
    assert "| domain-randomization | 0.25 [0.125, 0.5] | not run | not run | not run |" in page
    assert "| sfl | refused | refused | refused | not run |" in page
    claims = page.partition("## Held-out tasks: what helps whom")[2].partition("## Tasks beyond")[0]
    helps, hurts, unsure, few = (
        claims.split("It helps:")[1]
        .replace("It hurts:", "|")
        .replace("Could not be told apart:", "|")
        .replace("Too few seeds for an interval:", "|")
        .split("|")
    )
    assert helps.strip() == "- accel x a on maze: 1 [0.5, 2]"
    assert hurts.strip() == "- accel x b on maze: -1 [-2, -0.5]"
    assert unsure.strip() == "- accel x c on maze: 0.5 [-0.5, 1]"
    assert few.strip() == "- accel x d on maze: 0.5"
    assert "- maze, sfl x a, b: no" in page
    assert "- maze, sfl x c: why" in page
    assert matrix_page.tables([]) == "Not recorded yet: `python -m benchmarks.matrix`."
    uneven = {"maze x a": "no", "maze y b": "no"}
    assert list(matrix_page.told(uneven)) == ["maze, x x a, y x b: no"]
