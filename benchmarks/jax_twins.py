"""Training, the maze and MAML's meta-step beside plain jitted JAX of the same, one core and one thread each, in turns.

    python -m benchmarks.jax_twins [PART ...]     about a quarter of an hour; nothing else should run beside it

The twins (`twins_rl2`, `twins_maze`, `twins_maml`) are what a user of JAX would write, without tricks, in float32; that
they compute what ours do, from the same weights and tasks, `tests/benchmarks/check_jax_twins.py` shows. Of training a
whole iteration is measured, from the drawing of tasks to the last update. Ours and the twin take turns in one process,
so that what else the machine does meets both alike. Ratios are medians over turns of the ratio of rates within a turn,
with their range: by CPU time, which is judged, and by the clock. Compilation comes before the first turn.

The twin is a yardstick: a build at another commit is measured by running this in a worktree of it.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.common.schedule import final_rate
from agents.training.experiment import Experiment, Parts, build_parts, load_experiment
from benchmarks import inner_loop
from benchmarks.harness import Resume, Row, record, row
from benchmarks.plain_worlds import MAZES, context
from benchmarks.tensor_families import POOL, STEPS, Engine
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.collect import collect

NAME = "jax_twins"
TURNS, SECONDS = 9, 1.0
"""Of CPU time a turn of a side, at least."""
OURS, TWIN = "ours", "JAX twin"
SLOTS = 16384
JUDGED_ON = 20_000
SOURCE = "as fast as JAX"
Side = Callable[[], int]
"""Works for a while; how many units of work that was."""
Rates = Mapping[str, NDArray[np.float64]]
"""Of every side, [turns, 2] units per second of CPU and of the clock."""


def alone() -> None:
    """One core and one thread for this process, and JAX on the CPU. Raises `UserError` where JAX is not installed."""
    if find_spec("jax") is None:
        raise UserError(
            "JAX is not installed, and there is nothing to compare with: pip install 'taskgen-metarl[twins]'"
        )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    # Read when JAX is first imported.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["JAX_PLATFORMS"] = "cpu"


def turns(sides: Mapping[str, Side]) -> Rates:
    """Rates of all sides in every turn, after two calls each that do not count."""
    for side in sides.values():
        side(), side()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(TURNS):
        for name, side in sides.items():
            clock, cpu, work = time.perf_counter(), time.process_time(), 0
            while not work or time.process_time() - cpu < SECONDS:
                work += side()
            found[name].append((work / (time.process_time() - cpu), work / (time.perf_counter() - clock)))
    return {name: np.array(rates) for name, rates in found.items()}


def rows_of(what: str, unit: str, rates: Rates, pairs: Mapping[tuple[str, str], str | None]) -> list[Row]:
    """Rates by CPU time, and of each pair the ratio by CPU time, which has a target, and by the clock."""
    rows = [_spread(f"{what}: {name}, {unit} per second of CPU", values[:, 0]) for name, values in rates.items()]
    for (one, other), target in pairs.items():
        ratio = rates[one] / rates[other]
        rows += [
            _spread(f"{what}: {one} over {other}", ratio[:, 0], target),
            _spread(f"{what}: {one} over {other}, by the clock", ratio[:, 1]),
        ]
    return rows


def _spread(what: str, values: NDArray[np.float64], target: str | None = None) -> Row:
    source = SOURCE if target else f"median and range of {len(values)} turns"
    return row(what, float(np.median(values)), float(values.min()), float(values.max()), target, source)


class Training(NamedTuple):
    """An experiment whose training has a twin."""

    experiment: str
    overrides: tuple[str, ...] = ()


TRAININGS = {
    "bandit-10": Training("rl2-bandit"),
    "bandit-100": Training("rl2-bandit", ("training.episodes=100",)),
    "tabular": Training("rl2-tabular"),
}


def prepared(training: Training) -> tuple[Experiment, Parts]:
    """The experiment and its parts."""
    config = load_experiment(training.experiment, list(training.overrides)).config
    return config, build_parts(config)


def twin_of(config: Experiment, parts: Parts) -> tuple[Any, Any]:
    """The twin of an RL^2 experiment, and a learner with the weights of its agent.

    Raises `UserError` for a family or network without a twin.
    """
    from benchmarks import twins_rl2

    agent: Any = parts.player
    settings, structure, network = agent.config, parts.family.structure, agent.config.network
    weights = twins_rl2.handed_over({name: value.numpy() for name, value in agent.state_dict()["model"].items()})
    worlds: dict[str, Callable[[], Any]] = {
        "builtin/bandit": lambda: twins_rl2.Bandit(structure["arms"]),
        "builtin/tabular-mdp": lambda: twins_rl2.Tabular(**structure),
    }
    networks: dict[str, Callable[[], Any]] = {
        "builtin/gru": lambda: twins_rl2.GRU(network.settings["hidden_size"]),
        "builtin/fast-weights": lambda: twins_rl2.FastWeights(
            agent._model.network.input_size,  # noqa: SLF001
            *(network.settings[name] for name in ("layers", "heads", "key_width", "value_width")),
        ),
    }
    if config.family.name not in worlds or network.name not in networks:
        raise UserError(f"{config.family.name} with {network.name} has no twin: {[*worlds]} with {[*networks]} have")
    given = {name: getattr(settings, name) for name in twins_rl2.Sizes._fields if name in type(settings).model_fields}
    sizes = twins_rl2.Sizes(
        **{**given, "final_learning_rate": final_rate(settings.learning_rate, settings.final_learning_rate)},
        tasks=config.training.tasks,
        episodes=config.training.episodes,
        updates=parts.problem.updates,
    )
    twin = twins_rl2.Twin(sizes, worlds[config.family.name](), networks[network.name]())
    return twin, twins_rl2.begin(weights, sizes.episodes * parts.family.horizon)


def training(name: str) -> list[Row]:
    """Training by an experiment beside its twin."""
    import jax

    config, parts = prepared(TRAININGS[name])
    twin, learner = twin_of(config, parts)
    agent, tasks, key = parts.player, config.training.tasks, jax.random.PRNGKey(0)
    plan, batch = agent.plan(config.training.episodes), parts.family.batch(tasks)
    steps = tasks * config.training.episodes * parts.family.horizon

    def ours() -> int:
        trial = collect(agent, batch, parts.source.ask(tasks), plan=plan)
        agent.learn(trial)
        return steps

    def theirs() -> int:
        nonlocal learner, key
        key, luck = jax.random.split(key)
        learner, figures = twin.iteration(learner, luck)
        float(figures["return"])
        return steps

    what = " ".join((TRAININGS[name].experiment, *TRAININGS[name].overrides))
    return rows_of(what, "steps", turns({OURS: ours, TWIN: theirs}), {(OURS, TWIN): ">= 0.65"})


def learned(name: str, target: str, updates: int = 0) -> list[Row]:
    """What the twin of an experiment earns, played on new tasks after it was trained."""
    import jax

    base = TRAININGS[name]
    overrides = (*base.overrides, *([f"training.iterations={updates}"] if updates else []))
    config, parts = prepared(Training(base.experiment, overrides))
    twin, learner = twin_of(config, parts)
    *keys, judging = jax.random.split(jax.random.PRNGKey(1), parts.problem.updates + 1)
    for key in keys:
        learner, _ = twin.iteration(learner, key)
    returns = np.asarray(twin.play(learner.weights, judging, JUDGED_ON).reward.sum(0))
    error = 1.96 * float(returns.std()) / JUDGED_ON**0.5
    what = f"{' '.join((base.experiment, *overrides))}: {TWIN}, return of a trial, {JUDGED_ON:,} tasks"
    mean = float(returns.mean())
    return [row(what, mean, mean - error, mean + error, target, "the twin learns")]


def maze_twin(slots: int) -> Any:
    """The twin of the maze, on the tasks that `tensor_families.Engine` plays."""
    from benchmarks import twins_maze

    settings: Any = build_family("maze").config
    kept = {name: getattr(settings, name) for name in ("view", "horizon", "time_penalty")}
    tasks = [context("maze", number) for number in range(MAZES)]
    return twins_maze.Maze([tasks[number % MAZES] for number in range(slots)], **kept)


def maze(slots: int = SLOTS) -> list[Row]:
    """Steps of the maze by the engine, eager and in compiled chunks, beside the twin's scan of as many steps."""
    import jax

    twin = maze_twin(slots)
    position, actions = twin.start, jax.random.randint(jax.random.PRNGKey(0), (POOL, STEPS, slots), 0, 3)
    blocks = list(actions)

    def theirs() -> int:
        nonlocal position
        for block in blocks:
            position, seen = twin.play(twin.cells, twin.start, position, block)
        jax.block_until_ready(seen)
        return POOL * STEPS * slots

    eager, chunk = Engine("maze", slots, "cpu"), Engine("maze", slots, "cpu", STEPS)
    engine, chunked, twins = "engine", f"chunk of {STEPS}", f"JAX scan of {STEPS}"
    sides: dict[str, Side] = {engine: lambda: eager.play(STEPS), chunked: lambda: chunk.play(2), twins: theirs}
    pairs = {(engine, twins): ">= 0.7", (chunked, twins): None}  # a chunk shows two observations a step
    return rows_of(f"maze, {slots:,} slots", "steps", turns(sides), pairs)


