"""Pictures of docs/what-is-meta-learned.md: a starting point, a hidden state, a posterior, eta and a loss, one each.

    python -m benchmarks.what_is_meta_learned              all five: five minutes of one thread
    python -m benchmarks.what_is_meta_learned eta loss     some of them

Each agent is trained for a minute or two, on goals on a half circle (eta: on the chain of signal and noise), with one
seed: they show what is learned, not how well. Runs go to runs/benchmarks/meta-learned-NAME-0 and are resumed where they
stopped; pictures to docs/meta-learned-NAME.svg.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from agents.evaluation.play import play
from agents.training.experiment import Parts
from agents.training.run import RunDirectory
from agents.training.trained import load_trained
from benchmarks.harness import ROOT
from benchmarks.learning import inline, train_seed
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.agent import judged
from taskgen.interaction.build import build_agent
from taskgen.interaction.collect import collect

SEED = 0
ANGLES = tuple(math.pi * share for share in (0.05, 0.275, 0.5, 0.725, 0.95))
"""Of the goals that are drawn."""
_GOALS = (
    'family={name = "point-navigation", goals = "half-circle"}',
    "evaluation.tasks=20",
    "evaluation.final_tasks=20",
)
_PEARL = {
    "name": "pearl",
    "latent": 2,
    "hidden": [64, 64],
    "encoder_hidden": [64, 64],
    "discount": 0.9,
    "learning_rate": 0.001,
    "temperature": 0.02,
    "kl_weight": 0.05,
    "context": "all",
    "batch": 32,
    "tasks": 400,
    "capacity": 2000,
    "warm_up": 4000,
    "updates_per_step": 0.05,
}
_FEW = "training.evaluate_every=0"
TRAINED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "start": (
        "maml-navigation",
        (*_GOALS, "training={iterations = 60, tasks = 20, episodes = 40, evaluate_every = 0, checkpoint_every = 20}"),
    ),
    "state": (
        "rl2-navigation",
        (*_GOALS, "training={iterations = 150, tasks = 100, episodes = 2, evaluate_every = 0, checkpoint_every = 50}"),
    ),
    "posterior": (
        "pearl-sparse-point",
        (
            *_GOALS,
            'source={name = "domain-randomization", task_seed = 0}',
            f"agent={inline(_PEARL)}",
            "training={iterations = 50, tasks = 20, episodes = 3, evaluate_every = 0, checkpoint_every = 25}",
        ),
    ),
    "eta": ("meta-gradient-noise", (_FEW, "evaluation.tasks=20")),
    "loss": ("epg-navigation", ("training.iterations=400", _FEW, "evaluation.final_tasks=20")),
}
"""Experiment and overrides by picture."""


def trained(name: str) -> tuple[RunDirectory, Parts]:
    """The run of a picture, trained to its end, and its parts."""
    experiment, changes = TRAINED[name]
    run = train_seed(f"meta-learned-{name}", experiment, SEED, changes)
    return run, load_trained(run).parts


def canvas(panels: int, width: float = 3.2) -> tuple[Figure, list[Any]]:
    """Square panels beside one another."""
    figure = Figure(figsize=(width * panels, 3.2), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, panels)))


def colour(angle: float) -> Any:
    """Of a goal."""
    return mpl.colormaps["turbo"](0.05 + 0.9 * angle / math.pi)


def paths(parts: Parts, rounds: Sequence[int], luck: int = 20) -> list[NDArray[np.float64]]:
    """[T+1, goals, 2] for each of `rounds`: the mean way from the origin, over episodes and luck; rounds from 0.

    A round of a recurrent agent is an episode, of which it plays one after another in a single slot.
    """
    agent, episodes = judged(parts.player), parts.problem.episodes
    plan = agent.plan(episodes)
    specs = [parts.family.spec({"angle": angle}, seed=turn) for angle in ANGLES for turn in range(luck)]
    trial = collect(agent, parts.family.batch(len(specs) * plan.slots), specs, plan=plan)
    horizon = parts.family.horizon
    found = trial.rollout.next_observation.unflatten(0, (-1, horizon))  # no episode ends early here
    ways = found.unflatten(2, (len(ANGLES), -1)).mean(3).double().numpy()  # [rounds, T, goals, 2]
    return [np.concatenate([np.zeros_like(ways[number][:1]), ways[number]]) for number in rounds]


def _draw_paths(panels: Sequence[Any], ways: Sequence[NDArray[np.float64]], titles: Sequence[str]) -> None:
    for axes, way, title in zip(panels, ways, titles, strict=True):
        for number, angle in enumerate(ANGLES):
            axes.plot(*way[:, number].T, color=colour(angle), linewidth=2)
            axes.plot(math.cos(angle), math.sin(angle), "o", color=colour(angle), markersize=8, markerfacecolor="none")
        axes.set(xlim=(-1.25, 1.25), ylim=(-0.5, 1.25), aspect="equal", title=title)


def start() -> Figure:
    """Where MAML's policy goes before it has seen the task, and after each step of gradient."""
    _, parts = trained("start")
    figure, panels = canvas(2)
    _draw_paths(panels, paths(parts, (0, 1)), ("the starting point", "one gradient step later"))
    return figure


