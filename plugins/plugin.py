"""The built-in task side: families, rewards, generators, curricula, runners and trackers."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from plugins.curricula.entries import curricula
from plugins.families.entries import families
from registry import Entry, hookimpl

_UML = "Gupta et al. 2018, Unsupervised Meta-Learning for Reinforcement Learning, section 4.2"


@hookimpl
def register_task_families() -> list[Entry]:
    """The built-in families."""
    return families()


@hookimpl
def register_task_generators() -> list[Entry]:
    """Generators that need no learner."""
    return [
        Entry(
            "domain-randomization",
            "plugins.generators.domain_randomization:DomainRandomization",
            "Tasks drawn from distributions over the knobs of any family's context space.",
            config="plugins.generators.domain_randomization:DomainRandomizationConfig",
            citation=(
                "Tobin et al. 2017, Domain Randomization for Transferring Deep Neural Networks from Simulation to the "
                "Real World, section III"
            ),
            tags=("random",),
        ),
        Entry(
            "task-set",
            "plugins.generators.task_set:TaskSetSource",
            "Tasks from a saved file of JSON lines.",
            config="plugins.generators.task_set:TaskSetConfig",
            tags=("file",),
        ),
        Entry(
            "random-mazes",
            "plugins.generators.random_mazes:RandomMazes",
            "Mazes with up to 60 walls thrown at random, the domain randomisation of unsupervised environment design.",
            config="plugins.generators.random_mazes:RandomMazesConfig",
            citation="Jiang et al. 2021, Replay-Guided Adversarial Environment Design",
            tags=("random", "grid"),
            needs=("maze",),
        ),
        Entry(
            "named-mazes",
            "plugins.generators.named_mazes:NamedMazes",
            "The twelve out-of-distribution mazes that unsupervised environment design is judged on.",
            config="plugins.generators.named_mazes:NamedMazesConfig",
            citation="Parker-Holder et al. 2022, Evolving Curricula with Regret-Based Environment Design",
            tags=("file", "grid"),
            needs=("maze",),
        ),
        *_reward_generators(),
        *_goal_reward_generators(),
        *_archives(),
    ]


@hookimpl
def register_curricula() -> list[Entry]:
    """Sources that wrap sources."""
    return curricula()


@hookimpl
def register_rewards() -> list[Entry]:
    """Rewards that make tasks of any family without its own."""
    return [
        Entry(
            "random-discriminator",
            "plugins.rewards.random_discriminator:RandomDiscriminator",
            "Pays for states that a random network takes for the task's skill.",
            config="plugins.rewards.random_discriminator:RandomDiscriminatorConfig",
            citation=_UML,
            tags=("unsupervised",),
        ),
        Entry(
            "learned-discriminator",
            "plugins.rewards.learned_discriminator:LearnedDiscriminator",
            "Pays for states from which a learned discriminator, such as DIAYN's, tells the task's skill.",
            config="plugins.rewards.learned_discriminator:LearnedDiscriminatorConfig",
            citation=f"Eysenbach et al. 2019, Diversity is All You Need, section 3.2; {_UML}",
            tags=("unsupervised",),
        ),
        *_goal_rewards(),
    ]


@hookimpl
def register_runners() -> list[Entry]:
    """Outer loops of another shape."""
    return [*_games(), *_evolution()]


@hookimpl
def validate_run(plan: Mapping[str, Any]) -> list[str]:
    """A tracker whose package is missing is refused before there is a run directory."""
    wanted = [tracker["name"] for tracker in plan.get("trackers", ())]
    return [
        f"trackers: {name} needs the package {name!r}, which is not installed: "
        f'pip install "taskgen-metarl[{name}]", or leave the tracker out'
        for name in ("tensorboard", "wandb")
        if f"builtin/{name}" in wanted and importlib.util.find_spec(name) is None
    ]


@hookimpl
def register_trackers() -> list[Entry]:
    """Where metrics go."""
    return [
        Entry(
            "jsonl",
            "plugins.trackers.jsonl:JsonLines",
            "Metrics as JSON lines in the run directory, the source of truth.",
            config="plugins.trackers.jsonl:JsonLinesConfig",
        ),
        Entry(
            "tensorboard",
            "plugins.trackers.tensorboard:TensorBoard",
            "Metrics as TensorBoard events in the run directory.",
            config="plugins.trackers.tensorboard:TensorBoardConfig",
        ),
        Entry(
            "wandb",
            "plugins.trackers.wandb:Wandb",
            "Metrics, evaluations and settings for Weights & Biases, offline unless asked.",
            config="plugins.trackers.wandb:WandbConfig",
        ),
    ]


def _games() -> list[Entry]:
    """Runners in which making tasks and playing them is a game of agents."""
    return [
        Entry(
            "paired",
            "plugins.runners.paired:Paired",
            "PAIRED: a teacher makes tasks that one agent fails at and another can do; minimax and random beside it.",
            config="plugins.runners.paired:PairedConfig",
            citation=(
                "Dennis et al. 2020, Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design"
            ),
            tags=("curriculum", "multi-agent"),
        ),
    ]


def _archives() -> list[Entry]:
    """Sources of tasks that runners have made."""
    return [
        Entry(
            "poet",
            "plugins.generators.poet:PoetTasks",
            "Tasks that a POET run has evolved, in the order in which it made them.",
            config="plugins.generators.poet:PoetTasksConfig",
            citation="Wang et al. 2019, Paired Open-Ended Trailblazer (POET)",
            tags=("evolution", "file"),
        ),
    ]


def _evolution() -> list[Entry]:
    return [
        Entry(
            "poet",
            "plugins.runners.poet:Poet",
            "POET: tasks that evolve together with the agents that solve them.",
            config="plugins.runners.poet:PoetConfig",
            citation=(
                "Wang et al. 2019, Paired Open-Ended Trailblazer (POET), section 3; Wang et al. 2020, Enhanced POET, "
                "section 4"
            ),
            tags=("evolution", "open-ended"),
        ),
        Entry(
            "pbt",
            "plugins.runners.pbt:Pbt",
            "PBT: a population of agents whose settings evolve while they learn.",
            config="plugins.runners.pbt:PbtConfig",
            citation="Jaderberg et al. 2017, Population Based Training of Neural Networks, section 3",
            tags=("evolution", "hyperparameters"),
        ),
    ]


def _reward_generators() -> list[Entry]:
    """Generators of tasks by reward."""
    return [
        Entry(
            "random-rewards",
            "plugins.generators.random_rewards:RandomRewards",
            "Tasks of any CMP: rewards from discriminators of skills that were never trained.",
            config="plugins.generators.random_rewards:RandomRewardsConfig",
            citation=_UML,
            tags=("random", "unsupervised"),
        ),
        Entry(
            "diayn",
            "plugins.generators.diayn:Diayn",
            "Tasks of any CMP: rewards from a discriminator of skills that are learned first, without any reward.",
            config="plugins.generators.diayn:DiaynConfig",
            citation=f"Eysenbach et al. 2019, Diversity is All You Need, section 3; {_UML}",
            tags=("learned", "unsupervised"),
        ),
    ]


_DENSE = (
    "Rakelly et al. 2019, Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables, "
    "section 6.2"
)


def _goal_rewards() -> list[Entry]:
    """Dense rewards where a family's own is sparse."""
    return [
        Entry(
            "goal-proximity",
            "plugins.rewards.goal_proximity:GoalProximity",
            "Pays the more the nearer some entries of the observation are to a goal.",
            config="plugins.rewards.goal_proximity:GoalProximityConfig",
            citation=_DENSE,
            tags=("dense",),
        ),
    ]


def _goal_reward_generators() -> list[Entry]:
    """Generators of tasks that teach by a dense reward what a sparse one asks for.

    A family that offers "goal-position" is `taskgen.family.GoalDirected`: it says where in the observation the goal is.
    """
    return [
        Entry(
            "dense-rewards",
            "plugins.generators.dense_rewards:DenseRewards",
            "Tasks of another source, paid by how near their goal is instead of by their family.",
            config="plugins.generators.dense_rewards:DenseRewardsConfig",
            citation=_DENSE,
            tags=("dense",),
            needs=("goal-position",),
        ),
    ]
