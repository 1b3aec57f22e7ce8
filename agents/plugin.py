"""The built-in agent side: agents, reference players, networks, experiments and the verbs that train and judge."""

from agents.reference.entries import reference_players
from registry import Entry, hookimpl

_SHARED = ("data-parallel",)
_ACTIONS = "discrete-actions|continuous-actions"
_MAML = "Finn, Abbeel and Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"
_PROMP = "Rothfuss, Lee, Clavera, Asfour and Abbeel 2019, ProMP: Proximal Meta-Policy Search"
_REPTILE = "Nichol, Achiam and Schulman 2018, On First-Order Meta-Learning Algorithms"
_PEARL = "Rakelly et al. 2019, Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables"
_ES = "Salimans et al. 2017, Evolution Strategies as a Scalable Alternative to Reinforcement Learning"
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
            offers=_SHARED,
        ),
        *_gradient_agents(),
        *_proximal_agents(),
        *_actor_critics(),
        *_inference_agents(),
        *_evolved_agents(),
        *reference_players(),
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
        Entry("compare", "agents.commands:compare", "Compare the agents of several runs on the same tasks."),
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
            "rl2-bandit-horizon",
            "agents.experiments:RL2_BANDIT_HORIZON",
            "RL^2 on bandits with 5 arms and 100 pulls, by way of trials of 10, 20 and 50.",
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
        *_proximal_experiments(),
        *_inference_experiments(),
        *_navigation_experiments(),
        *_evolved_experiments(),
        *_maze_curricula(),
        *_poet_experiments(),
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
            offers=_SHARED,
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
            "ppo-cartpole",
            "agents.experiments:PPO_CARTPOLE",
            "One policy without memory for cart-poles whose physical parameters it is not told.",
            citation="Packer et al. 2018, Assessing Generalization in Deep Reinforcement Learning, section 4",
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
        *_designed(),
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


def _designed() -> list[Entry]:
    """Tasks made by a teacher."""
    made = "RL^2 on 7 x 7 mazes made by a teacher that is paid"
    citation = "Dennis et al. 2020, Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design"
    return [
        Entry(f"{name}-maze", f"agents.experiments:{name.upper()}_MAZE", f"{made} {pay}.", citation=citation)
        for name, pay in (("paired", "the regret"), ("minimax", "for failure alone"))
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
            offers=_SHARED,
        ),
        Entry(
            "reptile",
            "agents.reptile:Reptile",
            "Reptile: the start of the inner policy gradient moves towards where it leads.",
            "agents.reptile:ReptileConfig",
            _REPTILE,
            tags=("gradient", "on-policy"),
            needs=(_ACTIONS,),
            offers=_SHARED,
        ),
    ]


def _gradient_experiments() -> list[Entry]:
    maml, reptile = "agents.experiments:MAML_NAVIGATION", "agents.experiments:REPTILE_NAVIGATION"
    found = "MAML on goals in the plane: a policy gradient of 20 episodes finds the goal; minutes on a laptop."
    return [
        Entry("maml-navigation", maml, found, citation=f"{_MAML}, section 5.3"),
        Entry("reptile-navigation", reptile, "Reptile on goals in the plane.", citation=_REPTILE),
    ]


def _proximal_agents() -> list[Entry]:
    """MAML with several steps of PPO on each batch of trials in place of one of TRPO."""
    return [
        Entry(
            "promp",
            "agents.promp:ProMP",
            "ProMP: MAML whose outer loop is PPO, with a penalty on what the policies were before they adapted.",
            "agents.promp:ProMPConfig",
            _PROMP,
            tags=("gradient", "on-policy"),
            needs=(_ACTIONS,),
            offers=_SHARED,
        ),
    ]


def _proximal_experiments() -> list[Entry]:
    return [
        Entry(
            "promp-navigation",
            "agents.experiments:PROMP_NAVIGATION",
            "ProMP on goals in the plane: the tasks and budget of maml-navigation; minutes on a laptop.",
            citation=_PROMP,
        ),
    ]


