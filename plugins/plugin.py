"""The built-in task side: families, rewards, generators, curricula, runners and trackers."""

from plugins.curricula.entries import curricula
from registry import Entry, hookimpl

_UML = "Gupta et al. 2018, Unsupervised Meta-Learning for Reinforcement Learning, section 4.2"


@hookimpl
def register_task_families() -> list[Entry]:
    """The families every meta-RL library begins with."""
    return [
        Entry(
            "bandit",
            "plugins.families.bandit:Bandit",
            "Bandits with k Bernoulli arms whose success probabilities are the task.",
            config="plugins.families.bandit:BanditConfig",
            citation="Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, section 3.1",
            tags=("bandit", "tensor"),
            offers=("bandit", "discrete-actions"),
        ),
        Entry(
            "tabular-mdp",
            "plugins.families.tabular_mdp:TabularMDP",
            "Random finite MDPs with Dirichlet transitions and Gaussian rewards.",
            config="plugins.families.tabular_mdp:TabularMDPConfig",
            citation="Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, section 3.1",
            tags=("tabular", "tensor"),
            offers=("tabular-mdp", "discrete-actions"),
        ),
        *_control_families(),
        Entry(
            "maze",
            "plugins.families.maze:Maze",
            "Mazes seen from inside: walls, start and goal are the task, the view is 5 x 5 cells ahead.",
            config="plugins.families.maze:MazeConfig",
            citation=(
                "Dennis et al. 2020, Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design; "
                "Jiang et al. 2021, Replay-Guided Adversarial Environment Design"
            ),
            tags=("grid", "tensor"),
            offers=("maze", "discrete-actions", "mutable"),
        ),
        *_grids(),
        *_walking_robots(),
        Entry(
            "terrain-walker",
            "plugins.families.terrain_walker:TerrainWalker",
            "A planar biped on POET's obstacle courses: roughness, pits, stumps and stairs are the task.",
            config="plugins.families.terrain_walker:TerrainWalkerConfig",
            citation=(
                "Wang et al. 2019, Paired Open-Ended Trailblazer (POET): Endlessly Generating Increasingly Complex and "
                "Diverse Learning Environments and Their Solutions, section 4"
            ),
            tags=("locomotion", "mujoco"),
            offers=("terrain-walker", "continuous-actions", "mutable"),
        ),
        _drawn_ground(),
        *_any_model(),
    ]


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


def _any_model() -> list[Entry]:
    return [
        Entry(
            "mujoco-any",
            "plugins.families.mujoco_any:MujocoAny",
            "Domain randomisation of any MuJoCo model: fields of the model, by name, are the task.",
            config="plugins.families.mujoco_any:MujocoAnyConfig",
            citation=(
                "Peng et al. 2018, Sim-to-Real Transfer of Robotic Control with Dynamics Randomization, section IV"
            ),
            tags=("mujoco", "domain-randomization"),
            offers=("mujoco-any", "continuous-actions"),
        ),
    ]


def _control_families() -> list[Entry]:
    """Small continuous worlds."""
    return [
        Entry(
            "point-navigation",
            "plugins.families.point_navigation:PointNavigation",
            "A point walks to a hidden goal in the plane: MAML's 2D navigation and PEARL's sparse point robot.",
            config="plugins.families.point_navigation:PointNavigationConfig",
            citation=(
                "Finn et al. 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, section 5.3; "
                "Rakelly et al. 2019, Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context "
                "Variables, section 6.2"
            ),
            tags=("navigation", "tensor"),
            offers=("point-navigation", "goal-position", "continuous-actions", "mutable"),
        ),
        Entry(
            "mountain-treasure",
            "plugins.families.mountain_treasure:MountainTreasure",
            "A treasure on a circle is found by walking, or seen from a mountain that costs reward to climb.",
            config="plugins.families.mountain_treasure:MountainTreasureConfig",
            citation=(
                "Zintgraf et al. 2021, Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning, "
                "section 5.1"
            ),
            tags=("navigation", "exploration", "tensor"),
            offers=("mountain-treasure", "continuous-actions", "mutable"),
        ),
        Entry(
            "cartpole",
            "plugins.families.cartpole:CartPole",
            "Cart-pole with physical parameters; CartPole-v1 at the default context.",
            config="plugins.families.cartpole:CartPoleConfig",
            citation=(
                "Barto, Sutton and Anderson 1983, Neuronlike adaptive elements that can solve difficult learning "
                "control problems; Packer et al. 2018, Assessing Generalization in Deep Reinforcement Learning, table 1"
            ),
            tags=("control", "tensor"),
            offers=("cartpole", "discrete-actions", "mutable"),
        ),
        Entry(
            "pendulum",
            "plugins.families.pendulum:Pendulum",
            "Pendulum swing-up with physical parameters; Pendulum-v1 at the default context.",
            config="plugins.families.pendulum:PendulumConfig",
            citation="Packer et al. 2018, Assessing Generalization in Deep Reinforcement Learning, table 1",
            tags=("control", "tensor"),
            offers=("pendulum", "continuous-actions", "mutable"),
        ),
    ]


