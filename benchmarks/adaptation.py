"""Ways of adapting on the same tasks, after the same number of environment steps: rl2, maml, reptile, pearl, ppo.

    python -m benchmarks.adaptation               about an hour on one thread, three seeds
    python -m benchmarks.adaptation --train       the runs alone, or some of them: --train grid-navigation/maml
    python -m benchmarks.adaptation --finished    compares the runs that are finished

rl2 adapts in its hidden state, maml and reptile by gradient steps, pearl by inference; ppo is told the task. On point
navigation goals are drawn from MAML's square, and further ones from outside of it; on GridNavi from 16 of its 21 cells,
and further ones from the other five. Besides, rl2 on GridNavi as VariBAD has it, goals in all 21 cells. What agents do
not say of themselves is as the shipped experiments have it. Steps are those of episodes in full length: whoever reaches
the goal of point navigation, which ends an episode, takes fewer.

Runs go to runs/benchmarks/adaptation-* and are resumed where they stopped.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from agents.reports.comparison import Comparison, compare
from agents.reports.comparison_report import figure, table, write_comparison
from agents.training.experiment import load_experiment
from agents.training.run import RunDirectory
from benchmarks.harness import ROOT, Row, Target, ahead_row, record, seeds_row
from benchmarks.learning import RUNS, train_seed
from taskgen.build import build_family

SEEDS = (0, 1, 2)
EPISODES = 4
"""Of a reference player that are recorded: as many as a trial on GridNavi has."""
VARIBAD = "grid-navigation-varibad"
TRIALS: Mapping[str, tuple[Target, str]] = {
    "rl2": (">= 33", "the Bayes-optimal player has 37.21"),
    "grid-navigation-bayes": (781.5 / 21, "exact planning"),
    "grid-navigation-oracle": (930 / 21, "exact planning"),
}
"""Of four episodes on GridNavi."""
_UNSEEN = [8, 12, 16, 19, 21]
_SEEN = [cell for cell in range(25) if cell not in (0, 1, 5, 6, *_UNSEEN)]
"""Cells of GridNavi where goals lie in training, and those where none does."""


@dataclass(frozen=True)
class World:
    """A family with its training goals and goals that are none of them."""

    steps: int
    """Environment steps of training."""
    agents: Mapping[str, str]
    """The shipped experiment of each agent."""
    goals: str
    """Training goals: a distribution of the knob, as TOML."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Goals unlike those of training, by the name of their set."""
    special: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further settings of an agent."""
    remarks: tuple[str, ...] = ()
    """What the report says besides."""

    def overrides(self, agent: str) -> list[str]:
        """The settings of an agent's run, beside its shipped experiment."""
        drawn = '{{name = "domain-randomization", vary = {{goal = {}}}}}'
        given = [
            f"source={drawn.format(self.goals)}",
            f"evaluation.source={drawn.format(self.goals)}",
            *(f"evaluation.out_of_distribution.{name}={drawn.format(goals)}" for name, goals in self.others.items()),
            "evaluation.tasks=100",
            "evaluation.final_tasks=1000",
            "training.evaluate_every=0",
            *self.special.get(agent, ()),
        ]
        experiment = load_experiment(self.agents[agent], given).config
        family = build_family(experiment.family.name, experiment.family.settings)
        training = experiment.training
        iterations = round(self.steps / (training.tasks * training.episodes * family.horizon))
        return [*given, f"training.iterations={iterations}"]


WORLDS: Mapping[str, World] = {
    "point-navigation": World(
        steps=4_000_000,
        agents={
            "rl2": "rl2-navigation",
            "maml": "maml-navigation",
            "reptile": "reptile-navigation",
            "ppo": "ppo-navigation",
            "pearl": "pearl-sparse-point",
        },
        goals='{kind = "uniform", low = -0.5, high = 0.5}',
        others={"outside": '{kind = "choice", values = [-0.8, -0.7, -0.6, 0.6, 0.7, 0.8]}'},
        special={
            "pearl": (
                'family={name = "point-navigation"}',
                # 100 goals over and over: its memory is of tasks it meets again
                'source={name = "domain-randomization", task_seed = 0}',
                f'source.vary.goal={{kind = "choice", values = {[n / 20 for n in range(-9, 10, 2)]}}}',
                "agent.tasks=100",
                "agent.updates_per_step=0.01",
            ),
        },
    ),
    "grid-navigation": World(
        steps=1_920_000,
        agents={"rl2": "rl2-grid", "maml": "maml-grid", "reptile": "reptile-grid", "ppo": "ppo-grid"},
        goals=f'{{kind = "choice", values = {_SEEN}}}',
        others={"unseen": f'{{kind = "choice", values = {_UNSEEN}}}'},
        remarks=("pearl is missing: it needs continuous actions, and GridNavi has five moves",),
    ),
    VARIBAD: World(
        steps=1_920_000,
        agents={"rl2": "rl2-grid"},
        goals=f'{{kind = "choice", values = {sorted(_SEEN + _UNSEEN)}}}',
        remarks=("goals lie in all 21 cells, in training as here: the Bayes-optimal trial is worth 37.21",),
    ),
}


