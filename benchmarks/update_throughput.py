"""Updates of RL^2, PEARL and SAC beside bare matrix products of the same shapes, one torch thread (and CUDA if there).

    python -m benchmarks.update_throughput [AGENT ...]      about two minutes; nothing else should run beside it

A share of 1 would be an update that takes no longer than the products of matrices that it cannot do without, made one
after another into storage at hand: forward passes, gradients of weights, gradients of what layers read. Strategies of
MAML's inner loop are compared by `benchmarks.inner_loop`.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.harness import Row, record, row
from benchmarks.products import Shape, bare, inputs, layers, operations, trained
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.agent import Agent, Problem, Trial
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect

SECONDS, LEAST = 12.0, 7
"""Measured for so long, and at least so often."""


class Case(NamedTuple):
    """What is measured of an agent."""

    family: str
    structure: dict[str, Any]
    agent: dict[str, Any]
    tasks: int
    episodes: int
    updates: Callable[[Any, Trial], int]
    """Of one call of `learn`."""
    products: Callable[[Any, Problem, Trial], list[Shape]]
    """Of all these updates together."""
    what: str
    target: str


def main(arguments: list[str] | None = None) -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.update_throughput", description=__doc__)
    parser.add_argument("agents", nargs="*", metavar="AGENT", help=f"only print these: {', '.join(CASES)}")
    only = parser.parse_args(arguments).agents
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows = [found for name in only or CASES for device in devices for found in measure(CASES[name], device)]
    if only:
        print("\n".join(f"{found['what']}: {found['value']:.4g} [{found['low']}, {found['high']}]" for found in rows))
        return
    notes = "" if torch.cuda.is_available() else "No GPU was at hand, so there are no figures of one."
    record("update_throughput", rows, seeds=[0], notes=notes)


def measure(case: Case, device: str) -> Iterator[Row]:
    """The rows of a case: updates a second, share of the bare speed, the bare speed."""
    agent, problem, trial = prepared(case, torch.device(device))
    updates, shapes = case.updates(agent, trial), case.products(agent, problem, trial)
    multiply = bare(shapes, problem.device)
    agent.learn(trial), multiply()
    both: list[tuple[float, float]] = []
    until = time.perf_counter() + SECONDS
    while len(both) < LEAST or time.perf_counter() < until:  # in turn: what else the machine does meets both alike
        both.append((_seconds(lambda: agent.learn(trial), device), _seconds(multiply, device)))
    shares = np.quantile([alone / whole for whole, alone in both], [0.5, 0.1, 0.9]).tolist()
    rates = np.quantile([updates / whole for whole, _ in both], [0.5, 0.1, 0.9]).tolist()
    speed = operations(shapes) / float(np.median([alone for _, alone in both])) / 1e9
    what = f"{case.agent['name']}, {device}, {case.what}"
    yield row(f"{what}: updates per second (median, 10-90%)", *rates)
    yield row(
        f"{what}: share of the speed of bare products (median, 10-90%)",
        *shares,
        target=case.target,
        source="design goal",
    )
    yield row(f"{what}: bare products, GFLOP/s (median)", speed)


def prepared(case: Case, device: torch.device) -> tuple[Agent, Problem, Trial]:
    """The agent, its problem and a trial to learn from."""
    family = build_family(case.family, case.structure)
    problem = problem_of(family, episodes=case.episodes, seed=0, device=device)
    agent = build_agent(Part.model_validate(case.agent), problem)
    plan = agent.plan(case.episodes)
    specs = [family.spec(seed=seed) for seed in range(case.tasks)]
    return agent, problem, collect(agent, family.batch(case.tasks * plan.slots, device), specs, plan=plan)


def _rl2_products(agent: Any, problem: Problem, trial: Trial) -> list[Shape]:
    """A gated recurrent unit and two heads, forwards and backwards, of every minibatch of every epoch."""
    config, (steps, trials) = agent.config, trial.rollout.reward.shape
    hidden, rows = config.network.settings["hidden_size"], trials // config.minibatches
    reads = math.prod(problem.observation_space.shape or ()) + int(problem.action_space.n) + 3
    recurrent = layers(rows, (hidden, 3 * hidden)) * steps
    network = [*trained(layers(rows * steps, (reads, 3 * hidden))), *recurrent, *inputs(recurrent)]
    network += [(hidden, rows * steps, 3 * hidden)]  # the gradient of the recurrent weights, of all steps at once
    heads = [shape for width in (int(problem.action_space.n), 1) for shape in layers(rows * steps, (hidden, width))]
    return (network + [shape for head in heads for shape in (*trained([head]), *inputs([head]))]) * (
        config.epochs * config.minibatches
    )


def _sac_products(agent: Any, problem: Problem, trial: Trial) -> list[Shape]:
    """As many updates as there are steps."""
    size = math.prod(problem.observation_space.shape or ()) + problem.descriptor_size
    return _actor_critic(agent.config.batch, size, agent.config.hidden, problem) * _steps(trial)


def _actor_critic(
    rows: int, size: int, hidden: tuple[int, ...], problem: Problem, *, latent: bool = False
) -> list[Shape]:
    """An update of actor and twin critics with inputs of `size`; with `latent` gradients reach the critics' inputs."""
    (actions,) = problem.action_space.shape or ()
    actor, critic = layers(rows, (size, *hidden, 2 * actions)), layers(rows, (size + actions, *hidden, 1))
    targets = actor + 2 * critic
    critics = 2 * (trained(critic) + (inputs(critic[:1]) if latent else []))
    return targets + critics + trained(actor) + 2 * (critic + inputs(critic))


