"""Which generated distribution trains agents that adapt best? Nine sources of tasks, seven agents, six worlds.

    python -m benchmarks.matrix                            what is there, missing and refused; the hours that are left
    python -m benchmarks.matrix WORLD SOURCE AGENT SEED    trains and judges one cell, or goes on with it
    python -m benchmarks.matrix --missing                  names missing cells, a line each, for
                                                           | xargs -P 2 -L 1 python -m benchmarks.matrix
    python -m benchmarks.matrix --record                   records the cells that are there, for docs/matrix.md

Within a world all cells train for the same number of environment steps, those that a source scores tasks by among them,
and are judged on the same tasks, drawn by hand: held-out ones, and others beyond their ranges. What POET evolves and
DIAYN learns before comes on top. A cell that cannot be is found by planning it; what is said then is its refusal. A
cell has three seeds, five where that does not tell it apart from domain randomisation. By steps no end of training is
planned, so that learning rates and entropy bonuses stay as they begin, for all alike.

Agents have the settings of shipped experiments, those of the world itself or else of its nearest kin, see
`matrix_cells`; `oracle` is ppo that is told the task's descriptor. Sources have those of the shipped maze experiments,
in parts of all trials of a run (`matrix_cells.Trials`). Runs go to runs/benchmarks/matrix-*. What follows a cell
changes its settings, in a run of another name: `training.steps=2000`.
"""

import argparse
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from agents.evaluation.play import evaluate
from agents.sweeps.outlook import outlook
from agents.training.experiment import build_parts, load_experiment
from agents.training.judge import evaluation_sets, reference_players
from benchmarks.harness import Resume, Row, ahead_row, record, row, seeds_row, source_commit
from benchmarks.learning import run_seed, train_seed
from benchmarks.matrix_cells import (
    AGENTS,
    BEYOND,
    HELD_OUT,
    NAME,
    SOURCES,
    WORLDS,
    Cell,
    cells,
    evolution,
    planned,
    refused,
    settings,
)
from benchmarks.matrix_page import PLAIN, told
from registry.errors import UserError

SEEDS, MORE = (0, 1, 2), (3, 4)
"""Of every cell; of those that are not told apart besides."""
HOURS = 40
"""Of two cores, for all."""
SETS = (HELD_OUT, BEYOND)


def refusals() -> dict[str, str]:
    """Why cells cannot be, by world, source and agent: planned once for the present commit."""
    known = Resume(f"{NAME}_plans", {"commit": source_commit()})
    found = {str(cell): known.part(str(cell), partial(refused, cell)) for cell in cells()}
    return {cell: reason for cell, reason in found.items() if reason}


def train(cell: Cell) -> None:
    """Train a cell to its end and judge it; where its tasks are POET's, evolve these before.

    Raises `UserError` for one that cannot be.
    """
    if reason := refused(cell):
        raise UserError(f"{cell} is refused: {reason}")
    if cell.source == "poet":
        experiment, changes = evolution(cell)
        train_seed(cell.archive.name, experiment, cell.seed, changes)
    experiment, changes = settings(cell)
    run_seed(cell.name, experiment, cell.seed, changes)


def finished() -> dict[str, list[Cell]]:
    """The cells that are trained and judged, by world, source and agent, a seed each."""
    found: dict[str, list[Cell]] = {}
    for cell in cells((*SEEDS, *MORE)):
        if cell.there:
            found.setdefault(str(cell), []).append(cell)
    return found


