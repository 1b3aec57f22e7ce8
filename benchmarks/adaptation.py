"""Ways of adapting on the same tasks, after the same number of environment steps: rl2, maml, reptile, pearl, ppo.

    python -m benchmarks.adaptation               about an hour on one thread, three seeds
    python -m benchmarks.adaptation --train       the runs alone, or some of them: --train grid-navigation/maml

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

import torch

from agents.comparison import Comparison, compare
from agents.comparison_report import figure, table, write_comparison
from agents.experiment import load_experiment
from agents.run import RunDirectory
from agents.statistics import mean_interval
from benchmarks.harness import ROOT, Row, Target, record, row
from benchmarks.learning import RUNS, train_seed
from taskgen.build import build_family

SEEDS = (0, 1, 2)
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


def trained(world: str, agent: str, seed: int) -> RunDirectory:
    """The run of one agent and seed."""
    setting = WORLDS[world]
    return train_seed(f"adaptation-{world}-{agent}", setting.agents[agent], seed, setting.overrides(agent))


def plays() -> list[tuple[str, str]]:
    """World and agent of all runs, PEARL's last: they take the longest."""
    every = [(world, agent) for world, setting in WORLDS.items() for agent in setting.agents]
    return sorted(every, key=lambda play: play[1] == "pearl")


def compared(world: str) -> Comparison:
    """All agents of a world on the same tasks, with a remark on those that do not fit."""
    comparison = compare([trained(world, agent, seed).path for agent in WORLDS[world].agents for seed in SEEDS])
    return replace(comparison, remarks=[*comparison.remarks, *WORLDS[world].remarks])


def rows(world: str, comparison: Comparison) -> Iterator[Row]:
    """Every player's return by episode or by step of adaptation, on every set, and what training took."""
    for tasks, courses in comparison.sets.items():
        for course in courses:
            for point, interval in enumerate(course.mean):
                when = f"after {point} gradient steps" if course.by_round else f"of episode {point + 1}"
                yield row(f"{world}, {tasks} goals, {course.name}: return {when}", *interval)
    for agent, members in comparison.agents.items():
        last = [json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1]) for run in members]
        for what, key in (("environment steps", "steps"), ("seconds of training, one thread", "seconds")):
            yield row(f"{world}, {agent}: {what}", *mean_interval([line[key] for line in last]))


def claims(comparisons: Mapping[str, Comparison]) -> Iterator[Row]:
    """The figures with a target."""
    for course in comparisons[VARIBAD].sets["held-out"]:
        target, source = TRIALS.get(course.name, (None, ""))
        yield row(f"{VARIBAD}, {course.name}: return of a trial", *course.trial, target=target, source=source)
    for world in ("point-navigation", "grid-navigation"):
        found = {course.name: course for course in comparisons[world].sets["held-out"]}
        for agent in comparisons[world].agents:
            if not found[agent].told:
                gains = found[agent].mean[-1].value - found[agent].mean[0].value
                yield row(f"{world}, {agent}: gain from first to last episode", gains, target="> 0", source="it adapts")


def main() -> None:
    """Train, compare, record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation", description=__doc__)
    parser.add_argument("--train", nargs="*", metavar="WORLD/AGENT", help="train these, or all, and compare nothing")
    wanted = parser.parse_args().train
    torch.set_num_threads(1)
    for world, agent in plays():
        if not wanted or f"{world}/{agent}" in wanted:
            for seed in SEEDS:
                trained(world, agent, seed)
    if wanted is not None:
        return
    comparisons = {world: compared(world) for world in WORLDS}
    found = [*claims(comparisons), *(line for pair in comparisons.items() for line in rows(*pair))]
    record("adaptation", found, seeds=SEEDS)
    write_comparison(comparisons, RUNS / "adaptation.html")
    for world in ("point-navigation", "grid-navigation"):
        picture = figure(comparisons[world], "held-out", world)
        (ROOT / "docs" / f"adaptation-{world}.svg").write_text(picture + "\n")
    for name, comparison in comparisons.items():
        print(name, *table(comparison), sep="\n")


if __name__ == "__main__":
    main()
