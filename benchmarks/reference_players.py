"""Every reference player beside independent Monte-Carlo figures of the same player, and exact values where known.

    python -m benchmarks.reference_players            six to ten minutes on one thread

A figure meets its target within three standard errors, counting those of both: the Monte-Carlo targets come from about
20,000 bandits and from 1,000 tabular MDPs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import registry
from agents.evaluation.play import play
from agents.evaluation.statistics import mean_interval
from agents.reference.bayes_optimal import BayesOptimalConfig, solve
from benchmarks.harness import Resume, Row, record, row
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent
from taskgen.interaction.build import problem_of
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence

SEED = 0
MONTE_CARLO = "independent Monte-Carlo of the same player"
EXACT = "exact"

BANDITS: Mapping[tuple[int, int], Mapping[str, float | None]] = {
    (10, 5): {"thompson": 5.84, "greedy": 6.63, "epsilon-greedy": None, "ucb1": 6.66, "gittins": None},
    (10, 10): {"thompson": 5.58, "greedy": 6.69, "epsilon-greedy": None, "ucb1": 6.71, "gittins": None},
    (10, 50): {"thompson": 5.14, "greedy": 6.71, "epsilon-greedy": None, "ucb1": 6.73, "gittins": None},
    (100, 5): {"thompson": 75.0, "greedy": 75.8, "epsilon-greedy": 75.9, "ucb1": 78.5, "gittins": None},
    (100, 10): {"thompson": 77.2, "greedy": 79.2, "epsilon-greedy": None, "ucb1": 83.3, "gittins": None},
    (100, 50): {"thompson": 64.5, "greedy": 80.1, "epsilon-greedy": None, "ucb1": 84.7, "gittins": None},
    (500, 5): {"thompson": 401.9, "greedy": 385.7, "epsilon-greedy": 392.2, "ucb1": 407.6},
    (500, 10): {"thompson": 430.4, "greedy": 405.9, "epsilon-greedy": None, "ucb1": 437.2},
}
"""(pulls, arms) -> player -> mean return of a trial; None where no independent figure is at hand."""

BAYES_OPTIMAL: Mapping[tuple[int, int], float] = {(10, 5): 6.660, (10, 10): 6.714, (10, 50): 6.714}

EPISODES = (10, 25, 50, 75, 100)
TABULAR: Mapping[str, Sequence[float]] = {
    "random": (99.6, 248.9, 497.8, 746.4, 994.8),
    "psrl": (132.4, 401.8, 897.5, 1411, 1933),
    "opsrl": (134, 406, 901, 1413, 1932),
    "posterior-greedy": (149.2, 424, 899, 1378, 1859),
    "beb": (151.7, 439, 944, 1459, 1978),
    "tabular-oracle": (217, 543, 1086, 1629, 2172),
}
"""Player -> mean return of a trial of 10, 25, 50, 75 and 100 episodes."""


def bandit_rows(pulls: int, arms: int, tasks: int) -> Iterator[Row]:
    """All bandit players on the same `tasks` bandits, drawn uniformly."""
    family = build_family("bandit", {"arms": arms})
    specs = _specs(family, tasks)
    where = f"{arms} arms, {pulls} pulls"
    exact: dict[str, float | None] = {"random": pulls / 2, "bandit-oracle": pulls * arms / (arms + 1)}
    if (pulls, arms) in BAYES_OPTIMAL:
        value, target = solve(arms, pulls, BayesOptimalConfig()).value, BAYES_OPTIMAL[pulls, arms]
        met = abs(value - target) <= 5e-4
        yield row(f"bayes-optimal, {where}, computed", value, target=target, source="exact, three digits", met=met)
        exact["bayes-optimal"] = value
    for name, target in (exact | dict(BANDITS[pulls, arms])).items():
        returns = play(_player(name, family, pulls), family, specs, pulls).sum(0)
        yield _measured(f"{name}, {where}", returns, target, math.inf if name in exact else 20_000)


def tabular_rows(tasks: int, longest: int) -> Iterator[Row]:
    """All tabular players on the same `tasks` MDPs, in trials of up to `longest` episodes."""
    for name, targets in TABULAR.items():
        yield from _tabular_player(name, targets, tasks, longest)
    for name in ("psrl", "posterior-greedy", "beb"):
        yield from _tabular_player(name, [None] * len(EPISODES), tasks, longest, replan="step")


def _tabular_player(
    name: str, targets: Sequence[float | None], tasks: int, longest: int, **settings: Any
) -> Iterator[Row]:
    family = build_family("tabular-mdp")
    # what these players do in an episode does not depend on how many are to come, so one trial shows all lengths
    returns = play(_player(name, family, longest, settings), family, _specs(family, tasks), longest).cumsum(0)
    label = ", ".join([name, *(f"{key} = {value}" for key, value in settings.items())])
    for episodes, target in zip(EPISODES, targets, strict=True):
        if episodes <= longest:
            yield _measured(f"{label}, {episodes} episodes", returns[episodes - 1], target, 1000)


def _specs(family: TaskFamily[Any], tasks: int) -> list[TaskSpec]:
    seed = seed_sequence(SEED, "reference-players", family.name)
    return build_source(Part(name="domain-randomization"), family, seed).ask(tasks)


def _player(name: str, family: TaskFamily[Any], episodes: int, settings: Mapping[str, Any] | None = None) -> Agent:
    problem = problem_of(family, episodes=episodes, seed=SEED, device=torch.device("cpu"))
    return registry.catalogue().get("agents", name).build(settings or {}, problem=problem)


def _measured(what: str, returns: NDArray[np.float64], target: float | None, behind: float) -> Row:
    """A row from the returns of many trials, where `behind` trials are behind the target."""
    value, low, high = mean_interval(returns)
    if target is None:
        return row(f"{what}, mean return", value, low, high)
    allowed = 3 * float(returns.std(ddof=1)) * math.sqrt(1 / len(returns) + 1 / behind)
    source = f"{EXACT if behind == math.inf else MONTE_CARLO}; allowed difference {allowed:.2g}"
    return row(f"{what}, mean return", value, low, high, target, source, met=abs(value - target) <= allowed)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    many, fewer, mdps = 40_000, 20_000, 4000
    resume = Resume("reference_players", {"tasks": [many, fewer, mdps]})
    parts = {
        f"{arms} arms, {pulls} pulls": bandit_rows(pulls, arms, many if pulls == 10 else fewer)
        for pulls, arms in BANDITS
    }
    parts["tabular MDPs"] = tabular_rows(mdps, EPISODES[-1])
    rows = [found for name, part in parts.items() for found in resume.part(name, lambda part=part: _shown(part))]
    record("reference_players", rows, seeds=[SEED], notes=resume.notes)
    resume.done()


def _shown(rows: Iterator[Row]) -> list[Row]:
    """The rows, each printed as soon as it is measured."""
    found: list[Row] = []
    for measured in rows:
        found.append(measured)
        verdict = {None: "", True: "met", False: "MISSED"}[measured["met"]]
        print(f"{measured['what']:64} {measured['value']:9.3f}  target {measured['target']}  {verdict}", flush=True)
    return found


if __name__ == "__main__":
    main()
