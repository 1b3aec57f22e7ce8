"""Shipped experiments, each a mapping that reads like its TOML file. Settings were measured, see `benchmarks/`."""

import math
from typing import Any

RL2_BANDIT: dict[str, Any] = {
    "name": "rl2-bandit",
    "family": {"name": "bandit", "arms": 5, "pulls": 1},
    "agent": {
        "name": "rl2",
        "network": {"name": "gru", "hidden_size": 64},
        "learning_rate": 2e-3,
        "discount": 1.0,
        "trace": 0.9,
    },
    "training": {"iterations": 1200, "tasks": 500, "episodes": 10, "evaluate_every": 200},
    "evaluation": {
        "tasks": 2000,
        "final_tasks": 20_000,
        "players": [
            "random",
            "thompson",
            "greedy",
            "ucb1",
            "bayes-optimal",
            "bandit-oracle",
        ],
    },
}

# With 100 pulls from the start it takes about twice as many steps to as good a player, see `benchmarks.bandit_horizon`.
RL2_BANDIT_HORIZON: dict[str, Any] = {
    **RL2_BANDIT,
    "name": "rl2-bandit-horizon",
    "source": {
        "name": "staged",
        "source": {"name": "domain-randomization"},
        "stages": [
            {"episodes": 10, "iterations": 150},
            {"episodes": 20, "iterations": 200},
            {"episodes": 50, "iterations": 350},
            {},
        ],
    },
    "agent": {**RL2_BANDIT["agent"], "trace": 0.95},
    "training": {"iterations": 1750, "tasks": 120, "episodes": 100, "evaluate_every": 350},
    "evaluation": {"tasks": 1000, "final_tasks": 10_000, "players": ["random", "thompson", "ucb1", "bandit-oracle"]},
}

RL2_TABULAR: dict[str, Any] = {
    "name": "rl2-tabular",
    "family": {"name": "tabular-mdp"},
    "agent": {
        "name": "rl2",
        "network": {"name": "fast-weights"},
        "learning_rate": 2e-3,
        "epochs": 3,
        "minibatches": 8,
        "reward_prediction": 1.0,
    },
    "training": {"iterations": 1000, "tasks": 128, "episodes": 10, "evaluate_every": 100},
    "evaluation": {
        "tasks": 1000,
        "final_tasks": 4000,
        "players": [
            "random",
            "psrl",
            "opsrl",
            "posterior-greedy",
            "beb",
            {"name": "beb", "replan": "step"},
            "tabular-oracle",
        ],
    },
}

# Its policy grows so narrow that updates of 3 nats are small steps, from which it goes on improving.
PPO_NAVIGATION: dict[str, Any] = {
    "name": "ppo-navigation",
    "family": {"name": "point-navigation"},
    "agent": {"name": "ppo", "entropy": 0.0},
    "training": {"iterations": 200, "tasks": 40, "episodes": 1, "evaluate_every": 20, "largest_kl": 10.0},
    "evaluation": {"tasks": 200, "final_tasks": 2000, "players": ["random", "point-navigation-oracle"]},
}

PPO_CARTPOLE: dict[str, Any] = {
    "name": "ppo-cartpole",
    "family": {"name": "cartpole", "horizon": 200},
    "agent": {"name": "ppo", "context": "none", "epochs": 4, "minibatches": 4},
    "training": {"iterations": 100, "tasks": 64, "episodes": 1, "evaluate_every": 20},
    "evaluation": {"tasks": 500, "final_tasks": 4000, "players": ["random", "cartpole-oracle"]},
}

PPO_GRID: dict[str, Any] = {
    "name": "ppo-grid",
    "family": {"name": "grid-navigation"},
    "agent": {"name": "ppo"},
    "training": {"iterations": 100, "tasks": 64, "episodes": 4, "evaluate_every": 20},
    "evaluation": {"tasks": 1000, "final_tasks": 4000, "players": ["random", "grid-navigation-oracle"]},
}

SAC_NAVIGATION: dict[str, Any] = {
    "name": "sac-navigation",
    "family": {"name": "point-navigation"},
    "agent": {
        "name": "sac",
        "hidden": [128, 128],
        "batch": 128,
        "learning_rate": 1e-3,
        "warm_up": 2000,
        "updates_per_step": 0.5,
    },
    "training": {"iterations": 60, "tasks": 10, "episodes": 1, "evaluate_every": 10},
    "evaluation": {"tasks": 200, "final_tasks": 2000, "players": ["random", "point-navigation-oracle"]},
}

