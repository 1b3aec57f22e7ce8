"""RL^2 on random tabular MDPs, 10 episodes a trial: mean trial return over 3 seeds beside the reference players.

    python -m benchmarks.rl2_tabular           about half an hour a seed on one thread

Runs go to runs/benchmarks/rl2_tabular-SEED and are resumed where they stopped.
"""

from benchmarks.learning import measure

ANCHORS = {
    "random": 99.6,
    "psrl": 132.4,
    "opsrl": 134.0,
    "posterior-greedy": 149.2,
    "beb": 151.7,
    "tabular-oracle": 217.0,
}


def main() -> None:
    """Train, evaluate, record."""
    measure(
        "rl2_tabular",
        "rl2-tabular",
        seeds=(0, 1, 2),
        overrides=("evaluation.final_tasks=20000",),
        target=">= 156.2",
        source="RL^2's paper (Duan et al. 2016, table 2): 156.2; BEB in our reference: 151.7",
        anchors=ANCHORS,
    )


if __name__ == "__main__":
    main()