def _grids() -> list[Entry]:
    """Families of small grids whose task has to be found out by moving about."""
    dream = (
        "Liu et al. 2021, Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without Sacrifices, "
        "section 6"
    )

    def family(name: str, target: str, summary: str, citation: str) -> Entry:
        target = f"plugins.families.{target}"
        offers = (name, "discrete-actions", "mutable")
        return Entry(name, target, summary, f"{target}Config", citation, tags=("grid", "tensor"), offers=offers)

    return [
        family(
            "grid-navigation",
            "grid_navigation:GridNavigation",
            "A hidden goal on a 5 x 5 grid, searched for and come back to in the trial's later episodes (GridNavi).",
            "Zintgraf et al. 2020, VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning, section "
            "5.1",
        ),
        family(
            "darkroom",
            "darkroom:Darkroom",
            "A hidden goal on a 10 x 10 grid, episodes of 100 steps.",
            "Laskin et al. 2022, In-context Reinforcement Learning with Algorithm Distillation; Lee et al. 2023, "
            "Supervised Pretraining Can Learn In-Context Reinforcement Learning",
        ),
        family("bus", "bus:Bus", "A city where the task is where the buses go; a map may show it.", dream),
        family("cooking", "cooking:Cooking", "A kitchen where the task is what the drawers hold.", dream),
    ]


def _walking_robots() -> list[Entry]:
    maml = "Finn et al. 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, section 5.3"
    pearl = "Rakelly et al. 2019, Efficient Off-Policy Meta-RL via Probabilistic Context Variables, section 6"
    epg = "Houthooft et al. 2018, Evolved Policy Gradients, section 4"
    robots = (
        ("half-cheetah", "half_cheetah:HalfCheetah", "A planar cheetah", f"{maml}; {pearl}"),
        ("ant", "ant:Ant", "A four-legged ant", f"{maml}; {pearl}"),
        ("hopper", "hopper:Hopper", "A planar one-legged hopper", epg),
        ("walker2d", "walker2d:Walker2d", "A planar two-legged walker", pearl),
    )
    return [
        Entry(
            name,
            f"plugins.families.{target}",
            f"{what} whose goal (forward, direction, velocity{', position' if name == 'ant' else ''}) and body are the "
            "task.",
            config=f"plugins.families.{target}Config",
            citation=citation,
            tags=("locomotion", "mujoco"),
            offers=(name, "continuous-actions", "mutable"),
        )
        for name, target, what, citation in robots
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

    A family that offers "goal-position" has the goal in its descriptor, in the units of entries of its observation.
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


def _drawn_ground() -> Entry:
    return Entry(
        "cppn-walker",
        "plugins.families.cppn_walker:CPPNWalker",
        "A planar biped on ground that a small network draws: the network is the task.",
        config="plugins.families.cppn_walker:CPPNWalkerConfig",
        citation=(
            "Wang et al. 2020, Enhanced POET: Open-Ended Reinforcement Learning through Unbounded Invention of "
            "Learning Challenges and their Solutions, section 4.2"
        ),
        tags=("locomotion", "mujoco"),
        offers=("cppn-walker", "continuous-actions", "mutable"),
    )
