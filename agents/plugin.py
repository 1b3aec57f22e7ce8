"""The built-in agent side: algorithms by how they adapt, and what the rooms offer: players, networks, experiments."""

from collections.abc import Mapping

from agents.experiments.entries import experiments
from agents.networks.entries import networks
from agents.reference.entries import reference_players
from registry import Entry, hookimpl

_SHARED = ("data-parallel",)
_EPG = "Houthooft et al. 2018, Evolved Policy Gradients, section 3"
_ACTIONS = ("discrete-actions|continuous-actions|multi-discrete-actions|mixed-actions",)


@hookimpl
def register_agents() -> list[Entry]:
    """Agents that learn to learn, and players to judge them by."""
    return [
        *_by_memory(),
        *_by_gradient(),
        *_by_inference(),
        *_told_the_task(),
        *_evolved(),
        *_from_scratch(),
        *reference_players(),
    ]


@hookimpl
def register_runners() -> list[Entry]:
    """Outer loops of another shape that belong to an agent."""
    return [
        Entry(
            "epg",
            "agents.epg_runner:EPGRunner",
            "Losses of agent epg evolve over a map, all of them learned by on the same tasks with the same luck.",
            "agents.epg_runner:EPGRunnerConfig",
            _EPG,
        ),
    ]


@hookimpl
def register_networks() -> list[Entry]:
    """Recurrent networks for agents that adapt in a hidden state."""
    return networks()


@hookimpl
def register_experiments() -> list[Entry]:
    """Shipped experiments."""
    return experiments()


@hookimpl
def register_commands() -> list[Entry]:
    """Agent verbs."""
    return [
        Entry(
            "train",
            "agents.commands:train",
            "Train an agent as a shipped experiment or a TOML file says.",
            config="agents.training.experiment:Experiment",
        ),
        Entry("evaluate", "agents.commands:evaluate", "Evaluate a run on held-out tasks, beside reference players."),
        Entry("report", "agents.commands:report", "Write one self-contained HTML page about one or more runs."),
        Entry("compare", "agents.commands:compare", "Compare the agents of several runs on the same tasks."),
        Entry("plan", "agents.sweeps.commands:plan", "Say what a run will be, before it begins: steps, memory, time."),
        Entry("record", "agents.commands:record", "Record trials of a run's agent as a Minari data set."),
        Entry("export", "agents.commands:export", "Write the trained policy of a run as an ONNX file."),
        Entry("check", "agents.commands:check", "Check a plugin by the conformance kits, in processes with limits."),
        Entry("sweep", "agents.sweeps.commands:sweep", "Run an experiment with many settings and seeds, and compare."),
        Entry("pack", "agents.sweeps.commands:pack", "Pack a run into one file, to send round."),
        Entry("unpack", "agents.sweeps.commands:unpack", "Make a run directory of a packed run."),
        Entry("play", "agents.commands:play", "Play one trial of a task and write a film of it, or a transcript."),
    ]


@hookimpl
def describe_entry(kind: str, name: str) -> Mapping[str, str] | None:
    """Of agents and networks the size of what they carry through a trial."""
    if kind not in ("agents", "networks"):
        return None
    from agents.evaluation.carry import described

    return described(kind, name)


def _by_memory() -> list[Entry]:
    return [
        Entry(
            "rl2",
            "agents.rl2:RL2",
            "RL^2: a recurrent policy trained with PPO over whole trials learns to adapt in its hidden state.",
            "agents.rl2:RL2Config",
            "Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, section 2; "
            "Wang et al. 2016, Learning to reinforcement learn",
            tags=("recurrent", "on-policy"),
            needs=_ACTIONS,
            offers=_SHARED,
        ),
        Entry(
            "mfec",
            "agents.mfec:MFEC",
            "MFEC: does again what paid best here, or in the most similar states of the trial; optimistic under noise.",
            "agents.mfec:MFECConfig",
            "Blundell et al. 2016, Model-Free Episodic Control",
            tags=("episodic",),
            needs=("discrete-actions",),
        ),
        Entry(
            "nec",
            "agents.nec:NEC",
            "NEC: looks values up in what the trial has shown, by nearness in an embedding learned across tasks.",
            "agents.nec:NECConfig",
            "Pritzel et al. 2017, Neural Episodic Control, section 3",
            tags=("episodic", "off-policy"),
            needs=("discrete-actions",),
        ),
    ]


