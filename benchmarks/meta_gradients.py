"""Meta-gradients: discounts whose best values are known, and a discount and trace that nobody had to choose.

    python -m benchmarks.meta_gradients                       all runs that are not there yet, then the record
    python -m benchmarks.meta_gradients noise 0               one of them alone: a kind and a seed
    python -m benchmarks.meta_gradients "cartpole-100 meta" 0 likewise: 8 to 30 seconds of one thread

Chains (3 seeds): on signal and noise every discount before a signal is to be above every one before noise; on the
discounting chain the likeliest first action is to lead to the best chain, from a discount of 0.95, and with the inner
critic as judge to stay with the nearest. Poles (3 seeds) at three horizons: the agent that learns discount and trace
against the same actor-critic with each of 9 fixed pairs, after as many updates from as many episodes. The best pair of
a horizon is chosen on 3 seeds of its own; the median is of the 9 on the seeds that count. Runs go to
runs/benchmarks/meta_gradients-KIND-SEED and are resumed where they stopped.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from benchmarks.harness import Row, ahead_row, record, seeds_row
from benchmarks.learning import inline, run_seed, trials

NAME, SEEDS, CHOOSING = "meta_gradients", (0, 1, 2), (3, 4, 5)
HORIZONS, DISCOUNTS, TRACES = (100, 200, 400), (0.8, 0.95, 0.99), (0.5, 0.9, 0.99)
MAPPING = 3
CHAINS: Mapping[str, tuple[str, list[str]]] = {
    "noise": ("meta-gradient-noise", []),
    "chain own": ("meta-gradient-chain", []),
    "chain shared": ("meta-gradient-chain", ["agent.outer_critic=shared"]),
}
"""Experiment and overrides by kind."""
META = "meta"


def pair(discount: float, trace: float) -> str:
    """What a fixed pair is called."""
    return f"{discount:g} {trace:g}"


PAIRS = {pair(*values): values for values in product(DISCOUNTS, TRACES)}


def pole(horizon: int, which: str) -> list[str]:
    """Overrides of `meta-gradient-chain` that make it poles to balance, by a fixed pair or one that is learned."""
    agent: dict[str, Any] = {"name": "meta-gradient", "hidden": [32], "entropy": 0.0, "inner_rate": 1.0}
    if which != META:
        agent |= dict(zip(("discount", "trace"), PAIRS[which], strict=True)) | {"learned": "none"}
    training = {"iterations": 80, "tasks": 32, "episodes": 1, "evaluate_every": 0, "checkpoint_every": 40}
    evaluation = {"tasks": 50, "final_tasks": 500, "players": ["random", "cartpole-oracle"], "tail": 0.0}
    return [
        f"family={inline({'name': 'cartpole', 'horizon': horizon})}",
        'source={name = "domain-randomization"}',
        f"agent={inline(agent)}",
        f"training={inline(training)}",
        f"evaluation={inline(evaluation)}",
    ]


def run(kind: str, seed: int) -> RunDirectory:
    """The finished run of a kind and seed: trained, resumed or found."""
    if kind in CHAINS:
        experiment, changes = CHAINS[kind]
    else:
        place, _, which = kind.partition(" ")
        experiment, changes = "meta-gradient-chain", pole(int(place.removeprefix("cartpole-")), which)
    return run_seed(f"{NAME}-{kind.replace(' ', '-')}", experiment, seed, changes)


def discounts(run: RunDirectory) -> NDArray[np.float64]:
    """[9] what was learned on entering each state of signal and noise but the first."""
    agent: Any = load_trained(run).parts.player
    return agent.returns_at(agent.eta.detach(), torch.eye(10))[0][1:].double().numpy()


def mode(run: RunDirectory) -> float:
    """What the chain pays that the likeliest first action leads to."""
    trained = load_trained(run)
    family: Any = trained.parts.family
    agent: Any = trained.parts.player
    spec = family.spec({"mapping": MAPPING})
    batch = family.batch(1)
    batch.set_tasks([spec])
    policy = agent.policy(agent.parameters[:, : agent.policy.size], batch.reset()[None])
    return float(family.returns(spec.context)[int(policy.log_probabilities[0, 0].argmax())])


def chains() -> Iterator[Row]:
    """Whether discounts are what they should be."""
    source = "Xu et al. 2018, section 2"
    learned = [
        discounts(run("noise", seed)) for seed in SEEDS
    ]  # entries 0, 2, ... are of the states that noise follows
    gaps = [float(values[1::2].min() - values[0::2].max()) for values in learned]
    yield seeds_row("signal and noise: least discount before signal less greatest before noise", gaps, "> 0", source)
    for kind, target in (("own", ">= 1.09"), ("shared", "<= 1.01")):
        returns = [mode(run(f"chain {kind}", seed)) for seed in SEEDS]
        title = f"discounting chain, outer critic {kind}: return of the likeliest first action, mapping {MAPPING}"
        yield seeds_row(title, returns, target, "Osband et al. 2020: 1.1 at best, 1.0 next")


def earned(horizon: int, which: str, seeds: Sequence[int]) -> list[NDArray[np.float64]]:
    """By seed: returns [N] on held-out poles."""
    return [trials(run(f"cartpole-{horizon} {which}", seed), "held-out", "meta-gradient") for seed in seeds]


def poles() -> Iterator[Row]:
    """A pair that is learned, against those that are chosen."""
    for horizon in HORIZONS:
        title = f"poles for {horizon} steps"
        chosen = max(PAIRS, key=lambda which: float(np.mean(earned(horizon, which, CHOOSING))))
        fixed = {which: earned(horizon, which, SEEDS) for which in PAIRS}
        ours = earned(horizon, META, SEEDS)
        yield seeds_row(f"{title}: discount and trace learned", ours)
        for which, returns in fixed.items():
            yield seeds_row(
                f"{title}: fixed at {which}{', the best of other seeds' if which == chosen else ''}", returns
            )
        yield ahead_row(f"{title}: learned less the best of other seeds", ours, fixed[chosen], claim=False)
        medians = [np.median([np.mean(returns[place]) for returns in fixed.values()]) for place in range(len(SEEDS))]
        means = [np.mean(returns) for returns in ours]
        yield ahead_row(f"{title}: learned less the median of nine, per seed", means, medians, "set beforehand")


def main(wanted: Sequence[str] = ()) -> None:
    """Train, evaluate, record; with a kind and a seed in `wanted`, train that run alone."""
    torch.set_num_threads(1)
    if wanted:
        run(wanted[0], int(wanted[1]))
        return
    record(NAME, [*chains(), *poles()], seeds=SEEDS)


if __name__ == "__main__":
    main(sys.argv[1:])
