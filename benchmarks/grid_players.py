"""Players of the grid worlds (GridNavi, Darkroom, DREAM's bus and cooking) beside exact optima.

    python -m benchmarks.grid_players            under a minute on one thread

Nothing but the goal or the recipe of an episode is random, so every task is played, and figures hold to rounding. The
kitchens' recipes are drawn: their figures are means over many episodes, met within three standard errors.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

import registry
from agents.evaluation.play import play
from benchmarks.harness import Row, record, row
from taskgen.build import build_family
from taskgen.family import TaskFamily
from taskgen.interaction.build import problem_of

SEED = 0
EXACT = "exact planning"


def grid_rows() -> Iterator[Row]:
    """All figures."""
    yield from _hidden_goals()
    yield from _buses()
    yield from _kitchens()


def _hidden_goals() -> Iterator[Row]:
    family = build_family("grid-navigation")
    goals = [goal for goal in range(25) if goal not in (0, 1, 5, 6)]
    tasks = [{"goal": goal} for goal in goals]
    for name, target in (("grid-navigation-oracle", 930 / 21), ("grid-navigation-bayes", 781.5 / 21)):
        trial = _returns(name, family, tasks, 4).sum(0).mean()
        yield _exact(f"{name}, return of a trial of 4 episodes", trial, target)
    yield row("random, grid-navigation, trial of 4 episodes", _returns("random", family, tasks * 200, 4).sum(0).mean())
    darkroom = build_family("darkroom")
    mean = _returns("darkroom-oracle", darkroom, [{"goal": goal} for goal in range(100)], 1).mean()
    yield _exact("darkroom-oracle, return of an episode", mean, 91.99)


def _buses() -> Iterator[Row]:
    for variant, tasks in (("plain", 24), ("map", 24), ("distraction", 576)):
        family = build_family("bus", {"variant": variant})
        returns = _returns("bus-oracle", family, [{"permutation": task} for task in range(tasks)], 8)
        for what, worst in (("lowest", returns.min()), ("highest", returns.max())):
            yield _exact(f"bus-oracle, {variant}, {what} return of an episode", worst, 0.8)
    family = build_family("bus")
    returns = _returns("bus-map-reader", family, [{"permutation": task % 24} for task in range(4800)], 2)
    yield _sampled("bus-map-reader, return of the first episode", returns[0], 0.1625)
    yield _exact("bus-map-reader, return of the second episode", returns[1].mean(), 0.8)
    yield row("random, bus with a map, return of an episode", _returns("random", family, [{}] * 4000, 1).mean())


def _kitchens() -> Iterator[Row]:
    family = build_family("cooking")
    everywhere = _returns("cooking-oracle", family, [{"kitchen": kitchen} for kitchen in range(64)], 500)
    yield _sampled("cooking-oracle, all 64 kitchens, return of an episode", everywhere, 0.4)
    test = _returns("cooking-oracle", family, [{"kitchen": 10}] * 64, 500)
    yield _sampled("cooking-oracle, kitchen 10, return of an episode", test, 7 / 15)
    tasks = [{"kitchen": kitchen} for kitchen in range(64)]
    yield row("random, cooking, return of an episode", _returns("random", family, tasks * 50, 1).mean())


def _returns(name: str, family: TaskFamily, contexts: Sequence[dict[str, int]], episodes: int) -> NDArray[np.float64]:
    """[K, N] return of every episode of one trial on every task; task i has seed i."""
    specs = [family.spec(context, seed=seed) for seed, context in enumerate(contexts)]
    problem = problem_of(family, episodes=episodes, seed=SEED, device=torch.device("cpu"))
    return play(registry.catalogue().get("agents", name).build({}, problem=problem), family, specs, episodes)


def _exact(what: str, value: float, target: float) -> Row:
    return row(what, value, target=target, source=EXACT, met=bool(abs(value - target) <= 1e-4))


def _sampled(what: str, returns: NDArray[np.float64], target: float) -> Row:
    """A row of a mean over episodes drawn at random."""
    value, error = float(returns.mean()), float(returns.std(ddof=1)) / math.sqrt(returns.size)
    interval = value - 1.96 * error, value + 1.96 * error
    return row(what, value, *interval, target=target, source=EXACT, met=abs(value - target) <= 3 * error)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    rows = list(grid_rows())
    for measured in rows:
        verdict = {None: "", True: "met", False: "MISSED"}[measured["met"]]
        print(f"{measured['what']:64} {measured['value']:9.4f}  target {measured['target']}  {verdict}")
    record("grid_players", rows, seeds=[SEED])


if __name__ == "__main__":
    main()