def _pearl_products(agent: Any, problem: Problem, trial: Trial) -> list[Shape]:
    """Encoder, actor and critics, as often as `learn` updates them."""
    config, observation = agent.config, math.prod(problem.observation_space.shape or ())
    (actions,) = problem.action_space.shape or ()
    rows = config.meta_batch * config.exploration * problem.horizon
    encoder = trained(layers(rows, (observation + actions + 1, *config.encoder_hidden, 2 * config.latent)))
    size = observation + config.latent
    rest = _actor_critic(config.meta_batch * config.batch, size, config.hidden, problem, latent=True)
    return (encoder + rest) * _pearl_updates(agent, trial)


def _steps(trial: Trial) -> int:
    return int(trial.rollout.valid.sum())


def _pearl_updates(agent: Any, trial: Trial) -> int:
    return round(_steps(trial) * agent.config.updates_per_step)


def _seconds(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _rl2_updates(agent: Any, _: Trial) -> int:
    return agent.config.epochs * agent.config.minibatches


CASES = {
    "rl2": Case(
        *("bandit", {"arms": 5, "pulls": 1}, {"name": "rl2", "network": {"name": "gru", "hidden_size": 64}}, 500, 10),
        *(_rl2_updates, _rl2_products, "bandit, 125 trials of 10 steps, 64 units", ">= 0.55"),
    ),
    "rl2-wide": Case(
        *("bandit", {"arms": 5, "pulls": 1}, {"name": "rl2", "network": {"name": "gru", "hidden_size": 256}}, 500, 100),
        *(_rl2_updates, _rl2_products, "bandit, 125 trials of 100 steps, 256 units", ">= 0.55"),
    ),
    "pearl": Case(
        *("half-cheetah", {"horizon": 200}, {"name": "pearl", "warm_up": 0, "updates_per_step": 0.01}, 1, 1),
        *(_pearl_updates, _pearl_products, "half-cheetah, 16 tasks x 256, 3 x 300 units", ">= 0.8"),
    ),
    "sac": Case(
        *("half-cheetah", {"horizon": 200}, {"name": "sac", "warm_up": 0}, 1, 1),
        *(lambda _, trial: _steps(trial), _sac_products, "half-cheetah, batch 256, 2 x 256 units", ">= 0.8"),
    ),
}


if __name__ == "__main__":
    main()
