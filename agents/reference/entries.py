"""The catalogue entries of the reference players."""

from registry import Entry

_DREAM = (
    "Liu et al. 2021, Decoupling Exploration and Exploitation for Meta-Reinforcement Learning without Sacrifices, "
    "section 6"
)
_RL2 = "Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning"


def reference_players() -> list[Entry]:
    """Players to judge meta-learners by."""
    return [
        Entry(
            "random",
            "agents.random_policy:RandomPolicy",
            "Actions drawn uniformly from the action space.",
            tags=("reference",),
            needs=("discrete-actions|continuous-actions|multi-discrete-actions|mixed-actions",),
        ),
        *_bandit_players(),
        *_tabular_players(),
        *_grid_players(),
        *_control_players(),
        *_sign_players(),
        _player(
            "discounting-chain-oracle",
            "discounting-chain",
            "discounting_chain_oracle:DiscountingChainOracle",
            "Is told which chain pays most and chooses it.",
            "Osband et al. 2020, Behaviour Suite for Reinforcement Learning",
        ),
        *_recurring_players(),
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


def _recurring_players() -> list[Entry]:
    ritter = "Ritter et al. 2018, Been there, done that: Meta-learning with episodic recall, section 4"
    return [
        _player(
            "barcode-bayes",
            "barcode-bandit|re-seen-choice",
            "barcode_bayes:BarcodeBayes",
            "Knows a barcode again and pulls the arm that is likeliest to be its good one; or forgets between visits.",
            ritter,
        ),
        _player(
            "two-step-bayes",
            "two-step",
            "two_step_bayes:TwoStepBayes",
            "Keeps the probability that a state is the better one, of every situation, and chooses the way to it.",
            ritter,
        ),
    ]


def _player(name: str, family: str, target: str, summary: str, citation: str) -> Entry:
    """A reference player of `family`; `target` is "module:Class" below agents.reference, its settings beside it."""
    target = f"agents.reference.{target}"
    return Entry(name, target, summary, f"{target}Config", citation, tags=("reference",), needs=(family,))


def _bandit_player(name: str, *rest: str) -> Entry:
    return _player(name, "bandit", *rest)


def _bandit_players() -> list[Entry]:
    return [
        _bandit_player(
            "bayes-optimal",
            "bayes_optimal:BayesOptimal",
            "The highest expected return any player can have, by exact dynamic programming over sorted counts.",
            "Bellman 1956, A problem in the sequential design of experiments; Duff 2002, Optimal learning: "
            "computational procedures for Bayes-adaptive Markov decision processes",
        ),
        _bandit_player(
            "gittins",
            "gittins:Gittins",
            "Pulls the arm with the highest finite-horizon Gittins index.",
            "Gittins 1979, Bandit processes and dynamic allocation indices; Nino-Mora 2011, Computing a classic index "
            "for finite-horizon bandits",
        ),
        _bandit_player(
            "ucb1",
            "ucb1:UCB1",
            "Pulls the arm with the highest upper confidence bound.",
            "Auer, Cesa-Bianchi and Fischer 2002, Finite-time analysis of the multiarmed bandit problem, figure 1",
        ),
        _bandit_player(
            "thompson",
            "thompson:Thompson",
            "Pulls the arm that is best in one draw from the posterior.",
            "Thompson 1933, On the likelihood that one unknown probability exceeds another in view of the evidence of "
            "two samples; Chapelle and Li 2011, An empirical evaluation of Thompson sampling, section 2",
        ),
        _bandit_player(
            "epsilon-greedy",
            "epsilon_greedy:EpsilonGreedy",
            "Pulls the arm with the highest posterior mean, now and then any arm.",
            f"{_RL2}, section 3.1",
        ),
        _bandit_player(
            "greedy",
            "greedy:Greedy",
            "Pulls the arm with the highest posterior mean.",
            f"{_RL2}, section 3.1",
        ),
        _bandit_player(
            "bandit-oracle",
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
        _player(
            "belief-oracle",
            "tabular-pomdp",
            "belief_oracle:BeliefOracle",
            "Is told the tables but not the state: keeps the exact belief and looks ahead from it.",
            "Kaelbling, Littman and Cassandra 1998, Planning and acting in partially observable stochastic domains",
        ),
    ]


def _sign_players() -> list[Entry]:
    varibad = "Zintgraf et al. 2020, VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning, figure 1"
    strens = "Strens 2000, A Bayesian framework for reinforcement learning"
    return [
        _player(
            "sign-post-oracle",
            "sign-post",
            "sign_post_players:SignPostOracle",
            "Is told which path leads to the goal and walks it.",
            varibad,
        ),
        _player(
            "sign-post-reader",
            "sign-post",
            "sign_post_players:SignPostReader",
            "Reads the sign first, then walks to the goal in all episodes: Bayes-optimal.",
            varibad,
        ),
        _player(
            "sign-post-sampler",
            "sign-post",
            "sign_post_players:SignPostSampler",
            "Walks in every episode to the end of a path drawn from those that may lead to the goal.",
            strens,
        ),
        _player(
            "sign-plane-oracle",
            "sign-plane",
            "sign_plane_players:SignPlaneOracle",
            "Is told where the goal is and goes there as fast as anybody can.",
            varibad,
        ),
        _player(
            "sign-plane-reader",
            "sign-plane",
            "sign_plane_players:SignPlaneReader",
            "Reads the sign first, then goes to the goal in all episodes.",
            varibad,
        ),
        _player(
            "sign-plane-sampler",
            "sign-plane",
            "sign_plane_players:SignPlaneSampler",
            "Is told how far the goal is, and goes in every episode to a place drawn from those where it may be.",
            strens,
        ),
    ]


def _control_players() -> list[Entry]:
    hyperx = (
        "Zintgraf et al. 2021, Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning, "
        "section 5.1"
    )
    return [
        _player(
            "bipedal-heuristic",
            "bipedal-walker",
            "bipedal_heuristic:BipedalHeuristic",
            "Puts one foot before the other as Gymnasium's own heuristic does; knows no obstacles.",
            "Brockman et al. 2016, OpenAI Gym",
        ),
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
        _player(
            "lqr-oracle",
            "linear-system",
            "lqr_oracle:LQROracle",
            "Is told the plant: Riccati's gains and, where the state is hidden, Kalman's filter.",
            "Anderson and Moore 1990, Optimal Control: Linear Quadratic Methods, chapters 2 and 8",
        ),
        _player(
            "certainty-equivalent",
            "linear-system",
            "certainty_equivalent:CertaintyEquivalent",
            "Estimates the plant by least squares and controls it as if the estimate were true.",
            "Simchowitz and Foster 2020, Naive exploration is optimal for online LQR; Mania, Tu and Recht 2019, "
            "Certainty equivalence is efficient for linear quadratic control",
        ),
    ]


def _grid_players() -> list[Entry]:
    varibad = "Zintgraf et al. 2020, VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning"
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
            "frozen-lake-oracle",
            "frozen-lake",
            "frozen_lake_oracle:FrozenLakeOracle",
            "Is told the map and how slippery the ice is and acts optimally by value iteration.",
            "Bellman 1957, Dynamic programming",
        ),
        _player(
            "pursuit-chaser",
            "pursuit",
            "pursuit_chaser:PursuitChaser",
            "Is told the layout and goes straight for the prey, or for where it saw it last.",
            "Korf 1992, A simple solution to pursuit games",
        ),
        _player(
            "catch-oracle",
            "catch",
            "catch_oracle:CatchOracle",
            "Moves under the ball and waits there.",
            "Osband et al. 2020, Behaviour Suite for Reinforcement Learning, appendix A",
        ),
        _player(
            "bus-oracle",
            "bus",
            "bus_oracle:BusOracle",
            "Is told where the buses go and takes a shortest way to the goal.",
            _DREAM,
        ),
        _player(
            "bus-map-reader",
            "bus",
            "bus_map_reader:BusMapReader",
            "Walks to the map first, reads it, and takes shortest ways from then on.",
            _DREAM,
        ),
        _player(
            "cooking-oracle",
            "cooking",
            "cooking_oracle:CookingOracle",
            "Is told what the drawers hold and fetches the recipe's ingredients from the nearest.",
            _DREAM,
        ),
    ]
