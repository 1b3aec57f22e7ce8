"""What the episodic LSTM remembers: barcoded bandits, choices seen twice, two-step decisions, beside exact Bayes.

    python -m benchmarks.episodic_memory                            what is missing, then the record
    python -m benchmarks.episodic_memory --train two-step/shut/0    these runs alone; resumed where they stopped
    python -m benchmarks.episodic_memory --record                   of what is there, if every seed of it is

`shut` is the same network with the gate of what it finds again at 0, trained in the same way: every visit is then a
first one. Bayes with memory across visits is exact (`expected_returns` of the players). Of the two-step task the
probability of staying with a choice at the second visit is given by what the first one paid and by the kind of its
passage. docs/two-step.svg draws it, docs/visits.svg what visits to bandits are worth. Runs go to
runs/benchmarks/episodic_memory-WORLD-KIND-SEED.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray

from agents.reference import barcode_bayes, two_step_bayes
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from benchmarks.harness import ROOT, Row, record, row, seeds_row
from benchmarks.learning import RUNS, inline, run_seed
from taskgen.build import build_source
from taskgen.interaction.agent import Rollout, judged
from taskgen.interaction.collect import collect
from taskgen.streams import seed_sequence

NAME, SEEDS, TASKS = "episodic_memory", (0, 1, 2), 1000
KINDS = {"reinstated": True, "shut": False}
PAPER = "Ritter et al. 2018, section 4"
SHARE = 0.95
"""Of what Bayes earns."""


class World(NamedTuple):
    """What is learned."""

    family: Mapping[str, Any]
    tasks: int
    iterations: int
    bayes: Sequence[float]
    """What Bayes with memory earns at each visit."""
    players: Sequence[Any]


def _bayes(name: str) -> tuple[Any, ...]:
    return ("random", {"name": name, "memory": "episode"}, name)


WORLDS = {
    "barcode-bandit": World(
        {"name": "barcode-bandit", "situations": 4, "visits": 5, "arms": 10, "pulls": 10},
        128,
        1000,
        barcode_bayes.expected_returns(10, 10, 5),
        _bayes("barcode-bayes"),
    ),
    "re-seen-choice": World(
        {"name": "re-seen-choice", "situations": 8, "visits": 2, "choices": 2, "steps": 2},
        128,
        600,
        (1.5, 2.0),
        _bayes("barcode-bayes"),
    ),
    "two-step": World(
        {"name": "two-step", "situations": 12, "visits": 4},
        128,
        1000,
        two_step_bayes.expected_returns(4),
        _bayes("two-step-bayes"),
    ),
}


def overrides(world: World, kind: str) -> list[str]:
    """What the run changes in the experiment `rl2-barcode`."""
    episodes = world.family["situations"] * world.family["visits"]
    network = {"name": "episodic-lstm", "hidden_size": 64, "capacity": 16, "reinstate": KINDS[kind]}
    return [
        f"family={inline(world.family)}",
        f"agent.network={inline(network)}",
        f"training.tasks={world.tasks}",
        f"training.iterations={world.iterations}",
        f"training.episodes={episodes}",
        f"training.evaluate_every={max(1, world.iterations // 5)}",
        f"evaluation.players=[{', '.join(inline(player) for player in world.players)}]",
        "evaluation.tail=0",
    ]


def path_of(world: str, kind: str, seed: int) -> RunDirectory:
    """Where a run is."""
    return RunDirectory(RUNS / f"{NAME}-{world}-{kind}-{seed}")


def whole(world: str, kind: str) -> bool:
    """Whether all seeds are there, trained and judged."""
    return all((path_of(world, kind, seed).path / "evaluation.json").is_file() for seed in SEEDS)


def rollout_of(run: RunDirectory) -> Rollout:
    """A trial on each of `TASKS` tasks that it was not trained on, the same for all runs of a world."""
    trained = load_trained(run, "cpu")
    family, source = trained.parts.family, trained.experiment.source
    specs = build_source(source, family, seed_sequence(2**20, "judged")).ask(TASKS)
    player = judged(trained.parts.player)
    return collect(player, family.batch(TASKS), specs, plan=player.plan(trained.experiment.training.episodes)).rollout


def by_visit(world: World, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[visits, situations, B, ...] of values [episodes, B, ...]."""
    return values.reshape(world.family["visits"], world.family["situations"], *values.shape[1:])


def steps_of(world: World, column: torch.Tensor) -> NDArray[np.float64]:
    """[visits, situations, B, steps] of a column [T, B] of a rollout, whose episodes here all have as many steps."""
    episodes = world.family["visits"] * world.family["situations"]
    values = column.reshape(episodes, -1, column.shape[1]).double().numpy()
    return by_visit(world, np.moveaxis(values, 1, 2))


def stays(world: World, rollout: Rollout) -> dict[tuple[bool, bool], float]:
    """Probability of the same choice at the second visit, by whether the first one's passage was common and it paid."""
    cue = rollout.observation[::2, :, 3:].to(torch.int64)  # of the first of an episode's two steps
    code = by_visit(world, (cue << torch.arange(cue.shape[-1])).sum(-1).numpy())
    action, reward = (steps_of(world, column) for column in (rollout.action, rollout.reward))
    state = by_visit(world, rollout.observation[1::2, :, 1:3].argmax(-1).numpy())
    order = [np.argsort(code[visit], axis=0) for visit in (0, 1)]  # a situation is the same place in both
    first, second = (np.take_along_axis(action[visit, ..., 0], order[visit], 0) for visit in (0, 1))
    led, paid = (np.take_along_axis(part, order[0], 0) for part in (state[0], reward[0, ..., 1]))
    same, common = first == second, first == led
    return {(c, p): float(same[(common == c) & (paid == p)].mean()) for c in (True, False) for p in (True, False)}


