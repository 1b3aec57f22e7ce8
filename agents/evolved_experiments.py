"""Shipped experiments in which tasks or agents evolve, as plain data: see `agents.experiments`.

Thresholds of POET are in units of the family, for a budget of minutes.
"""

from typing import Any

ES_CARTPOLE: dict[str, Any] = {
    "name": "es-cartpole",
    "family": {"name": "cartpole"},
    "agent": {"name": "es", "hidden": [16], "learning_rate": 0.05},
    "training": {"iterations": 50, "tasks": 4, "episodes": 32, "evaluate_every": 0},
    "evaluation": {"tasks": 50, "final_tasks": 1000, "episodes": 1, "players": ["random"]},
}

# The flat course that POET starts from. With POET's own learning rate so few pairs do not get off the ground.
ES_WALKER: dict[str, Any] = {
    "name": "es-walker",
    "family": {"name": "terrain-walker", "rough": True, "pits": False, "stumps": False},
    "source": {"name": "domain-randomization", "fixed": {"roughness": 0.0}},
    "agent": {"name": "es", "learning_rate": 0.03},
    "training": {"iterations": 200, "tasks": 1, "episodes": 64, "evaluate_every": 0},
    "evaluation": {"tasks": 2, "final_tasks": 20, "episodes": 1, "players": ["random"]},
}

# POET with thresholds scaled to 200 steps, which are the most that can be earned. Starts of up to 0.2 leave some poles
# past saving, so that weaker pushes make tasks harder little by little.
POET_CARTPOLE: dict[str, Any] = {
    "name": "poet-cartpole",
    "family": {"name": "cartpole", "horizon": 200},
    "source": {
        "name": "domain-randomization",
        "fixed": {"force": 5.0, "pole_mass": 0.3, "half_length": 0.5, "initial_range": 0.2},
    },
    "agent": {"name": "es", "hidden": [16], "learning_rate": 0.05},
    "runner": {
        "name": "poet",
        "judged_episodes": 10,
        "reproduce_every": 2,
        "reproduce_from": 100.0,
        "children": 16,
        "admitted": 4,
        "max_active": 10,
        "lowest": 40.0,
        "highest": 190.0,
        "solved": 170.0,
        "transfer_every": 4,
        "proposals": 1,
    },
    "training": {"iterations": 120, "tasks": 1, "episodes": 32, "checkpoint_every": 10},
}

# Agents are PPO's, which walk after a million steps where evolution strategies take ten; of two that begin on flat
# ground, transfers keep the better. Within 600 steps, 12 seconds, good walkers earn 60 to 90 on flat ground.
POET_WALKER: dict[str, Any] = {
    "name": "poet-walker",
    "family": {"name": "terrain-walker", "horizon": 600},
    "source": {
        "name": "domain-randomization",
        "fixed": {"roughness": 0.0, "pit_gap": [0.0, 0.0], "stump_height": [0.0, 0.0]},
    },
    "agent": {
        "name": "ppo",
        "context": "none",
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-3,
        "std": 0.6,
        "entropy": 0.0,
        "minibatches": 16,
    },
    "runner": {
        "name": "poet",
        "map": "processes",
        "first_tasks": 2,
        "judged_episodes": 2,
        "reproduce_every": 10,
        "reproduce_from": 30.0,
        "children": 8,
        "admitted": 2,
        "max_active": 6,
        "lowest": 5.0,
        "highest": 60.0,
        "solved": 40.0,
        "transfer_every": 10,
        "proposals": 1,
    },
    "training": {"iterations": 200, "tasks": 16, "episodes": 1, "checkpoint_every": 10},
}

# Nothing is paid but for a goal in reach of 60 steps, which an agent that moves at random does not find far away: where
# POET's way over easier tasks matters. The first goal lies three cells ahead, in a maze without walls.
POET_MAZE: dict[str, Any] = {
    "name": "poet-maze",
    "family": {"name": "maze", "horizon": 60},
    "source": {
        "name": "domain-randomization",
        "fixed": {"walls": [[0] * 13] * 13, "start": [6, 2], "goal": [6, 5], "direction": 0},
    },
    "agent": {
        "name": "rl2",
        "network": {"name": "gru", "hidden_size": 32},
        "learning_rate": 2e-3,
        "trace": 0.95,
        "minibatches": 2,
    },
    "runner": {
        "name": "poet",
        "map": "processes",
        "judged_episodes": 10,
        "reproduce_every": 3,
        "reproduce_from": 0.5,
        "children": 16,
        "admitted": 3,
        "max_active": 10,
        "lowest": 0.05,
        "highest": 0.8,
        "solved": 0.5,
        "transfer_every": 6,
        "proposals": 1,
    },
    "training": {"iterations": 60, "tasks": 32, "episodes": 1, "checkpoint_every": 10},
}

# In trial runs of one seed each: without the entropy bonus agents come to stand still, which costs nothing; where value
# targets are shifted step by step they earn -24 after 1.2 million steps, where these earn 5.
RL2_WALKER: dict[str, Any] = {
    "name": "rl2-walker",
    "family": {"name": "terrain-walker", "horizon": 600},
    "source": {
        "name": "domain-randomization",
        "vary": {
            "roughness": {"kind": "uniform", "low": 0.0, "high": 1.0},
            "pit_gap": {"kind": "uniform", "low": 0.0, "high": 0.8},
            "stump_height": {"kind": "uniform", "low": 0.0, "high": 0.4},
        },
    },
    "agent": {
        "name": "rl2",
        "network": {"name": "gru", "hidden_size": 64},
        "hidden": [64, 64],
        "normalize": True,
        "learning_rate": 1e-3,
        "trace": 0.95,
        "epochs": 5,
        "minibatches": 16,
        "gradient_steps": 16,
        "value_centre": "trial",
        "std": 0.6,
    },
    "training": {"iterations": 400, "tasks": 32, "episodes": 1, "evaluate_every": 0},
    "evaluation": {"tasks": 50, "final_tasks": 100, "players": ["random"]},
}
