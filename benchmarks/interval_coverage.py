"""How often the 95% intervals of what seeds and tasks make, means and aggregates, hold the truth: 93 to 97%, or not.

    python -m benchmarks.interval_coverage        a quarter of an hour on one thread, fifteen short runs included

Three experiments are run with 5 seeds each, short, and judged on the same tasks; from the returns of a trial come the
variances between seeds, between tasks and of the rest. Then experiments of 3, 5 and 10 seeds on few and on many tasks
are made up 5,000 times: normal at these variances, and with the effects of tasks and the rest drawn from the recorded
ones, which are not normal. Beside them: what Satterthwaite's degrees of freedom would give, and what the percentile
bootstrap over runs and tasks does. Aggregates (`agents.evaluation.aggregates`) are looked at in the same experiments:
shares above a score and probabilities of improvement, both at a half and at three quarters, and the optimality gap
between a random and an optimal player without seeds. A share has no interval where a run's own is near 0 or 1; coverage
is that of the intervals shown, and judged where at least half of the experiments show one. Runs go to
runs/benchmarks/interval_coverage-EXPERIMENT-SEED.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.evaluation.aggregates import improvement, optimality_gap, profile
from agents.evaluation.statistics import intervals, iqm, spread_of
from agents.training.records import read_record
from benchmarks.harness import Resume, Row, record, row
from benchmarks.learning import run_seed
from taskgen.streams import stream

NAME, SEEDS = "interval_coverage", (0, 1, 2, 3, 4)
REPETITIONS, FEWER = 5000, 1000
"""Experiments made up for each figure; and where each takes a bootstrap."""
RUNS_OF, TASKS = (3, 5, 10), (20, 200)
SHARES = (0.5, 0.75)
"""At which profiles and probabilities of improvement are looked at."""
MANY = 1_000_000
"""Tasks, each with a seed of its own, by which the truth is told."""
COVERED = (0.93, 0.97)
SOURCE = "nominal 95%"
JUDGED = (
    "evaluation.tasks=50",
    "evaluation.final_tasks=500",
    'evaluation.players=["random"]',
    "training.evaluate_every=0",
)
EXPERIMENTS: Mapping[str, tuple[str, ...]] = {
    "es-cartpole": ("training.iterations=30",),
    "rl2-bandit": ("training.iterations=60", "training.tasks=100"),
    "ppo-grid": ("training.iterations=10",),
}
"""Recorded ones, and how they are cut short."""

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Effects:
    """What moves a return: standard deviation between seeds, and the effects of tasks and of the rest to draw from."""

    seed: float
    task: Samples
    """Any number of values of mean 0."""
    rest: Samples

    @classmethod
    def recorded(cls, x: Samples) -> "Effects":
        """Of samples `x` [S, N]: what is observed, scaled to the unbiased variances."""
        by_seed, by_task, mean = x.mean(1), x.mean(0), x.mean()
        spread = spread_of(x)
        assert spread is not None
        cells = x.size
        rest = x - by_seed[:, None] - by_task + mean
        variances = (
            max(0.0, float(by_seed.var(ddof=1)) - spread.rest * x.shape[0]),
            max(0.0, (spread.tasks - spread.rest) * x.shape[1]),
            spread.rest * cells,
        )
        scaled = [_scaled(by_task - mean, variances[1]), _scaled(rest.ravel(), variances[2])]
        return cls(float(np.sqrt(variances[0])), *scaled)

    @property
    def deviations(self) -> tuple[float, float, float]:
        """Standard deviations between seeds, between tasks and of the rest."""
        return self.seed, float(self.task.std()), float(self.rest.std())

    def draw(self, seeds: int, tasks: int, rng: np.random.Generator, *, normal: bool) -> Samples:
        """A made-up experiment, [seeds, tasks], whose true mean is 0."""
        seed = rng.normal(0.0, self.seed, (seeds, 1)) if seeds else np.zeros((1, 1))
        return seed + self.of_tasks(tasks, rng, normal=normal) + self.left((max(1, seeds), tasks), rng, normal=normal)

    def of_tasks(self, tasks: int, rng: np.random.Generator, *, normal: bool) -> Samples:
        """Effects of tasks, [1, tasks]."""
        return rng.normal(0.0, self.task.std(), (1, tasks)) if normal else rng.choice(self.task, (1, tasks))

    def left(self, shape: tuple[int, int], rng: np.random.Generator, *, normal: bool) -> Samples:
        """The rest, of that shape."""
        return rng.normal(0.0, self.rest.std(), shape) if normal else rng.choice(self.rest, shape)

    def two(
        self, seeds: int, tasks: int, rng: np.random.Generator, *, normal: bool
    ) -> tuple[Samples, Samples, Samples]:
        """Effects of tasks, and two agents of the same mean on them, [seeds, tasks] each."""
        task, shape = self.of_tasks(tasks, rng, normal=normal), (seeds, tasks)
        one, other = (
            task + rng.normal(0.0, self.seed, (seeds, 1)) + self.left(shape, rng, normal=normal) for _ in "ab"
        )
        return task, one, other


def _scaled(values: Samples, variance: float) -> Samples:
    deviation = values.std()
    return values * (np.sqrt(variance) / deviation) if deviation else values


def coverage(effects: Effects, seeds: int, tasks: int, repetitions: int, *, normal: bool) -> tuple[float, float]:
    """Share of the made-up experiments whose intervals, of the mean and of the mean IQM, hold the truth."""
    rng = stream(0, NAME, seeds, tasks, int(normal))
    middle = iqm(effects.draw(0, 1_000_000, rng, normal=normal))
    hits = np.zeros(2)
    for _ in range(repetitions):
        found = intervals(effects.draw(seeds, tasks, rng, normal=normal))
        hits += [end.low <= truth <= end.high for end, truth in zip(found, (0.0, middle), strict=True)]
    mean, trimmed = hits / repetitions
    return float(mean), float(trimmed)


class Held(NamedTuple):
    """Of made-up experiments the share that shows an interval, and of the intervals shown the share with the truth."""

    shown: float
    covered: float


def aggregates_coverage(effects: Effects, seeds: int, tasks: int, repetitions: int, *, normal: bool) -> dict[str, Held]:
    """What the intervals of each aggregate cover in made-up experiments, by its name."""
    rng = stream(0, NAME, "aggregates", seeds, tasks, int(normal))
    task = effects.of_tasks(MANY, rng, normal=normal)
    one, other = (
        (task + rng.normal(0.0, effects.seed, (1, MANY)) + effects.left((1, MANY), rng, normal=normal))[0] for _ in "ab"
    )
    width = float(one.std())
    scores = [float(np.quantile(one, 1 - share)) for share in SHARES]
    leads = [float(np.quantile(other - one, share)) for share in SHARES]
    truth: dict[str, float] = {}
    for share, at, lead in zip(SHARES, scores, leads, strict=True):
        truth[f"share of {share:g} above a score"] = float((other > at).mean())
        truth[f"probability of improvement of {share:g}"] = float((one + lead > other).mean())
    truth["optimality gap"] = float(1 - np.minimum((one + 2 * width) / (3 * width), 1).mean())
    shown, held = (dict.fromkeys(truth, 0) for _ in "ab")
    for _ in range(repetitions):
        task, mine, theirs = effects.two(seeds, tasks, rng, normal=normal)
        lowest, highest = (task + effects.left((seeds, tasks), rng, normal=normal) for _ in "ab")
        shares = profile(mine, scores), (improvement(mine + lead, theirs) for lead in leads)
        found = [interval for pair in zip(*shares, strict=True) for interval in pair]
        found.append(optimality_gap(mine + 2 * width, lowest, highest + 3 * width))
        for name, interval in zip(truth, found, strict=True):
            shown[name] += not math.isnan(interval.low)
            held[name] += interval.low <= truth[name] <= interval.high
    return {name: Held(shown[name] / repetitions, held[name] / max(1, shown[name])) for name in truth}


def satterthwaite(x: Samples) -> tuple[float, float]:
    """Ends of the interval of the mean with Satterthwaite's degrees of freedom for MS_seed + MS_task - MS_rest."""
    from scipy.stats import t

    (seeds, tasks), spread = x.shape, spread_of(x)
    assert spread is not None
    own = float(x.mean(1).var(ddof=1)) / seeds
    variance = max(own, own + spread.tasks - spread.rest)
    parts = own**2 / (seeds - 1) + spread.tasks**2 / (tasks - 1) + spread.rest**2 / ((seeds - 1) * (tasks - 1))
    half = float(t.ppf(0.975, variance**2 / parts)) * np.sqrt(variance)
    return float(x.mean() - half), float(x.mean() + half)


