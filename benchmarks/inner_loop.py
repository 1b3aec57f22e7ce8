"""One inner step and its second derivatives by a loop, by vmap and by batched products, by tasks x samples, one thread.

    python -m benchmarks.inner_loop                under two minutes; nothing else should run beside it

The same networks (2 x 100 tanh, 2 in, 2 out), data and squared loss in all three; what is timed is the gradient, with
respect to the shared start, of the loss after one inner step.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vmap

from agents.common import fast_policy
from agents.common.fast_policy import FastMLP
from agents.common.inner_loop import gradient_step
from benchmarks.harness import Row, record, row

SIZES = ((20, 20), (40, 20), (20, 200), (40, 200), (20, 2000))
LAYERS = (2, 100, 100, 2)
NETWORK = FastMLP(LAYERS, "tanh")
RATE, SECONDS, TURN = 0.1, 4.0, 0.15


def _loss(parameters: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[B] for parameters [B, P]."""
    return (NETWORK(parameters, x) - y).square().mean((1, 2))


def _batched(start: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """What agents do."""
    fast = gradient_step(lambda p: _loss(p, x, y), start.expand(len(x), -1), RATE, differentiable=True)
    return torch.autograd.grad(_loss(fast, x, y).mean(), start)[0]


def _loop(start: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A network at a time."""
    return torch.stack([_batched(start, some[None], theirs[None]) for some, theirs in zip(x, y, strict=True)]).mean(0)


def _vmap(start: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`torch.func` maps a program for one network over tasks."""

    def one(parameters: Tensor, some: Tensor, theirs: Tensor) -> Tensor:
        return _loss(parameters[None], some[None], theirs[None])[0]

    def outer(parameters: Tensor, some: Tensor, theirs: Tensor) -> Tensor:
        return one(parameters - RATE * grad(one)(parameters, some, theirs), some, theirs)

    return vmap(grad(outer), in_dims=(None, 0, 0))(start, x, y).mean(0)


def _whole(start: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Batched products over all tasks at once."""
    rows, fast_policy.ROWS = fast_policy.ROWS, 10**9
    try:
        return _batched(start, x, y)
    finally:
        fast_policy.ROWS = rows


STRATEGIES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "agents": _batched,
    "all tasks at once": _whole,
    "vmap": _vmap,
    "loop": _loop,
}


def _measure(tasks: int, samples: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    start = NETWORK.initial(generator).requires_grad_()
    x, y = (torch.randn(tasks, samples, 2, generator=generator) for _ in range(2))
    found = {name: strategy(start, x, y) for name, strategy in STRATEGIES.items()}  # also warms up
    apart = max((found["loop"] - other).abs().max().item() for other in found.values())
    times: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    until = time.perf_counter() + SECONDS * len(STRATEGIES)
    while time.perf_counter() < until:
        for name, strategy in STRATEGIES.items():  # in turn, so that what else the machine does meets all alike
            strategy(start, x, y)  # the one before it left the caches full of its own
            begun, calls = time.perf_counter(), 0
            while calls == 0 or time.perf_counter() - begun < TURN:
                strategy(start, x, y)
                calls += 1
            times[name].append((time.perf_counter() - begun) / calls)
    rate = {name: 1 / statistics.median(seconds) for name, seconds in times.items()}
    where = f"{tasks} tasks x {samples} samples"
    rows = [row(f"{where}: meta-gradients per second, {name}", value) for name, value in rate.items()]
    best = max(rate["vmap"], rate["loop"], rate["all tasks at once"])
    rows.append(row(f"{where}: agents / best other", rate["agents"] / best, target=">= 0.95", source="never slower"))
    goal = ">= 3" if (tasks, samples) == (40, 20) else None
    rows.append(
        row(
            f"{where}: agents / loop",
            rate["agents"] / rate["loop"],
            target=goal,
            source="design of the inner loop" * bool(goal),
        )
    )
    rows.append(row(f"{where}: largest difference of results", apart, target="<= 1e-5", source="same results"))
    return rows


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    record("inner_loop", [found for sizes in SIZES for found in _measure(*sizes)], seeds=[0])


if __name__ == "__main__":
    main()
