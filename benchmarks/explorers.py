"""How agents explore: VariBAD, HyperX, MAESN, DREAM, prediction gain and PEARL beside RL^2, in eight worlds.

    python -m benchmarks.explorers                       what is missing, then the record; many hours on one thread
    python -m benchmarks.explorers half-circle 1         one show with one seed, then the record of what is whole
    python -m benchmarks.explorers half-circle 1 maesn   and of its agents this one alone
    python -m benchmarks.explorers --record              of what is there

In each show all agents take the same number of environment steps, those of episodes in full length: whoever ends
episodes early takes fewer. They play the same tasks, beside reference players. What agents do not say of themselves is
as the shipped experiments have it. A show is recorded when all its agents are there with all seeds; what is recorded
of others stays.

grid, treasure: whole trials. bus, cooking, distraction: the second episode, for which the first may explore; the bus's
map is read or not in the first. half-circle: the fifth episode; what adapts by gradient is told by round of 20 episodes
too. The plane and the post of the sign: what a trial and its last episode lose of the oracle's, by the distance of the
goal; whose loss grows with the distance samples from its posterior (`sign-post` has discrete actions, which PEARL does
not take: the exact sampler stands for it). docs/sign-distance.svg draws it.

Runs go to runs/benchmarks/explorers-SHOW-AGENT-SEED and are resumed where they stopped; a report of each show is beside
them. Longer than most files here: a third of it says who plays in which show for what.
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray

import registry
from agents.reports.report import write_report
from agents.training.experiment import held_out_source, load_experiment
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from benchmarks.harness import ROOT, Row, Target, ahead_row, record, seeds_row, together
from benchmarks.learning import RUNS, curves, inline, played, run_seed
from taskgen.build import build_family
from taskgen.interaction.agent import judged
from taskgen.interaction.collect import collect

NAME, SEEDS = "explorers", (0, 1, 2)
HELD_OUT = "held-out"
EXACT = "exact planning"


class Learner(NamedTuple):
    """Who learns where."""

    world: str
    """The shipped experiment of family, source, episodes and evaluation."""
    agent: str = ""
    """That of the agent and of trials an iteration; left out, the same."""
    special: Sequence[str] = ()
    """Further settings."""


class Show(NamedTuple):
    """Agents in one world."""

    steps: int
    """Environment steps of training."""
    learners: Mapping[str, Learner]
    counted: int
    """The episode that is judged; 0: the whole trial."""
    targets: Mapping[str, tuple[Target, str]] = {}
    """By player, of what is counted."""
    settings: Sequence[str] = ()
    """For all."""
    distances: Sequence[int] = ()
    """Of goals, each with a set of tasks of its own."""
    sampler: str = ""
    """Whose loss grows with the distance, as others' does not."""


def _far(distances: Sequence[int], vary: Mapping[str, object]) -> tuple[str, ...]:
    """Goals of all distances in training and among held-out tasks, and a set of each distance."""
    varied = {"name": "domain-randomization", "vary": {"distance": vary}}
    alike = ({"name": "domain-randomization", "fixed": {"distance": distance}} for distance in distances)
    sets = {_set(distance): source for distance, source in zip(distances, alike, strict=True)}
    given = {"source": varied, "evaluation.source": varied, "evaluation.out_of_distribution": sets}
    return ("training.episodes=3", *(f"{name}={inline(value)}" for name, value in given.items()))


def _set(distance: int) -> str:
    return f"distance-{distance}"