def _by_gradient() -> list[Entry]:
    return [
        Entry(
            "maml",
            "agents.maml:MAML",
            "MAML: a policy trained so that a few gradient steps on a task's own episodes make it good at it.",
            "agents.maml:MAMLConfig",
            "Finn, Abbeel and Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
            tags=("gradient", "on-policy"),
            needs=_ACTIONS,
            offers=_SHARED,
        ),
        Entry(
            "reptile",
            "agents.reptile:Reptile",
            "Reptile: the start of the inner policy gradient moves towards where it leads.",
            "agents.reptile:ReptileConfig",
            "Nichol, Achiam and Schulman 2018, On First-Order Meta-Learning Algorithms",
            tags=("gradient", "on-policy"),
            needs=_ACTIONS,
            offers=_SHARED,
        ),
        Entry(
            "promp",
            "agents.promp:ProMP",
            "ProMP: MAML whose outer loop is PPO, with a penalty on what the policies were before they adapted.",
            "agents.promp:ProMPConfig",
            "Rothfuss, Lee, Clavera, Asfour and Abbeel 2019, ProMP: Proximal Meta-Policy Search",
            tags=("gradient", "on-policy"),
            needs=_ACTIONS,
            offers=_SHARED,
        ),
        Entry(
            "maesn",
            "agents.maesn:MAESN",
            "MAESN: a latent drawn once an episode structures exploration; a policy gradient moves its distribution.",
            "agents.maesn:MAESNConfig",
            "Gupta, Mendonca, Liu, Abbeel and Levine 2018, Meta-Reinforcement Learning of Structured Exploration "
            "Strategies, section 4",
            tags=("gradient", "on-policy"),
            needs=_ACTIONS,
        ),
        Entry(
            "meta-gradient",
            "agents.meta_gradient:MetaGradient",
            "Meta-gradients: an actor-critic that learns the discount and trace of the returns it learns from.",
            "agents.meta_gradient:MetaGradientConfig",
            "Xu, van Hasselt and Silver 2018, Meta-Gradient Reinforcement Learning, section 1",
            tags=("gradient", "on-policy"),
            needs=_ACTIONS,
        ),
    ]


def _from_scratch() -> list[Entry]:
    """What learning from scratch is measured against."""
    return [
        Entry(
            "ppo-from-scratch",
            "agents.ppo_from_scratch:PPOFromScratch",
            "PPO from scratch on every task, between rounds of episodes; nothing is meta-learned.",
            "agents.ppo_from_scratch:PPOFromScratchConfig",
            "Schulman et al. 2017, Proximal Policy Optimization Algorithms",
            tags=("gradient", "on-policy"),
            needs=_ACTIONS,
        ),
    ]


def _by_inference() -> list[Entry]:
    return [
        Entry(
            "pearl",
            "agents.pearl:PEARL",
            "PEARL: infers a latent of the task from its transitions, acts as one drawn from the posterior demands.",
            "agents.pearl:PEARLConfig",
            "Rakelly et al. 2019, Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context "
            "Variables, sections 4 and 5",
            tags=("inference", "off-policy"),
            needs=("continuous-actions",),
        ),
        Entry(
            "varibad",
            "agents.varibad:VariBAD",
            "VariBAD: a policy that acts on its belief about the task, inferred by an encoder that a decoder teaches.",
            "agents.varibad:VariBADConfig",
            "Zintgraf et al. 2020, VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning, section 3",
            tags=("inference", "on-policy"),
            needs=_ACTIONS,
        ),
        Entry(
            "hyperx",
            "agents.hyperx:HyperX",
            "HyperX: VariBAD that is paid, while it learns, for states and beliefs that are new or not yet understood.",
            "agents.hyperx:HyperXConfig",
            "Zintgraf et al. 2021, Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning, "
            "section 4",
            tags=("inference", "on-policy"),
            needs=_ACTIONS,
        ),
        Entry(
            "prediction-gain",
            "agents.prediction_gain:PredictionGain",
            "Explores where knowing the task would improve the prediction of rewards, then exploits (MetaCURE's idea).",
            "agents.prediction_gain:PredictionGainConfig",
            "Zhang et al. 2021, MetaCURE: Meta Reinforcement Learning with Empowerment-Driven Exploration, section 4",
            tags=("inference", "on-policy"),
            needs=_ACTIONS,
        ),
        Entry(
            "dream",
            "agents.dream:DREAM",
            "DREAM: explores for what predicts the encoding of the task by which exploitation is taught to earn.",
            "agents.dream:DREAMConfig",
            "Liu et al. 2021, Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without "
            "Sacrifices, section 4",
            tags=("inference", "off-policy"),
            needs=("discrete-actions|continuous-actions",),
        ),
    ]


def _told_the_task() -> list[Entry]:
    """Contextual agents: the oracles that adaptive agents are measured against."""
    return [
        Entry(
            "ppo",
            "agents.ppo:PPO",
            "PPO on observation and task descriptor: the contextual oracle; without the descriptor, no adaptation.",
            "agents.ppo:PPOConfig",
            "Schulman et al. 2017, Proximal Policy Optimization Algorithms",
            tags=("contextual", "on-policy"),
            needs=_ACTIONS,
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
        Entry(
            "dqn",
            "agents.dqn:DQN",
            "DQN (double, n-step): action values learned from replayed steps, for discrete actions; does not adapt.",
            "agents.dqn:DQNConfig",
            "Mnih et al. 2015, Human-level control through deep reinforcement learning; van Hasselt, Guez and Silver "
            "2016, Deep Reinforcement Learning with Double Q-learning",
            tags=("contextual", "off-policy"),
            needs=("discrete-actions",),
        ),
    ]


def _evolved() -> list[Entry]:
    return [
        Entry(
            "es",
            "agents.es:ES",
            "Evolution strategies: a policy climbs by the ranks of its perturbations, which play side by side.",
            "agents.es:ESConfig",
            "Salimans et al. 2017, Evolution Strategies as a Scalable Alternative to Reinforcement Learning, section 2",
            tags=("evolution", "on-policy"),
            needs=_ACTIONS,
        ),
        Entry(
            "epg",
            "agents.epg:EPG",
            "Evolved policy gradients: learns every task from scratch, by a loss that evolved to make that fast.",
            "agents.epg:EPGConfig",
            _EPG,
            tags=("evolution", "gradient", "on-policy"),
            needs=_ACTIONS,
        ),
    ]
