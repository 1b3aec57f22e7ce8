"""The cells of `benchmarks.matrix`: worlds, sources, agents, and how each is planned, or refused.

Settings of agents are those of shipped experiments of the world or, where there is none, of its nearest kin, with what
has to differ there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.sweeps.outlook import outlook
from agents.training.experiment import Experiment, load_experiment
from agents.training.run import RunDirectory
from benchmarks.learning import RUNS, inline, played
from benchmarks.matrix_page import PLAIN
from registry.errors import UserError
from registry.plan import Plan

NAME = "matrix"
HELD_OUT, BEYOND = "held-out", "beyond"
RL2 = {"rl2-gru": "gru", "rl2-fast-weights": "fast-weights", "rl2-transformer": "transformer"}
SOURCES = (PLAIN, "random-rewards", "diayn", "poet", "robust-plr", "accel", "sfl", "quality-diversity", "adr")
AGENTS = (*RL2, "varibad", "pearl", "maml", "oracle")
_NO_ENTROPY = "agent.entropy=0.0"
_PEARL = ("agent.context_reward=task", "agent.updates_per_step=0.01")


class Kin(NamedTuple):
    """Whose settings an agent takes."""

    experiment: str
    changes: Sequence[str] = ()


@dataclass(frozen=True)
class World:
    """A family, its tasks by hand, and who learns there."""

    family: Mapping[str, Any]
    tasks: Mapping[str, Any]
    """What domain randomisation draws, and every other source starts from."""
    beyond: Mapping[str, Any]
    """Out of that distribution."""
    episodes: int
    """Of a trial, but for `maml`, which takes more to take a step, and `oracle` in training, which needs one."""
    trials: int
    """Of an iteration."""
    horizon: int
    steps: int
    """Of training, for every cell."""
    judged: int
    """Tasks of each set."""
    agents: Mapping[str, Kin]
    """By `rl2` all three of it."""
    returns: tuple[float, float, float]
    """Of an episode, where an agent fails, copes and has mastered a task: the thresholds of ADR and POET."""
    score: str
    """What replay curricula rank tasks by."""
    diayn: Mapping[str, Any]
    measures: Sequence[str]
    """Of tasks, that quality-diversity spans; none: the family's own."""
    ranges: Mapping[str, Any]
    """Of knobs, that ADR widens; none: those that vary by default."""
    players: Sequence[str]
    """That learn nothing; the last one knows the task, if there is one that does."""
    poet: Kin
    same_tasks: bool = False
    """Whether held-out tasks are those of training, with new luck."""


_BY_HAND = {"name": PLAIN}
_MAZES = {"name": "random-mazes"}
_OUTSIDE = {"force": (15.0, 20.0), "pole_mass": (0.5, 1.0), "half_length": (0.75, 1.0)}