def _navigation_experiments() -> list[Entry]:
    """The ways of adapting on the two worlds that `benchmarks.adaptation` compares them on."""
    world = "agents.experiments:"
    return [
        Entry(
            "rl2-navigation",
            world + "RL2_NAVIGATION",
            "RL^2 on goals in the plane: it feels its way within the first episode; minutes on a laptop.",
            citation="Finn et al. 2017, Model-Agnostic Meta-Learning, section 5.3",
        ),
        Entry(
            "rl2-grid",
            world + "RL2_GRID",
            "RL^2 on GridNavi: it searches the grid for the goal and goes back to it; a minute on a laptop.",
            citation="Zintgraf et al. 2020, VariBAD, section 5.1",
        ),
        Entry(
            "maml-grid",
            world + "MAML_GRID",
            "MAML on GridNavi: 20 episodes before the first step of adaptation.",
            citation=_MAML,
        ),
        Entry("reptile-grid", world + "REPTILE_GRID", "Reptile on GridNavi.", citation=_REPTILE),
    ]


def _evolved_agents() -> list[Entry]:
    """Agents that need no gradient."""
    return [
        Entry(
            "es",
            "agents.es:ES",
            "Evolution strategies: a policy climbs by the ranks of its perturbations, which play side by side.",
            "agents.es:ESConfig",
            f"{_ES}, section 2",
            tags=("evolution", "on-policy"),
            needs=(_ACTIONS,),
        ),
    ]


def _evolved_experiments() -> list[Entry]:
    return [
        Entry(
            "es-cartpole",
            "agents.evolved_experiments:ES_CARTPOLE",
            "Evolution strategies balance poles of many kinds: seconds on a laptop.",
            citation=f"{_ES}, section 2",
        ),
        Entry(
            "es-walker",
            "agents.evolved_experiments:ES_WALKER",
            "Evolution strategies teach a biped to walk on the flat course that POET starts from.",
            citation="Wang et al. 2019, Paired Open-Ended Trailblazer (POET), section 4",
        ),
    ]


def _maze_curricula() -> list[Entry]:
    """The same agent and mazes under curricula that replay."""
    made = "RL^2 on mazes of 13 x 13 cells, judged on the named ones too: minutes on one core."
    design = "Jiang et al. 2021, Replay-Guided Adversarial Environment Design"
    editing = "Parker-Holder et al. 2022, Evolving Curricula with Regret-Based Environment Design"
    sources = {
        "dr": ("drawn at random", design),
        "plr": ("replayed by Prioritized Level Replay", design),
        "robust-plr": ("learned from in replays alone", design),
        "accel": ("edited by ACCEL", editing),
    }
    return [
        Entry(
            f"{name}-maze",
            f"agents.experiments:{name.replace('-', '_').upper()}_MAZE",
            made.replace("cells", f"cells {what}"),
            citation=citation,
        )
        for name, (what, citation) in sources.items()
    ]


def _poet_experiments() -> list[Entry]:
    return [
        Entry(
            "poet-cartpole",
            "agents.evolved_experiments:POET_CARTPOLE",
            "POET on the physics of cart-pole: tasks evolve with the agents that balance them.",
            citation="Wang et al. 2019, Paired Open-Ended Trailblazer (POET), section 3",
        ),
        Entry(
            "poet-walker",
            "agents.evolved_experiments:POET_WALKER",
            "POET on obstacle courses: they evolve with the bipeds that walk over them.",
            citation="Wang et al. 2019, Paired Open-Ended Trailblazer (POET), section 4",
        ),
        Entry(
            "poet-maze",
            "agents.evolved_experiments:POET_MAZE",
            "POET on mazes that pay for nothing but the goal: agents get to places where none starts out to go.",
            citation="Wang et al. 2019, Paired Open-Ended Trailblazer (POET), section 3",
        ),
        Entry(
            "rl2-walker",
            "agents.evolved_experiments:RL2_WALKER",
            "RL^2 on easy obstacle courses, an episode each.",
            citation=f"{_RL2}, section 2",
        ),
    ]