def maml_twin(agent: Any) -> Any:
    """The twin of a MAML agent, which measures its policy as ours does."""
    from benchmarks import twins_maml

    settings, box = agent.config, agent.policy._box  # noqa: SLF001
    names = (name for name in twins_maml.Sizes._fields if name in type(settings).model_fields)
    half_range = float(box.half_range[0])
    return twins_maml.Twin(twins_maml.Sizes(half_range=half_range, **{name: getattr(settings, name) for name in names}))


def rounds_of(trial: Any) -> list[Any]:
    """The rounds of a trial as the twin reads them."""
    from benchmarks import twins_maml

    found: list[Any] = []
    for rollout in trial.rounds:
        parts = (rollout.observation, rollout.action, rollout.reward, rollout.valid.to(torch.float32))
        shape = (len(trial.specs), -1)
        found.append(twins_maml.Round(*(part.unflatten(1, shape).transpose(0, 1).numpy().copy() for part in parts)))
    return found


def policy_sizes(agent: Any) -> list[int]:
    """Of the layers of a MAML agent's policy."""
    return [agent.encoder.observation_size, *agent.config.hidden, agent.encoder.action_size]


def maml(tasks: int) -> list[Row]:
    """A trust-region step of `maml-navigation` from the same episodes."""
    import jax

    from benchmarks import twins_maml

    config = load_experiment("maml-navigation", [f"training.tasks={tasks}"]).config
    parts = build_parts(config)
    agent: Any = parts.player
    plan, start = agent.plan(config.training.episodes), agent.parameters
    specs = parts.source.ask(tasks)
    trial = collect(agent, parts.family.batch(tasks * plan.slots), specs, plan=plan)
    twin, played = maml_twin(agent), jax.device_put(rounds_of(trial))
    weights = twins_maml.handed_over(start.numpy(), policy_sizes(agent))

    def ours() -> int:
        agent.parameters = start
        agent.learn(trial)
        return 1

    def theirs() -> int:
        jax.block_until_ready(twin.learn(weights, *played))
        return 1

    what = f"maml-navigation, {tasks} tasks x {agent.config.trajectories} episodes"
    return rows_of(what, "meta-steps", turns({OURS: ours, TWIN: theirs}), {(OURS, TWIN): ">= 0.8"})


