"""The built-in agent side: agents, reference players, networks, experiments and the verbs that train and judge."""

from registry import Entry, hookimpl

_ACTIONS = "discrete-actions|continuous-actions"
_MAML = "Finn, Abbeel and Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"
_REPTILE = "Nichol, Achiam and Schulman 2018, On First-Order Meta-Learning Algorithms"
_PEARL = "Rakelly et al. 2019, Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables"
_RL2 = "Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning"


@hookimpl
def register_agents() -> list[Entry]:
    """Agents that learn to learn, and players to judge them by."""
    return [
        Entry(
            "rl2",
            "agents.rl2:RL2",
            "RL^2: a recurrent policy trained with PPO over whole trials learns to adapt in its hidden state.",
            config="agents.rl2:RL2Config",
            citation=f"{_RL2}, section 2; Wang et al. 2016, Learning to reinforcement learn",
            tags=("recurrent", "on-policy"),
            needs=(_ACTIONS,),
        ),
        *_gradient_agents(),
        Entry(
            "random",
            "agents.random_policy:RandomPolicy",
            "Actions drawn uniformly from the action space.",
            tags=("reference",),
            needs=(_ACTIONS,),
        ),
        *_actor_critics(),
        *_inference_agents(),
        *_bandit_players(),
        *_tabular_players(),
        *_grid_players(),
        *_control_players(),
        Entry(
            "maze-oracle",
            "agents.reference.maze_oracle:MazeOracle",
            "Is told the maze and walks a shortest way to the goal.",
            "agents.reference.maze_oracle:MazeOracleConfig",
            "Moore 1959, The shortest path through a maze",
            tags=("reference",),
            needs=("maze",),
        ),
    ]


@hookimpl
def register_networks() -> list[Entry]:
    """Recurrent networks for agents that adapt in a hidden state."""
    return [
        Entry(
            "gru",
            "agents.networks.gru:GRU",
            "Gated recurrent unit.",
            config="agents.networks.gru:GRUConfig",
            citation=(
                "Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine "
                "Translation, section 2.3"
            ),
            tags=("recurrent",),
        ),
        Entry(
            "lstm",
            "agents.networks.lstm:LSTM",
            "Long short-term memory.",
            config="agents.networks.lstm:LSTMConfig",
            citation="Hochreiter and Schmidhuber 1997, Long Short-Term Memory; Gers et al. 2000, Learning to Forget",
            tags=("recurrent",),
        ),
        Entry(
            "fast-weights",
            "agents.networks.fast_weights:FastWeights",
            "Fast weights: a matrix-valued hidden state that stores key-value pairs by outer products.",
            config="agents.networks.fast_weights:FastWeightsConfig",
            citation=(
                "Katharopoulos et al. 2020, Transformers are RNNs, section 3.3; Schlag et al. 2021, Linear "
                "Transformers Are Secretly Fast Weight Programmers"
            ),
            tags=("recurrent",),
        ),
    ]


@hookimpl
def register_commands() -> list[Entry]:
    """Agent verbs."""
    return [
        Entry("train", "agents.commands:train", "Train an agent as a shipped experiment or a TOML file says."),
        Entry("evaluate", "agents.commands:evaluate", "Evaluate a run on held-out tasks, beside reference players."),
        Entry("report", "agents.commands:report", "Write one self-contained HTML page about one or more runs."),
        Entry("play", "agents.commands:play", "Play one trial of a task and write a film of it, or a transcript."),
    ]


@hookimpl
def register_experiments() -> list[Entry]:
    """Shipped experiments."""
    return [
        Entry(
            "rl2-bandit",
            "agents.experiments:RL2_BANDIT",
            "RL^2 on bandits with 5 arms and 10 pulls: minutes on a laptop.",
            citation=f"{_RL2}, section 3.1",
        ),
        Entry(
            "rl2-tabular",
            "agents.experiments:RL2_TABULAR",
            "RL^2 on random tabular MDPs with 10 episodes a trial.",
            citation=f"{_RL2}, section 3.2",
        ),
        *_actor_critic_experiments(),
        *_gradient_experiments(),
        *_inference_experiments(),
    ]


