"""RL^2 on other people's environments: ahead of random within ten minutes of two quiet cores each, three seeds.

    python -m benchmarks.environments                          what is missing, then the record
    python -m benchmarks.environments Acrobot                  this alone; what is recorded of the others stays
    python -m benchmarks.environments Acrobot 0 2              these seeds, without the record; several side by side
    python -m benchmarks.environments walker                   what Gymnasium's heuristic walker earns on flat ground
    python -m benchmarks.environments Hill 0 --iterations 2    a trial run

Each is a family by what docs/bring-your-environment.md says, with no line of code but the class `Hill` of that page:
LunarLander and Acrobot by their numbers, DoorKey by its levels, PointMaze by a goal that is not shown and has to be
found, in trials of two episodes. Runs go to runs/benchmarks/environments-NAME-SEED and are resumed where they stopped.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

import benchmarks.hill  # noqa: F401 - tasks name classes of modules that are imported
from agents.evaluation.play import play
from agents.evaluation.statistics import mean_interval
from agents.training.run import RunDirectory
from benchmarks.harness import Row, ahead_row, record, row, seeds_row
from benchmarks.learning import curves, inline, run_seed, trials
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of

NAME, SEEDS = "environments", (0, 1, 2)
MINUTES = 10
WALKER, WALKS = "bipedal-heuristic", 100
WORLDS: Mapping[str, Mapping[str, Any]] = {
    "LunarLander": {
        "family.id": "LunarLander-v3",
        "family.knobs": {"gravity": {"low": -11.9, "high": -4.0}},
        "family.horizon": 200,
        "training.iterations": 150,
    },
    "Acrobot": {
        "family.id": "Acrobot-v1",
        "family.knobs": {  # light links swing up by chance, now and then
            "length": {"low": 0.5, "high": 1.0, "to": "attribute.LINK_LENGTH_1"},
            "upper": {"low": 0.5, "high": 1.0, "to": "attribute.LINK_MASS_1"},
            "lower": {"low": 0.5, "high": 1.0, "to": "attribute.LINK_MASS_2"},
        },
        "family.horizon": 500,
        "training.iterations": 60,
    },
    "DoorKey": {
        "family.id": "MiniGrid-DoorKey-5x5-v0",
        "family.knobs": {},
        "family.levels": True,
        "family.leave_out": ["mission"],
        "family.horizon": 150,
        "training.iterations": 200,
    },
    "PointMaze": {
        "family.id": "PointMaze_UMaze-v3",
        "family.kwargs": {"reward_type": "dense"},
        "family.knobs": {},
        "family.levels": True,
        "family.leave_out": ["desired_goal"],
        "family.horizon": 100,
        "training.iterations": 150,
    },
    "Hill": {
        "family.id": "benchmarks.hill:Hill",
        "family.knobs": {"slope": {"low": 0.0, "high": 0.9}},
        "family.horizon": 20,
        "training.iterations": 150,
    },
}
"""Name -> what an experiment says of it."""
SHARED: Mapping[str, Any] = {
    "family.workers": 2,
    "training.tasks": 32,
    "training.episodes": 2,
    "training.evaluate_every": 0,
    "agent.network": {"name": "gru", "hidden_size": 64},
    "agent.learning_rate": 0.001,
    "agent.trace": 0.95,
    "agent.value_centre": "trial",
    "agent.gradient_steps": 50,
    "evaluation.players": ["random"],
    "evaluation.final_tasks": 100,
}


def trained(name: str, seed: int, iterations: int = 0) -> RunDirectory:
    """The run of one environment and seed, judged beside random."""
    settings = {**SHARED, **WORLDS[name], **({"training.iterations": iterations} if iterations else {})}
    overrides = [f"{key}={inline(value)}" for key, value in settings.items()]
    part = f"{NAME}-{name}{f'-{iterations}' if iterations else ''}"
    return run_seed(part, "rl2-gymnasium", seed, overrides)


def rows_of(name: str) -> tuple[list[Row], list[RunDirectory]]:
    """What three seeds of one environment earned, and how long they learned."""
    runs = [trained(name, seed) for seed in SEEDS]
    learned, random = ([trials(run, "held-out", player) for run in runs] for player in ("rl2", "random"))
    last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in runs]
    rows = [
        ahead_row(f"{name}: rl2 ahead of random, trial return", learned, random),
        seeds_row(f"{name}: rl2, trial return", learned),
        seeds_row(f"{name}: random, trial return", random),
        seeds_row(
            f"{name}: seconds of training, two cores",
            [line["seconds"] for line in last],
            f"<= {60 * MINUTES}",
            "budget",
        ),
    ]
    return rows, runs


def walks(count: int) -> list[float]:
    """What the heuristic earns on flat ground in so many walks, which differ by the push at the start."""
    family = build_family("bipedal-walker")
    specs = [family.spec(seed=seed) for seed in range(count)]
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"))
    return play(build_agent(Part(name=WALKER), problem), family, specs, 1)[0].tolist()


def walker() -> Row:
    """The interval is over walks."""
    return row(f"{WALKER}: return of a walk on flat ground", *mean_interval(walks(WALKS)))


def part_of(what: str) -> str:
    """The environment of a row."""
    return what.partition(":")[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, judge, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=[*WORLDS, "walker"], help="this alone")
    parser.add_argument("seeds", nargs="*", type=int, help="of one environment")
    parser.add_argument("--iterations", type=int, default=0, help="of training, in place of the environment's own")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for seed in given.seeds:
        run = trained(given.name, seed, given.iterations)
        learned, random = (trials(run, "held-out", player).mean() for player in ("rl2", "random"))
        print(f"{given.name}, seed {seed}: rl2 {learned:.2f}, random {random:.2f}", flush=True)
    if given.seeds or given.iterations:
        return
    measured = [rows_of(name) for name in WORLDS if given.name in (None, name)]
    rows = [line for found, _ in measured for line in found]
    rows += [walker()] if given.name in (None, "walker") else []
    for line in rows:
        print(f"{line['what']}: {line['value']:.2f} [{line['low']}, {line['high']}]")
    kept = curves(run for _, runs in measured for run in runs)
    record(NAME, rows, SEEDS, curves=kept, part_of=part_of)


if __name__ == "__main__":
    main()