_PLANE, _POST = (4, 8, 12, 16), (2, 4, 7, 10)
_FIXED = {
    "name": "domain-randomization",
    "task_seed": 0,
    "vary": {
        "angle": {"kind": "choice", "values": [round(0.01 + number * 2 * np.pi / 48, 4) for number in range(48)]},
        "distance": {"kind": "choice", "values": list(_PLANE)},
    },
}
"""Tasks that PEARL meets over and over, since its memory is of them: 48 directions at each distance."""
SHOWS: Mapping[str, Show] = {
    "grid": Show(
        steps=3_840_000,
        learners={"varibad": Learner("varibad-grid"), "rl2": Learner("varibad-grid", "rl2-grid")},
        counted=0,
        targets={
            "varibad": (">= 36.5", "the Bayes-optimal player has 37.21; aim 37"),
            "rl2": (34.7, "ours, with goals in all cells"),
            "grid-navigation-bayes": (781.5 / 21, EXACT),
            "grid-navigation-oracle": (930 / 21, EXACT),
        },
    ),
    "treasure": Show(
        steps=9_600_000,
        learners={
            "hyperx": Learner("hyperx-treasure"),
            "varibad": Learner("hyperx-treasure", "varibad-grid", ("agent.discount=0.99", "agent.entropy=0.01")),
            "rl2": Learner("hyperx-treasure", "rl2-navigation"),
        },
        counted=0,
        targets={
            "hyperx": (">= 700", "climbing first earns 735.7, walking round the circle 603"),
            "treasure-climber": (735.7, EXACT),
            "treasure-walker": (603, "our player, 40,000 tasks"),
        },
    ),
    "bus": Show(
        steps=2_560_000,
        learners={
            "dream": Learner("dream-bus"),
            "varibad": Learner("dream-bus", "varibad-grid"),
            "rl2": Learner("dream-bus", "rl2-grid"),
        },
        counted=2,
        targets={"dream": (">= 0.75", "the most is 0.8"), "bus-map-reader": (0.8, EXACT)},
    ),
    "cooking": Show(
        steps=2_560_000,
        learners={
            "dream": Learner("dream-cooking"),
            "varibad": Learner("dream-cooking", "varibad-grid"),
            "rl2": Learner("dream-cooking", "rl2-grid"),
        },
        counted=2,
        targets={"dream": (">= 0.42", "the most is 0.4667"), "cooking-oracle": (0.4667, EXACT)},
    ),
    "distraction": Show(
        steps=2_560_000,
        learners={
            "dream": Learner("dream-distraction"),
            "varibad": Learner("dream-distraction", "varibad-grid"),
            "rl2": Learner("dream-distraction", "rl2-grid"),
        },
        counted=2,
        targets={"bus-oracle": (0.8, EXACT)},
    ),
    "half-circle": Show(
        steps=4_000_000,
        learners={
            "pearl": Learner("pearl-sparse-point", special=("agent.updates_per_step=0.015",)),
            "maesn": Learner("maesn-sparse-point"),
            "maml": Learner("maesn-sparse-point", "maml-navigation"),
            "prediction-gain": Learner("prediction-gain-sparse-point"),
            "rl2": Learner("prediction-gain-sparse-point", "rl2-navigation"),
        },
        counted=5,
        targets={"point-navigation-oracle": (13.39, EXACT)},
        settings=("evaluation.final_tasks=1000",),
    ),
    "sign-plane": Show(
        steps=3_000_000,
        learners={
            "pearl": Learner(
                "dream-sign",
                "pearl-sparse-point",
                (
                    f"source={inline(_FIXED)}",
                    "agent.tasks=192",
                    "agent.discount=0.99",
                    "agent.context_reward=task",
                    "agent.updates_per_step=0.02",
                ),
            ),
            "dream": Learner("dream-sign", special=("agent.updates_per_step=0.02", "agent.epsilon_steps=200_000")),
            "varibad": Learner("dream-sign", "varibad-grid", ("training.tasks=64",)),
            "rl2": Learner("dream-sign", "rl2-navigation"),
        },
        counted=0,
        settings=(
            'family={name = "sign-plane", farthest = 16}',
            *_far(_PLANE, {"kind": "uniform", "low": 4.0, "high": 16.0}),
            'evaluation.players=["random", "sign-plane-sampler", "sign-plane-reader", "sign-plane-oracle"]',
        ),
        distances=_PLANE,
        sampler="pearl",
    ),
    "sign-post": Show(
        steps=2_000_000,
        learners={
            "dream": Learner("dream-sign-post"),
            "varibad": Learner("dream-sign-post", "varibad-grid", ("training.tasks=64",)),
            "rl2": Learner("dream-sign-post", "rl2-grid", ("training.tasks=64",)),
        },
        counted=0,
        settings=_far(_POST, {"kind": "integer-range", "low": 2, "high": 10}),
        distances=_POST,
        sampler="sign-post-sampler",
    ),
}
AIM: tuple[Target, str] = (">= 10", "a fresh place an episode earns 8.43, walking along the circle 13.39")
"""Of the best on the half circle in episode 5."""
GROWS = "VariBAD, section 2.2: posterior sampling can be arbitrarily bad"