def missing(known: Container[str]) -> Iterator[Cell]:
    """Cells that are not trained, but for those refused: three seeds, and more of what these do not tell apart."""
    there = finished()
    wanted = [cell for cell in cells(SEEDS) if str(cell) not in known]
    unsure = {
        str(each)
        for cell in wanted[: len(wanted) // len(SEEDS)]
        for each in (cell, cell._replace(source=PLAIN))
        if cell.source != PLAIN and (gain := gained(cell, SETS[0], there)) and _unsure(gain)
    }
    wanted += [cell for cell in cells(MORE) if str(cell) in unsure]
    return (cell for cell in wanted if not cell.there)


def gained(cell: Cell, tasks: str, there: Mapping[str, Sequence[Cell]]) -> Row | None:
    """By how much the last episode returns more than that of the same agent of tasks drawn by hand, seed by seed."""
    plain = {other.seed: other for other in there.get(str(cell._replace(source=PLAIN)), ())}
    pairs = [
        (one.course(tasks)[-1], plain[one.seed].course(tasks)[-1])
        for one in there.get(str(cell), ())
        if one.seed in plain
    ]
    if not pairs:
        return None
    values, others = zip(*pairs, strict=True)
    return ahead_row(f"{cell.world}, {cell.source} {cell.agent}, {tasks}: gain", values, others, claim=False)


def _unsure(gain: Row) -> bool:
    return gain["low"] is not None and len(gain["values"]) == len(SEEDS) and gain["low"] <= 0 <= gain["high"]


def pace(cell: Cell) -> tuple[float, float]:
    """Hours that a cell trains and is judged, by a few iterations of its agent on tasks drawn by hand."""
    tried = cell._replace(source=PLAIN)
    probe = outlook(planned(tried, *settings(tried)), probe=True).probe
    assert probe is not None
    assert probe.evaluations is not None
    return probe.training / 3600, probe.evaluations / 3600


def references(world: str) -> dict[str, dict[str, list[float]]]:
    """Mean returns by episode of a world's players that learn nothing, by set and name: played once for all cells."""
    here = WORLDS[world]
    experiment, changes = settings(Cell(world, PLAIN, "rl2-gru", 0))

    def measure() -> dict[str, dict[str, list[float]]]:
        given = [*changes, f"evaluation.players={json.dumps(list(here.players))}"]
        config = load_experiment(experiment, given).config
        parts = build_parts(config)
        found: dict[str, dict[str, list[float]]] = {}
        for name, specs in evaluation_sets(config, parts.family).items():
            players, _ = reference_players(config, parts.problem, specs)
            summaries, _ = evaluate(players, parts.family, specs, here.episodes)
            found[name] = {who: summary["returns"]["mean"] for who, summary in summaries.items()}
        return found

    return Resume(f"{NAME}_players", {"settings": changes}, share=world).part(world, measure)


def rows(world: str, there: Mapping[str, Sequence[Cell]]) -> Iterator[Row]:
    """The figures of a world: players that learn nothing, then every cell of which a seed is there."""
    known, *_, knows = references(world), *WORLDS[world].players
    best = {tasks: known[tasks].get(knows, [])[-1:] if knows != "random" else [] for tasks in SETS}
    oracle = there.get(str(Cell(world, PLAIN, "oracle", 0)), ())
    for tasks in SETS:
        for who, means in known[tasks].items():
            yield from (row(f"{world}, {who}, {tasks}: return of episode {n}", mean) for n, mean in enumerate(means, 1))
        if not best[tasks] and oracle:  # where no player knows the task, ppo does that was told it
            best[tasks] = [float(np.mean([cell.course(tasks)[-1].mean() for cell in oracle]))]
    for found in there.values():
        if found[0].world != world:
            continue
        who, first = f"{world}, {found[0].source} {found[0].agent}", 0 if found[0].agent == "maml" else 1
        for tasks in SETS:
            by_seed = [cell.course(tasks) for cell in found]
            for n, values in enumerate(zip(*by_seed, strict=True), first):
                when = f"of episode {n}" if first else f"after {n} steps"
                yield seeds_row(f"{who}, {tasks}: return {when}", values)
            worst = [cell.summary()["sets"][tasks]["players"][cell.player].get("tail") for cell in found]
            if all(worst):
                yield seeds_row(f"{who}, {tasks}: worst tenth of trials", [tail["mean"] for tail in worst if tail])
            for optimum in best[tasks]:
                floor = known[tasks]["random"][-1]
                shares = [(float(course[-1].mean()) - floor) / (optimum - floor) for course in by_seed]
                yield seeds_row(f"{who}, {tasks}: share", shares)
            if found[0].source != PLAIN and (gain := gained(found[0], tasks, there)):
                yield gain
        yield seeds_row(f"{who}: environment steps", [cell.summary()["steps"] for cell in found])


def listing() -> Iterator[str]:
    """What is there, missing and refused, and the hours of two cores that are left; agents are tried for these."""
    known, there = refusals(), finished()
    left, hours = list(missing(known)), 0.0
    paces = Resume(f"{NAME}_pace", {world: setting.steps for world, setting in WORLDS.items()})
    for world, setting in WORLDS.items():
        runs = sum(len(found) for key, found in there.items() if key.startswith(f"{world} "))
        here = [cell for cell in left if cell.world == world]
        took = sum(sum(paces.part(f"{world} {cell.agent}", partial(pace, cell))) for cell in here) / 2
        yield f"{world}: {setting.steps:,} steps a run, {runs} runs there, {len(here)} missing: {took:.1f} hours"
        hours += took
    yield from told(known)
    yield f"{hours:.1f} hours of two cores are left, of {HOURS}; POET and DIAYN take more before"


def write() -> None:
    """Record the cells that are there."""
    known, there = refusals(), finished()
    found = [
        line for world in WORLDS if any(key.startswith(f"{world} ") for key in there) for line in rows(world, there)
    ]
    standing = {str(cell): known.get(str(cell), [one.seed for one in there.get(str(cell), ())]) for cell in cells()}
    record(NAME, found, (*SEEDS, *MORE), cells=standing)


def named(words: Sequence[str]) -> Cell:
    """The cell that the command line names. Raises `UserError` for one that there is not."""
    if len(words) < 4 or not words[3].isdigit():
        raise UserError(f"{' '.join(words)}: a cell is WORLD SOURCE AGENT SEED")
    for word, known in zip(words, (WORLDS, SOURCES, AGENTS), strict=False):
        if word not in known:
            raise UserError(f"{word!r} is none of {', '.join(known)}")
    world, source, agent, seed, *changes = words
    if int(seed) not in (*SEEDS, *MORE):
        raise UserError(f"seed {seed} is none of {', '.join(map(str, (*SEEDS, *MORE)))}: nobody would record it")
    return Cell(world, source, agent, int(seed), tuple(changes))


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("cell", nargs="*", metavar="WORLD SOURCE AGENT SEED [KEY=VALUE]", help="train and judge it")
    parser.add_argument("--missing", action="store_true", help="name the cells that are missing, a line each")
    parser.add_argument("--record", action="store_true", help="record the cells that are there")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if given.cell:
            train(named(given.cell))
        elif given.missing:
            print(*(f"{cell} {cell.seed}" for cell in missing(refusals())), sep="\n")
        elif given.record:
            write()
        else:
            for line in listing():
                print(line, flush=True)
    except UserError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