def bootstrap(x: Samples, rng: np.random.Generator, resamples: int = 1000) -> tuple[float, float]:
    """Ends of the percentile bootstrap interval of the mean: whole runs are drawn and, by themselves, tasks."""
    runs, drawn = (rng.multinomial(count, np.full(count, 1 / count), resamples) for count in x.shape)
    low, high = np.quantile(((runs @ x) * drawn).sum(1) / x.size, (0.025, 0.975))
    return float(low), float(high)


def others() -> Iterator[Row]:
    """What other intervals of the mean cover, at equal deviations of seeds and tasks."""
    rng = stream(0, NAME, "others")
    methods: Mapping[str, tuple[int, Callable[[Samples], tuple[float, float]]]] = {
        "Satterthwaite's degrees of freedom": (REPETITIONS, satterthwaite),
        "percentile bootstrap": (FEWER, lambda x: bootstrap(x, rng)),
    }
    for name, (repetitions, ends) in methods.items():
        for seeds in (2, *RUNS_OF):
            for ratio in (1.0, 0.2):
                drawn = (
                    rng.normal(0, ratio, (seeds, 1)) + rng.normal(0, 1, (1, 100)) + rng.normal(0, 0.3, (seeds, 100))
                    for _ in range(repetitions)
                )
                held = [low <= 0.0 <= high for low, high in map(ends, drawn)]
                what = f"{name}, {seeds} seeds x 100 tasks, deviation of seeds {ratio:g}, of tasks 1, of the rest 0.3"
                yield _share(f"{what}: coverage of the mean", sum(held) / repetitions, repetitions)


