"""Unsupervised meta-RL: RL^2 meta-trained on random rewards, on DIAYN's and on hand-made goals, tested on the goals.

    python -m benchmarks.unsupervised_meta_rl        about five minutes a run, nine runs, on one thread

Point navigation, goals on a half circle, dense reward, five episodes a trial. From scratch is a policy gradient from a
random policy, one update after each episode; and, with a hundred times the episodes, after every 20 of 500. Claims to
test (Gupta et al. 2018, abstract): tasks without supervision are worth much more than none, and DIAYN's more than
random ones. Runs go to runs/benchmarks/uml-* and are resumed where they stopped; the report is beside them.
"""

import json
from pathlib import Path
from typing import Any

import torch

from agents.evaluation.play import play
from agents.reports.report import write_report
from agents.training.experiment import held_out_source, load_experiment
from benchmarks.harness import Row, ahead_row, record, seeds_row
from benchmarks.learning import RUNS, curves, run_seed
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of

SEEDS = (0, 1, 2)
SOURCES = {"uml-random": "random rewards", "uml-diayn": "DIAYN's rewards", "uml-goals": "hand-made goals"}
LONG_SCRATCH = {"name": "maml", "trajectories": 20}
CLAIM = "Gupta et al. 2018, abstract"
LONG_EPISODES, LONG_TASKS = 500, 100


def players(path: Path) -> dict[str, Any]:
    """Summaries of all players of a finished run."""
    return json.loads((path / "evaluation.json").read_text())["sets"]["held-out"]["players"]


def from_scratch(seed: int) -> list[float]:
    """Mean return of every round of 20 episodes of a policy gradient that begins with a random policy."""
    experiment = load_experiment("uml-goals", [f"seed={seed}"]).config
    family = build_family(experiment.family.name, experiment.family.settings)
    specs = held_out_source(experiment, family).ask(LONG_TASKS)
    problem = problem_of(family, episodes=LONG_EPISODES, seed=seed, device=torch.device("cpu"))
    returns = play(build_agent(Part.model_validate(LONG_SCRATCH), problem), family, specs, LONG_EPISODES)
    return returns.reshape(-1, LONG_SCRATCH["trajectories"], LONG_TASKS).mean((1, 2)).tolist()


def _compared(found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """Trial returns and returns per episode of every training distribution."""
    rows: list[Row] = []
    trials = {name: [some["rl2"]["trial"]["mean"] for some in runs] for name, runs in found.items()}
    scratch = next(player for player in found["uml-goals"][0] if player.startswith("maml"))
    trials["scratch"] = [some[scratch]["trial"]["mean"] for some in found["uml-goals"]]
    for name, text in (*SOURCES.items(), ("scratch", "nothing: from scratch")):
        rows.append(seeds_row(f"trained on {text}: mean trial return", trials[name]))
        runs, player = (found["uml-goals"], scratch) if name == "scratch" else (found[name], "rl2")
        courses = [some[player]["returns"]["mean"] for some in runs]
        for episode, values in enumerate(zip(*courses, strict=True), 1):
            rows.append(seeds_row(f"trained on {text}: return of episode {episode}", values))
    for player in ("point-navigation-oracle", "random"):
        values = [some[player]["trial"]["mean"] for some in found["uml-goals"]]
        rows.append(seeds_row(f"{player}: mean trial return", values))
    for better, worse in (("uml-random", "scratch"), ("uml-diayn", "scratch"), ("uml-diayn", "uml-random")):
        what = f"gain in trial return of {SOURCES[better]} over {SOURCES.get(worse, 'from scratch')}"
        rows.append(ahead_row(what, trials[better], trials[worse], CLAIM))
    return rows


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    overrides = ['evaluation.players=["random", "point-navigation-oracle", {name = "maml", trajectories = 1}]']
    runs = {name: [run_seed(name, name, seed, overrides) for seed in SEEDS] for name in SOURCES}
    rows = _compared({name: [players(run.path) for run in done] for name, done in runs.items()})
    courses = [from_scratch(seed) for seed in SEEDS]
    stretch = LONG_SCRATCH["trajectories"]
    for number in (0, 4, 9, 14, 24):
        values = [course[number] for course in courses]
        rows.append(
            seeds_row(f"from scratch, episodes {number * stretch + 1} to {(number + 1) * stretch}: return", values)
        )
    every = [run for done in runs.values() for run in done]
    record("unsupervised_meta_rl", rows, SEEDS, curves=curves(every))
    write_report([run.path for run in every], RUNS / "unsupervised_meta_rl.html")


if __name__ == "__main__":
    main()