def rows_of(name: str, kind: str, rollouts: Sequence[Rollout]) -> Iterator[Row]:
    """What the runs of one kind came to in one world."""
    world = WORLDS[name]
    returns = [steps_of(world, rollout.reward) for rollout in rollouts]
    for visit, bayes in enumerate(world.bayes):
        found = [one[visit].sum(-1).mean(0) for one in returns]
        judged_by = name == "barcode-bandit"
        open_gate = kind == "reinstated"
        target = f">= {SHARE * bayes:.4f}" if judged_by and open_gate else bayes if open_gate else None
        source = f"{SHARE} of Bayes: {bayes:.4f}" if judged_by else "Bayes, exact"
        yield seeds_row(f"{name}, {kind}: return of visit {visit + 1}", found, target, source)
    if name == "re-seen-choice":
        first = [one[1, ..., 0].mean(0) for one in returns]
        target = "> 0.8" if kind == "reinstated" else (0.45, 0.55)
        yield seeds_row(f"{name}, {kind}: right at the first step of the second sight", first, target, PAPER)


def two_step_rows(kind: str, rollouts: Sequence[Rollout]) -> Iterator[Row]:
    """Probabilities of staying, and how reward and passage interact in them."""
    found = [stays(WORLDS["two-step"], rollout) for rollout in rollouts]
    for common, paid in found[0]:
        after = f"a {'common' if common else 'rare'} passage, {'paid' if paid else 'not paid'}"
        what = f"two-step, {kind}: stays after {after}"
        yield seeds_row(what, [one[common, paid] for one in found])
    interaction = [one[True, True] - one[True, False] - one[False, True] + one[False, False] for one in found]
    claim = "> 0" if kind == "reinstated" else None
    yield seeds_row(f"two-step, {kind}: interaction of reward and passage in staying", interaction, claim, PAPER)


def draw(found: Mapping[str, Sequence[Mapping[tuple[bool, bool], float]]]) -> None:
    """Staying by reward and passage, as the paper draws it."""
    mpl.use("svg")
    figure, axes = plt.subplots(1, len(found), figsize=(3.2 * len(found), 2.8), sharey=True, squeeze=False)
    for axis, (kind, runs) in zip(axes[0], found.items(), strict=True):
        for offset, common in ((-0.2, True), (0.2, False)):
            heights = [np.mean([run[common, paid] for run in runs]) for paid in (True, False)]
            label = "common passage" if common else "rare passage"
            axis.bar(np.arange(2) + offset, heights, 0.36, label=label, color="#1f5fa8" if common else "#b5c7de")
        axis.set(xticks=(0, 1), xticklabels=("paid", "not paid"), ylim=(0, 1), title=kind)
    axes[0, 0].set_ylabel("stays with the choice")
    axes[0, -1].legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "two-step.svg", metadata={"Date": None})
    plt.close(figure)


def draw_visits(found: Sequence[Row]) -> None:
    """What each visit to a barcoded bandit is worth, with intervals over seeds, beside Bayes."""
    mpl.use("svg")
    figure, axis = plt.subplots(figsize=(4.6, 3.0))
    for who, colour, marks in (
        ("Bayes with memory", "#888888", "--"),
        ("reinstated", "#1f5fa8", "o-"),
        ("shut", "#c8553d", "o-"),
    ):
        lines = [row for row in found if row["what"].startswith(f"barcode-bandit, {who}: return of visit")]
        visits, values = np.arange(1, len(lines) + 1), np.array([row["value"] for row in lines])
        axis.plot(visits, values, marks, color=colour, label=who)
        if lines and lines[0]["low"] is not None:
            low, high = ([row[end] for row in lines] for end in ("low", "high"))
            axis.fill_between(visits, low, high, color=colour, alpha=0.2)
    axis.set(xlabel="visit", ylabel="return", xticks=range(1, WORLDS["barcode-bandit"].family["visits"] + 1))
    axis.legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "visits.svg", metadata={"Date": None})
    plt.close(figure)


def rows() -> list[Row]:
    """Of all that is whole."""
    found: list[Row] = []
    drawn: dict[str, list[dict[tuple[bool, bool], float]]] = {}
    for name, world in WORLDS.items():
        for kind in KINDS:
            if not whole(name, kind):
                continue
            rollouts = [rollout_of(path_of(name, kind, seed)) for seed in SEEDS]
            found += rows_of(name, kind, rollouts)
            if name == "two-step":
                found += two_step_rows(kind, rollouts)
                drawn[kind] = [stays(world, rollout) for rollout in rollouts]
        for visit, bayes in enumerate(world.bayes):
            found.append(row(f"{name}, Bayes with memory: return of visit {visit + 1}", bayes))
    if drawn:
        draw(drawn)
    if any(whole("barcode-bandit", kind) for kind in KINDS):
        draw_visits(found)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate, record."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--train", nargs="+", metavar="WORLD/KIND/SEED", help="these runs alone; record nothing")
    parser.add_argument("--record", action="store_true", help="train nothing; record what is whole")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    every = [f"{world}/{kind}/{seed}" for world in WORLDS for kind in KINDS for seed in SEEDS]
    for name in [] if given.record else given.train or every:
        world, kind, seed = name.split("/")
        run_seed(f"{NAME}-{world}-{kind}", "rl2-barcode", int(seed), overrides(WORLDS[world], kind))
    if not given.train:
        record(NAME, rows(), SEEDS)


if __name__ == "__main__":
    main()
