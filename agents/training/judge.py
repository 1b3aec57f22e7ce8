"""The last word on a run: its agent beside the reference players, on held-out and out-of-distribution tasks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import registry
from agents.evaluation.belief import belief_course
from agents.evaluation.luck import Plays, plays
from agents.evaluation.play import evaluate
from agents.evaluation.tail import ranked_tasks
from agents.evaluation.told import refuse_untold
from agents.evaluation.watch import Watch
from agents.reference.guest import Guest, Policy
from agents.training.experiment import Experiment, judged_sources
from agents.training.held_out import HeldOut
from agents.training.records import shown
from agents.training.run import RunDirectory
from agents.training.trained import load_trained, trained_on
from registry.config import Part
from registry.errors import UserError
from taskgen.borders import asked
from taskgen.build import SOURCES, task_key
from taskgen.family import TaskFamily, same_structure
from taskgen.interaction.agent import Agent, Problem, judged
from taskgen.interaction.build import build_agent
from taskgen.interaction.guard import planned
from taskgen.spec import TaskSpec


class Onlooker(Protocol):
    """Whoever shows how far an evaluation is, and may ask for it to stop."""

    def played(self, share: float, what: str) -> None:
        """So much of the evaluation is over, from 0 to 1; `what` is played now."""
        ...

    def stop_requested(self) -> bool:
        """Whether to stop at once, with nothing written."""
        ...


class NotKept(UserError):  # noqa: N818 - nothing is wrong with the figures
    """An evaluation that was made, but that the run could not keep; its `summary` is right all the same."""

    def __init__(self, message: str, summary: Mapping[str, Any]) -> None:
        self.summary = summary
        super().__init__(message)

    def __reduce__(self) -> tuple[type["NotKept"], tuple[str, Mapping[str, Any]]]:
        """For other processes."""
        return type(self), (str(self), self.summary)


def evaluate_run(
    run: RunDirectory,
    *,
    tasks: Sequence[TaskSpec] | None = None,
    tasks_from: str = "the tasks given",
    episodes: int | None = None,
    with_players: bool = True,
    guests: Mapping[str, Policy] | None = None,
    onlooker: Onlooker | None = None,
    drawn: HeldOut | None = None,
) -> dict[str, Any]:
    """The agent of `run` and its reference players on held-out and out-of-distribution tasks (or on `tasks`).

    `tasks_from` says where `tasks` are from, such as a file. `guests`, by name, are policies that are not ours
    (`agents.reference.guest`); they play along, and the run keeps no evaluation with them. `drawn` are the held-out
    tasks of who has just trained it, which are then not drawn again.

    Returns the summary as JSON values; `trained_on` of a set counts its tasks that were trained on, as far as the run's
    archive tells. When neither `tasks` nor `episodes` is given it is also kept in the run. A
    reference player that cannot play trials so long is left out, with its reason. Raises `UserError` for a run without
    a checkpoint, `Stopped` where the onlooker asks for it, `NotKept`, with the summary, where the run cannot keep it:
    what the run keeps is then as before.
    """
    trained = load_trained(run)
    experiment, parts = trained.experiment, trained.parts
    if tasks is not None:
        same_structure(tasks, parts.family, tasks_from)
    sets = judged_on(experiment, parts.family, drawn) if tasks is None else {"tasks": (tasks_from, tasks)}
    count = episodes or experiment.evaluation.episodes or parts.problem.episodes
    players: dict[str, Agent] = {experiment.agent.name.partition("/")[2]: parts.player}
    left_out: dict[str, str] = {}
    if with_players:
        specs = [spec for _, judged_by in sets.values() for spec in judged_by]
        others, left_out = reference_players(experiment, replace(parts.problem, episodes=count), specs)
        players |= others
    players |= welcomed(guests, parts.family, replace(parts.problem, episodes=count), players)
    for name, (_, specs) in sets.items():
        remedy = "Judge it on tasks like those, or train it on tasks like these."
        refuse_untold(parts.player, parts.problem, parts.family, specs, name, remedy)
    distinct = {name: plays(specs) for name, (_, specs) in sets.items()}
    summary: dict[str, Any] = {
        "iteration": trained.iteration,
        "steps": trained.steps,
        "episodes": count,
        "tasks": len(next(iter(distinct.values())).tasks),
        "left_out": left_out,
        "sets": {},
    }
    returns: dict[str, Any] = {}
    known = trained_on(run)
    tail = experiment.evaluation.tail
    watch = watch_over(onlooker, len(players) * sum(trials(played, tail) for played in distinct.values()))
    for name, (source, specs) in sets.items():
        summaries, played = evaluate(
            players,
            parts.family,
            specs,
            count,
            parts.problem.device,
            tail=tail,
            watch=watch,
        )
        tasks_of_set = distinct[name].tasks
        if tail and not ranked_tasks(len(tasks_of_set), tail):
            few = f"not one of {len(tasks_of_set)} tasks ({name}) would be among them"
            left_out[f"mean of the worst {100 * tail:g}% of tasks"] = few
        summary["sets"][name] = {"source": source, **distinct[name].summary(), "players": summaries}
        lead = next(iter(players))
        if (belief := belief_course(parts.player, parts.family, specs, count, parts.problem.device)) is not None:
            summaries[lead]["belief"] = belief
        if met := sum(task_key(spec) in known for spec in tasks_of_set):
            summary["sets"][name]["trained_on"] = met
        for player, did in played.items():
            returns[f"{name}/{player}"] = did.returns
            returns |= {f"tail/{name}/{player}": did.tail} if len(did.tail) else {}
            returns |= {} if did.success is None else {f"success/{name}/{player}": did.success}
    if tasks is None and episodes is None and with_players and not guests:
        try:
            run.write_evaluation(summary, returns)
        except OSError as error:
            problem = (
                f"{run.path} could not keep this evaluation ({error.strerror or error}): its report shows the former"
            )
            remedy = "Make the directory writable or make room, and evaluate again; or copy the run"
            raise NotKept(f"{problem} one, if any. {remedy}", summary) from error
    return summary


def trials(played: Plays, tail: float) -> int:
    """Trials of one player on a set, with those that rank tasks for its tail."""
    return len(played.specs) + ranked_tasks(len(played.tasks), tail)


def watch_over(onlooker: Onlooker | None, trials: int) -> Watch | None:
    """What keeps `onlooker` told about an evaluation of so many trials."""
    return None if onlooker is None else Watch(onlooker.stop_requested, onlooker.played, trials=trials)


def _made_for_a_family(part: Part) -> bool:
    """Whether `part` is a reference player that knows one family, not one that plays any."""
    entry = registry.catalogue().get("agents", part.name).entry
    return "reference" in entry.tags and not all(need.endswith("-actions") for need in entry.needs)


def reference_players(
    experiment: Experiment, problem: Problem, specs: Sequence[TaskSpec]
) -> tuple[dict[str, Agent], dict[str, str]]:
    """The reference players of trials as `problem` says on the tasks `specs`, by label, and why others cannot play.

    One that would go by the name of the trained agent is called new, which it is. Players made for a family play for
    its own reward: where tasks pay another they are no measure of what can be earned, and left out.
    """
    players: dict[str, Agent] = {}
    left_out: dict[str, str] = {}
    paid = next((spec.reward.name for spec in specs if spec.reward is not None), None)
    for part in experiment.evaluation.players:
        label = player_label(part)
        label += " (as new)" * (label == experiment.agent.name.rpartition("/")[2])
        if paid is not None and _made_for_a_family(part):
            left_out[label] = f"it plays for the family's own reward, while tasks pay {paid}"
            continue
        try:
            agent = build_agent(part, problem)
            planned(judged(agent), problem.episodes)
        except UserError as error:
            if type(error) is not UserError:  # a faulty plugin or setting is no matter of how long trials are
                raise
            left_out[label] = str(error)
        else:
            players[label] = agent
    return players, left_out


def welcomed(
    guests: Mapping[str, Policy] | None, family: TaskFamily[Any], problem: Problem, taken: Collection[str]
) -> dict[str, Agent]:
    """Policies that are not ours, as players. Raises `UserError` for one that cannot play, or whose name is taken."""
    found: dict[str, Agent] = {}
    for name, policy in (guests or {}).items():
        if name in taken:
            raise UserError(f"{name}: another player is called so; the guest needs another name")
        found[name] = Guest(policy, problem, family.action_space, name=name)
    return found


def player_label(part: Part) -> str:
    """Short name of a reference player, with the settings that are not its defaults: "beb(replan=step)"."""
    return called(part, "agents")


def called(part: Part, kind: str) -> str:
    """Short name of the catalogue entry `part` of `kind`, with the settings that are not its defaults."""
    defaults = registry.catalogue().get(kind, part.name).configure().model_dump(mode="json")
    changed = [f"{key}={shown(value)}" for key, value in part.settings.items() if defaults.get(key) != value]
    return part.name.rpartition("/")[2] + (f"({', '.join(changed)})" if changed else "")


def judged_on(
    experiment: Experiment, family: TaskFamily[Any], drawn: HeldOut | None = None
) -> dict[str, tuple[str, list[TaskSpec]]]:
    """The tasks that an experiment is judged on at its end and what they come from; "held-out" is the first set.

    They are a function of `evaluation.seed`, not of the run's own, so that runs of all seeds are judged on the same.
    """
    count = experiment.evaluation.final_tasks
    sets: dict[str, tuple[str, list[TaskSpec]]] = {}
    for name, (part, source) in judged_sources(experiment, family).items():
        known = drawn if name == "held-out" else None
        sets[name] = called(part, SOURCES), asked(source, count, family) if known is None else known.specs[:count]
    return sets


def evaluation_sets(experiment: Experiment, family: TaskFamily[Any]) -> dict[str, list[TaskSpec]]:
    """The tasks that an experiment is judged on at its end, by the name of the set; "held-out" is the first."""
    return {name: specs for name, (_, specs) in judged_on(experiment, family).items()}