def _share(what: str, value: float, repetitions: int, *, judged: bool = False) -> Row:
    error = 1.96 * (value * (1 - value) / repetitions) ** 0.5
    return row(what, value, value - error, value + error, COVERED if judged else None, SOURCE if judged else "")


def effects_of(experiment: str) -> Effects:
    """The effects in the recorded runs of an experiment."""
    name = f"{NAME}-{experiment}"
    runs = [read_record(run_seed(name, experiment, seed, (*JUDGED, *EXPERIMENTS[experiment])).path) for seed in SEEDS]
    player = runs[0].agent
    return Effects.recorded(np.stack([run.played("held-out", player).sum(0) for run in runs]))


def rows_of(experiment: str) -> Iterator[Row]:
    """Deviations of the recorded runs, and what the intervals cover there."""
    effects = effects_of(experiment)
    for what, value in zip(("seeds", "tasks", "the rest"), effects.deviations, strict=True):
        yield row(f"{experiment}, {len(SEEDS)} seeds x 500 tasks: standard deviation of {what}", value)
    for normal in (True, False):
        for seeds in RUNS_OF:
            for tasks in TASKS:
                found = coverage(effects, seeds, tasks, REPETITIONS, normal=normal)
                for kind, value in zip(("mean", "IQM"), found, strict=True):
                    effect = "normal effects" if normal else "effects as recorded"
                    what = f"{experiment}, {seeds} seeds x {tasks} tasks, {effect}: coverage of the {kind}"
                    yield _share(what, value, REPETITIONS, judged=True)
                yield from _aggregates(experiment, effects, seeds, tasks, normal=normal)


def _aggregates(experiment: str, effects: Effects, seeds: int, tasks: int, *, normal: bool) -> Iterator[Row]:
    what = f"{experiment}, {seeds} seeds x {tasks} tasks, {'normal effects' if normal else 'effects as recorded'}"
    for kind, found in aggregates_coverage(effects, seeds, tasks, REPETITIONS, normal=normal).items():
        if found.shown < 1:
            yield row(f"{what}: share of experiments with an interval of the {kind}", found.shown)
        if repetitions := round(found.shown * REPETITIONS):
            judged = found.shown >= 0.5
            yield _share(f"{what}: coverage of the {kind}", found.covered, repetitions, judged=judged)


def main() -> None:
    """Train, make up, record."""
    torch.set_num_threads(1)
    resume = Resume(NAME, {"repetitions": REPETITIONS})
    rows: list[Row] = []
    for experiment in EXPERIMENTS:
        rows += resume.part(experiment, lambda experiment=experiment: list(rows_of(experiment)))
    rows += resume.part("others", lambda: list(others()))
    record(NAME, rows, seeds=SEEDS, notes=resume.notes)
    resume.done()
    for found in rows:
        print(f"{found['what']:110} {found['value']:.3f} {found['target'] or ''} {found['met'] or ''}")


if __name__ == "__main__":
    main()
