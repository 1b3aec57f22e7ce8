"""The catalogue entries of the shipped experiments."""

from registry import Entry

_ACCEL = "Parker-Holder et al. 2022, Evolving Curricula with Regret-Based Environment Design"
_DREAM = "Liu et al. 2021, Decoupling Exploration and Exploitation for Meta-RL without Sacrifices (DREAM)"
_EPG = "Houthooft et al. 2018, Evolved Policy Gradients"
_ES = "Salimans et al. 2017, Evolution Strategies as a Scalable Alternative to Reinforcement Learning"
_GENERALIZATION = "Packer et al. 2018, Assessing Generalization in Deep Reinforcement Learning"
_HYPERX = "Zintgraf et al. 2021, Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning (HyperX)"
_MAESN = "Gupta et al. 2018, Meta-Reinforcement Learning of Structured Exploration Strategies (MAESN)"
_MAML = "Finn, Abbeel and Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"
_METACURE = "Zhang et al. 2021, MetaCURE: Meta Reinforcement Learning with Empowerment-Driven Exploration"
_META_GRADIENT = "Xu, van Hasselt and Silver 2018, Meta-Gradient Reinforcement Learning"
_PAIRED = "Dennis et al. 2020, Emergent Complexity and Zero-shot Transfer via Unsupervised Environment Design"
_PEARL = "Rakelly et al. 2019, Efficient Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables"
_POET = "Wang et al. 2019, Paired Open-Ended Trailblazer (POET)"
_PROMP = "Rothfuss, Lee, Clavera, Asfour and Abbeel 2019, ProMP: Proximal Meta-Policy Search"
_QD = "Mouret and Clune 2015, Illuminating search spaces by mapping elites, section 3"
_SFL = (
    "Rutherford et al. 2024, No Regrets: Investigating and Improving Regret Approximations for Curriculum Discovery, "
    "section 5"
)
_REPLAY = "Jiang et al. 2021, Replay-Guided Adversarial Environment Design"
_REPTILE = "Nichol, Achiam and Schulman 2018, On First-Order Meta-Learning Algorithms"
_RL2 = "Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning"
_SAC = "Haarnoja et al. 2018, Soft Actor-Critic Algorithms and Applications"
_UNSUPERVISED = "Gupta et al. 2018, Unsupervised Meta-Learning for Reinforcement Learning"
_VARIBAD = "Zintgraf et al. 2020, VariBAD"

