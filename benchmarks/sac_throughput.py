"""SAC's update beside a bare matrix multiply of the same shapes, one torch thread (and CUDA where there is one).

    python -m benchmarks.sac_throughput        under a minute; nothing else should run beside it

The bare figure multiplies, one after another and into storage at hand, exactly the matrices whose product an update
needs: two forward passes of the actor, the twin critics and their targets, and the backward passes through them.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator

import torch

from agents.experiment import problem_of
from agents.sac import SAC, SACConfig
from benchmarks.harness import Row, record, row
from taskgen.build import build_family
from taskgen.interaction.collect import collect

FAMILY = "half-cheetah"
REPEATS = 5
Shape = tuple[int, int, int]
"""Rows, inner length, columns of a product."""


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    record("sac_throughput", [found for device in devices for found in _rows(torch.device(device))], seeds=[0])


def _rows(device: torch.device) -> Iterator[Row]:
    learn, updates, shapes = _prepared(device)
    bare = _bare(shapes, updates, device)
    learn(), bare()
    both = [(_seconds(learn, device) / updates, _seconds(bare, device) / updates) for _ in range(REPEATS)]
    shares = sorted(alone / whole for whole, alone in both)
    whole = sorted(1 / seconds for seconds, _ in both)
    rate = sum(2 * math.prod(shape) for shape in shapes) / min(alone for _, alone in both)
    what = f"{FAMILY}, {device.type}, batch 256, 2 x 256 units"
    yield row(f"{what}: updates per second (median, range)", whole[REPEATS // 2], whole[0], whole[-1])
    yield row(
        f"{what}: share of the speed of a bare sgemm (median, range)",
        *(shares[REPEATS // 2], shares[0], shares[-1]),
        target=">= 0.6",
        source="design goal",
    )
    yield row(f"{what}: bare sgemm, GFLOP/s", rate / 1e9)


def _prepared(device: torch.device) -> tuple[Callable[[], object], int, list[Shape]]:
    """`learn` on a trial of one episode, the updates it makes, the products of an update."""
    family, config = build_family(FAMILY, {"horizon": 200}), SACConfig(warm_up=0)
    problem = problem_of(family, episodes=1, seed=0, device=device)
    agent = SAC(config, problem)
    trial = collect(agent, family.batch(1, device), [family.spec()], plan=agent.plan(1))
    (actions,) = problem.action_space.shape or ()
    inputs = math.prod(problem.observation_space.shape or ()) + problem.descriptor_size
    updates = int(trial.rollout.valid.sum())
    return lambda: agent.learn(trial), updates, _products(config, inputs, actions)


def _products(config: SACConfig, inputs: int, actions: int) -> list[Shape]:
    """The matrix products of an update."""
    actor = _layers(config.batch, (inputs, *config.hidden, 2 * actions))
    critic = _layers(config.batch, (inputs + actions, *config.hidden, 1))
    targets = actor + 2 * critic
    critics = 2 * (critic + _weights(critic) + _inputs(critic[1:]))
    policy = actor + 2 * (critic + _inputs(critic)) + _weights(actor) + _inputs(actor[1:])
    return targets + critics + policy


def _layers(batch: int, sizes: tuple[int, ...]) -> list[Shape]:
    return [(batch, narrow, wide) for narrow, wide in itertools.pairwise(sizes)]


def _weights(layers: list[Shape]) -> list[Shape]:
    """Gradients of the weights."""
    return [(narrow, batch, wide) for batch, narrow, wide in layers]


def _inputs(layers: list[Shape]) -> list[Shape]:
    """Gradients of the inputs."""
    return [(batch, wide, narrow) for batch, narrow, wide in layers]


def _bare(shapes: list[Shape], updates: int, device: torch.device) -> Callable[[], None]:
    """Multiply matrices of all `shapes`, as often as there are updates."""
    generator = torch.Generator(device).manual_seed(0)
    operands = [
        (
            torch.randn(rows, inner, generator=generator, device=device),
            torch.randn(inner, columns, generator=generator, device=device),
            torch.empty(rows, columns, device=device),
        )
        for rows, inner, columns in shapes
    ]

    def run() -> None:
        for _ in range(updates):
            for left, right, product in operands:
                torch.mm(left, right, out=product)

    return run


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
