"""POET's shipped presets, and its claim: agents evolved with their tasks against agents trained on these tasks alone.

    python -m benchmarks.poet                 all presets, about an hour on two cores
    python -m benchmarks.poet poet-walker     evolves and trains for one of them, to be recorded by the above

The claim is tested on the tasks that POET solved last, those it began with left out. A direct agent is that of the
pair, as new, that learns on the task for as many iterations as the whole run had, by the same steps of learning and the
same self-evaluations: no agent of POET has more steps behind it, those of all agents that it came from included, but
for the one step of each proposal taken over. In the end both play the same episodes.

Runs go to runs/benchmarks/PRESET-0 and PRESET-direct-SEED, and are resumed where they stopped.
"""

import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from agents.reports.evolution import Evolution, Niche, read_evolution
from agents.reports.report import write_report
from agents.training.records import STEPS, Line, json_lines
from benchmarks.harness import Resume, Row, ahead_row, record, row, seeds_row
from benchmarks.learning import RUNS, train_seed
from taskgen import lineage
from taskgen.build import family_of
from taskgen.interaction.agent import judged
from taskgen.interaction.collect import collect
from taskgen.taskset import write_tasks

SEEDS = (0, 1, 2)
"""Of direct training; POET runs once, with the first."""
PLAYED = 50
"""Episodes, in the end, of an agent on a task."""
NEVER = 10**9
"""Iterations between two rounds of children, or of transfers, of which there is none."""


@dataclass(frozen=True)
class Preset:
    """What is asked of a shipped experiment."""

    hardest: int
    """Tasks that direct training is tried on."""
    admitted: str | None = None
    transfers: str | None = None


PRESETS: Mapping[str, Preset] = {
    "poet-cartpole": Preset(hardest=10, admitted=">= 100"),
    "poet-walker": Preset(hardest=3, admitted=">= 10", transfers=">= 10"),
    "poet-maze": Preset(hardest=10),
}


@dataclass(frozen=True)
class Claim:
    """Direct training with one seed, by task: the hardest of POET's, in order of creation."""

    solved: Sequence[float]
    """Iteration in which it first was; infinite where it never was."""
    returns: Sequence[float]
    """Mean return in the end."""


def evolve(name: str, progress: Resume) -> tuple[Evolution, float]:
    """The finished POET run, and how many cores it kept busy, which `progress` remembers."""

    def cores() -> float:
        start, before = time.perf_counter(), _processor_seconds()
        train_seed(name, name, SEEDS[0], ())
        wall = time.perf_counter() - start
        return (_processor_seconds() - before) / wall

    busy = progress.part(name, cores)
    return read_evolution(RUNS / f"{name}-{SEEDS[0]}"), busy


def hardest(run: Evolution, most: int) -> list[Niche]:
    """The evolved tasks that were solved last, in order of creation."""
    solved = [niche for niche in run.niches if niche.parent is not None and niche.score(lineage.SOLVED) is not None]
    last = sorted(solved, key=lambda niche: (niche.score(lineage.SOLVED) or 0.0, niche.number))[-most:]
    return sorted(last, key=lambda niche: niche.number)


def direct(name: str, run: Evolution, niches: Sequence[Niche], seed: int) -> Claim:
    """Train agents as new on the tasks of `niches`, each on its own: POET without children and transfers."""
    tasks = RUNS / f"{name}-hardest.jsonl"
    write_tasks(tasks, [niche.spec for niche in niches], overwrite=True)
    overrides = [
        f'source={{name = "task-set", path = "{tasks}", shuffle = false}}',
        f"runner.first_tasks={len(niches)}",
        f"runner.max_active={len(niches)}",
        f"runner.reproduce_every={NEVER}",
        f"runner.transfer_every={NEVER}",
        f"training.iterations={run.iterations}",
    ]
    alone = read_evolution(train_seed(f"{name}-direct", name, seed, overrides).path)
    found = {niche.spec.id: niche for niche in alone.niches}
    solved = [found[niche.spec.id].score(lineage.SOLVED) for niche in niches]
    return Claim([np.inf if at is None else at for at in solved], returns(alone, niches))


