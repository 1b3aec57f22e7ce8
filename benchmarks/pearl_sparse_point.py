"""PEARL on the sparse point robot: return of every episode of a trial over 3 seeds, beside the reference players.

    python -m benchmarks.pearl_sparse_point        minutes a seed on one thread

Goals lie on a half circle and pay from within 0.2. Runs go to runs/benchmarks/pearl_sparse_point-SEED and are resumed
where they stopped.

The oracle does not have to search. What searching takes is shown by two players that are told the goal once an episode
has paid, and play as the oracle from the next one on; how they search is fixed before every episode, as it is for PEARL
by the latent. One goes to a fresh place on the half circle every time and stays there. The other walks along one half
of it, then along the other.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.evaluation.play import play
from agents.reference.player import Player
from agents.reference.steering import nearest, told
from agents.reports.report import write_report
from agents.training.experiment import build_parts, held_out_source, load_experiment
from agents.training.run import RunDirectory
from benchmarks.harness import Row, Target, ahead_row, record, row, seeds_row
from benchmarks.learning import RUNS, curves, played, run_seed
from registry.config import Config
from taskgen.interaction.agent import Action, CollectionPlan, Rollout, Step

NAME, EXPERIMENT, SEEDS = "pearl_sparse_point", "pearl-sparse-point", (0, 1, 2)
EPISODES = 5
TARGETS: dict[int, tuple[Target, str]] = {
    1: ("< 3", "nothing is known of the task yet"),
    EPISODES: (">= 8", "aim 10; the oracle has 13.39"),
}
"""By episode."""
BUDGET = 1200
"""Seconds a seed: an hour for all on one core."""
PLACE = 2 * math.asin(0.1)
"""Radians from a place on the half circle to the farthest goal that pays there."""


class _Searcher(Config):
    """Settings of `Searcher`."""

    walk: bool


class Searcher(Player[_Searcher]):
    """The carry says of which trials the goal is known, [B] bool."""

    needs_descriptor = True

    def plan(self, episodes: int) -> CollectionPlan:
        """An episode at a time."""
        return CollectionPlan(rounds=episodes, episodes_per_round=1)

    def begin_trial(self, batch: int) -> Tensor:
        """Of none."""
        return torch.zeros(batch, dtype=torch.bool)

    def act(self, carry: Tensor, step: Step) -> tuple[Action, Tensor]:
        """To the goal, or on with the search."""
        goal, position, number = told(step.descriptor, "searcher")[:, :2], step.observation, int(step.episode_index[0])
        searched = _walk(position, number) if self.config.walk else _place(position, number)
        return Action(nearest(torch.where(carry[:, None], goal, searched), position, 1.0, self.bounds)), carry

    def adapt(self, carry: Tensor, rollout: Rollout) -> Tensor:
        """Known is what has paid."""
        return carry | (rollout.reward > 0).any(0)


def _place(position: Tensor, number: int) -> Tensor:
    """[B, 2] where episode `number` goes to: what is reached soonest first, no goal pays at two of the places."""
    angle = math.pi / 4 + PLACE * (0, 2, 4, 6, -2)[number]
    return torch.tensor([math.cos(angle), math.sin(angle)]).expand_as(position)


def _walk(position: Tensor, number: int) -> Tensor:
    """[B, 2] the next point of the walk: up from the right end of the half circle in even episodes, else from the left.

    The first two begin where the end still pays, and find nearly every goal; later ones begin at the end itself.
    """
    side = 1.0 if number % 2 == 0 else -1.0
    angle = torch.atan2(position[:, 1], side * position[:, 0]) + 0.14  # a diagonal step ahead
    angle = torch.where(position.norm(dim=1) < 0.8, PLACE if number < 2 else 0.0, angle)
    return 0.95 * torch.stack([side * angle.cos(), angle.sin()], dim=1)


def _searches() -> Iterator[tuple[str, list[float]]]:
    """Mean return of every episode, by how the goal is searched."""
    experiment = load_experiment(EXPERIMENT).config
    parts = build_parts(experiment)
    specs = held_out_source(experiment, parts.family).ask(experiment.evaluation.final_tasks)
    for walk, what in ((False, "a fresh place an episode"), (True, "half of the half circle an episode")):
        returns = play(Searcher(_Searcher(walk=walk), parts.problem), parts.family, specs, EPISODES)
        yield what, returns.mean(axis=1).tolist()


def _rows(
    runs: Sequence[RunDirectory], summaries: Sequence[dict[str, Any]], checkups: Sequence[Sequence[dict[str, Any]]]
) -> Iterator[Row]:
    players = [summary["sets"]["held-out"]["players"] for summary in summaries]
    own = [played(run, "held-out", "pearl") for run in runs]
    for episode in range(1, EPISODES + 1):
        target, source = TARGETS.get(episode, (None, ""))
        returns = [earned[episode - 1] for earned in own]
        yield seeds_row(f"pearl: mean return of episode {episode}", returns, target, source)
    first, last = ([earned[episode] for earned in own] for episode in (0, -1))
    yield ahead_row(f"pearl: gain from episode 1 to {EPISODES}", last, first, "adaptation must help")
    for what, means in _searches():
        for episode in (1, EPISODES):
            yield row(f"search, {what}: mean return of episode {episode}", means[episode - 1])
    for player in sorted(set(players[0]) - {"pearl"}):
        found = [some[player]["trial"]["mean"] / EPISODES for some in players]
        oracle = player == "point-navigation-oracle"
        yield seeds_row(f"{player}: mean return", found, 13.39 if oracle else None, "exact" if oracle else "")
    seconds = [curve[-1]["seconds"] for curve in checkups]
    yield seeds_row("pearl: seconds of training, one thread", seconds, f"<= {BUDGET}", "budget")
    yield row("pearl: environment steps", summaries[0]["steps"])
    for point in checkups[0]:
        what = f"pearl, seed {SEEDS[0]}: trial return after {point['steps']:,} steps and {point['seconds']:.0f} s"
        trial = point["trial"]
        yield row(what, trial["mean"], trial["low"], trial["high"])


def main() -> None:
    """Train, evaluate, record."""
    torch.set_num_threads(1)
    runs = [run_seed(NAME, EXPERIMENT, seed, ()) for seed in SEEDS]
    summaries = [json.loads((run.path / "evaluation.json").read_text()) for run in runs]
    checkups = [
        [json.loads(line) for line in (run.path / "evaluations.jsonl").read_text().splitlines()] for run in runs
    ]
    record(NAME, list(_rows(runs, summaries, checkups)), seeds=SEEDS, curves=curves(runs))
    write_report([run.path for run in runs], RUNS / f"{NAME}.html")


if __name__ == "__main__":
    main()
