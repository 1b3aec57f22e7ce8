"""The training loop: ask -> collect -> learn -> tell. Agent and source never see each other.

Longer than most files here: an iteration is one course from ask to tell, with runners or without.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from logging import getLogger
from typing import NoReturn, Protocol

import numpy as np

import registry
from agents.common import parallel
from agents.common.acceleration import compile_networks, mixed_precision
from agents.evaluation.play import play_distinct, succeeded, summarise
from agents.evaluation.watch import Stopped, Watch
from agents.training import checkpoint, configuration, quarantine
from agents.training.budget import expected, spent
from agents.training.deadline import bounded
from agents.training.experiment import Experiment, Parts, build_parts, refuse_too_short
from agents.training.held_out import SAME_TASKS
from agents.training.highlights import keep_highlights
from agents.training.lock import Lock
from agents.training.repeating import refuse_forgetful
from agents.training.run import RunDirectory
from agents.training.sharing import collect_shared, refuse_unshared
from agents.training.trained import begin
from agents.training.tree import not_finite
from registry.config import Part
from registry.errors import CheckpointError, PluginError, UserError, brief
from registry.plan import Plan
from taskgen.batch import TaskBatch
from taskgen.borders import border, broken, checked_metrics, name_of, remember, state_of, told
from taskgen.engines.faults import Faulting, FaultLog
from taskgen.interaction.agent import Anneals, Metrics, Trial
from taskgen.interaction.guard import learned_from, planned
from taskgen.interaction.score import score
from taskgen.record import Record
from taskgen.runner import Runner
from taskgen.source import Curriculum, Length, Paced
from taskgen.spec import TaskSpec
from taskgen.streams import stream
from taskgen.tracker import KnowsConfiguration, KnowsEvaluations, Rewinding, Tracker, refuse_untracked

KEPT_CHECKPOINTS = 2
MEASURED_KL = ("losses/kl", "losses/approx_kl")
"""Metrics that say by how many nats an update moved the policy."""
SAMPLED_TASKS = 512
"""Training tasks kept in the run's archive, to show their distribution."""
_remarks = getLogger(__name__)


