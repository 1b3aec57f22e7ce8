"""Runs from Python: train one as `taskgen train` does, judge it, load its agent, let it act.

from agents.api import load, train

run = train("rl2-bandit", "training.iterations=50", run="runs/bandit")
agent = load(run)
trial = agent.trial(episodes=5)
action = trial.act(observation)                                   # then, of what came of it:
trial.observe(observation, reward, terminated, truncated)
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.evaluation.watch import Stopped
from agents.reference.guest import Policy
from agents.reports.comparison import Comparison
from agents.reports.comparison import compare as compare_runs
from agents.reports.report import write_report
from agents.training.budget import overridden
from agents.training.experiment import Experiment, load_experiment
from agents.training.judge import evaluate_run
from agents.training.loop import Watcher
from agents.training.loop import train as train_run
from agents.training.progress import Progress
from agents.training.run import RunDirectory
from agents.training.start import started
from agents.training.trained import load_trained
from registry import catalogue
from registry.config import parse
from registry.errors import UserError
from registry.plan import resolve
from taskgen.family import TaskFamily, same_structure
from taskgen.interaction.agent import Agent, Problem
from taskgen.interaction.playing import TrialPlayer
from taskgen.spec import TaskSpec


@dataclass(frozen=True)
class LoadedAgent:
    """The agent of a run's newest checkpoint; its parameters stay as they are, however it is played."""

    agent: Agent
    """As it was trained: `taskgen.interaction.collect` plays it on many tasks at once."""
    problem: Problem
    """What it was built for: spaces, horizon, episodes of a trial."""
    family: TaskFamily[Any]
    """Of the tasks that it was trained on."""
    experiment: Experiment
    iteration: int
    """Iterations of training."""
    steps: int
    """Environment steps of training."""

    def trial(self, episodes: int | None = None, *, task: TaskSpec | None = None) -> TrialPlayer:
        """A trial that begins: all that the agent adapts lives in it. `episodes`: as many as in training, if left out.

        `task` is what an oracle is told; other agents find out themselves. Raises `UserError` for an oracle without.
        """
        descriptor = None
        if task is not None:
            same_structure([task], self.family)
            batch = self.family.batch(1, self.problem.device)
            batch.set_tasks([task])
            descriptor = batch.descriptor()[0]
        return TrialPlayer(
            self.agent,
            self.problem,
            action_space=self.family.action_space,
            episodes=episodes,
            descriptor=descriptor,
        )


def load(run: str | Path, *, device: str = "cpu") -> LoadedAgent:
    """The agent of the run directory `run`.

    Raises `UserError` for a directory without a run, a run without a checkpoint, and one whose runner judges its many
    agents itself; `CheckpointError` for damage.
    """
    if not isinstance(run, str | Path):
        raise UserError(f"load({run!r}): expected the path of a run directory")
    trained = load_trained(RunDirectory(Path(run)), device)
    parts = trained.parts
    return LoadedAgent(parts.player, parts.problem, parts.family, trained.experiment, trained.iteration, trained.steps)


def train(
    experiment: str | Path | Mapping[str, Any],
    *overrides: str,
    run: str | Path | None = None,
    resume: bool = False,
    judge: bool = True,
    watcher: Watcher | None = None,
) -> Path:
    """Train as `taskgen train` does, and return the run directory, which then holds everything.

    `experiment` is the name of a shipped one, a TOML file, or the tables of such a file as a mapping; `overrides` are
    "key=value". With `judge` the agent is evaluated beside its reference players at the end and report.html is written.
    `watcher` is told of the progress and may stop the run, after which `resume=True` goes on; without one, lines are
    printed now and then, and in the main thread an interrupt stops after the iteration. Raises `UserError` for what is
    wrong with the experiment, before anything is written.
    """
    if wrong := [override for override in overrides if not isinstance(override, str)]:
        raise UserError(f"{wrong[0]!r}: settings are texts such as 'training.iterations=20'")
    if isinstance(experiment, Mapping):
        data = overridden(experiment, overrides)
        plan = resolve(parse(Experiment, data, "experiment"), catalogue(), "experiment")
    else:
        plan = load_experiment(str(experiment), overrides)
    directory = RunDirectory(Path(run or Path("runs") / f"{plan.config.name}-{plan.config.seed}"))
    with _watched(watcher) as watching:
        begins = resume and not directory.config.exists()
        plan, parts = started(plan, directory, resume=resume, reported=judge)
        if begins:
            watching.say(f"there was no run in {directory.path} to go on with: one begins")
        finished = train_run(plan, directory, watching, parts)
        if not (finished and judge):
            return directory.path
        if parts.agent is not None:
            with contextlib.suppress(Stopped):  # `taskgen evaluate` makes up for it
                onlooker = watching if isinstance(watching, Progress) else None
                evaluate_run(directory, onlooker=onlooker, drawn=parts.held_out)
        write_report([directory.path], directory.path / "report.html")
    return directory.path


def evaluate(
    run: str | Path,
    *,
    players: Mapping[str, Policy] | None = None,
    tasks: Sequence[TaskSpec] | None = None,
    episodes: int | None = None,
) -> dict[str, Any]:
    """What `taskgen evaluate` finds, as JSON values; `players` by name are policies that are not ours and play along.

    Such a policy is a callable or has Stable-Baselines3's `predict`: see `agents.reference.guest`. The run keeps an
    evaluation on its own tasks that has no such players. Raises as `agents.training.judge.evaluate_run`.
    """
    return evaluate_run(RunDirectory(Path(run)), tasks=tasks, episodes=episodes, guests=players)


def compare(
    *runs: str | Path,
    players: Mapping[str, Policy] | None = None,
    tasks: Mapping[str, Sequence[TaskSpec]] | None = None,
    episodes: int | None = None,
) -> Comparison:
    """What `taskgen compare` finds, with such `players` besides: see `evaluate`; `tasks` are sets by name."""
    return compare_runs([Path(run) for run in runs], tasks=tasks, episodes=episodes, guests=players)


class Silent:
    """A `Watcher` that shows nothing and lets the run go on."""

    def iteration(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """See `Watcher.iteration`."""

    def say(self, text: str) -> None:
        """See `Watcher.say`."""

    def stop_requested(self) -> bool:
        """See `Watcher.stop_requested`."""
        return False


@contextlib.contextmanager
def _watched(watcher: Watcher | None) -> Iterator[Watcher]:
    """`watcher`, or lines where there is none; signals are for the main thread alone."""
    if watcher is not None or threading.current_thread() is not threading.main_thread():
        yield watcher or Silent()
        return
    with Progress() as progress:
        yield progress
