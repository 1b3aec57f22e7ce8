"""The built-in task side: families, generators and trackers."""

from registry import Entry, hookimpl


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
        Entry(
            "maze",
            "plugins.families.maze:Maze",
            "Mazes seen from inside: walls, start and goal are the task, the view is 5 x 5 cells ahead.",
            config="plugins.families.maze:MazeConfig",
            citation=(
                "Dennis et al. 2020, Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design, "
                "section 5.1; Jiang et al. 2021, Replay-Guided Adversarial Environment Design"
            ),
            tags=("grid", "tensor"),
            offers=("maze", "discrete-actions"),
        ),
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
            citation="Jiang et al. 2021, Replay-Guided Adversarial Environment Design, appendix C",
            tags=("random", "grid"),
            needs=("maze",),
        ),
        Entry(
            "named-mazes",
            "plugins.generators.named_mazes:NamedMazes",
            "The twelve out-of-distribution mazes that unsupervised environment design is judged on.",
            config="plugins.generators.named_mazes:NamedMazesConfig",
            citation="Parker-Holder et al. 2022, Evolving Curricula with Regret-Based Environment Design, section 5",
            tags=("file", "grid"),
            needs=("maze",),
        ),
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
    ]