def _actor_critics() -> list[Entry]:
    """Contextual agents: told the task, they are the oracle that adaptive agents are measured against."""
    return [
        Entry(
            "ppo",
            "agents.ppo:PPO",
            "PPO on observation and task descriptor: the contextual oracle; without the descriptor, no adaptation.",
            "agents.ppo:PPOConfig",
            "Schulman et al. 2017, Proximal Policy Optimization Algorithms",
            tags=("contextual", "on-policy"),
            needs=(_ACTIONS,),
        ),
        Entry(
            "sac",
            "agents.sac:SAC",
            "SAC on observation and task descriptor: the contextual oracle from fewer environment steps.",
            "agents.sac:SACConfig",
            "Haarnoja et al. 2018, Soft Actor-Critic Algorithms and Applications",
            tags=("contextual", "off-policy"),
            needs=("continuous-actions",),
        ),
    ]


def _actor_critic_experiments() -> list[Entry]:
    return [
        Entry(
            "ppo-navigation",
            "agents.experiments:PPO_NAVIGATION",
            "The contextual oracle on MAML's 2D navigation: is told the goal and learns to go there.",
            citation="Finn et al. 2017, Model-Agnostic Meta-Learning, section 5.3",
        ),
        Entry(
            "sac-navigation",
            "agents.experiments:SAC_NAVIGATION",
            "The contextual oracle on MAML's 2D navigation, learned off-policy.",
            citation="Haarnoja et al. 2018, Soft Actor-Critic Algorithms and Applications",
        ),
        Entry(
            "ppo-grid",
            "agents.experiments:PPO_GRID",
            "The contextual oracle on GridNavi: is told the goal and learns to walk there and stay.",
            citation="Zintgraf et al. 2020, VariBAD, section 5.1",
        ),
        *_unsupervised(),
    ]


def _inference_agents() -> list[Entry]:
    """Agents that adapt by inferring which task they are in."""
    return [
        Entry(
            "pearl",
            "agents.pearl:PEARL",
            "PEARL: infers a latent of the task from its transitions, acts as one drawn from the posterior demands.",
            "agents.pearl:PEARLConfig",
            f"{_PEARL}, sections 4 and 5",
            tags=("inference", "off-policy"),
            needs=("continuous-actions",),
        ),
    ]


def _inference_experiments() -> list[Entry]:
    return [
        Entry(
            "pearl-sparse-point",
            "agents.experiments:PEARL_SPARSE_POINT",
            "PEARL finds a goal on a half circle that pays only from near: minutes on a laptop.",
            citation=f"{_PEARL}, section 6.2",
        ),
    ]


def _unsupervised() -> list[Entry]:
    """Where do the tasks come from? One agent, three distributions, judged on the same goals."""
    return [
        Entry(
            f"uml-{world}{name}",
            "agents.experiments:" + f"uml_{world}{name}".replace("-", "_").upper(),
            f"RL^2 meta-trained on {tasks}, judged on {judged}.",
            citation="Gupta et al. 2018, Unsupervised Meta-Learning for Reinforcement Learning, section 5",
        )
        for world, judged in (("", "goals on a half circle"), ("cheetah-", "running forwards and backwards"))
        for name, tasks in (
            ("goals", "hand-made goals"),
            ("random", "random rewards"),
            ("diayn", "rewards that DIAYN learned"),
        )
    ]


def _player(name: str, family: str, target: str, summary: str, citation: str) -> Entry:
    """A reference player of `family`; `target` is "module:Class" below agents.reference, its settings beside it."""
    target = f"agents.reference.{target}"
    return Entry(name, target, summary, f"{target}Config", citation, tags=("reference",), needs=(family,))


