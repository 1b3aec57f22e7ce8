"""Curricula on mazes: domain randomisation, PLR, robust PLR, ACCEL and SFL, judged on the twelve named mazes.

    python -m benchmarks.maze_ood                     minutes a run, fifteen runs, on one thread
    python -m benchmarks.maze_ood accel-maze 2        one run: its experiment and seed; record when all are there

RL^2 with an LSTM on mazes of 13 x 13 cells, the same number of updates for everybody: rounds that are only scored come
on top. The named mazes need cells up to 19 x 19 and are played on a family of that size, each so many times. Published
are solve rates after 20,000 updates, here after a few hundred, so the ranking is what can be compared. Runs go to
runs/benchmarks/ and are resumed where they stopped; the report is beside them.
"""

import json
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.evaluation.play import play
from agents.reports.report import write_report
from agents.training.experiment import build_parts, load_experiment
from agents.training.judge import evaluate_run
from agents.training.run import RunDirectory
from benchmarks.harness import Row, Target, ahead_row, record, row, seeds_row
from benchmarks.learning import RUNS, curves, train_seed
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.interaction.build import build_agent, problem_of
from taskgen.streams import seed_sequence

NAME, SEEDS, TRIES = "maze_ood", (0, 1, 2), 20
PAPER = "Parker-Holder et al. 2022, after 20,000 updates"
PUBLISHED: dict[str, tuple[Target, str]] = {
    "dr-maze": (0.620, PAPER),
    "plr-maze": (None, "no figure for these twelve"),
    "robust-plr-maze": (0.709, PAPER),
    "accel-maze": (0.875, PAPER),
    "sfl-maze": (None, "no figure for these twelve"),
}
CLAIMS = (("robust-plr-maze", "dr-maze"), ("accel-maze", "dr-maze"), ("accel-maze", "robust-plr-maze"))
SFL = "Rutherford et al. 2024, section 6, on other test mazes"
PLAYERS = ("random", "maze-oracle")


def solve_rates(player: Any, seed: int) -> dict[str, float]:
    """Share of tries that reach the goal in time, by named maze."""
    family = build_family("maze", {"size": 19})
    specs = build_source(Part(name="named-mazes"), family, seed_sequence(seed, "named")).ask(12 * TRIES)
    solved: NDArray[np.bool_] = play(player, family, specs, 1)[0] > 0
    return dict(zip(names(), solved.reshape(TRIES, 12).mean(0).tolist(), strict=True))


def names() -> list[str]:
    """The twelve, in the order in which the source goes round them."""
    from plugins.generators.named_mazes import NAMED_MAZES

    return [name for name in NAMED_MAZES if name != "labyrinth-flipped"]


def measured(experiment: str, seed: int) -> dict[str, Any]:
    """What a finished run is worth; trained, resumed or found."""
    run = train_seed(experiment, experiment, seed, ())
    path = run.path / "named.json"
    if not path.exists():
        evaluate_run(run)
        run.write_json(path.name, {"solved": solve_rates(_agent(run), seed), **_course(run)})
    return json.loads(path.read_text())


def _agent(run: RunDirectory) -> Any:
    parts, tree = build_parts(run.open().config), run.restore()
    assert tree is not None
    parts.player.load_state_dict(tree["agent"])
    return parts.player


def _course(run: RunDirectory) -> dict[str, float]:
    """Environment steps, updates and seconds of training."""
    lines = [json.loads(line)["metrics"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    learned = [line for line in lines if "losses/policy_loss" in line]
    seconds = sum(value for line in lines for name, value in line.items() if name.startswith("time/"))
    return {"steps": lines[-1]["charts/steps"], "updates": len(learned), "seconds": seconds}


def reference(name: str) -> dict[str, float]:
    """Solve rates of a player that never learns."""
    family = build_family("maze", {"size": 19})
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"))
    return solve_rates(build_agent(Part(name=name), problem), 0)


def _rows(found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    means = {name: [float(np.mean([*run["solved"].values()])) for run in runs] for name, runs in found.items()}
    rows = [
        seeds_row(f"{name}: mean solve rate on the 12 named mazes", values, *PUBLISHED[name])
        for name, values in means.items()
    ]
    for name in PLAYERS:
        rates = reference(name)
        rows.append(row(f"{name}: mean solve rate on the 12 named mazes", float(np.mean([*rates.values()]))))
    for better, worse in CLAIMS:
        rows.append(ahead_row(f"gain of {better} over {worse}", means[better], means[worse], PAPER))
    rows.append(ahead_row("gain of sfl-maze over robust-plr-maze", means["sfl-maze"], means["robust-plr-maze"], SFL))
    for name, runs in found.items():
        rows += [seeds_row(f"{name}: {maze}", [run["solved"][maze] for run in runs]) for maze in names()]
        for key, what in (("updates", "updates"), ("steps", "environment steps"), ("seconds", "seconds of training")):
            rows.append(seeds_row(f"{name}: {what}", [run[key] for run in runs]))
    return rows


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        measured(sys.argv[1], int(sys.argv[2]))
        if any(not (RUNS / f"{name}-{seed}" / "named.json").exists() for name in PUBLISHED for seed in SEEDS):
            return
    found = {name: [measured(name, seed) for seed in SEEDS] for name in PUBLISHED}
    tasks = load_experiment("dr-maze").config.training.tasks
    runs = [RunDirectory(RUNS / f"{name}-{seed}") for name in PUBLISHED for seed in SEEDS]
    notes = f"{tasks} episodes a round; {TRIES} tries a maze and seed"
    record(NAME, _rows(found), SEEDS, notes=notes, curves=curves(runs))
    write_report([run.path for run in runs], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main()
