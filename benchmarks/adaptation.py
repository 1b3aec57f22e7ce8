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
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from agents.experiment import load_experiment
from agents.run import RunDirectory
from benchmarks.learning import train_seed
from taskgen.build import build_family

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class World:
    """A family with its training goals and goals that are none of them."""

    steps: int
    """Environment steps of training."""
    agents: Mapping[str, str]
    """The shipped experiment of each agent."""
    goals: str
    """Training goals: a distribution of the knob, as TOML."""
    others: str
    """Goals unlike those of training."""
    set_name: str
    """What to call them."""
    special: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further settings of an agent."""
    misfits: Mapping[str, str] = field(default_factory=dict)
    """Agents that do not fit, and why."""

    def overrides(self, agent: str) -> list[str]:
        """The settings of an agent's run, beside its shipped experiment."""
        drawn = '{{name = "domain-randomization", vary = {{goal = {}}}}}'
        given = [
            f"source={drawn.format(self.goals)}",
            f"evaluation.source={drawn.format(self.goals)}",
            f"evaluation.out_of_distribution={{{self.set_name} = {drawn.format(self.others)}}}",
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
        others='{kind = "choice", values = [-0.8, -0.7, -0.6, 0.6, 0.7, 0.8]}',
        set_name="outside",
        special={
            "pearl": (
                'family={name = "point-navigation"}',
                # 100 goals over and over: its memory is of tasks it meets again
                'source={name = "domain-randomization", task_seed = 0}',
                f'source.vary.goal={{kind = "choice", values = {[n / 20 for n in range(-9, 10, 2)]}}}',
                "agent.updates_per_step=0.01",
            ),
        },
    ),
    "grid-navigation": World(
        steps=1_920_000,
        agents={"rl2": "rl2-grid", "maml": "maml-grid", "reptile": "reptile-grid", "ppo": "ppo-grid"},
        goals='{kind = "choice", values = [2, 3, 4, 7, 9, 10, 11, 13, 14, 15, 17, 18, 20, 22, 23, 24]}',
        others='{kind = "choice", values = [8, 12, 16, 19, 21]}',
        set_name="unseen",
        misfits={"pearl": "needs continuous actions, of which GridNavi has none"},
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


if __name__ == "__main__":
    main()