def _gradient_agents() -> list[Entry]:
    return [
        Entry(
            "maml",
            "agents.maml:MAML",
            "MAML: a policy trained so that a few gradient steps on a task's own episodes make it good at it.",
            "agents.maml:MAMLConfig",
            _MAML,
            tags=("gradient", "on-policy"),
            needs=(_ACTIONS,),
        ),
        Entry(
            "reptile",
            "agents.reptile:Reptile",
            "Reptile: the start of the inner policy gradient moves towards where it leads.",
            "agents.reptile:ReptileConfig",
            _REPTILE,
            tags=("gradient", "on-policy"),
            needs=(_ACTIONS,),
        ),
    ]


def _gradient_experiments() -> list[Entry]:
    maml, reptile = "agents.experiments:MAML_NAVIGATION", "agents.experiments:REPTILE_NAVIGATION"
    found = "MAML on goals in the plane: a policy gradient of 20 episodes finds the goal; minutes on a laptop."
    return [
        Entry("maml-navigation", maml, found, citation=f"{_MAML}, section 5.3"),
        Entry("reptile-navigation", reptile, "Reptile on goals in the plane.", citation=_REPTILE),
    ]


def _bandit_players() -> list[Entry]:
    return [
        _player(
            "bayes-optimal",
            "bandit",
            "bayes_optimal:BayesOptimal",
            "The highest expected return any player can have, by exact dynamic programming over sorted counts.",
            "Bellman 1956, A problem in the sequential design of experiments; Duff 2002, Optimal learning: "
            "computational procedures for Bayes-adaptive Markov decision processes",
        ),
        _player(
            "gittins",
            "bandit",
            "gittins:Gittins",
            "Pulls the arm with the highest finite-horizon Gittins index.",
            "Gittins 1979, Bandit processes and dynamic allocation indices; Nino-Mora 2011, Computing a classic index "
            "for finite-horizon bandits",
        ),
        _player(
            "ucb1",
            "bandit",
            "ucb1:UCB1",
            "Pulls the arm with the highest upper confidence bound.",
            "Auer, Cesa-Bianchi and Fischer 2002, Finite-time analysis of the multiarmed bandit problem, figure 1",
        ),
        _player(
            "thompson",
            "bandit",
            "thompson:Thompson",
            "Pulls the arm that is best in one draw from the posterior.",
            "Thompson 1933, On the likelihood that one unknown probability exceeds another in view of the evidence of "
            "two samples; Chapelle and Li 2011, An empirical evaluation of Thompson sampling, section 2",
        ),
        _player(
            "epsilon-greedy",
            "bandit",
            "epsilon_greedy:EpsilonGreedy",
            "Pulls the arm with the highest posterior mean, now and then any arm.",
            f"{_RL2}, section 3.1",
        ),
        _player(
            "greedy",
            "bandit",
            "greedy:Greedy",
            "Pulls the arm with the highest posterior mean.",
            f"{_RL2}, section 3.1",
        ),
        _player(
            "bandit-oracle",
            "bandit",
            "bandit_oracle:BanditOracle",
            "Is told the arm probabilities and pulls the best arm.",
            f"{_RL2}, section 3.1",
        ),
    ]


def _tabular_players() -> list[Entry]:
    return [
        _player(
            "psrl",
            "tabular-mdp",
            "psrl:PSRL",
            "Acts optimally in one MDP drawn from the posterior.",
            "Strens 2000, A Bayesian framework for reinforcement learning; Osband, Russo and Van Roy 2013, (More) "
            "efficient reinforcement learning via posterior sampling",
        ),
        _player(
            "opsrl",
            "tabular-mdp",
            "opsrl:OPSRL",
            "Values every action by the most favourable of several MDPs drawn from the posterior.",
            "Osband and Van Roy 2017, Why is posterior sampling better than optimism for reinforcement learning?",
        ),
        _player(
            "beb",
            "tabular-mdp",
            "beb:BEB",
            "Acts optimally in the posterior's expected MDP with a bonus for what was seen little.",
            "Kolter and Ng 2009, Near-Bayesian exploration in polynomial time",
        ),
        _player(
            "posterior-greedy",
            "tabular-mdp",
            "posterior_greedy:PosteriorGreedy",
            "Acts optimally in the posterior's expected MDP.",
            f"{_RL2}, section 3.2",
        ),
        _player(
            "tabular-oracle",
            "tabular-mdp",
            "tabular_oracle:TabularOracle",
            "Is told the task's tables and acts optimally by value iteration.",
            "Bellman 1957, Dynamic programming",
        ),
    ]