def name_of(world: str, agent: str) -> str:
    """What the runs of an agent are called, before their seed."""
    return f"adaptation-{world}-{agent}"


def train(world: str, agent: str) -> None:
    """Train an agent with every seed, as far as that is not done."""
    setting = WORLDS[world]
    for seed in SEEDS:
        train_seed(name_of(world, agent), setting.agents[agent], seed, setting.overrides(agent))


def finished(world: str, agent: str) -> list[Path]:
    """The runs of an agent that have come to their end."""
    runs = [RunDirectory(RUNS / f"{name_of(world, agent)}-{seed}") for seed in SEEDS]
    return [run.path for run in runs if run.config.exists() and _last(run.path)["iteration"] == _iterations(run)]


def _iterations(run: RunDirectory) -> int:
    return run.open().config.training.iterations


def _last(run: Path) -> dict[str, Any]:
    """The last evaluation of a run on held-out tasks, which is at its end."""
    file = run / "evaluations.jsonl"
    return json.loads(file.read_text().splitlines()[-1]) if file.exists() else {"iteration": 0}


def plays() -> list[tuple[str, str]]:
    """World and agent of all runs, PEARL's last: they take the longest."""
    every = [(world, agent) for world, setting in WORLDS.items() for agent in setting.agents]
    return sorted(every, key=lambda play: play[1] == "pearl")


def compared(world: str) -> Comparison:
    """The agents of a world on the same tasks, with a remark on those that do not fit or are not trained yet."""
    runs = {agent: finished(world, agent) for agent in WORLDS[world].agents}
    missing = [f"{agent} is trained with {len(found)} of {len(SEEDS)} seeds" for agent, found in runs.items()]
    missing = [remark for remark, found in zip(missing, runs.values(), strict=True) if len(found) < len(SEEDS)]
    comparison = compare([path for found in runs.values() for path in found], say=print)
    return replace(comparison, remarks=[*comparison.remarks, *WORLDS[world].remarks, *missing])


def rows(world: str, comparison: Comparison) -> Iterator[Row]:
    """Every player's return by episode or by step of adaptation, on every set, and what training took."""
    for tasks, courses in comparison.sets.items():
        for course in courses:
            for point in range(len(course.mean) if course.trained else min(EPISODES, len(course.mean))):
                when = f"after {point} gradient steps" if course.by_round else f"of episode {point + 1}"
                yield seeds_row(f"{world}, {tasks} goals, {course.name}: return {when}", list(course.samples[:, point]))
    for agent, members in comparison.agents.items():
        last = [_last(run.path) for run in members]
        for what, key in (("environment steps", "steps"), ("seconds of training, one thread", "seconds")):
            yield seeds_row(f"{world}, {agent}: {what}", [line[key] for line in last])


def claims(comparisons: Mapping[str, Comparison]) -> Iterator[Row]:
    """The figures with a target."""
    varibad = comparisons[VARIBAD].sets["held-out"] if VARIBAD in comparisons else ()
    for course in varibad:
        target, source = TRIALS.get(course.name, (None, ""))
        trials = list(course.samples.sum(1) * course.abreast)
        yield seeds_row(f"{VARIBAD}, {course.name}: return of a trial", trials, target, source)
    for world, comparison in comparisons.items():
        found = {course.name: course for course in comparison.sets["held-out"]}
        for agent in comparison.agents:
            if not found[agent].told:
                first, last = (list(found[agent].samples[:, place]) for place in (0, -1))
                yield ahead_row(f"{world}, {agent}: gain from first to last episode", last, first, "it adapts")


def main() -> None:
    """Train, compare, record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation", description=__doc__)
    parser.add_argument("--train", nargs="*", metavar="WORLD/AGENT", help="train these, or all, and compare nothing")
    parser.add_argument("--finished", action="store_true", help="train nothing; compare the runs that are finished")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for world, agent in [] if arguments.finished else plays():
        if not arguments.train or f"{world}/{agent}" in arguments.train:
            train(world, agent)
    if arguments.train is not None:
        return
    worlds = [world for world in WORLDS if any(finished(world, agent) for agent in WORLDS[world].agents)]
    comparisons = {world: compared(world) for world in worlds}
    found = [*claims(comparisons), *(line for pair in comparisons.items() for line in rows(*pair))]
    remarks = [f"{world}: {remark}" for world, comparison in comparisons.items() for remark in comparison.remarks]
    record("adaptation", found, seeds=SEEDS, notes="; ".join(remarks))
    write_comparison(comparisons, RUNS / "adaptation.html")
    for world, comparison in comparisons.items():
        if world != VARIBAD:
            picture = figure(comparison, "held-out", world)
            (ROOT / "docs" / f"adaptation-{world}.svg").write_text(picture + "\n")
        print(world, *table(comparison), sep="\n")


if __name__ == "__main__":
    main()
