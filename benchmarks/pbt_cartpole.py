"""PBT over the settings of evolution strategies, beside settings drawn at random and the shipped ones, over 5 seeds.

    python -m benchmarks.pbt_cartpole               half a minute a run on one thread, twenty runs
    python -m benchmarks.pbt_cartpole pbt 1         trains one of them alone, to be recorded by the above

A policy without memory learns to balance poles whose force, mass, length and gravity it is not told, in so few episodes
that the step size and the noise decide what it comes to. All members of all populations make as many updates from as
many episodes. A seed's populations of PBT and of random search begin with the same settings and the same weights; the
best member is the one that earned most when the population was last judged, on tasks that are not those held out.
Members that do better play longer episodes, so that steps differ where updates do not. The shipped settings, those of
the experiment `es-cartpole`, were chosen by hand on easier poles. Runs go to runs/benchmarks/pbt_cartpole-KIND-SEED and
are resumed where they stopped.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from agents.training.run import RunDirectory
from benchmarks.cartpole_adr import FULL
from benchmarks.harness import Row, ahead_row, record, row, seeds_row
from benchmarks.learning import inline, run_seed, trials

NAME, EXPERIMENT, SEEDS = "pbt_cartpole", "es-cartpole", (0, 1, 2, 3, 4)
ITERATIONS, MEMBERS, READY_EVERY = 40, 8, 5
NEVER = ITERATIONS + 1
REACH = {"learning_rate": (0.001, 1.0), "noise": (0.01, 1.0)}
"""Where settings are drawn from, uniformly in their logarithm; the shipped ones are 0.05 and 0.1."""
PLAYERS = ("random", "cartpole-oracle")


def _population(ready_every: int, reach: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    return {
        "name": "pbt",
        "explore": {name: {"low": low, "high": high, "logarithmic": True} for name, (low, high) in reach.items()},
        "population": MEMBERS,
        "ready_every": ready_every,
        "share": 0.25,
        "judged_tasks": 32,
        "judged_episodes": 1,
    }


KINDS: Mapping[str, dict[str, Any] | None] = {
    "pbt": _population(READY_EVERY, REACH),
    "random search": _population(NEVER, REACH),
    "shipped": _population(NEVER, {}),
    "one agent": None,
}
"""Runners by kind. Those of `shipped` differ by their seeds alone; one agent, with the shipped settings, has none."""
TITLES = {
    "pbt": f"PBT, {MEMBERS} members",
    "random search": f"random search, best of {MEMBERS} settings",
    "shipped": f"shipped settings, best of {MEMBERS} seeds",
    "one agent": "shipped settings, one agent",
}


def changes(kind: str) -> list[str]:
    """Overrides of the experiment."""
    vary = {name: {"kind": "uniform", "low": low, "high": high} for name, (low, high) in FULL.items()}
    source = {"name": "domain-randomization", "fixed": {"initial_range": 0.1}, "vary": vary}
    evaluation = {"tasks": 50, "final_tasks": 2000, "episodes": 1, "players": list(PLAYERS)}
    runner = KINDS[kind]
    return [
        f"family={inline({'name': 'cartpole', 'horizon': 200})}",
        f"source={inline(source)}",
        f"training={inline({'iterations': ITERATIONS, 'tasks': 2, 'episodes': 16, 'evaluate_every': 0})}",
        f"evaluation={inline(evaluation)}",
        *([] if runner is None else [f"runner={inline(runner)}"]),
    ]


class Finished:
    """What is read of a finished run."""

    def __init__(self, run: RunDirectory) -> None:
        self.returns = {player: trials(run, "held-out", player) for player in ("es", *PLAYERS)}
        """Returns [N] of an episode on each task, by player."""
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
        self.metrics: list[dict[str, float]] = [json.loads(line)["metrics"] for line in lines]
        self.judged: dict[str, Any] = json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1])


def _results(found: Mapping[str, Sequence[Finished]]) -> Iterator[Row]:
    for kind, runs in found.items():
        yield seeds_row(f"{TITLES[kind]}: held-out return", [run.returns["es"] for run in runs])
    for player in PLAYERS:
        returns = [run.returns[player] for run in found["pbt"]]
        yield seeds_row(f"player {player}: held-out return", returns)
    source = "Jaderberg et al. 2017: better than settings drawn at random, or by hand, that stay as they are"
    for other in ("random search", "shipped", "one agent"):
        ours, theirs = ([run.returns["es"] for run in found[kind]] for kind in ("pbt", other))
        yield ahead_row(f"PBT less {TITLES[other]}, per seed", ours, theirs, source)


def _populations(found: Mapping[str, Sequence[Finished]]) -> Iterator[Row]:
    for kind in ("pbt", "random search", "shipped"):
        medians = [run.metrics[-1]["pbt/median_return"] for run in found[kind]]
        yield seeds_row(f"{TITLES[kind]}: return of the median member when last judged", medians)
        curves = [[line["meta/trial_return"] for line in run.metrics] for run in found[kind]]
        on_the_way = [sum(curve) / len(curve) for curve in curves]
        yield seeds_row(f"{TITLES[kind]}: return of the best member when judged, mean over all updates", on_the_way)
    pairs = zip(found["pbt"], found["random search"], strict=True)
    medians = [one.metrics[-1]["pbt/median_return"] - two.metrics[-1]["pbt/median_return"] for one, two in pairs]
    yield seeds_row("median member, PBT less random search, per seed", medians)
    for kind in ("pbt", "random search"):
        for name in REACH:
            for seed, run in zip(SEEDS, found[kind], strict=True):
                yield row(f"{TITLES[kind]}: {name} of the best member, seed {seed}", run.metrics[-1][f"pbt/{name}"])


def _budget(found: Mapping[str, Sequence[Finished]]) -> Iterator[Row]:
    for kind, runs in found.items():
        yield seeds_row(f"{TITLES[kind]}: environment steps", [float(run.judged["steps"]) for run in runs])


def rows(found: Mapping[str, Sequence[Finished]]) -> list[Row]:
    """What the finished runs, by kind and in the order of the seeds, amount to."""
    return [*_results(found), *_populations(found), *_budget(found)]


def main(wanted: Sequence[str] = ()) -> None:
    """Train, evaluate, record; with a kind and a seed in `wanted`, train that run alone."""
    torch.set_num_threads(1)
    kinds, seeds = ([wanted[0]], [int(wanted[1])]) if wanted else (list(KINDS), SEEDS)
    found: dict[str, list[Finished]] = {}
    for seed in seeds:
        for kind in kinds:
            run = run_seed(f"{NAME}-{kind.replace(' ', '-')}", EXPERIMENT, seed, changes(kind))
            found.setdefault(kind, []).append(Finished(run))
    if not wanted:
        record(NAME, rows(found), seeds=SEEDS)


if __name__ == "__main__":
    main(sys.argv[1:])