def returns(run: Evolution, niches: Sequence[Niche]) -> list[float]:
    """What the run's agents of these tasks earn, mean of `PLAYED` episodes that are the same for all runs."""
    population = run.population()
    earned: list[float] = []
    for niche in niches:
        player = judged(population.agent_of(niche.spec.id))
        batch = family_of(niche.spec).batch(PLAYED)
        trial = collect(player, batch, [niche.spec] * PLAYED, plan=player.plan(1), seeds=range(PLAYED))
        earned.append(float(trial.episode_returns().double().mean()))
    return earned


def rows(name: str, run: Evolution, cores: float) -> Iterator[Row]:
    """What the run brought forth, and what it took."""
    preset, history = PRESETS[name], run.history
    annecs, steps = history[lineage.ANNECS], history[STEPS]
    transfers = history[lineage.TRANSFERRED][-1]
    half = annecs[len(annecs) // 2]
    admitted = sum(niche.parent is not None for niche in run.niches)
    yield row(f"{name}: tasks admitted", admitted, target=preset.admitted, source="issue")
    yield row(f"{name}: tasks solved", history[lineage.SOLVED_SO_FAR][-1])
    yield row(f"{name}: transfers accepted", transfers, target=preset.transfers, source="issue")
    yield row(f"{name}: ANNECS at half of the run", half)
    yield row(f"{name}: ANNECS at the end", annecs[-1], target=f"> {half:g}", source="it rises")
    lines = json_lines(run.path, "metrics.jsonl", Line)
    seconds = sum(line.metrics["time/iterate_seconds"] or 0.0 for line in lines)
    yield row(f"{name}: seconds", seconds, target="<= 1800", source="budget of `make poet`, 2 cores")
    yield row(f"{name}: environment steps", steps[-1])
    yield row(f"{name}: environment steps per second", steps[-1] / seconds)
    yield row(f"{name}: cores busy", cores)


def claims(name: str, niches: Sequence[Niche], evolved: Sequence[float], found: Sequence[Claim]) -> Iterator[Row]:
    """Direct training against POET on the hardest tasks, over the seeds of the former."""
    count = f"{len(niches)} tasks solved last"
    at = np.array([niche.score(lineage.SOLVED) for niche in niches], dtype=np.float64)
    solved = np.array([claim.solved for claim in found])  # [seeds, tasks]
    earned, own = np.array([claim.returns for claim in found]), np.array(evolved)
    yield row(f"{name}, {count}: iterations from the first of the run until POET solved one", at.mean())
    yield seeds_row(
        f"{name}, {count}: share solved directly in as many iterations as POET's run had behind it then",
        (solved <= at).mean(1).tolist(),
    )
    yield seeds_row(
        f"{name}, {count}: share solved directly in all iterations of the run", np.isfinite(solved).mean(1).tolist()
    )
    yield row(f"{name}, {count}: return of POET's agents", own.mean())
    yield seeds_row(f"{name}, {count}: return of direct agents", earned.mean(1).tolist())
    yield ahead_row(
        f"{name}, {count}: POET's return less that of direct agents",
        (own - earned).mean(1).tolist(),
        source="Wang et al. 2019, section 4: direct training fails on what POET solves; met if all above 0",
    )
    for place, niche in enumerate(niches):
        what = f"{name}, task {niche.number}, generation {niche.record.generation}"
        yield row(f"{what}: return of POET's agent", own[place])
        yield seeds_row(f"{what}: return of direct agents", earned[:, place].tolist())
        yield row(f"{what}: direct seeds that solved it", int(np.isfinite(solved[:, place]).sum()))


def main(wanted: Sequence[str] = ()) -> None:
    """Evolve, train directly, record; with presets in `wanted`, those, and nothing is recorded."""
    torch.set_num_threads(1)
    progress = Resume("poet")
    found: list[Row] = []
    paths: list[Path] = []
    for name in wanted or PRESETS:
        run, cores = evolve(name, progress)
        niches = hardest(run, PRESETS[name].hardest)
        alone = [direct(name, run, niches, seed) for seed in SEEDS]
        found += [*rows(name, run, cores), *claims(name, niches, returns(run, niches), alone)]
        paths.append(run.path)
    for line in found:
        print(f"{line['what']}: {line['value']:.4g}", line["low"], line["high"])
    if wanted:
        return
    record("poet", found, seeds=SEEDS, notes=progress.notes)
    progress.done()
    for path in paths:
        write_report([path], RUNS / f"{path.name}.html")


def _processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    kinds = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in kinds)


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(PRESETS)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; presets are {', '.join(PRESETS)}")
    main(sys.argv[1:])
