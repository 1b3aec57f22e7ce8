"""The catalogue entries of task families."""

from registry import Entry


def families() -> list[Entry]:
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
            "tabular-pomdp",
            "plugins.families.tabular_pomdp:TabularPOMDP",
            "Random finite POMDPs: the state is hidden behind what it looks like, rewards are 0 or 1.",
            config="plugins.families.tabular_pomdp:TabularPOMDPConfig",
            citation=(
                "Kaelbling, Littman and Cassandra 1998, Planning and acting in partially observable stochastic domains"
            ),
            tags=("tabular", "memory", "tensor"),
            offers=("tabular-pomdp", "discrete-actions"),
        ),
        *_recurring(),
        *_chains(),
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
        Entry(
            "catch",
            "plugins.families.catch:Catch",
            "A ball falls down a 10 x 5 board and is to be caught, told by numbers or as an image (bsuite's Catch).",
            config="plugins.families.catch:CatchConfig",
            citation="Osband et al. 2020, Behaviour Suite for Reinforcement Learning, appendix A",
            tags=("grid", "tensor"),
            offers=("catch", "discrete-actions"),
        ),
        Entry(
            "pursuit",
            "plugins.families.pursuit:Pursuit",
            "Predators hunt a prey on a grid; layout, speeds, sight and how good the partners are are the task.",
            config="plugins.families.pursuit:PursuitConfig",
            citation=(
                "Benda, Jagannathan and Dodhiawala 1986, On optimal cooperation of knowledge sources; Gupta et al. "
                "2017, Cooperative Multi-agent Control using Deep Reinforcement Learning, section 5.2"
            ),
            tags=("grid", "tensor"),
            offers=("pursuit", "discrete-actions", "mutable"),
        ),
        *_signs(),
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
        _others_walker(),
        *_any_model(),
        _any_environment(),
        _any_company(),
        _arms(),
    ]


def _recurring() -> list[Entry]:
    """Situations that come back within a trial, each under a cue."""
    ritter = "Ritter et al. 2018, Been there, done that: Meta-learning with episodic recall, section 4"
    return [
        Entry(
            "barcode-bandit",
            "plugins.families.barcode_bandit:BarcodeBandit",
            "Bandits that come back within a trial, each under a barcode by which it can be known again.",
            config="plugins.families.barcode_bandit:BarcodeBanditConfig",
            citation=ritter,
            tags=("bandit", "episodic", "tensor"),
            offers=("barcode-bandit", "cue", "discrete-actions"),
        ),
        Entry(
            "two-step",
            "plugins.families.two_step:TwoStep",
            "Two-step decisions in situations that recur under a cue, or in a row while the better state changes.",
            config="plugins.families.two_step:TwoStepConfig",
            citation=(
                "Daw et al. 2011, Model-based influences on humans' choices and striatal prediction errors; " + ritter
            ),
            tags=("bandit", "episodic", "tensor"),
            offers=("two-step", "cue", "discrete-actions"),
        ),
        Entry(
            "re-seen-choice",
            "plugins.families.re_seen_choice:ReSeenChoice",
            "Situations that are seen twice and ask for the same choice both times.",
            config="plugins.families.re_seen_choice:ReSeenChoiceConfig",
            citation=ritter,
            tags=("bandit", "episodic", "tensor"),
            offers=("re-seen-choice", "cue", "discrete-actions"),
        ),
    ]


def _chains() -> list[Entry]:
    """Chains of states on which it shows what returns count and what they discount."""
    return [
        Entry(
            "signal-noise-chain",
            "plugins.families.signal_noise_chain:SignalNoiseChain",
            "A chain that pays a little signal and much noise by turns, whatever the agent does.",
            config="plugins.families.signal_noise_chain:SignalNoiseChainConfig",
            citation="Xu, van Hasselt and Silver 2018, Meta-Gradient Reinforcement Learning, section 2",
            tags=("chain", "tensor"),
            offers=("signal-noise-chain", "discrete-actions", "mutable"),
        ),
        Entry(
            "discounting-chain",
            "plugins.families.discounting_chain:DiscountingChain",
            "The first action chooses when to be paid; one of five chains, the task, pays a tenth more.",
            config="plugins.families.discounting_chain:DiscountingChainConfig",
            citation="Osband et al. 2020, Behaviour Suite for Reinforcement Learning",
            tags=("chain", "tensor"),
            offers=("discounting-chain", "discrete-actions", "mutable"),
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
            offers=("mountain-treasure", "goal-position", "continuous-actions", "mutable"),
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
            offers=("pendulum", "goal-position", "continuous-actions", "mutable"),
        ),
        Entry(
            "linear-system",
            "plugins.families.linear_system:LinearSystem",
            "Linear systems with quadratic cost, seen in full or in part: the plant is the task (LQR and LQG).",
            config="plugins.families.linear_system:LinearSystemConfig",
            citation=(
                "Anderson and Moore 1990, Optimal Control: Linear Quadratic Methods; Dean, Mania, Matni, Recht and Tu "
                "2020, On the sample complexity of the linear quadratic regulator"
            ),
            tags=("control", "tensor"),
            offers=("linear-system", "continuous-actions", "mutable"),
        ),
    ]