def state() -> Figure:
    """Where RL^2 goes in its first and second episode."""
    _, parts = trained("state")
    figure, panels = canvas(2)
    _draw_paths(panels, paths(parts, (0, 1)), ("first episode", "second: the state remembers"))
    return figure


def posterior() -> Figure:
    """What PEARL believes of tasks with different goals, as ellipses of two standard deviations."""
    _, parts = trained("posterior")
    agent: Any = parts.player
    plan = agent.plan(3)
    specs = [parts.family.spec({"angle": angle}, seed=1) for angle in ANGLES]
    trial = collect(agent, parts.family.batch(len(specs)), specs, plan=plan)
    carry = agent.begin_trial(len(specs))
    beliefs = [carry.belief]
    for rollout in trial.rounds:
        carry = agent.adapt(carry, rollout)
        beliefs.append(carry.belief)
    figure, panels = canvas(3, 2.6)
    turn = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    means = [belief.mean.detach().double().numpy() for belief in beliefs]
    stds = [belief.std.detach().double().numpy() for belief in beliefs]
    reach = 1.05 * max(float((np.abs(mean) + 2 * std).max()) for mean, std in zip(means, stds, strict=True))
    for axes, seen in zip(panels, (0, 1, 3), strict=True):
        for number, angle in enumerate(ANGLES):
            ring = means[seen][number][:, None] + 2 * stds[seen][number][:, None] * circle
            axes.plot(*ring, color=colour(angle), linewidth=2)
        title = "before the first episode" if not seen else f"after {seen} episode{'s' if seen > 1 else ''}"
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title)
        axes.set(xlabel="latent 1", ylabel="latent 2")
    return figure


def eta() -> Figure:
    """The discount on entering each state of the chain, by whether the step from there pays a signal or noise."""
    _, parts = trained("eta")
    agent: Any = parts.player
    discount = agent.returns_at(agent.eta.detach(), torch.eye(10))[0].double().numpy()
    figure, (axes,) = canvas(1, 5.2)
    for first, label, shade in (
        (2, "the next step pays a signal", "#0072b2"),
        (1, "the next step pays noise", "#d55e00"),
    ):
        axes.bar(np.arange(first, 10, 2), discount[first::2], color=shade, label=label)
    axes.set(xlabel="state that is entered", ylabel="discount that was learned", ylim=(0, 1.3), xticks=range(1, 10))
    axes.legend(frameon=False, loc="upper right")
    return figure


def loss() -> Figure:
    """Return of an episode by updates, of new policies on goals never trained on."""
    run, parts = trained("loss")
    experiment = run.open().config
    family, episodes = build_family(experiment.family.name, experiment.family.settings), parts.problem.episodes
    specs = [family.spec({"angle": math.pi * (place + 0.5) / 200}, seed=place) for place in range(200)]
    beside = Part.model_validate({"name": "ppo-from-scratch", "hidden": [16], "discount": 0.9})
    players = {
        "evolved loss": parts.player,
        "PPO": build_agent(beside, parts.problem),
        "random loss": build_agent(experiment.agent, parts.problem),
    }
    figure, (axes,) = canvas(1, 5.2)
    rounds = parts.player.plan(episodes).rounds
    for (label, player), shade in zip(players.items(), ("#0072b2", "#d55e00", "#888888"), strict=True):
        returns = np.asarray(play(player, family, specs, episodes)).reshape(rounds, -1).mean(1)
        axes.plot(range(rounds), returns, "o-", color=shade, label=label, linewidth=2)
    axes.set(xlabel="updates since the policy began", ylabel="mean return of an episode", xticks=range(rounds))
    axes.legend(frameon=False)
    return figure


PICTURES: Mapping[str, Callable[[], Figure]] = {
    "start": start,
    "state": state,
    "posterior": posterior,
    "eta": eta,
    "loss": loss,
}


def main(wanted: Sequence[str] = ()) -> None:
    """Draw all pictures, or those in `wanted`."""
    torch.set_num_threads(1)
    for name in wanted or PICTURES:
        with mpl.rc_context(
            {"svg.hashsalt": "taskgen", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
        ):
            PICTURES[name]().savefig(ROOT / "docs" / f"meta-learned-{name}.svg", metadata={"Date": None})
        print(f"docs/meta-learned-{name}.svg", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