MAML_NAVIGATION: dict[str, Any] = {
    "name": "maml-navigation",
    "family": {"name": "point-navigation"},
    "agent": {"name": "maml", "conjugate_steps": 5},
    "training": {"iterations": 80, "tasks": 20, "episodes": 40, "evaluate_every": 20, "checkpoint_every": 10},
    "evaluation": {
        "tasks": 100,
        "final_tasks": 400,
        "episodes": 80,
        "players": ["random", "point-navigation-oracle"],
    },
}

REPTILE_NAVIGATION: dict[str, Any] = {
    **MAML_NAVIGATION,
    "name": "reptile-navigation",
    "agent": {"name": "reptile", "inner_rate": 0.5, "later_rate": 0.5},
}

PROMP_NAVIGATION: dict[str, Any] = {**MAML_NAVIGATION, "name": "promp-navigation", "agent": {"name": "promp"}}

RL2_NAVIGATION: dict[str, Any] = {
    "name": "rl2-navigation",
    "family": {"name": "point-navigation"},
    "agent": {
        "name": "rl2",
        "network": {"name": "gru", "hidden_size": 64},
        "trace": 0.95,
        "entropy": 0.0,
        "minibatches": 5,
    },
    "training": {"iterations": 400, "tasks": 50, "episodes": 2, "evaluate_every": 50},
    "evaluation": {"tasks": 200, "final_tasks": 2000, "players": ["random", "point-navigation-oracle"]},
}

RL2_GRID: dict[str, Any] = {
    "name": "rl2-grid",
    "family": {"name": "grid-navigation"},
    "agent": {"name": "rl2", "network": {"name": "gru", "hidden_size": 64}, "trace": 0.95, "entropy": 0.02},
    "training": {"iterations": 250, "tasks": 128, "episodes": 4, "evaluate_every": 50},
    "evaluation": {
        "tasks": 500,
        "final_tasks": 4000,
        "players": ["random", "grid-navigation-bayes", "grid-navigation-oracle"],
    },
}

MAML_GRID: dict[str, Any] = {
    **MAML_NAVIGATION,
    "name": "maml-grid",
    "family": {"name": "grid-navigation"},
    "training": {**MAML_NAVIGATION["training"], "iterations": 160, "evaluate_every": 40},
    "evaluation": {**MAML_NAVIGATION["evaluation"], "players": ["random", "grid-navigation-oracle"]},
}

REPTILE_GRID: dict[str, Any] = {**MAML_GRID, "name": "reptile-grid", "agent": REPTILE_NAVIGATION["agent"]}


def _unsupervised(
    name: str, source: dict[str, Any], family: dict[str, Any], training: dict[str, Any], players: list[str]
) -> dict[str, Any]:
    """RL^2 meta-trained on tasks of `source`, judged on the family's own: Gupta et al. 2018, section 5, for RL^2."""
    return {
        "name": name,
        "family": family,
        "source": source,
        "agent": {
            "name": "rl2",
            "network": {"name": "gru", "hidden_size": 64},
            "reward_input": "standardised",  # learned rewards and the family's are in different currencies
            "learning_rate": 1e-3,
            "discount": 0.99,
            "trace": 0.95,
            "entropy": 0.0,
        },
        "training": {"tasks": 40, **training},
        "evaluation": {"source": "domain-randomization", "tasks": 500, "final_tasks": 2000, "players": players},
    }


def _on_a_point(name: str, source: dict[str, Any]) -> dict[str, Any]:
    """PEARL's goals on a half circle, dense reward."""
    family = {"name": "point-navigation", "goals": "half-circle"}
    training = {"iterations": 600, "episodes": 5, "evaluate_every": 100}
    return _unsupervised(name, source, family, training, ["random", "point-navigation-oracle"])


def _on_a_cheetah(name: str, source: dict[str, Any]) -> dict[str, Any]:
    """Running forwards or backwards. In this many steps only the hand-made goals teach it, see the documentation."""
    family = {"name": "half-cheetah", "task": "direction", "horizon": 100}
    experiment = _unsupervised(
        name, source, family, {"iterations": 200, "episodes": 2, "evaluate_every": 50}, ["random"]
    )
    return {**experiment, "evaluation": {**experiment["evaluation"], "tasks": 100, "final_tasks": 400}}


# The more D is decayed the less it pays below zero far from a skill, which RL^2's value function has to bear.
UML_GOALS = _on_a_point("uml-goals", {"name": "domain-randomization"})
UML_RANDOM = _on_a_point("uml-random", {"name": "random-rewards"})
UML_DIAYN = _on_a_point("uml-diayn", {"name": "diayn", "iterations": 60, "decay": 3.0})
UML_CHEETAH_GOALS = _on_a_cheetah("uml-cheetah-goals", {"name": "domain-randomization"})
UML_CHEETAH_RANDOM = _on_a_cheetah("uml-cheetah-random", {"name": "random-rewards", "scale": 3.0})
UML_CHEETAH_DIAYN = _on_a_cheetah(
    "uml-cheetah-diayn", {"name": "diayn", "skills": 20, "slots": 60, "iterations": 150, "decay": 3.0}
)