def overrides(show: str, agent: str) -> list[str]:
    """What the run of an agent changes in the experiment of its world."""
    setting = SHOWS[show]
    learner = setting.learners[agent]
    shipped = registry.catalogue().get("experiments", learner.agent or learner.world).load()
    given = [
        f"agent={inline(shipped['agent'])}",
        f"training.tasks={shipped['training']['tasks']}",
        "training.evaluate_every=0",
        "evaluation.tail=0",
        *setting.settings,
        *learner.special,
    ]
    experiment = load_experiment(learner.world, given).config
    family = build_family(experiment.family.name, experiment.family.settings)
    trials = experiment.training.tasks * experiment.training.episodes
    return [*given, f"training.iterations={max(1, round(setting.steps / (trials * family.horizon)))}"]


def name_of(show: str, agent: str) -> str:
    """What the runs of an agent are called, before their seed."""
    return f"{NAME}-{show}-{agent}"


def trained(show: str, agent: str, seed: int) -> RunDirectory:
    """The finished run: trained and judged, resumed or found."""
    return run_seed(name_of(show, agent), SHOWS[show].learners[agent].world, seed, overrides(show, agent))


def runs_of(show: str, agent: str) -> list[RunDirectory]:
    """Where the runs of an agent are, by seed."""
    return [RunDirectory(RUNS / f"{name_of(show, agent)}-{seed}") for seed in SEEDS]


def whole(show: str) -> bool:
    """Whether all its runs are there, trained and judged."""
    every = (run for agent in SHOWS[show].learners for run in runs_of(show, agent))
    return all((run.path / "evaluation.json").is_file() for run in every)


def returns(show: str, tasks: str = HELD_OUT) -> dict[str, list[NDArray[np.float64]]]:
    """By agent and then by reference player: returns [K, N] of each seed on a set of tasks."""
    agents = {agent: runs_of(show, agent) for agent in SHOWS[show].learners}
    found = {agent: [played(run, tasks, agent) for run in runs] for agent, runs in agents.items()}
    first = next(iter(agents.values()))
    players = json.loads((first[0].path / "evaluation.json").read_text())["sets"][tasks]["players"]
    others = {player: [played(run, tasks, player) for run in first] for player in players if player not in agents}
    return {**found, **others}


def earned(show: str) -> Iterator[Row]:
    """What every player earns: what is counted with its target, then each of the first episodes."""
    setting = SHOWS[show]
    for player, seeds in returns(show).items():
        target, source = setting.targets.get(player, (None, ""))
        if not setting.counted:
            what = f"{show}, {player}: return of a trial"
            yield seeds_row(what, [one.sum(0) for one in seeds], target, source)
        for episode in range(1, 1 + min(len(seeds[0]), max(5, setting.counted))):
            judged_by = (target, source) if episode == setting.counted else (None, "")
            yield seeds_row(
                f"{show}, {player}: return of episode {episode}", [one[episode - 1] for one in seeds], *judged_by
            )


