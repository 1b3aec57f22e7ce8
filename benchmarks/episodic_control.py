"""Episodic control: episodes until MFEC, NEC and DQN earn nine tenths of the optimum, and MFEC's optimism as computed.

    python -m benchmarks.episodic_control                              what is missing, then the record
    python -m benchmarks.episodic_control --train catch/mfec/0 ...     these runs alone, each by itself
    python -m benchmarks.episodic_control --record                     of what is there, if every seed of it is

Each run begins with nothing learned and plays one task, one episode after another; what it earns while it explores
counts. Settings are the same in all worlds, but that images are read by convolutions. `nec-learned` has an embedding
that was learned on other tasks of the family before. In the egocentric maze the view does not tell the place, so that a
table keyed by it must fail. A run is over when its file is in runs/benchmarks/episodic_control/.
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.evaluation.play import play
from agents.mfec import MFEC
from benchmarks.harness import Row, ahead_row, record, seeds_row
from benchmarks.learning import RUNS
from plugins.families.frozen_lake import MAPS
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.family import TaskFamily
from taskgen.files import write_atomically
from taskgen.interaction.agent import CollectionPlan
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence

NAME, SEEDS = "episodic_control", (0, 1, 2, 3, 4)
SHARE, WINDOW = 0.9, 20
"""What counts: so much of the optimum, on average over so many episodes."""


class World(NamedTuple):
    """Where an agent plays."""

    family: str
    settings: Mapping[str, Any] = {}
    episodes: int = 600
    source: str = "domain-randomization"
    image: bool = False
    context: Mapping[str, Any] = {}


ICE = {"holes": MAPS[4], "slipperiness": 0.0}
WORLDS = {
    "catch": World("catch"),
    "catch-pixels": World("catch", {"observation": "board"}, image=True),
    "frozen-lake": World("frozen-lake", context=ICE),
    "darkroom": World("darkroom", {"size": 6, "horizon": 40}),
    "maze": World("maze", {"size": 6, "horizon": 60}, source="random-mazes"),
}
DISCOUNT = 0.9
EPISODIC = {
    "capacity": 2000,
    "neighbours": 5,
    "epsilon_first": 1.0,
    "epsilon_episodes": 40,
    "discount": DISCOUNT,
}
AGENTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "mfec": ("mfec", EPISODIC),
    "nec": ("nec", EPISODIC),
    "nec-fixed": ("nec", {**EPISODIC, "descent_steps": 0}),
    "nec-learned": ("nec", {**EPISODIC, "warm_up": 0, "trials": 16, "updates_per_step": 0.002}),
    "dqn": (
        "dqn",
        {
            "warm_up": 100,
            "updates_per_step": 0.5,
            "epsilon_steps": 1000,
            "target_updates": 100,
            "discount": DISCOUNT,
        },
    ),
}
CONVOLUTIONS = {"image": {"convolutions": [{"filters": 8}, {"filters": 16, "stride": 2}]}}
LEARNED = (10, 8, 40)
"""Rounds of so many trials of so many episodes that the embedding of `nec-learned` is learned from."""
SLIP, TAKEN, SLOTS = 0.3, (1, 4, 16), 2000
"""How slippery the ice is on which MFEC's optimism is computed, after how many episodes, of how many trials."""


def tasks(world: World, family: TaskFamily[Any], seed: int, count: int, stream: str) -> list[TaskSpec]:
    """Tasks of a world, other ones on another stream."""
    specs = build_source(Part(name=world.source), family, seed_sequence(seed, stream)).ask(count)
    return (
        [family.spec({**spec.context, **world.context}, seed=spec.seed) for spec in specs] if world.context else specs
    )


def course(world: World, agent: str, seed: int) -> list[float]:
    """Return of every episode as a share of the optimum."""
    family = build_family(world.family, world.settings)
    name, settings = AGENTS[agent]
    part = {"name": name, **settings, **(CONVOLUTIONS if world.image and name != "mfec" else {})}
    problem = problem_of(family, episodes=world.episodes, seed=seed, device=torch.device("cpu"))
    player = build_agent(Part.model_validate(part), problem)
    (spec,) = tasks(world, family, seed, 1, "judged")
    optimum = family.optimal_return(spec)  # type: ignore[attr-defined]
    if name == "dqn":
        batch, returns = family.batch(1), list[float]()
        for episode in range(world.episodes):
            trial = collect(player, batch, [spec], plan=player.plan(1), seeds=[spec.seed + episode])
            player.learn(trial)
            returns.append(float(trial.episode_returns()))
        return [value / optimum for value in returns]
    if agent == "nec-learned":
        rounds, trials, episodes = LEARNED
        batch = family.batch(trials)
        others = tasks(world, family, seed, rounds * trials, "learned")
        for number in range(rounds):
            specs = others[number * trials : (number + 1) * trials]
            player.learn(collect(player, batch, specs, plan=player.plan(episodes)))
    return (play(player, family, [spec], world.episodes)[:, 0] / optimum).tolist()