def _control_players() -> list[Entry]:
    hyperx = (
        "Zintgraf et al. 2021, Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning, "
        "section 5.1"
    )
    return [
        _player(
            "point-navigation-oracle",
            "point-navigation",
            "point_navigation_oracle:PointNavigationOracle",
            "Is told the goal and goes there as fast as anybody can.",
            "Finn et al. 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, section 5.3",
        ),
        _player(
            "treasure-oracle",
            "mountain-treasure",
            "treasure_oracle:TreasureOracle",
            "Is told where the treasure lies and goes there as fast as anybody can.",
            hyperx,
        ),
        _player(
            "treasure-climber",
            "mountain-treasure",
            "treasure_climber:TreasureClimber",
            "Climbs the mountain first, sees the treasure and goes there.",
            hyperx,
        ),
        _player(
            "treasure-walker",
            "mountain-treasure",
            "treasure_walker:TreasureWalker",
            "Walks round the circle until it finds the treasure: the local optimum.",
            hyperx,
        ),
        _player(
            "cartpole-oracle",
            "cartpole",
            "cartpole_oracle:CartPoleOracle",
            "Is told the physical parameters and pushes as a linear-quadratic regulator asks: best known, not optimal.",
            "Anderson and Moore 1990, Optimal Control: Linear Quadratic Methods, chapter 2",
        ),
        _player(
            "pendulum-oracle",
            "pendulum",
            "pendulum_oracle:PendulumOracle",
            "Is told the physical parameters, swings up by energy and holds by a regulator: best known, not optimal.",
            "Astrom and Furuta 2000, Swinging up a pendulum by energy control",
        ),
    ]


def _grid_players() -> list[Entry]:
    varibad = "Zintgraf et al. 2020, VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning"
    dream = (
        "Liu et al. 2021, Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without Sacrifices, "
        "section 6"
    )

    return [
        _player(
            "grid-navigation-oracle",
            "grid-navigation",
            "grid_navigation_oracle:GridNavigationOracle",
            "Is told the goal, walks there and stays.",
            f"{varibad}, section 5.1",
        ),
        _player(
            "grid-navigation-bayes",
            "grid-navigation",
            "grid_navigation_bayes:GridNavigationBayes",
            "Searches the cells in the order that pays most on average, then goes back to the goal: Bayes-optimal.",
            f"{varibad}, section 5.1; Duff 2002, Optimal learning: computational procedures for Bayes-adaptive Markov "
            "decision processes",
        ),
        _player(
            "darkroom-oracle",
            "darkroom",
            "darkroom_oracle:DarkroomOracle",
            "Is told the goal, walks there and stays.",
            "Lee et al. 2023, Supervised Pretraining Can Learn In-Context Reinforcement Learning",
        ),
        _player(
            "bus-oracle",
            "bus",
            "bus_oracle:BusOracle",
            "Is told where the buses go and takes a shortest way to the goal.",
            dream,
        ),
        _player(
            "bus-map-reader",
            "bus",
            "bus_map_reader:BusMapReader",
            "Walks to the map first, reads it, and takes shortest ways from then on.",
            dream,
        ),
        _player(
            "cooking-oracle",
            "cooking",
            "cooking_oracle:CookingOracle",
            "Is told what the drawers hold and fetches the recipe's ingredients from the nearest.",
            dream,
        ),
    ]