class Watcher(Protocol):
    """Whoever shows progress, and may ask for the run to stop."""

    def iteration(self, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Iteration `done` of `total` is over."""
        ...

    def say(self, text: str) -> None:
        """Something worth a line."""
        ...

    def stop_requested(self) -> bool:
        """Whether to checkpoint and stop after this iteration."""
        ...


def train(plan: Plan[Experiment], run: RunDirectory, watcher: Watcher, parts: Parts | None = None) -> bool:
    """Train from the run's newest checkpoint, or from the start. Returns False if `watcher` stopped it before the end.

    `parts` are those of the plan, for whoever has built them already.

    Raises `UserError` where another process trains the run, or `plan` is another experiment; and when an update
    diverges: a metric or the agent's state is no longer finite, or the policy moved by more than `training.largest_kl`.
    The newest checkpoint is from before that.
    """
    plan = run.same(plan)
    with _locked(run) as held, bounded(plan.config.training.deadline, plan.config.family.name, watcher.say):
        try:
            return _train(plan, run, watcher, parts, held)
        except PluginError as error:
            newest = checkpoint.latest(run.checkpoints)
            if newest is None:
                raise
            kept = f"the checkpoint of iteration {int(newest.name)} is kept: mend the plugin and go on with `--resume`"
            raise PluginError(f"{error}. {kept}") from error


def _locked(run: RunDirectory) -> AbstractContextManager[Lock | None]:
    """The lock of `run`, which the first process holds for all."""
    found: list[Lock] = []
    parallel.by_first(lambda: found.append(run.locked()))
    return found[0] if found else nullcontext()


def _train(plan: Plan[Experiment], run: RunDirectory, watcher: Watcher, parts: Parts | None, held: Lock | None) -> bool:
    settings = plan.config.training
    refuse_unshared(plan.config)
    parts = parts or build_parts(plan.config)
    refuse_too_short(plan.config, parts)
    books = _Books(plan, run, parts, watcher, held)
    if parts.runner is not None:
        return _drive(parts.runner, books)
    agent, source = parts.player, parts.source
    curriculum = source if isinstance(source, Curriculum) else None
    if settings.compile:
        compile_networks(agent)
    trial_plan = planned(agent, settings.episodes)
    slots = settings.tasks // parallel.processes() * trial_plan.slots
    batch = parts.family.batch(slots, parts.problem.device)
    done = books.restore(batch)
    if books.cut():
        return False
    _say_constant(plan.config, parts, watcher)
    iteration = done
    while not books.over(iteration):
        iteration += 1
        clock = _Clock()
        specs, passed = quarantine.ask(source, settings.tasks, batch, parts.family, parts.held_out)
        length = source.length if isinstance(source, Paced) else Length()
        trial_plan = planned(agent, length.episodes or settings.episodes)
        batch = _with_slots(batch, settings.tasks // parallel.processes() * trial_plan.slots)
        clock.lap("ask")
        seeds = stream(plan.config.seed, "environment", iteration).integers(0, 2**53, settings.tasks).tolist()
        trial = collect_shared(agent, batch, specs, plan=trial_plan, seeds=seeds, horizon=length.horizon)
        clock.lap("collect")
        results = score(trial, agent, parts.family, curriculum.scores if curriculum else ()) if source.feedback else []
        clock.lap("score")
        learned = trial.of(np.flatnonzero(curriculum.learns_from(specs)).tolist()) if curriculum else trial
        with mixed_precision(settings.precision, parts.problem.device):
            metrics = learned_from(agent, learned) if learned.specs else {}
        clock.lap("learn")
        if source.feedback:
            told(source, results)
        clock.lap("tell")
        steps = trial.played()
        own = curriculum.metrics() if curriculum else {}
        own = {**own, "tasks/n_held_out_passed_over": float(passed)} if passed else own
        metrics = {**metrics, **trial_metrics(trial), **own, **clock.metrics(steps), **books.faults()}
        books.enter(iteration, specs, metrics)
        if books.stopped(iteration):
            return False
    books.close()
    return True


def _say_constant(experiment: Experiment, parts: Parts, watcher: Watcher) -> None:
    """Tell which settings would change towards the end of training, where no number of updates is planned."""
    agent = parts.player
    if not parts.problem.updates and isinstance(agent, Anneals) and agent.annealed_settings:
        names = ", ".join(sorted(agent.annealed_settings))
        watcher.say(
            f"no number of iterations is planned: of agent {experiment.agent.name} these stay as they begin: {names}"
        )


def _with_slots(batch: TaskBatch, slots: int) -> TaskBatch:
    """`batch`, or one of so many slots that goes on with its faults."""
    if batch.slots == slots:
        return batch
    other = batch.family.batch(slots, batch.device)
    if isinstance(batch, Faulting) and isinstance(other, Faulting):
        other.faults = batch.faults
    return other


def _drive(runner: Runner, books: "_Books") -> bool:
    """`train` for an outer loop of another shape: the runner's own iterations, the same books."""
    try:
        done = books.restore()
        if books.cut():
            return False
        iteration = done
        while not books.over(iteration):
            iteration += 1
            clock = _Clock()
            with border(runner, "iterate"):
                metrics = checked_metrics(runner, "iterate", runner.iterate())
            if "charts/batch_steps" not in metrics:
                raise broken(runner, "iterate", ", ".join(metrics) or "no figures", "charts/batch_steps among them")
            clock.lap("iterate")
            metrics = {**metrics, **clock.metrics(metrics["charts/batch_steps"])}
            books.enter(iteration, (), metrics)
            if books.stopped(iteration):
                return False
        books.close()
    finally:
        runner.close()
    return True


def trial_metrics(trial: Trial) -> Metrics:
    """Mean returns of a batch of trials: per trial, per episode, and the gain from first to last episode."""
    per_episode = trial.episode_returns().mean(1).tolist()
    own = {} if trial.rounds[0].family_reward is None else {"tasks/family_return": float(trial.family_returns().mean())}
    told = trial.successes()
    if told is not None:
        own |= {"charts/success": float(told[0].float().mean()), "charts/success_at_end": float(told[1].float().mean())}
    return {
        **own,
        "meta/trial_return": sum(per_episode),
        "charts/episodic_return": sum(per_episode) / len(per_episode),
        "meta/first_episode_return": per_episode[0],
        "meta/last_episode_return": per_episode[-1],
        "meta/adaptation_gain": per_episode[-1] - per_episode[0],
    }


class _Clock:
    """Seconds of each part of an iteration."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def metrics(self, steps: float) -> Metrics:
        seconds = sum(self._laps.values())
        laps = {f"time/{name}_seconds": value for name, value in self._laps.items()}
        return {**laps, "charts/SPS": steps / seconds, "charts/batch_steps": steps}


class _Books:
    """Everything a run writes down; of several processes, the first alone writes."""

    def __init__(
        self, plan: Plan[Experiment], run: RunDirectory, parts: Parts, watcher: Watcher, held: Lock | None
    ) -> None:
        self._plan = plan
        self._run = run
        self._held = held
        self._settings = configuration.essential(run.started_with())
        self._parts = parts
        self._watcher = watcher
        self._writes = parallel.rank() == 0
        evaluation = plan.config.evaluation
        self._held_out = parts.held_out.specs[: evaluation.tasks] if parts.agent is not None else []
        self._trackers: list[Tracker] = []
        self._steps = 0
        self._seconds = 0.0
        self._latest: Metrics = {}
        self._log: FaultLog | None = None
        self._faults = 0
        self._quarantined = 0
        self._cut = self._saved = False
        self._decided, self._over = -1, False

    def restore(self, batch: TaskBatch | None = None) -> int:
        """Load the newest checkpoint; the number of iterations done. From now on the faults are those of `batch`.

        An evaluation that was stopped after these is made up for.
        """
        catalogue = registry.catalogue()
        self._log = batch.faults if isinstance(batch, Faulting) else None
        tree = self._run.restore()
        done = 0
        if tree is None:
            begin(self._plan.config, self._parts)
        else:
            done, self._steps = tree["iteration"], tree["steps"]
            self._seconds = tree.get("seconds", 0.0)
            for name, part in self._parts.stateful.items():
                self._run.load_into(part.load_state_dict, tree[name], name)
            if self._log is not None and "faults" in tree:
                self._run.load_into(self._log.load_state_dict, tree["faults"], "faults")
                self._faults, self._quarantined = self._log.count, len(self._log.quarantine)
        self.over(done)  # all processes ask this together
        if not self._writes:
            return done
        logged = self._run.logged()
        if logged and tree is None:
            _remarks.warning("%s has no checkpoint: training begins at iteration 1 again", self._run.checkpoints)
        for part in self._plan.config.trackers:
            self._trackers.append(self._tracker(part, done, logged))
        catalogue.notify("run_started", plan=self._plan.config.model_dump(mode="json"), directory=self._run.path)
        self._run.remark_lost()
        if self._due(done) and self._run.evaluated() < done:
            self._evaluate(done)
        return done

    def _tracker(self, part: Part, done: int, logged: int) -> Tracker:
        """The tracker `part` of a run that has `done` so many iterations, of which that many were `logged`."""
        item = registry.catalogue().get("trackers", part.name)
        refuse_untracked(item)
        tracker: Tracker = item.build(part.settings, directory=self._run.path)
        remember(tracker, item)
        if isinstance(tracker, Rewinding):
            with border(tracker, "truncate_after"):
                tracker.truncate_after(done)
        elif logged > done:
            self._watcher.say(f"tracker {item.full_name} cannot forget: it has what comes after iteration {done} twice")
        if isinstance(tracker, KnowsConfiguration):
            with border(tracker, "configured"):
                tracker.configured(self._plan.config.model_dump(mode="json", exclude_none=True))
        return tracker

    def cut(self) -> bool:
        """Whether an evaluation was stopped, in whichever process."""
        return bool(parallel.largest(int(self._cut)))

    def over(self, iteration: int) -> bool:
        """Whether `iteration` is the last: the budget is spent, in whichever process."""
        if self._plan.config.training.minutes is None:
            return self._spent(iteration) >= 1
        if self._decided != iteration:  # once an iteration, so that all processes ask one another equally often
            self._decided = iteration
            self._over = bool(parallel.largest(int(self._spent(iteration) >= 1)))
        return self._over

    def _spent(self, iteration: int) -> float:
        return spent(self._plan.config.training, iteration, self._steps, self._seconds)

    def stopped(self, iteration: int) -> bool:
        """Whether to stop after `iteration`, with a checkpoint: somebody asked for it, and something is left to do."""
        asked = parallel.largest(int(self._watcher.stop_requested()))
        stops = self.cut() or (bool(asked) and not self.over(iteration))
        if stops:
            self.save(iteration)
        return stops

    def enter(self, iteration: int, specs: Sequence[TaskSpec], metrics: Metrics) -> None:
        """One iteration is over: check, log, evaluate and checkpoint as due."""
        settings = self._plan.config.training
        self._refuse_divergence(iteration, metrics)
        self._latest = metrics
        self._steps += int(metrics.pop("charts/batch_steps"))
        self._seconds += sum(metrics[name] for name in metrics if name.startswith("time/"))
        metrics["charts/steps"] = self._steps
        for tracker in self._trackers:
            with border(tracker, "log"):
                tracker.log(iteration, metrics)
        total = iteration if self.over(iteration) else expected(iteration, self._spent(iteration))
        self._watcher.iteration(iteration, settings.iterations or total, metrics)
        if self._writes:
            registry.catalogue().notify("iteration_finished", iteration=iteration, metrics=metrics)
        if iteration == 1 and specs and self._writes:
            self._refuse_lost()
            self._run.archive_tasks(self._plan, train=specs[:SAMPLED_TASKS], held_out=self._held_out)
        if self._due(iteration):
            self._evaluate(iteration)
        if self.over(iteration) or iteration % settings.checkpoint_every == 0:
            self.save(iteration)

    def faults(self) -> Metrics:
        """Faults of the engine since the run began; tasks newly quarantined are written down."""
        log = self._log
        if log is None:
            return {}
        if log.count > self._faults and log.last is not None:
            self._watcher.say(
                f"{log.count - self._faults} faults; the last: task {log.last.task.id}, {log.last.reason}"
            )
        if len(log.quarantine) > self._quarantined and self._writes:
            log.write(self._run.path / "quarantine")
        self._faults, self._quarantined = log.count, len(log.quarantine)
        return {"faults/count": self._faults, "tasks/n_quarantined": self._quarantined}

    def save(self, iteration: int) -> None:
        """Checkpoint agent, source and counts; keep what a runner says of its tasks.

        Raises `UserError` for an agent whose state is not finite, or, of a plugin's, does not make it.
        """
        self._refuse_broken(iteration)
        if not self._writes:
            return
        self._refuse_lost()
        if not self._saved or self.over(iteration):
            refuse_forgetful(self._plan.config, self._parts)
        self._saved = True
        if self._parts.runner is not None:
            runner = self._parts.runner
            with border(runner, "records"):
                records = list(runner.records())
            if odd := [record for record in records if not isinstance(record, Record)]:
                raise broken(runner, "records", f"{brief(odd[0])}, a {type(odd[0]).__name__}", "Records")
            self._run.archive_records(records)
        tree = {
            "iteration": iteration,
            "steps": self._steps,
            configuration.KEY: self._settings,
            **{name: state_of(part) for name, part in self._parts.stateful.items()},
            **({} if self._log is None else {"faults": self._log.state_dict()}),
            **({} if self._plan.config.training.minutes is None else {"seconds": self._seconds}),
        }
        keep_highlights(self._run, self._plan, self._parts.source, iteration)
        try:
            path = checkpoint.save(self._run.checkpoints, tree, iteration=iteration)
        except CheckpointError as error:
            for name, part in self._parts.stateful.items():
                if f": /{name}/" in str(error):
                    raise PluginError(f"{name_of(part)}: state_dict: {error}") from error
            raise
        checkpoint.prune(self._run.checkpoints, KEPT_CHECKPOINTS)
        registry.catalogue().notify("checkpoint_saved", iteration=iteration, path=path)

    def close(self) -> None:
        """The run is complete."""
        if not self._writes:
            return
        for tracker in self._trackers:
            with border(tracker, "close"):
                tracker.close()
        registry.catalogue().notify("run_finished", directory=self._run.path)

    def _due(self, iteration: int) -> bool:
        settings = self._plan.config.training
        regular = settings.evaluate_every and iteration % settings.evaluate_every == 0
        return iteration > 0 and bool(regular or self.over(iteration))

    def _evaluate(self, iteration: int) -> None:
        """Evaluate the agent and write a line; where that is stopped, nothing is written and the run is `cut`."""
        self._refuse_broken(iteration)
        parts = self._parts
        if parts.agent is None or not self._writes:
            return
        problem, watch = parts.problem, Watch(self._watcher.stop_requested)
        try:
            did = play_distinct(
                parts.agent, parts.family, self._held_out, problem.episodes, problem.device, watch=watch
            )
        except Stopped:
            self._cut = True
            return
        trial, faults = summarise(did.returns)["trial"], did.faults
        line = {"iteration": iteration, "steps": self._steps, "seconds": round(self._seconds, 3), "trial": trial}
        line |= {"faults": faults} if faults else {}
        line |= {} if did.success is None else {"success": succeeded(did.success)}
        self._refuse_lost()
        self._run.append_evaluation(line)
        for tracker in self._trackers:
            if isinstance(tracker, KnowsEvaluations):
                with border(tracker, "evaluated"):
                    tracker.evaluated(iteration, line)
        registry.catalogue().notify("evaluation_finished", iteration=iteration, summary=line)
        interval = "" if trial["low"] is None else f" [{trial['low']:.3f}, {trial['high']:.3f}] over tasks"
        rate = "" if did.success is None else f"; {did.success[0, -1].mean():.1%} succeed in their last episode"
        diverged = f"; {faults} episodes diverged" if faults else ""
        what = SAME_TASKS if self._plan.config.evaluation.same_tasks else "held-out"
        self._watcher.say(f"iteration {iteration}: {what}: trial return {trial['mean']:.3f}{interval}{rate}{diverged}")

    def _refuse_lost(self) -> None:
        """Nothing is written where the run directory was, once it is gone."""
        if self._held is not None:
            self._held.refuse_lost()

    def _refuse_divergence(self, iteration: int, metrics: Metrics) -> None:
        bad = [f"{name} = {value}" for name, value in metrics.items() if not math.isfinite(value)]
        most = self._plan.config.training.largest_kl
        far = [f"{name} = {metrics[name]:.4g} > {most:g}" for name in MEASURED_KL if metrics.get(name, 0.0) > most]
        if bad or far:
            self._diverged(iteration, metrics, ", ".join(bad) or f"{far[0]}, which is training.largest_kl")

    def _refuse_broken(self, iteration: int) -> None:
        """An update can leave an agent broken and report figures from before it."""
        agent = self._parts.agent
        broken = None if agent is None else next(not_finite(state_of(agent)), None)
        if broken is not None:
            self._diverged(iteration, self._latest, f"{broken} of the agent's state is not finite")

    def _diverged(self, iteration: int, metrics: Metrics, what: str) -> NoReturn:
        figures = ", ".join(f"{name} = {metrics[name]:.6g}" for name in metrics if name.startswith("losses/"))
        newest = checkpoint.latest(self._run.checkpoints)
        kept = "There is no checkpoint from before it" if newest is None else f"{newest} is from before it"
        raise UserError(
            f"training diverged at iteration {iteration}: {what} ({figures}). {kept}. Train anew with a lower learning "
            "rate or smaller steps; going on with these settings would end here again."
        )