def rounds(show: str) -> Iterator[Row]:
    """The half circle: the best in episode 5, and what steps of adaptation by 20 episodes each are worth."""
    found = returns(show)
    fifth = {agent: [one[4] for one in found[agent]] for agent in SHOWS[show].learners}
    best = max(fifth, key=lambda agent: float(np.mean(fifth[agent])))
    yield seeds_row(f"{show}, {best}, the best: return of episode 5", fifth[best], *AIM)
    last: dict[str, list[NDArray[np.float64]]] = {}
    for agent in ("maesn", "maml"):
        abreast = [by_round(one, run) for one, run in zip(found[agent], runs_of(show, agent), strict=True)]
        for steps in range(len(abreast[0])):
            what = f"{show}, {agent}: return of an episode after {steps} steps of adaptation"
            yield seeds_row(what, [one[steps] for one in abreast])
        last[agent] = [one[-1] for one in abreast]
    what = f"{show}: gain of maesn's latents over maml after as many steps of adaptation"
    yield ahead_row(what, last["maesn"], last["maml"], "Gupta et al. 2018, section 6")


def by_round(one: NDArray[np.float64], run: RunDirectory) -> NDArray[np.float64]:
    """[R, N] the mean episode of each round, of returns [K, N]."""
    abreast = run.open().config.agent.settings["trajectories"]
    return one.reshape(-1, abreast, one.shape[1]).mean(1)


def reading(show: str) -> Iterator[Row]:
    """The bus: in how many first episodes the map was read."""
    for agent in SHOWS[show].learners:
        yield seeds_row(
            f"{show}, {agent}: share of first episodes that read the map", [_read(run) for run in runs_of(show, agent)]
        )


def _read(run: RunDirectory, cities: int = 24) -> float:
    loaded = load_trained(run)
    player, family = judged(loaded.parts.player), loaded.parts.family
    specs = held_out_source(loaded.experiment, family).ask(loaded.experiment.evaluation.tasks)
    plan = player.plan(loaded.experiment.training.episodes)
    rollout = collect(player, family.batch(len(specs) * plan.slots), specs, plan=plan).rollout
    first = rollout.valid & (rollout.episode_index == 0)
    return float((rollout.next_observation[..., -cities:].any(-1) & first).any(0).double().mean())


def losses(show: str) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By "trial" and "last episode", by player: what it loses of the oracle's return, [distances, seeds]."""
    found: dict[str, dict[str, list[list[float]]]] = {"trial": {}, "last episode": {}}
    for distance in SHOWS[show].distances:
        players = returns(show, _set(distance))
        oracle = players.pop(f"{show}-oracle")
        for player, seeds in players.items():
            short = [best - one for best, one in zip(oracle, seeds, strict=True)]
            found["trial"].setdefault(player, []).append([float(one.sum(0).mean()) for one in short])
            found["last episode"].setdefault(player, []).append([float(one[-1].mean()) for one in short])
    return {what: {player: np.array(rows) for player, rows in by.items()} for what, by in found.items()}


def distances(show: str) -> Iterator[Row]:
    """The sign: losses by distance, how they grow from the nearest to the farthest, and whose grows more."""
    setting = SHOWS[show]
    for part, by_player in losses(show).items():
        growth = {player: list(loss[-1] - loss[0]) for player, loss in by_player.items()}
        for player, loss in by_player.items():
            for distance, values in zip(setting.distances, loss, strict=True):
                yield seeds_row(f"{show}, {player}: loss of the {part} at distance {distance}", list(values))
            yield seeds_row(f"{show}, {player}: growth of the loss of the {part}", growth[player])
        grows = growth[setting.sampler]
        yield ahead_row(
            f"{show}, {setting.sampler}: the loss of the {part} grows with the distance", grows, source=GROWS
        )
        for agent in setting.learners:
            if agent != setting.sampler:
                what = f"{show}: the loss of the {part} grows more for {setting.sampler} than for {agent}"
                yield ahead_row(what, grows, growth[agent], GROWS)