def gradient(tasks: int, samples: int = 20) -> list[Row]:
    """The meta-gradient of `benchmarks.inner_loop`: by agents, by the other ways in torch, by the twin."""
    import jax

    from benchmarks import twins_maml

    generator = torch.Generator().manual_seed(0)
    start = inner_loop.NETWORK.initial(generator).requires_grad_()
    x, y = (torch.randn(tasks, samples, 2, generator=generator) for _ in range(2))
    weights = twins_maml.handed_over(start.detach().numpy(), inner_loop.LAYERS)
    twin, data = twins_maml.meta_gradient(inner_loop.RATE), jax.device_put((x.numpy(), y.numpy()))

    def theirs() -> int:
        jax.block_until_ready(twin(weights, *data))
        return 1

    def side(strategy: Callable[..., Any]) -> Side:
        def meta_gradient() -> int:
            strategy(start, x, y)
            return 1

        return meta_gradient

    rates = turns({**{name: side(way) for name, way in inner_loop.STRATEGIES.items()}, TWIN: theirs})
    others = [name for name in inner_loop.STRATEGIES if name != "agents"]
    best = max(others, key=lambda name: statistics.median(rates[name][:, 0]))
    pairs = {("agents", TWIN): ">= 0.8", ("agents", best): ">= 1"}
    return rows_of(f"{tasks} tasks x {samples} samples", "meta-gradients", rates, pairs)


PARTS: Mapping[str, Callable[[], list[Row]]] = {
    **{name: lambda name=name: training(name) for name in TRAININGS},
    "maze": maze,
    "maml-20": lambda: maml(20),
    "maml-40": lambda: maml(40),
    "gradient-20": lambda: gradient(20),
    "gradient-40": lambda: gradient(40),
    "learned-10": lambda: learned("bandit-10", ">= 6.55"),
    "learned-100": lambda: learned("bandit-100", ">= 65", 200),
}


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing and record. Raises `UserError` where JAX is not installed."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"these alone, not recorded: {', '.join(PARTS)}")
    only = parser.parse_args(arguments).parts
    if strange := [part for part in only if part not in PARTS]:
        parser.error(f"{strange[0]} is no part; there are {', '.join(PARTS)}")
    alone()
    resume = Resume(NAME, {"turns": TURNS, "seconds": SECONDS})
    found: list[Row] = []
    for part in only or PARTS:
        rows = PARTS[part]() if only else resume.part(part, PARTS[part])
        found += rows
        for one in rows:
            ends = "" if one["low"] is None else f"   ({one['low']:,.4g} to {one['high']:,.4g})"
            print(f"{one['what']:80} {one['value']:12,.4g}{ends}", flush=True)
    if only:
        return
    import jax

    record(NAME, found, [0], "; ".join(filter(None, (f"jax {jax.__version__}", resume.notes))))
    resume.done()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
