"""Contextual oracles ppo and sac on point-navigation and grid-navigation, beside random play and the optimum.

    python -m benchmarks.contextual_oracle        about twenty minutes on one thread, three seeds

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

from benchmarks.harness import Row, record, seeds_row
from benchmarks.learning import RUNS, run_seed, trials
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.family import TaskFamily
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence
from taskgen.taskset import write_tasks

SEEDS = (0, 1, 2)
EXPERIMENTS = {
    "ppo-navigation": "point-navigation",
    "sac-navigation": "point-navigation",
    "ppo-grid": "grid-navigation",
}
OPTIMUM = {"point-navigation": -0.506, "grid-navigation": 930 / 21}
"""Mean return of a trial: of one episode, or of four."""
SPLIT = {"point-navigation": (50, 200), "grid-navigation": (14, 7)}
"""Goals to train on, and goals held out."""
ISSUE = "95% of the exact optimum"


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for experiment, family in EXPERIMENTS.items():
        rows += _endless(experiment, family)
    for experiment in ("ppo-navigation", "ppo-grid"):
        rows += _fixed(experiment, EXPERIMENTS[experiment])
    record("contextual_oracle", rows, seeds=SEEDS)


def _endless(experiment: str, family: str) -> Iterator[Row]:
    """A shipped experiment, beside its players."""
    runs = [run_seed(f"contextual_oracle-{experiment}", experiment, seed, ()) for seed in SEEDS]
    sets = [_players(run.path)["held-out"] for run in runs]
    agent, oracle = experiment.partition("-")[0], f"{family}-oracle"
    for player, target in ((agent, None), (oracle, OPTIMUM[family]), ("random", None)):
        returns = [trials(run, "held-out", player) for run in runs]
        yield seeds_row(f"{experiment}, {player}: mean trial return", returns, target, "exact")
    shares = [_share(found, agent, oracle) for found in sets]
    yield seeds_row(f"{experiment}, {agent}: share of the optimum", shares, ">= 0.95", ISSUE)
    ratios = [_ratio(found, agent, oracle) for found in sets]
    yield seeds_row(f"{experiment}, {agent}: plain ratio of return and optimum, at most 1", ratios)
    last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in runs]
    for what, key in (("seconds of training, one thread", "seconds"), ("environment steps", "steps")):
        yield seeds_row(f"{experiment}, {agent}: {what}", [line[key] for line in last])


def _fixed(experiment: str, family: str) -> Iterator[Row]:
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
            "evaluation.same_tasks=false",
            f"evaluation.out_of_distribution.training={source['training']}",
            "evaluation.final_tasks=1400",
            "training.evaluate_every=0",
        )
        name = f"contextual_oracle-{family}-{context}"
        sets = [_players(run_seed(name, experiment, seed, overrides).path) for seed in SEEDS]
        for goals, count, wanted in (
            ("training", len(training), ">= 0.95"),
            ("held-out", len(held_out), target),
        ):
            shares = [_share(found[goals], "ppo", f"{family}-oracle") for found in sets]
            what = f"{family}, ppo told the {_TOLD[context]} of {len(training)} goals: share of the optimum on "
            yield seeds_row(f"{what}{count} {goals} goals", shares, wanted, ISSUE)


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


def _share(returns: dict[str, float], agent: str, oracle: str) -> float:
    return (returns[agent] - returns["random"]) / (returns[oracle] - returns["random"])


def _ratio(returns: dict[str, float], agent: str, oracle: str) -> float:
    """Which of the two is the larger depends on their sign."""
    smaller, larger = sorted((abs(returns[agent]), abs(returns[oracle])))
    return smaller / larger


if __name__ == "__main__":
    main()
