"""Evolved losses: whether one teaches faster than PPO, and than a loss that has not evolved.

    python -m benchmarks.epg               all runs that are not there yet, then the record
    python -m benchmarks.epg point 1       one of the runs alone, to be recorded by the first

The experiment `epg-navigation` on goals in all directions of a half circle (`point`, five minutes of one thread a run),
and the half-cheetah that is to run forwards or backwards (`cheetah`). Beside the evolved loss, on the same held-out
tasks with as many gradient steps: PPO's surrogate from scratch, and a random loss of the same shape. Judged by the
return of a life's last round. Runs go to runs/benchmarks/epg-KIND-SEED and are resumed where they stopped.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from agents.evaluation.play import play
from agents.training.experiment import build_parts
from agents.training.judge import evaluation_sets, player_label
from agents.training.run import RunDirectory
from benchmarks.harness import Row, ahead_row, record, seeds_row
from benchmarks.learning import played, run_seed
from taskgen.interaction.build import build_agent

NAME, EXPERIMENT, SEEDS = "epg", "epg-navigation", (0, 1, 2)
KINDS: Mapping[str, Sequence[str]] = {
    "point": (),
    "cheetah": (
        'family={name = "half-cheetah", task = "direction", horizon = 100}',
        "agent.pairs=16",
        "training.iterations=300",
        "training.episodes=16",
        "evaluation.same_tasks=true",
        "evaluation.out_of_distribution={}",
        'evaluation.players=["random", {name = "ppo-from-scratch", hidden = [16], discount = 0.9}]',
    ),
}
"""Overrides of the experiment, by kind. Of directions of the half-cheetah there are two: the same tasks, new luck."""
TITLES = {"point": "goals on a half circle", "cheetah": "half-cheetah, forwards or backwards"}


def last_round(returns: NDArray[np.float64], rounds: int) -> NDArray[np.float64]:
    """[N] mean return of an episode in the last round of [K, N] episodes."""
    return returns[-(len(returns) // rounds) :].mean(0)


def random_loss(run: RunDirectory, tasks: str) -> NDArray[np.float64]:
    """[K, N] returns by a loss that has not evolved, of the run's own shape and first seed."""
    experiment = run.open().config
    parts = build_parts(experiment)
    agent = build_agent(experiment.agent, parts.problem)
    specs = evaluation_sets(experiment, parts.family)[tasks]
    return np.asarray(play(agent, parts.family, specs, parts.problem.episodes), dtype=np.float64)


def learned(kind: str, runs: Sequence[RunDirectory]) -> Iterator[Row]:
    """What the runs of a kind amount to."""
    config = runs[0].open().config
    beside = next(player_label(part) for part in config.evaluation.players if part.name.endswith("ppo-from-scratch"))
    sets = ["held-out", *config.evaluation.out_of_distribution]
    rounds = build_agent(config.agent, build_parts(config).problem).plan(config.training.episodes).rounds
    for tasks in sets:
        title = f"{TITLES[kind]}, {tasks} tasks"
        ours = [last_round(played(run, tasks, NAME), rounds) for run in runs]
        theirs = [last_round(played(run, tasks, beside), rounds) for run in runs]
        chance = [last_round(random_loss(run, tasks), rounds) for run in runs]
        yield seeds_row(f"{title}: evolved loss, return of the last round", ours)
        yield seeds_row(f"{title}: PPO from scratch", theirs)
        yield seeds_row(f"{title}: random loss", chance)
        yield ahead_row(
            f"{title}: evolved less random loss, per seed", ours, chance, "Houthooft et al. 2018, section 4"
        )
        yield ahead_row(f"{title}: evolved loss less PPO, per seed", ours, theirs, "Houthooft et al. 2018, section 4")


def main(wanted: Sequence[str] = ()) -> None:
    """Train, evaluate, record; with a kind and a seed in `wanted`, train that run alone."""
    torch.set_num_threads(1)
    if wanted:
        run_seed(f"{NAME}-{wanted[0]}", EXPERIMENT, int(wanted[1]), KINDS[wanted[0]])
        return
    rows: list[Row] = []
    for kind, changes in KINDS.items():
        rows += learned(kind, [run_seed(f"{NAME}-{kind}", EXPERIMENT, seed, changes) for seed in SEEDS])
    record(NAME, rows, seeds=SEEDS)


if __name__ == "__main__":
    main(sys.argv[1:])
