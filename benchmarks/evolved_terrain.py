"""What evolved tasks are good for: rl2 trained on POET's archive or on domain randomisation, then on far harder ground.

    python -m benchmarks.evolved_terrain            after POET's run, ten minutes a run on one thread, nine runs
    python -m benchmarks.evolved_terrain archive    one kind of training alone, to be recorded by the above

All kinds of training take as many steps. On the archive a task is a niche, solved or not, with a course of its own:
any niche from the start, or niches joining in one after another, as they were made, over the first half of training.
Randomisation draws every knob from the range that it has in the archive. All are judged on courses of either, and on
courses of other kinds that none has seen: the six of POET's most challenging ones that Parker-Holder et al. 2022 tell
the parameters of, and obstacles of one kind each, as hard.

Runs go to runs/benchmarks/evolved_terrain-KIND-SEED and are resumed where they stopped.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from agents.reports.evolution import Evolution, read_evolution
from agents.reports.report import write_report
from agents.training.experiment import load_experiment
from agents.training.run import RunDirectory
from benchmarks.harness import Row, ahead_row, record, seeds_row
from benchmarks.learning import RUNS, run_seed, train_seed

NAME, SEEDS = "evolved_terrain", (0, 1, 2)
EXPERIMENT, EVOLVED = "rl2-walker", "poet-walker"
KINDS = ("archive", "archive-in-order", "ranges")
JOINED = 0.5
"""Share of training after which all niches have joined in, where they do so in order."""
CHALLENGING: Mapping[str, tuple[float, float, float, float, float]] = {
    "1a": (5.6, 2.4, 2.82, 4.48, 6.4),
    "1b": (5.44, 1.8, 2.82, 4.48, 6.72),
    "2a": (7.2, 1.98, 2.82, 5.6, 7.2),
    "2b": (5.76, 2.16, 2.76, 1.6, 7.2),
    "3a": (5.28, 1.98, 2.76, 4.8, 7.2),
    "3b": (4.8, 2.4, 2.76, 4.48, 4.8),
}
"""Roughness, least and greatest height of stumps, least and greatest width of pits."""
ALONE: Mapping[str, tuple[float, float, float, float, float]] = {
    "rough": (5.0, 0.0, 0.0, 0.0, 0.0),
    "stumps": (0.0, 2.0, 2.0, 0.0, 0.0),
    "pits": (0.0, 0.0, 0.0, 5.0, 5.0),
}
"""One kind of obstacle each, of the benchmark's medium difficulty."""
SEEN = {"held-out": "the archive's ranges", "archive": "new courses of the archive"}
"""What the sets of tasks are that are like those of training."""
SOURCE = "Parker-Holder et al. 2022, ACCEL; Wang et al. 2019, POET"


def ranges(run: Evolution) -> dict[str, tuple[float, float]]:
    """Least and greatest value of every knob among the evolved tasks."""
    values = {
        name: np.array([niche.spec.context[name] for niche in run.niches], dtype=np.float64)
        for name in ("roughness", "stump_height", "pit_gap")
    }
    return {name: (float(found.min()), float(found.max())) for name, found in values.items()}


def overrides(run: Evolution, kind: str) -> list[str]:
    """Settings of a run that is trained on the `archive`, or on its `ranges`."""
    varied = ", ".join(
        f'{name} = {{kind = "uniform", low = {low}, high = {high}}}' for name, (low, high) in ranges(run).items()
    )
    niches = f'name = "poet", path = "{run.path}", niches = "all", fresh_seeds = true'
    training = load_experiment(EXPERIMENT).config.training
    pace = int(JOINED * training.iterations * training.tasks / len(run.niches))
    sources = {
        "ranges": f'{{name = "domain-randomization", vary = {{{varied}}}}}',
        "archive": f"{{{niches}}}",
        "archive-in-order": f"{{{niches}, pace = {pace}}}",
    }
    apart = {f"poet-{name}": _course(knobs) for name, knobs in CHALLENGING.items()}
    apart |= {f"only-{name}": _course(knobs) for name, knobs in ALONE.items()}
    return [
        f"source={sources[kind]}",
        f"evaluation.source={sources['ranges']}",
        f"evaluation.out_of_distribution.archive={sources['archive']}",
        *(f"evaluation.out_of_distribution.{name}={source}" for name, source in apart.items()),
    ]


def _course(knobs: Sequence[float]) -> str:
    rough, *ends = knobs
    fixed = f"roughness = {rough}, stump_height = {ends[:2]}, pit_gap = {ends[2:]}"
    return f'{{name = "domain-randomization", fixed = {{{fixed}}}}}'


def earned(run: RunDirectory) -> dict[str, NDArray[np.float64]]:
    """[K, N] returns by set of tasks and player, as "held-out/rl2"."""
    return safetensors.numpy.load_file(run.path / "evaluation.safetensors")


def rows(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Row]:
    """Return of an episode on every set, of any training, and what the archive is ahead: last, on unseen ground."""
    apart: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in found}
    first, *_ = found
    for key in found[first][0]:
        tasks, _, player = key.partition("/")
        where = SEEN.get(tasks, tasks)
        means = {kind: np.array([one[key].mean(0) for one in runs]) for kind, runs in found.items()}  # [S, N]
        if player != "rl2":
            yield seeds_row(f"{where}, {player}: return", list(means[first]))
            continue
        for kind, values in means.items():
            what = f"{where}, rl2 trained on {kind}: return"
            yield ahead_row(what, list(values), source="it walks", claim=tasks in SEEN)
            if tasks not in SEEN:
                apart[kind].append(values)
        yield from _ahead(where, means)
    yield from _ahead(
        "mean of the nine kinds of unseen ground", {k: np.mean(v, axis=0) for k, v in apart.items()}, claim=True
    )


def _ahead(where: str, means: Mapping[str, NDArray[np.float64]], *, claim: bool = False) -> Iterator[Row]:
    """What the archive is ahead of its ranges, seed by seed."""
    for kind in [kind for kind in means if kind != "ranges"]:
        what = f"{where}: return after {kind} less that after ranges"
        yield ahead_row(what, list(means[kind]), list(means["ranges"]), SOURCE, claim=claim)


def main(wanted: Sequence[str] = ()) -> None:
    """Train, evaluate, record; with kinds of training in `wanted`, train those alone."""
    compare(wanted, NAME, KINDS, EVOLVED)


def compare(wanted: Sequence[str], name: str, kinds: Sequence[str], evolved: str, settings: Sequence[str] = ()) -> None:
    """Record under `name` what `kinds` of training give after the run `evolved`: POET's preset with `settings`.

    With kinds in `wanted`, those are trained and nothing is recorded.
    """
    unknown = set(wanted) - set(kinds)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; kinds of training are {', '.join(kinds)}")
    torch.set_num_threads(1)
    archive = read_evolution(train_seed(evolved, EVOLVED, 0, settings).path)
    runs = {
        kind: [run_seed(f"{name}-{kind}", EXPERIMENT, seed, overrides(archive, kind)) for seed in SEEDS]
        for kind in wanted or kinds
    }
    if wanted:
        return
    result = [*rows({kind: [earned(run) for run in made] for kind, made in runs.items()})]
    drawn = ", ".join(f"{knob} {low:g} to {high:g}" for knob, (low, high) in ranges(archive).items())
    record(name, result, seeds=SEEDS, notes=f"ranges: {drawn}; {len(archive.niches)} niches")
    write_report([run.path for made in runs.values() for run in made], RUNS / f"{name}.html")


if __name__ == "__main__":
    main(sys.argv[1:])