def draw(rows: Sequence[Row]) -> None:
    """What the last episode loses by the distance of the goal, the mean over seeds."""
    mpl.use("svg")
    found = {show: _by_player(show, rows) for show in SHOWS if SHOWS[show].distances}
    drawn = {show: players for show, players in found.items() if players}
    figure, axes = plt.subplots(1, len(drawn), figsize=(4.2 * len(drawn), 3.2), squeeze=False)
    for axis, (show, players) in zip(axes[0], drawn.items(), strict=True):
        for player, loss in players.items():
            if player != "random":
                marks = "o-" if player in SHOWS[show].learners else "--"
                axis.plot(SHOWS[show].distances, loss, marks, label=player)
        axis.set(title=show, xlabel="distance of the goal", ylabel="less than the oracle, last episode")
        axis.legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "sign-distance.svg", metadata={"Date": None})
    plt.close(figure)


def _by_player(show: str, rows: Sequence[Row]) -> dict[str, list[float]]:
    """What the last episode loses at each distance, by player."""
    found: dict[str, list[float]] = {}
    for row in rows:
        who, _, what = row["what"].partition(": loss of the last episode at distance ")
        if what and part_of(who) == show:
            found.setdefault(who.removeprefix(f"{show}, "), []).append(row["value"])
    return found


def rows(show: str) -> Iterator[Row]:
    """All figures of a show that is whole."""
    yield from earned(show)
    if SHOWS[show].distances:
        yield from distances(show)
    elif show == "half-circle":
        yield from rounds(show)
    elif show == "bus":
        yield from reading(show)
    for agent in SHOWS[show].learners:
        last = [_last(run) for run in runs_of(show, agent)]
        for what, key in (("environment steps", "steps"), ("seconds of training, one thread", "seconds")):
            yield seeds_row(f"{show}, {agent}: {what}", [line[key] for line in last])


def _last(run: RunDirectory) -> Mapping[str, float]:
    """The evaluation at the run's end."""
    return json.loads((run.path / "evaluations.jsonl").read_text().splitlines()[-1])


def part_of(what: str) -> str:
    """The show of a row."""
    return re.split("[,:]", what)[0]


def main(arguments: list[str] | None = None) -> None:
    """Train, evaluate, record."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("show", nargs="?", choices=SHOWS, help="this one alone")
    parser.add_argument("seed", nargs="?", type=int, choices=SEEDS, help="with this seed alone")
    parser.add_argument("agent", nargs="?", help="of its agents this one alone")
    parser.add_argument("--record", action="store_true", help="train nothing; record what is whole")
    given = parser.parse_args(arguments)
    if given.agent and given.agent not in (learners := SHOWS[given.show].learners):
        parser.error(f"no agent {given.agent!r} in {given.show}: it has {', '.join(learners)}")
    torch.set_num_threads(1)
    for show in [] if given.record else [given.show] if given.show else SHOWS:
        for seed in SEEDS if given.seed is None else [given.seed]:
            for agent in [given.agent] if given.agent else SHOWS[show].learners:
                trained(show, agent, seed)
    done = [show for show in SHOWS if whole(show)]
    if not done:
        return
    found = [line for show in done for line in rows(show)]
    every = together(NAME, found, part_of)
    missing = SHOWS.keys() - {part_of(line["what"]) for line in every}
    notes = f"not whole yet: {', '.join(show for show in SHOWS if show in missing)}" if missing else ""
    runs = [run for show in done for agent in SHOWS[show].learners for run in runs_of(show, agent)]
    record(NAME, found, SEEDS, notes, curves(runs), part_of)
    for show in [given.show] if given.show in done else done if not given.show else []:
        paths = [run.path for agent in SHOWS[show].learners for run in runs_of(show, agent)]
        write_report(paths, RUNS / f"{NAME}-{show}.html")
    if any(SHOWS[show].distances for show in done):
        draw(every)


if __name__ == "__main__":
    main()