def _grids() -> list[Entry]:
    """Families of small grids whose task has to be found out by moving about."""
    dream = (
        "Liu et al. 2021, Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without Sacrifices, "
        "section 6"
    )

    def family(name: str, target: str, summary: str, citation: str, *more: str) -> Entry:
        target = f"plugins.families.{target}"
        offers = (name, *more, "discrete-actions", "mutable")
        return Entry(name, target, summary, f"{target}Config", citation, tags=("grid", "tensor"), offers=offers)

    return [
        family(
            "grid-navigation",
            "grid_navigation:GridNavigation",
            "A hidden goal on a 5 x 5 grid, searched for and come back to in the trial's later episodes (GridNavi).",
            "Zintgraf et al. 2020, VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning, section "
            "5.1",
            "goal-position",
        ),
        family(
            "darkroom",
            "darkroom:Darkroom",
            "A hidden goal on a 10 x 10 grid, episodes of 100 steps.",
            "Laskin et al. 2022, In-context Reinforcement Learning with Algorithm Distillation; Lee et al. 2023, "
            "Supervised Pretraining Can Learn In-Context Reinforcement Learning",
            "goal-position",
        ),
        family(
            "frozen-lake",
            "frozen_lake:FrozenLake",
            "Over ice to the goal, past the holes: the map and how slippery the ice is are the task (FrozenLake-v1).",
            "Towers et al. 2024, Gymnasium: A Standard Interface for Reinforcement Learning Environments",
        ),
        family("bus", "bus:Bus", "A city where the task is where the buses go; a map may show it.", dream),
        family("cooking", "cooking:Cooking", "A kitchen where the task is what the drawers hold.", dream),
    ]


def _signs() -> list[Entry]:
    """Where acting on a guess costs more the farther the goal is."""
    citation = (
        "Zintgraf et al. 2020, VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning, figure 1"
    )
    return [
        Entry(
            "sign-post",
            "plugins.families.sign_post:SignPost",
            "The goal is at the far end of one of several paths, and a sign beside the start tells which.",
            config="plugins.families.sign_post:SignPostConfig",
            citation=citation,
            tags=("exploration", "tensor"),
            offers=("sign-post", "discrete-actions", "mutable"),
        ),
        Entry(
            "sign-plane",
            "plugins.families.sign_post:SignPlane",
            "The goal is far away in the plane, in any direction, and a sign near the start tells which.",
            config="plugins.families.sign_post:SignPlaneConfig",
            citation=citation,
            tags=("navigation", "exploration", "tensor"),
            offers=("sign-plane", "continuous-actions", "mutable"),
        ),
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
            offers=(name, "goal-position", "continuous-actions", "mutable"),
        )
        for name, target, what, citation in robots
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


def _any_environment() -> Entry:
    return Entry(
        "gymnasium",
        "plugins.families.gymnasium_any:GymnasiumAny",
        "Any Gymnasium environment, registered or your own: numbers that it takes or has are the task.",
        config="plugins.families.gymnasium_any:GymnasiumAnyConfig",
        citation="Towers et al. 2024, Gymnasium: A Standard Interface for Reinforcement Learning Environments",
        tags=("gymnasium", "domain-randomization"),
        offers=("gymnasium",),
    )


def _any_company() -> Entry:
    return Entry(
        "parallel",
        "plugins.families.parallel_any:ParallelAny",
        "Any PettingZoo environment, one of its agents ours, the others scripted or trained.",
        config="plugins.families.parallel_any:ParallelAnyConfig",
        citation="Terry et al. 2021, PettingZoo: Gym for Multi-Agent Reinforcement Learning",
        tags=("pettingzoo", "domain-randomization"),
        offers=("parallel",),
    )


def _arms() -> Entry:
    return Entry(
        "metaworld",
        "plugins.families.metaworld:MetaWorld",
        "Meta-World's ML1, ML10 and ML45: a robot arm with an object and a goal that it is not shown.",
        config="plugins.families.metaworld:MetaWorldConfig",
        citation=(
            "Yu et al. 2019, Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement Learning, "
            "section 4"
        ),
        tags=("metaworld", "mujoco"),
        offers=("metaworld", "continuous-actions"),
        package="metaworld",
    )


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


def _others_walker() -> Entry:
    return Entry(
        "bipedal-walker",
        "plugins.families.bipedal_walker:BipedalWalker",
        "Gymnasium's BipedalWalker (Box2D) on POET's obstacle courses.",
        config="plugins.families.bipedal_walker:BipedalWalkerConfig",
        citation=(
            "Brockman et al. 2016, OpenAI Gym; Wang et al. 2019, Paired Open-Ended Trailblazer (POET): Endlessly "
            "Generating Increasingly Complex and Diverse Learning Environments and Their Solutions, section 4"
        ),
        tags=("locomotion", "gymnasium"),
        offers=("bipedal-walker", "continuous-actions", "mutable"),
    )