_EXPERIMENTS = (
    # Bandits and tables
    ("rl2-bandit", "RL^2 on bandits with 5 arms and 10 pulls: minutes on a laptop.", f"{_RL2}, section 3.1"),
    (
        "rl2-bandit-horizon",
        "RL^2 on bandits with 5 arms and 100 pulls, by way of trials of 10, 20 and 50.",
        f"{_RL2}, section 3.1",
    ),
    ("rl2-tabular", "RL^2 on random tabular MDPs with 10 episodes a trial.", f"{_RL2}, section 3.2"),
    (
        "rl2-barcode",
        "An LSTM with an episodic memory on barcoded bandits that come back five times in a trial.",
        "Ritter et al. 2018, Been there, done that: Meta-learning with episodic recall, section 4.1",
    ),
    # Told the task
    (
        "ppo-navigation",
        "The contextual oracle on MAML's 2D navigation: is told the goal and learns to go there.",
        f"{_MAML}, section 5.3",
    ),
    ("sac-navigation", "The contextual oracle on MAML's 2D navigation, learned off-policy.", _SAC),
    (
        "ppo-grid",
        "The contextual oracle on GridNavi: is told the goal and learns to walk there and stay.",
        f"{_VARIBAD}, section 5.1",
    ),
    (
        "ppo-cartpole",
        "One policy without memory for cart-poles whose physical parameters it is not told.",
        f"{_GENERALIZATION}, section 4",
    ),
    # Ways of adapting, on goals in the plane and on a grid
    (
        "rl2-navigation",
        "RL^2 on goals in the plane: it feels its way within the first episode; minutes on a laptop.",
        f"{_MAML}, section 5.3",
    ),
    (
        "rl2-grid",
        "RL^2 on GridNavi: it searches the grid for the goal and goes back to it; a minute on a laptop.",
        f"{_VARIBAD}, section 5.1",
    ),
    (
        "maml-navigation",
        "MAML on goals in the plane: a policy gradient of 20 episodes finds the goal; minutes on a laptop.",
        f"{_MAML}, section 5.3",
    ),
    ("maml-grid", "MAML on GridNavi: 20 episodes before the first step of adaptation.", _MAML),
    ("reptile-navigation", "Reptile on goals in the plane.", _REPTILE),
    ("varibad-grid", "VariBAD on GridNavi: it acts on its belief where the goal may be.", f"{_VARIBAD}, section 5.1"),
    ("reptile-grid", "Reptile on GridNavi.", _REPTILE),
    (
        "promp-navigation",
        "ProMP on goals in the plane: the tasks and budget of maml-navigation; minutes on a laptop.",
        _PROMP,
    ),
    (
        "meta-gradient-noise",
        "Meta-gradients tell signal from noise by the discount of each state: half a minute on a laptop.",
        f"{_META_GRADIENT}, section 2",
    ),
    (
        "meta-gradient-chain",
        "Meta-gradients raise the discount until the late, better chain pays most: minutes on a laptop.",
        _META_GRADIENT,
    ),
    (
        "epg-navigation",
        "A loss evolves by which new policies learn the way to a goal in a few updates: minutes on a laptop.",
        f"{_EPG}, section 4",
    ),
    (
        "pearl-sparse-point",
        "PEARL finds a goal on a half circle that pays only from near: minutes on a laptop.",
        f"{_PEARL}, section 6.2",
    ),
    (
        "maesn-sparse-point",
        "MAESN explores a half circle by latents, told by a dense reward which are good, judged on the sparse one.",
        f"{_MAESN}, section 6",
    ),
    (
        "prediction-gain-sparse-point",
        "Exploration paid for what improves prediction, on a half circle where the goal pays only from near.",
        f"{_METACURE}, section 4",
    ),
    (
        "hyperx-treasure",
        "HyperX where a mountain is worth climbing for what is seen from its top.",
        f"{_HYPERX}, section 5.1",
    ),
    (
        "dream-bus",
        "DREAM in cities whose buses have to be found out, or read off a map: judged in the same 24 cities.",
        f"{_DREAM}, section 6",
    ),
    (
        "dream-distraction",
        "DREAM in cities with buses of no use besides: trained in 53 cities, judged in 523 others.",
        f"{_DREAM}, section 6",
    ),
    (
        "dream-sign",
        "DREAM with continuous actions where the goal is far away and a sign tells where.",
        f"{_DREAM}, section 4",
    ),
    (
        "dream-sign-post",
        "DREAM at the sign post: the goal is at the far end of one of four paths, and a sign tells of which.",
        f"{_DREAM}, section 4",
    ),
    (
        "dream-cooking",
        "DREAM in kitchens whose drawers have to be looked into: trained in 63, judged in another.",
        f"{_DREAM}, section 6",
    ),
    # Where the tasks come from
    (
        "uml-goals",
        "RL^2 meta-trained on hand-made goals, judged on goals on a half circle.",
        f"{_UNSUPERVISED}, section 5",
    ),
    (
        "uml-random",
        "RL^2 meta-trained on random rewards, judged on goals on a half circle.",
        f"{_UNSUPERVISED}, section 5",
    ),
    (
        "uml-diayn",
        "RL^2 meta-trained on rewards that DIAYN learned, judged on goals on a half circle.",
        f"{_UNSUPERVISED}, section 5",
    ),
    (
        "uml-cheetah-goals",
        "RL^2 meta-trained on hand-made goals, judged on running forwards and backwards.",
        f"{_UNSUPERVISED}, section 5",
    ),
    (
        "uml-cheetah-random",
        "RL^2 meta-trained on random rewards, judged on running forwards and backwards.",
        f"{_UNSUPERVISED}, section 5",
    ),
    (
        "uml-cheetah-diayn",
        "RL^2 meta-trained on rewards that DIAYN learned, judged on running forwards and backwards.",
        f"{_UNSUPERVISED}, section 5",
    ),
    # Curricula and teachers
    (
        "dr-maze",
        "RL^2 on mazes of 13 x 13 cells drawn at random; judged on named ones too.",
        _REPLAY,
    ),
    (
        "plr-maze",
        "RL^2 on mazes of 13 x 13 cells replayed by Prioritized Level Replay; judged on named ones too.",
        _REPLAY,
    ),
    (
        "robust-plr-maze",
        "RL^2 on mazes of 13 x 13 cells learned from in replays alone; judged on named ones too.",
        _REPLAY,
    ),
    (
        "accel-maze",
        "RL^2 on mazes of 13 x 13 cells edited by ACCEL; judged on named ones too.",
        _ACCEL,
    ),
    (
        "sfl-maze",
        "RL^2 on mazes of 13 x 13 cells, half of them such as it solves now and then; judged on named ones too.",
        _SFL,
    ),
    (
        "qd-maze",
        "RL^2 on mazes of 13 x 13 cells, the best of every number of walls and length; judged on named ones too.",
        _QD,
    ),
    ("paired-maze", "RL^2 on 7 x 7 mazes made by a teacher that is paid the regret.", _PAIRED),
    ("minimax-maze", "RL^2 on 7 x 7 mazes made by a teacher that is paid for failure alone.", _PAIRED),
    # Anybody's environment
    (
        "rl2-gymnasium",
        "RL^2 on any environment of Gymnasium, as it stands on poles of many lengths: `family.id` and `family.knobs`.",
        f"{_RL2}, section 2",
    ),
    (
        "ml1-reach",
        "RL^2 on Meta-World's ML1 of reach, judged on the 50 goals that are for testing: an hour of two cores.",
        "Yu et al. 2019, Meta-World: A Benchmark and Evaluation for Multi-Task and Meta RL, section 4",
    ),
    # Evolution
    ("es-cartpole", "Evolution strategies balance poles of many kinds: seconds on a laptop.", f"{_ES}, section 2"),
    (
        "es-walker",
        "Evolution strategies teach a biped to walk on the flat course that POET starts from.",
        f"{_POET}, section 4",
    ),
    (
        "poet-cartpole",
        "POET on the physics of cart-pole: tasks evolve with the agents that balance them.",
        f"{_POET}, section 3",
    ),
    (
        "poet-walker",
        "POET on obstacle courses: they evolve with the bipeds that walk over them.",
        f"{_POET}, section 4",
    ),
    (
        "poet-maze",
        "POET on mazes that pay for nothing but the goal: agents get to places where none starts out to go.",
        f"{_POET}, section 3",
    ),
    ("rl2-walker", "RL^2 on easy obstacle courses, an episode each.", f"{_RL2}, section 2"),
)
"""Name, summary, source of the setting; the experiment itself is NAME.toml beside this file."""


_PACKAGES = {"ml1-reach": "metaworld"}
"""What an experiment needs besides, by name."""


def experiments() -> list[Entry]:
    """The shipped experiments."""
    return [
        Entry(name, f"agents.experiments:{name}.toml", summary, citation=citation, package=_PACKAGES.get(name, ""))
        for name, summary, citation in _EXPERIMENTS
    ]