PEARL_SPARSE_POINT: dict[str, Any] = {
    "name": "pearl-sparse-point",
    "family": {"name": "point-navigation", "goals": "half-circle", "reward": "sparse"},
    # 80 tasks over and over, as in the paper. Actor and critics learn from a reward that is felt from farther away.
    "source": {
        "name": "dense-rewards",
        "reach": 0.5,
        "contexts": {
            "name": "domain-randomization",
            "task_seed": 0,
            "vary": {
                "angle": {"kind": "choice", "values": [round(math.pi * (i + 0.5) / 80, 4) for i in range(80)]},
            },
        },
    },
    "agent": {
        "name": "pearl",
        "hidden": [64, 64],
        "encoder_hidden": [64, 64],
        "context": "all",
        "context_reward": "family",
        "discount": 0.9,
        "learning_rate": 1e-3,
        "temperature": 0.02,
        "kl_weight": 1e-3,
        "recent": 10,
        "batch": 32,
        "tasks": 80,
        "capacity": 2000,
        "warm_up": 10_000,
        "updates_per_step": 0.1,
    },
    "training": {"iterations": 300, "tasks": 20, "episodes": 5, "evaluate_every": 50},
    "evaluation": {
        "source": "domain-randomization",
        "tasks": 200,
        "final_tasks": 2000,
        "players": ["random", "point-navigation-oracle"],
    },
}


def _designed(name: str, objective: str) -> dict[str, Any]:
    """A teacher makes mazes of 7 x 7 cells; judged on random ones that can be solved, also with more walls."""
    judged = {"name": "random-mazes", "solvable": True}
    return {
        "name": name,
        "family": {"name": "maze", "size": 7, "horizon": 50, "solvable": False},
        "source": {**judged, "most_walls": 20},
        "agent": {
            "name": "rl2",
            "network": {"name": "gru", "hidden_size": 64},
            "learning_rate": 1e-3,
            "discount": 0.98,
            "trace": 0.95,
        },
        "runner": {"name": "paired", "teacher_objective": objective},
        "training": {"iterations": 300, "tasks": 64, "episodes": 1, "evaluate_every": 50},
        "evaluation": {
            "tasks": 500,
            "final_tasks": 2000,
            "out_of_distribution": {"dense": {**judged, "least_walls": 20, "most_walls": 40}},
            "players": ["random", "maze-oracle"],
        },
    }


PAIRED_MAZE = _designed("paired-maze", "regret")
MINIMAX_MAZE = _designed("minimax-maze", "minimax")


def _maze(name: str, source: dict[str, Any], rounds: int) -> dict[str, Any]:
    """RL^2 with an LSTM on mazes of up to 60 walls; `rounds` give about 500 updates, whatever is only scored."""
    return {
        "name": name,
        "family": {"name": "maze"},
        "source": source,
        "agent": {
            "name": "rl2",
            "network": {"name": "lstm", "hidden_size": 64},
            "learning_rate": 1e-3,
            "discount": 0.995,
            "trace": 0.95,
            "entropy": 0.005,
        },
        "training": {
            "iterations": rounds,
            "tasks": 64,
            "episodes": 1,
            "evaluate_every": 0,
            "checkpoint_every": 100,
        },
        "evaluation": {
            "source": "random-mazes",
            "out_of_distribution": {"named": "named-mazes"},
            "tasks": 360,
            "final_tasks": 360,
            "players": ["random", "maze-oracle"],
        },
    }


# Settings of mazes in JAX (see `plugins.curricula.plr`), but for a capacity that suits a short run. In a trial run the
# mean positive value loss, the papers' score, filled ACCEL's buffer with mazes that end after four steps.
_REPLAYED = {"source": "random-mazes", "score": "max-mc", "capacity": 1000}
DR_MAZE = _maze("dr-maze", {"name": "random-mazes"}, 500)
PLR_MAZE = _maze("plr-maze", {"name": "plr", **_REPLAYED, "replay": 0.5}, 500)
ROBUST_PLR_MAZE = _maze("robust-plr-maze", {"name": "robust-plr", **_REPLAYED, "replay": 0.5}, 1008)
ACCEL_MAZE = _maze("accel-maze", {"name": "accel", **_REPLAYED, "replay": 0.8}, 1133)
