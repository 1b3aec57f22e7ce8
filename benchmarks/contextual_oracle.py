"""`ppo` as the contextual oracle on point-navigation and grid-navigation: 3 seeds beside random play and the optimum.

    python -m benchmarks.contextual_oracle        about twenty minutes on one thread

First the shipped experiments, whose tasks are drawn without end. Then a fixed set of training goals and goals that are
none of them, with the task told as its descriptor and as its one-hot training number: the number cannot help on a goal
that was never trained on. Returns are sums of rewards whose zero means nothing, so a player's share is taken of the way
from random play to the optimum, (return - random) / (optimum - random); the plain ratio stands beside it.

Runs go to runs/benchmarks/contextual_oracle-* and are resumed where they stopped.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from agents.statistics import mean_interval
from benchmarks.harness import Row, record, row
from benchmarks.learning import RUNS, run_seed
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence
from taskgen.taskset import write_tasks

SEEDS = (0, 1, 2)
EXPERIMENTS = {"point-navigation": "ppo-navigation", "grid-navigation": "ppo-grid"}
OPTIMUM = {"point-navigation": -0.506, "grid-navigation": 930 / 21}
"""Mean return of a trial: of one episode, or of four."""
SPLIT = {"point-navigation": (50, 200), "grid-navigation": (14, 7)}
"""Goals to train on, and goals held out."""
ISSUE = "95% of the exact optimum"


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for family in EXPERIMENTS:
        rows += _endless(family)
        rows += _fixed(family)
    record("contextual_oracle", rows, seeds=SEEDS)


def _endless(family: str) -> Iterator[Row]:
    """The shipped experiment, beside its players."""
    experiment = EXPERIMENTS[family]
    runs = [run_seed(f"contextual_oracle-{experiment}", experiment, seed, ()) for seed in SEEDS]
    sets = [_players(run.path) for run in runs]
    oracle = f"{family}-oracle"
    for player, target in (("ppo", None), (oracle, OPTIMUM[family]), ("random", None)):
        returns = mean_interval([found["held-out"][player] for found in sets])
        yield row(f"{family}, {player}: mean trial return", *returns, target=target, source="exact")
    shares = [_share(found["held-out"], oracle) for found in sets]
    yield row(f"{family}, ppo: share of the optimum", *mean_interval(shares), target=">= 0.95", source=ISSUE)
    ratios = [_ratio(found["held-out"], oracle) for found in sets]
    yield row(f"{family}, ppo: plain ratio of return and optimum, at most 1", *mean_interval(ratios))
    last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in runs]
    yield row(f"{family}, ppo: seconds of training, one thread", *mean_interval([line["seconds"] for line in last]))
    yield row(f"{family}, ppo: environment steps", *mean_interval([line["steps"] for line in last]))


def _fixed(family: str) -> Iterator[Row]:
    """Few training goals: what the descriptor and the training number are worth on them and on others."""
    tasks = build_family(family)
    training, held_out = _split(tasks, *SPLIT[family])
    RUNS.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for name, specs in (("training", training), ("held-out", held_out)):
        paths[name] = RUNS / f"contextual_oracle-{family}-{name}.jsonl"
        write_tasks(paths[name], specs, overwrite=True)
    source = {name: f'{{name = "task-set", path = "{path}"}}' for name, path in paths.items()}
    for context, target in (("descriptor", None), ("one-hot", "<= 0.5")):
        overrides = (
            f"agent.context={context}",
            f"source={source['training']}",
            f"evaluation.source={source['held-out']}",
            f"evaluation.out_of_distribution.training={source['training']}",
            "evaluation.final_tasks=1400",
            "training.evaluate_every=0",
        )
        name = f"contextual_oracle-{family}-{context}"
        sets = [_players(run_seed(name, EXPERIMENTS[family], seed, overrides).path) for seed in SEEDS]
        for goals, count, wanted in (
            ("training", len(training), ">= 0.95"),
            ("held-out", len(held_out), target),
        ):
            shares = [_share(found[goals], f"{family}-oracle") for found in sets]
            what = f"{family}, ppo told the {_TOLD[context]} of {len(training)} goals: share of the optimum on "
            yield row(f"{what}{count} {goals} goals", *mean_interval(shares), target=wanted, source=ISSUE)


_TOLD = {"descriptor": "descriptor", "one-hot": "one-hot number"}


def _split(tasks: TaskFamily[Any], training: int, held_out: int) -> tuple[list[TaskSpec], list[TaskSpec]]:
    """Tasks with different goals, in the order in which domain randomisation draws them."""
    source = build_source(Part(name="domain-randomization"), tasks, seed_sequence(0, "contextual_oracle"))
    goals: dict[str, TaskSpec] = {}
    while len(goals) < training + held_out:
        (spec,) = source.ask(1)
        goals.setdefault(json.dumps(spec.context["goal"]), spec)
    specs = list(goals.values())
    return specs[:training], specs[training:]


def _players(path: Path) -> dict[str, dict[str, float]]:
    """Set -> player -> mean trial return."""
    sets = json.loads((path / "evaluation.json").read_text())["sets"]
    return {
        name: {player: figures["trial"]["mean"] for player, figures in found["players"].items()}
        for name, found in sets.items()
    }


def _share(returns: dict[str, float], oracle: str) -> float:
    return (returns["ppo"] - returns["random"]) / (returns[oracle] - returns["random"])


def _ratio(returns: dict[str, float], oracle: str) -> float:
    """Which of the two is the larger depends on their sign."""
    smaller, larger = sorted((abs(returns["ppo"]), abs(returns[oracle])))
    return smaller / larger


if __name__ == "__main__":
    main()