def _uniform(ranges: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    return {"name": PLAIN, "vary": {name: {"kind": "uniform", "low": a, "high": b} for name, (a, b) in ranges.items()}}


WORLDS: Mapping[str, World] = {
    "point-navigation": World(
        family={"name": "point-navigation", "goals": "half-circle"},
        tasks=_BY_HAND,
        beyond={"name": PLAIN, "fixed": {"distance": 1.5}},
        episodes=5,
        trials=40,
        horizon=20,
        steps=1_000_000,
        judged=400,
        agents={
            "rl2": Kin("uml-goals"),
            "varibad": Kin("varibad-grid", (_NO_ENTROPY,)),
            "pearl": Kin("pearl-sparse-point", _PEARL),
            "maml": Kin("maml-navigation"),
            "oracle": Kin("ppo-navigation"),
        },
        returns=(-15.0, -8.0, -6.0),
        score="positive-value-loss",
        diayn={"iterations": 60, "decay": 3.0},
        measures=("angle",),
        ranges={},
        players=("random", "point-navigation-oracle"),
        poet=Kin("poet-cartpole"),
    ),
    "grid-navigation": World(
        family={"name": "grid-navigation"},
        tasks={"name": PLAIN, "split": "train"},
        beyond={"name": PLAIN, "split": "test"},
        episodes=4,
        trials=128,
        horizon=15,
        steps=1_000_000,
        judged=400,
        agents={
            "rl2": Kin("rl2-grid"),
            "varibad": Kin("varibad-grid"),
            "pearl": Kin("pearl-sparse-point", _PEARL),
            "maml": Kin("maml-grid"),
            "oracle": Kin("ppo-grid"),
        },
        returns=(0.0, 5.0, 9.0),
        score="regret",
        diayn={"iterations": 60, "decay": 3.0},
        measures=("goal",),
        ranges={},
        players=("random", "grid-navigation-bayes", "grid-navigation-oracle"),
        poet=Kin("poet-cartpole"),
        same_tasks=True,  # 17 goals of 21 are all there are; the others are those beyond
    ),
    "maze": World(
        family={"name": "maze"},
        tasks=_MAZES,
        beyond={"name": "named-mazes"},
        episodes=1,
        trials=64,
        horizon=250,
        steps=1_000_000,
        judged=360,
        agents={
            "rl2": Kin("dr-maze"),
            "varibad": Kin("varibad-grid", ("agent.discount=0.995", "agent.entropy=0.005")),
            "pearl": Kin("pearl-sparse-point", _PEARL),
            "maml": Kin("maml-grid", ("agent.discount=0.995",)),
            "oracle": Kin("ppo-grid", ("agent.discount=0.995", "agent.entropy=0.005")),
        },
        returns=(0.05, 0.5, 0.8),
        score="max-mc",
        diayn={"iterations": 60},
        measures=(),
        ranges={"start": {"low": 0.0, "high": 12.0}, "goal": {"low": 0.0, "high": 12.0}},
        players=("random", "maze-oracle"),
        poet=Kin("poet-maze", ("runner.map=serial",)),
    ),
    "cartpole": World(
        family={"name": "cartpole", "horizon": 200},
        tasks=_BY_HAND,
        beyond=_uniform(_OUTSIDE),
        episodes=2,
        trials=64,
        horizon=200,
        steps=500_000,
        judged=400,
        agents={
            "rl2": Kin("rl2-gymnasium"),
            "varibad": Kin("varibad-grid", ("agent.discount=0.99", "agent.entropy=0.01")),
            "pearl": Kin("pearl-sparse-point", _PEARL),
            "maml": Kin("maml-grid"),
            "oracle": Kin("ppo-cartpole"),
        },
        returns=(75.0, 150.0, 190.0),
        score="positive-value-loss",
        diayn={"iterations": 60},
        measures=(
            "force",
            "pole_mass",
            "half_length",
        ),
        ranges={},
        players=("random", "cartpole-oracle"),
        poet=Kin("poet-cartpole"),
    ),
    "terrain-walker": World(
        family={"name": "terrain-walker", "horizon": 600},
        tasks=_uniform({"roughness": (0.0, 1.0), "pit_gap": (0.0, 0.8), "stump_height": (0.0, 0.4)}),
        beyond=_uniform({"roughness": (1.0, 2.0), "pit_gap": (0.8, 1.6), "stump_height": (0.4, 0.8)}),
        episodes=1,
        trials=32,
        horizon=600,
        steps=1_000_000,
        judged=100,
        agents={
            "rl2": Kin("rl2-walker"),
            "varibad": Kin("varibad-grid", (_NO_ENTROPY, "agent.discount=0.99", "agent.std=0.6")),
            "pearl": Kin(
                "pearl-sparse-point", (*_PEARL, "agent.discount=0.99", "training.tasks=8", "training.episodes=2")
            ),
            "maml": Kin("maml-navigation", ("training.tasks=10", "training.episodes=20", "agent.trajectories=10")),
            "oracle": Kin("poet-walker", ("~runner",)),
        },
        returns=(5.0, 40.0, 60.0),
        score="positive-value-loss",
        diayn={"iterations": 60, "decay": 3.0},
        measures=(),
        ranges={},
        players=("random",),
        poet=Kin("poet-walker", ("runner.map=serial",)),
    ),
    "half-cheetah": World(
        family={"name": "half-cheetah", "task": "velocity", "horizon": 100},
        tasks=_BY_HAND,
        beyond={"name": PLAIN, "vary": {"velocity": {"kind": "uniform", "low": 3.0, "high": 4.0}}},
        episodes=2,
        trials=40,
        horizon=100,
        steps=1_000_000,
        judged=200,
        agents={
            "rl2": Kin("uml-cheetah-goals"),
            "varibad": Kin("varibad-grid", (_NO_ENTROPY, "agent.discount=0.99")),
            "pearl": Kin("pearl-sparse-point", (*_PEARL, "agent.discount=0.99")),
            "maml": Kin("maml-navigation", ("training.tasks=10",)),
            "oracle": Kin("ppo-navigation", ("agent.discount=0.99",)),
        },
        returns=(-140.0, -80.0, -40.0),
        score="positive-value-loss",
        diayn={"skills": 20, "slots": 60, "iterations": 150, "decay": 3.0},
        measures=("velocity",),
        ranges={},
        players=("random",),
        poet=Kin("poet-cartpole"),
    ),
}


class Trials(NamedTuple):
    """How many trials a run of a cell has where episodes last, and how many of them an iteration has."""

    run: int
    each: int
    """Of an iteration."""

    def part(self, of: float, least: int = 1) -> int:
        """One of so many, such as candidates of a refresh: the shipped maze experiments have 64,512 trials."""
        return max(least, round(self.run / of))


class Cell(NamedTuple):
    """A run."""

    world: str
    source: str
    agent: str
    seed: int
    changes: tuple[str, ...] = ()
    """Settings that are tried, in a run of a name of its own."""

    def __str__(self) -> str:
        return " ".join(self[:3])

    @property
    def name(self) -> str:
        """What the run is called, before its seed."""
        return "-".join([NAME, *("tried" for _ in self.changes[:1]), *self[:3]])

    @property
    def run(self) -> RunDirectory:
        """Where it is."""
        return RunDirectory(RUNS / f"{self.name}-{self.seed}")

    @property
    def archive(self) -> "Cell":
        """The POET run that its tasks are from, if they are."""
        return self._replace(source="poet", agent="archive")

    @property
    def player(self) -> str:
        """What evaluations call its agent."""
        return "ppo" if self.agent == "oracle" else self.agent.partition("-")[0]

    @property
    def there(self) -> bool:
        """Whether it is trained and judged."""
        return (self.run.path / "evaluation.json").exists()

    def summary(self) -> dict[str, Any]:
        """Its evaluation."""
        return json.loads((self.run.path / "evaluation.json").read_text())

    def course(self, tasks: str) -> NDArray[np.float64]:
        """[K, N] what it returns on a set of tasks by episode, or by round where it adapts between these alone."""
        returns = played(self.run, tasks, self.player)
        rounds = self.summary()["sets"][tasks]["players"][self.player].get("rounds")
        return returns if rounds is None else returns.reshape(len(rounds["mean"]), -1, returns.shape[1]).mean(1)


def source_of(cell: Cell, trials: Trials) -> Mapping[str, Any]:
    """Where the tasks of a cell come from."""
    world = WORLDS[cell.world]
    over = {"source": world.tasks}
    worth = {**over, "score": world.score}
    thresholds = dict(zip(("narrow_below", "widen_above"), world.returns, strict=False))
    refreshed = {"candidates": trials.part(80, 8), "kept": trials.part(640), "refresh": trials.part(20 * trials.each)}
    settings: Mapping[str, Mapping[str, Any]] = {
        PLAIN: world.tasks,
        "random-rewards": {"contexts": world.tasks},
        "diayn": {"contexts": world.tasks, "learning_seed": cell.seed, **world.diayn},
        "poet": {"path": str(cell.archive.run.path), "niches": "all"},
        "robust-plr": {**worth, "capacity": trials.part(64, 8), "replay": 0.5},
        "accel": {**worth, "capacity": trials.part(64, 8), "replay": 0.8},
        "sfl": {**over, **refreshed},
        "quality-diversity": {**worth, "cells": 20, "initial": trials.part(126, 8), "measures": world.measures},
        "adr": {**over, "ranges": world.ranges, "step": 0.1, "queue": trials.part(320), **thresholds},
    }
    return {"name": cell.source, **settings[cell.source]}


def settings(cell: Cell) -> tuple[str, list[str]]:
    """The shipped experiment of a cell and what the cell changes in it."""
    world, core = WORLDS[cell.world], RL2.get(cell.agent)
    experiment, changes = world.agents["rl2" if core else cell.agent]
    network: dict[str, Any] = {"name": core, **({"hidden_size": 64} if core == "gru" else {})}
    network |= {"window": world.episodes * world.horizon} if core == "transformer" else {}
    judged = {"tasks": 20, "final_tasks": world.judged, "players": [], "source": world.tasks}
    judged |= {"same_tasks": world.same_tasks, "out_of_distribution": {BEYOND: world.beyond}}
    judged |= {"episodes": world.episodes} if cell.agent == "oracle" else {}
    given = [
        *([] if cell.agent == "maml" else [f"training.tasks={world.trials}", f"training.episodes={world.episodes}"]),
        *(["training.episodes=1", "agent.context=descriptor"] if cell.agent == "oracle" else []),
        *([f"agent.network={inline(network)}"] if core else []),
        *changes,
        f"family={inline(world.family)}",
        f"evaluation={inline(judged)}",
        f"training.steps={world.steps}",
        "training.evaluate_every=0",
    ]
    training = load_experiment(experiment, [*given, f"source={inline(world.tasks)}"]).config.training
    trials = Trials(world.steps // (training.episodes * world.horizon), training.tasks)
    return experiment, [*given, f"source={inline(source_of(cell, trials))}", *cell.changes]


def evolution(cell: Cell) -> tuple[str, list[str]]:
    """The shipped experiment of the POET run that a cell's tasks are from, and what is changed in it."""
    world = WORLDS[cell.world]
    experiment, changes = world.poet
    if experiment == "poet-cartpole" and cell.world != "cartpole":  # it has a first task, and counts in its returns
        fails, copes, masters = world.returns
        limits = {"lowest": fails, "reproduce_from": copes, "solved": copes, "highest": masters}
        changes = [f"source={inline(world.tasks)}", *(f"runner.{name}={value}" for name, value in limits.items())]
    return experiment, [f"family={inline(world.family)}", *changes]


def refused(cell: Cell) -> str | None:
    """Why a cell cannot be, as whoever refuses it says it; None where it can. Its plan is built and a trial played.

    An archive of POET's and skills of DIAYN's cost hours: tasks by hand, and skills of one iteration, stand for them.
    """
    try:
        if cell.source == "poet":
            outlook(planned(cell, *evolution(cell)))
        quick = (
            ("source.iterations=1", "source.slots=40", "source.least_accuracy=1e-9") if cell.source == "diayn" else ()
        )
        source = PLAIN if cell.source == "poet" else cell.source
        outlook(planned(cell, *settings(cell._replace(source=source, changes=(*quick, *cell.changes)))))
    except UserError as error:
        return " ".join(str(error).split())
    return None


def planned(cell: Cell, experiment: str, changes: Sequence[str]) -> Plan[Experiment]:
    """The run of a cell."""
    return load_experiment(experiment, [*changes, f"seed={cell.seed}", f"name={cell.name}"])


def cells(seeds: Sequence[int] = (0,)) -> Iterator[Cell]:
    """All cells, each with its first seed before any has its second."""
    for seed, world, source, agent in product(seeds, WORLDS, SOURCES, AGENTS):
        yield Cell(world, source, agent, seed)
