"""Cores of RL^2 on bandits of 10 and 100 pulls and on tabular MDPs, judged on trials four times as long as trained.

    python -m benchmarks.cores                            what is missing, then the record
    python -m benchmarks.cores --train gru/bandit-10/0    these runs alone, each by itself; resumed where they stopped
    python -m benchmarks.cores --record                   of what is there, if every seed of it is; the rest stays

Trained on trials of K episodes, judged on trials of 4 K of which the returns of the first K, 2 K and 4 K are given. The
settings are those of the shipped experiments, the same for all cores, but that what has a window gets one for 4 K
episodes. Steps per second count collecting and learning; bytes are those that a trial carries at its end. Runs go to
runs/benchmarks/cores-CORE-WORLD-SEED.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from agents.evaluation.carry import carry_size
from agents.training.experiment import build_parts
from agents.training.run import RunDirectory
from benchmarks.harness import Row, Target, record, row, seeds_row, together
from benchmarks.learning import RUNS, inline, played, run_seed

NAME, SEEDS = "cores", (0, 1, 2)


class World(NamedTuple):
    """What is learned."""

    experiment: str
    overrides: Sequence[str]
    episodes: int
    """K."""
    steps: int
    """Of an episode."""
    players: Sequence[str]
    targets: Mapping[str, tuple[Target, str]]
    """By core: of the return of K episodes."""
    aim: str = ""
    """A row for the best core."""


_OPTIMUM = "Bayes-optimal play: 6.66; Thompson sampling: 5.8"
_TABULAR = "SNAIL's paper (Mishra et al. 2018): 159.1; our fast weights: 156.2"
_HUNDRED = "our GRU without a curriculum: 73.6 to 77; near-optimal index play: 78.6"
WORLDS = {
    "bandit-10": World(
        "rl2-bandit",
        (),
        10,
        1,
        ("random", "thompson", "bandit-oracle"),
        dict.fromkeys(("snail", "transformer", "linear-recurrence"), (">= 6.62", _OPTIMUM)),
    ),
    "bandit-100": World(
        "rl2-bandit-horizon",
        (
            "source=domain-randomization",
            "training.iterations=1300",
            "training.evaluate_every=260",
            "evaluation.final_tasks=2000",
        ),
        100,
        1,
        ("random", "thompson", "bandit-oracle"),
        {},
        ">= 77",
    ),
    "tabular": World(
        "rl2-tabular",
        ("evaluation.final_tasks=2000",),
        10,
        10,
        ("random", "psrl", "tabular-oracle"),
        dict.fromkeys(("snail", "transformer"), (">= 156.3", _TABULAR)),
    ),
}
CORES = ("gru", "lstm", "fast-weights", "linear-recurrence", "transformer", "snail", "memoryless")
WINDOWED = ("transformer", "snail")
HORIZONS = (1, 2, 4)
"""Multiples of K."""


def overrides(core: str, world: World) -> list[str]:
    """What the run changes in the experiment."""
    longest = max(HORIZONS) * world.episodes
    network = {"name": core, **({"window": longest * world.steps} if core in WINDOWED else {})}
    players = list(world.players) if core == CORES[0] else ["random"]  # the same tasks for all
    return [
        *world.overrides,
        f"agent.network={inline(network)}",
        f"evaluation.episodes={longest}",
        f"evaluation.players={json.dumps(players)}",
        "evaluation.tail=0",
    ]


def path_of(core: str, world: str, seed: int) -> RunDirectory:
    """Where a run is."""
    return RunDirectory(RUNS / f"{NAME}-{core}-{world}-{seed}")


def run(core: str, world: str, seed: int) -> RunDirectory:
    """The finished run."""
    return run_seed(f"{NAME}-{core}-{world}", WORLDS[world].experiment, seed, overrides(core, WORLDS[world]))


def whole(core: str, world: str) -> bool:
    """Whether all seeds are there, trained and judged."""
    return all((path_of(core, world, seed).path / "evaluation.json").is_file() for seed in SEEDS)


def speed(run: RunDirectory) -> float:
    """Median steps per second, collecting and learning."""
    lines = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return float(np.median([line["charts/SPS"] for line in lines]))


def carry_bytes(run: RunDirectory, episodes: int) -> int:
    """What a trial of so many episodes carries at its end."""
    parts = build_parts(run.open().config)
    return carry_size(parts.player, parts.family, episodes)


def rows_of(world: str) -> Iterator[Row]:
    """Of the cores that are whole."""
    setting = WORLDS[world]
    for core in CORES:
        if not whole(core, world):
            continue
        runs = [path_of(core, world, seed) for seed in SEEDS]
        returns = [played(run, "held-out", "rl2") for run in runs]
        for times in HORIZONS:
            episodes = times * setting.episodes
            target, source = setting.targets.get(core, (None, "")) if times == 1 else (None, "")
            what = f"{world}, {core}: return of {episodes} episodes"
            yield seeds_row(what, [one[:episodes].sum(0) for one in returns], target, source)
        yield seeds_row(f"{world}, {core}: steps per second, one thread", [speed(run) for run in runs])
        what = f"{world}, {core}: bytes of carry after {setting.episodes} episodes"
        yield row(what, carry_bytes(runs[0], setting.episodes))
    if whole(CORES[0], world):
        for player in setting.players:
            runs = [path_of(CORES[0], world, seed) for seed in SEEDS]
            for times in HORIZONS:
                episodes = times * setting.episodes
                returns = [played(run, "held-out", player)[:episodes].sum(0) for run in runs]
                yield seeds_row(f"{world}, {player}: return of {episodes} episodes", returns)


def part_of(what: str) -> str:
    """World and core of a row."""
    return what.partition(":")[0]


def best(world: str, rows: Sequence[Row]) -> Iterator[Row]:
    """The best of the cores that are recorded, where one is wanted."""
    setting = WORLDS[world]
    names = {f"{world}, {core}: return of {setting.episodes} episodes": core for core in CORES}
    found = [row for row in rows if row["what"] in names]
    if found and setting.aim:
        highest = max(found, key=lambda row: row["value"])
        what = f"{world}, the best core: return of {setting.episodes} episodes ({names[highest['what']]})"
        yield seeds_row(what, highest["values"], setting.aim, _HUNDRED)


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate, record."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--train", nargs="+", metavar="CORE/WORLD/SEED", help="these runs alone; record nothing")
    parser.add_argument("--record", action="store_true", help="train nothing; record what is whole")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    every = [f"{core}/{world}/{seed}" for world in WORLDS for core in CORES for seed in SEEDS]
    for name in [] if given.record else given.train or every:
        core, world, seed = name.split("/")
        run(core, world, int(seed))
    if not given.train:
        found = [row for world in WORLDS for row in rows_of(world)]
        every = together(NAME, found, part_of)
        record(NAME, [*found, *(row for world in WORLDS for row in best(world, every))], SEEDS, part_of=part_of)


if __name__ == "__main__":
    main()