def measured(world: str, agent: str, seed: int) -> list[float]:
    """The course of a run: run, or found."""
    path = RUNS / NAME / f"{world}-{agent}-{seed}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(course(WORLDS[world], agent, seed)).encode())
    return json.loads(path.read_text())


def episodes_needed(returns: list[float]) -> int:
    """Episodes before the first `WINDOW` of them that earn `SHARE` of the optimum on average; all where none do."""
    means = np.convolve(returns, np.ones(WINDOW) / WINDOW, mode="valid")
    reached = np.flatnonzero(means >= SHARE)
    return int(reached[0]) if len(reached) else len(returns)


def optimism(seed: int) -> dict[int, tuple[float, float]]:
    """By number m of episodes: the mean entry of the first state and action, and E of the max of m returns less mean.

    The best player plays on slippery ice; MFEC's tables are given what it does. The returns are those of an episode's
    best visit to the start, of which the table keeps the highest; both figures are less the mean of one episode.
    """
    family = build_family("frozen-lake")
    problem = problem_of(family, episodes=max(TAKEN), seed=seed, device=torch.device("cpu"))
    agent = build_agent(Part(name="mfec", capacity=200), problem)  # type: ignore[call-arg]
    oracle = build_agent(Part(name="frozen-lake-oracle"), problem)
    assert isinstance(agent, MFEC)
    specs = [family.spec({**ICE, "slipperiness": SLIP}, seed=seed * SLOTS + number) for number in range(SLOTS)]
    trial = collect(oracle, family.batch(SLOTS), specs, plan=CollectionPlan(max(TAKEN), 1))
    alone, entries, carry = list[NDArray[np.float64]](), dict[int, float](), agent.begin_trial(SLOTS)
    for number, rollout in enumerate(trial.rounds, 1):
        for which, memory in (("alone", agent.begin_trial(SLOTS)), ("all", carry)):
            after = agent.adapt(memory, rollout)
            hit, place = after.find(agent.code(rollout.observation[0]))
            action = rollout.action[0][:, None]
            assert hit.gather(1, action).all()
            value = after.value.gather(2, place[..., None])[..., 0].gather(1, action)[:, 0].double()
            if which == "alone":
                alone.append(value.numpy())
            else:
                carry, entries[number] = after, float(value.mean())
    one = np.sort(np.concatenate(alone))
    rank = np.arange(1, len(one) + 1) / len(one)
    highest = {m: float(np.sum(one * np.diff(rank**m, prepend=0.0))) for m in TAKEN}
    return {m: (entries[m] - one.mean(), highest[m] - one.mean()) for m in TAKEN}


def whole(world: str, agent: str) -> bool:
    """Whether all seeds of a run are there."""
    return all((RUNS / NAME / f"{world}-{agent}-{seed}.json").is_file() for seed in SEEDS)


def rows() -> list[Row]:
    """Of every world and agent all of whose seeds are there."""
    found: list[Row] = []
    for world in WORLDS:
        needed: dict[str, list[int]] = {}
        for agent in AGENTS:
            if not whole(world, agent):
                continue
            courses = [measured(world, agent, seed) for seed in SEEDS]
            needed[agent] = [episodes_needed(returns) for returns in courses]
            if world != "maze":
                what = f"{world}, {agent}: episodes to {SHARE:.0%} of the optimum, at most {len(courses[0])}"
                found.append(seeds_row(what, needed[agent]))
            last = [float(np.mean(returns[-WINDOW:])) for returns in courses]
            failing = world == "maze" and agent == "mfec"
            what = f"{world}, {agent}: share of the optimum in the last {WINDOW} episodes"
            found.append(seeds_row(what, last, "<= 0.5" if failing else None, "views do not tell the place"))
        for agent in ("mfec", "nec"):
            if world != "maze" and {agent, "dqn"} <= needed.keys():
                what = f"{world}: episodes that dqn needs more than {agent}"
                found.append(ahead_row(what, needed["dqn"], needed[agent], "Blundell et al. 2016; Pritzel et al. 2017"))
    biases = [optimism(seed) for seed in SEEDS]
    for m in TAKEN:
        entry, computed = ([bias[m][part] for bias in biases] for part in (0, 1))
        near = (float(np.mean(computed)) - 0.01, float(np.mean(computed)) + 0.01)
        what = f"frozen-lake, slipperiness {SLIP}: entry of the start above the mean return, {m} episodes"
        found.append(seeds_row(what, entry, near, f"E of the max of {m} returns, +- .01"))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run, record."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--train", nargs="+", metavar="WORLD/AGENT/SEED", help="these runs alone; record nothing")
    parser.add_argument("--record", action="store_true", help="run nothing; record what is whole")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    every = [f"{world}/{agent}/{seed}" for world in WORLDS for agent in AGENTS for seed in SEEDS]
    for run in [] if given.record else given.train or every:
        world, agent, seed = run.split("/")
        returns = measured(world, agent, int(seed))
        print(f"{run}: {episodes_needed(returns)} episodes, at the end {np.mean(returns[-WINDOW:]):.3f}", flush=True)
    if not given.train:
        record(NAME, rows(), SEEDS)


if __name__ == "__main__":
    main()
