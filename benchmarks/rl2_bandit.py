"""RL^2 on 5-armed, 10-pull bandits: mean trial return over 3 seeds on 100,000 held-out tasks each, beside all players.

    python -m benchmarks.rl2_bandit            a few minutes a seed on one thread

Runs go to runs/benchmarks/rl2_bandit-SEED and are resumed where they stopped.
"""

from benchmarks.learning import measure

PLAYERS = ("random", "thompson", "epsilon-greedy", "greedy", "gittins", "ucb1", "bayes-optimal", "bandit-oracle")
ANCHORS = {"random": 5.0, "thompson": 5.84, "greedy": 6.63, "ucb1": 6.66, "bayes-optimal": 6.660, "bandit-oracle": 8.34}


def main() -> None:
    """Train, evaluate, record."""
    measure(
        "rl2_bandit",
        "rl2-bandit",
        seeds=(0, 1, 2),
        overrides=("evaluation.final_tasks=100000", f"evaluation.players={list(PLAYERS)}"),
        target=">= 6.62",
        source="Bayes-optimal play scores 6.660 exactly; RL^2's paper prints 6.7 (Duan et al. 2016, table 1)",
        training_seconds="<= 180",
        anchors=ANCHORS,
    )


if __name__ == "__main__":
    main()
