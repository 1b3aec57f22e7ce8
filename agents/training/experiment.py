"""Experiments: everything that decides a run, as one frozen configuration; a run is a function of it alone.

Longer than most files here: every setting says what it means, and what cannot go together is refused beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import torch
from pydantic import Field, field_validator, model_validator

import registry
from agents.common.acceleration import Precision
from agents.evaluation.tail import PART
from agents.evaluation.told import refuse_untold
from agents.training import quarantine
from agents.training.budget import BUDGETS, ITERATIONS, overridden
from agents.training.held_out import HeldOut, source_apart
from registry.config import INCIDENTAL, Config, Part, parse, read_toml
from registry.errors import ConfigError, UserError
from registry.plan import Plan, problems_of_parts, resolve
from taskgen.borders import asked, refuse_incomplete, remember
from taskgen.build import SOURCES, build_family, build_source, refuse_unpaid, with_files
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent, Choosy, Problem, judged
from taskgen.interaction.build import build_agent, problem_of, refuse_unadapted, refuse_unplanned
from taskgen.interaction.score import check_scores
from taskgen.runner import Assignment, Runner
from taskgen.source import Curriculum, Paced, Sparing, TaskSource
from taskgen.spec import TaskSpec
from taskgen.streams import integer_seed, seed_sequence
from taskgen.tracker import refuse_untracked

EVALUATION_SHARE = 0.1
"""Of the episodes of training, so many the last evaluation takes where nothing else is said ..."""
FINAL_TASKS = (100, 20_000)
"""... but each set holds at least and at most so many tasks."""
UNPLANNED_TASKS = 1000
"""And so many where the number of episodes is not known before."""
_LOOKED_AT = 64
"""Training tasks at most that are looked at before a run."""


class Training(Config):
    """How long and in what portions."""

    iterations: int | None = Field(
        default=None,
        ge=1,
        description="Rounds of ask, collect, learn, tell; 1000 where neither they nor steps nor minutes are given.",
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="In place of iterations: environment steps; the iteration that reaches them is the last.",
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="In place of iterations: minutes that iterations take, evaluations left out. Such a run is no "
        "function of its configuration.",
    )
    tasks: int = Field(default=500, ge=1, description="Tasks per iteration, one trial each.")
    episodes: int = Field(default=10, ge=1, description="Episodes per trial.")
    evaluate_every: int = Field(
        default=250,
        ge=0,
        description="Iterations between evaluations on held-out tasks; 0: only at the end.",
        json_schema_extra=INCIDENTAL,
    )
    checkpoint_every: int = Field(
        default=50, ge=1, description="Iterations between checkpoints.", json_schema_extra=INCIDENTAL
    )
    largest_kl: float = Field(
        default=3.0,
        gt=0,
        description="Nats that an update may move the policy, where the agent measures it; beyond it the run stops.",
    )
    precision: Precision = Field(
        default="float32",
        description="Of the products of matrices in updates; bfloat16 is for GPUs that are fast at it.",
    )
    compile: bool = Field(
        default=False,
        description="Compile networks by torch.compile; the first calls take a minute.",
        json_schema_extra=INCIDENTAL,
    )
    deadline: float = Field(
        default=600.0,
        ge=0,
        description="Seconds that a call of the family's batch, such as a step of all tasks, may take before the run "
        "ends; 0: any.",
        json_schema_extra=INCIDENTAL,
    )
    start: str = Field(
        default="",
        description="Checkpoint of a run whose agent training begins with; empty: an agent that has learned nothing. "
        "`--from` sets it to the newest one of a run.",
    )
    start_digest: str = Field(
        default="", description="What that checkpoint's manifest calls it; filled in, and checked when it is read."
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        """Fix the number of iterations where nothing says when training ends, so that config.toml says it."""
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each say when training ends: give exactly one of them")
        if not given:
            object.__setattr__(self, "iterations", ITERATIONS)  # frozen, but not yet handed out
        return self


class Evaluation(Config):
    """On what the agent is judged, and beside whom."""

    tasks: int = Field(default=1000, ge=1, description="Held-out tasks per evaluation during training.")
    final_tasks: int = Field(
        default=0,
        ge=0,
        description="Tasks of each set of the last evaluation; 0: as many as take a tenth of the episodes of training, "
        "those of the reference players included, between 100 and 20,000; 1,000 where training goes by steps or "
        "minutes.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**53,
        description="Root of the tasks it is judged on: the same for all seeds of an experiment.",
    )
    episodes: int = Field(
        default=0, ge=0, description="Episodes per trial of the last evaluation; 0: as many as in training."
    )
    tail: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share of tasks, those where a player earns least, of which the last evaluation gives the mean "
        "return too (CVaR). A quarter of the tasks is played twice for it; 0: none.",
    )
    source: Part | None = Field(
        default=None,
        description="Source of held-out tasks; left out: the training source, or what it wraps where it decides by "
        "results, on a stream of its own; on the test side of the family's split where it keeps to the training side.",
        json_schema_extra={"kind": SOURCES},
    )
    same_tasks: bool = Field(
        default=False,
        description="Whether the agent may be judged on tasks that it was trained on, with new luck; reports say so. "
        "Otherwise such a run is refused.",
    )
    out_of_distribution: dict[str, Part] = Field(
        default={}, description="Further sets of tasks by name.", json_schema_extra={"kind": SOURCES}
    )
    players: tuple[Part, ...] = Field(
        default=(Part(name="random"),),
        description="Reference players evaluated beside the agent at the end.",
        json_schema_extra={"kind": "agents"},
    )

    @field_validator("final_tasks")
    @classmethod
    def _enough(cls, tasks: int) -> int:
        if tasks == 1:
            raise ValueError("an interval needs at least 2 tasks (0: a number that fits the training)")
        return tasks


class Experiment(Config):
    """One training run."""

    name: str = Field("experiment", description="What reports call the run.")
    seed: int = Field(0, ge=0, lt=2**53, description="Root of every random stream.")
    device: str = Field(
        "auto", description="auto (CUDA when there), cpu, cuda, cuda:1, ...", json_schema_extra=INCIDENTAL
    )
    family: Part = Field(Part(name="bandit"), description="Task family.", json_schema_extra={"kind": "families"})
    reward: Part | None = Field(
        None,
        description="What all tasks pay, of training and of evaluation, instead of their family's own reward.",
        json_schema_extra={"kind": "rewards"},
    )
    source: Part = Field(
        Part(name="domain-randomization"),
        description="Where tasks come from.",
        json_schema_extra={"kind": SOURCES},
    )
    agent: Part = Field(Part(name="rl2"), description="Who learns.", json_schema_extra={"kind": "agents"})
    runner: Part | None = Field(
        default=None,
        description="An outer loop of another shape; left out: ask, collect, learn, tell.",
        json_schema_extra={"kind": "runners"},
    )
    training: Training = Field(default=Training(), description="Length and portions.")
    evaluation: Evaluation = Field(default=Evaluation(), description="Held-out tasks and reference players.")
    trackers: tuple[Part, ...] = Field(
        (Part(name="jsonl"),),
        description="Where metrics go.",
        json_schema_extra={"kind": "trackers", **INCIDENTAL},
    )

    @model_validator(mode="after")
    def _fix_final_tasks(self) -> Self:
        """Fix the number before the run, so that config.toml says it."""
        if not self.evaluation.final_tasks:
            judged = self.evaluation.model_copy(update={"final_tasks": final_tasks(self.training, self.evaluation)})
            object.__setattr__(self, "evaluation", judged)  # frozen, but not yet handed out
        return self


def final_tasks(training: Training, evaluation: Evaluation) -> int:
    """Tasks of each set of the last evaluation that take `EVALUATION_SHARE` of the episodes of training.

    All players on all sets count, and the quarter that the tail plays twice; two figures of the number stand.
    """
    if training.iterations is None:
        return UNPLANNED_TASKS
    episodes = training.iterations * training.tasks * training.episodes
    players, sets = 1 + len(evaluation.players), 1 + len(evaluation.out_of_distribution)
    again = 1 + 1 / PART if evaluation.tail else 1
    number = EVALUATION_SHARE * episodes / ((evaluation.episodes or training.episodes) * players * sets * again)
    fewest, most = FINAL_TASKS
    return int(float(f"{min(max(number, fewest), most):.2g}"))


def load_experiment(name: str, overrides: Iterable[str] = ()) -> Plan[Experiment]:
    """The experiment called `name` in the catalogue, or in the TOML file `name`, with overrides, checked and complete.

    Raises `ConfigError` with every problem, `UserError` for an unknown name.
    """
    is_file = name.endswith(".toml") or Path(name).is_file()
    if not is_file and not registry.catalogue().find("experiments", name) and Path(f"{name}.toml").is_file():
        raise UserError(
            f"{name!r} is not among the experiments; the file that is here is called by its name: {name}.toml"
        )
    data = read_toml(name) if is_file else dict(registry.catalogue().get("experiments", name).load())
    overrides = list(overrides)
    data = overridden(data, overrides)
    family = data.get("family")
    if isinstance(family, dict) and isinstance(family.get("name"), str):
        data["family"] = with_files(family["name"], family, overrides)
    try:
        experiment = parse(Experiment, data, name)
    except ConfigError as error:
        others = problems_of_parts(Experiment, data, registry.catalogue())
        raise ConfigError(dict.fromkeys([*error.problems, *others]), name) from None
    return resolve(experiment, registry.catalogue(), name)


@dataclass(frozen=True)
class Parts:
    """The living parts of an experiment."""

    family: TaskFamily[Any]
    source: TaskSource
    learner: Agent | None
    """Who learns in the loop; None where there is a runner, which has agents of its own."""
    problem: Problem
    held_out: HeldOut
    """What it is judged on; none of it may be trained on."""
    runner: Runner | None = None

    @property
    def agent(self) -> Agent | None:
        """Who is judged, as of now: a runner may put another one in its place. None where it judges itself."""
        return self.learner if self.runner is None else self.runner.agent

    @property
    def player(self) -> Agent:
        """Who is judged. Raises `UserError` for a runner that judges itself."""
        if self.agent is None:
            raise UserError("the run's runner trains many agents and reports on them itself: see `taskgen report`")
        return self.agent

    @property
    def stateful(self) -> dict[str, Any]:
        """What a checkpoint holds, by name."""
        return {"agent": self.agent, "source": self.source} if self.runner is None else {"runner": self.runner}


def build_parts(experiment: Experiment) -> Parts:
    """Build family, source, agent and runner, each on its own random stream.

    Raises `UserError` for parts that do not fit together.
    """
    for tracker in experiment.trackers:
        refuse_untracked(registry.catalogue().get("trackers", tracker.name))
    family = build_family(experiment.family.name, experiment.family.settings, reward=experiment.reward)
    source = build_source(experiment.source, family, seed_sequence(experiment.seed, "source"))
    example = _example(experiment, family)
    refuse_unpaid(family, example, experiment.source.name)
    problem = problem_of(
        family,
        example=example,
        episodes=experiment.training.episodes,
        seed=integer_seed(experiment.seed, "agent"),
        device=choose_device(experiment.device),
        updates=_updates(experiment.training, source),
    )
    held_out = HeldOut(lambda: _judged_on(experiment, family), same_tasks=experiment.evaluation.same_tasks)
    if experiment.runner is not None:
        runner = build_runner(experiment, family, problem.device, held_out)
        return Parts(family, source, None, problem, held_out, runner)
    agent = build_agent(experiment.agent, problem)
    if isinstance(source, Curriculum):
        check_scores(source.scores, agent, family, problem.episodes)
    if isinstance(source, Paced):
        _check_lengths(source, experiment.training.episodes, agent)
    return Parts(family, source, agent, problem, held_out)


def refuse_too_short(experiment: Experiment, parts: Parts) -> None:
    """Raise `UserError` where trials, of training or of the last evaluation, are too short for the agent to adapt.

    Only before training: runs that were trained so can still be judged, on trials of any length.
    """
    episodes, judged = experiment.training.episodes, experiment.evaluation.episodes
    agent = parts.agent or build_agent(experiment.agent, parts.problem)
    lengths = [length.episodes for length in parts.source.lengths] if isinstance(parts.source, Paced) else []
    refuse_unadapted(agent, episodes, "training.episodes")
    for stage in lengths:
        refuse_unadapted(agent, stage or episodes, "episodes of a stage of the source")
    if isinstance(agent, Choosy) and parts.runner is None:
        for length in (episodes, *(stage or episodes for stage in lengths)):
            agent.refuse_length(length)
    if judged:
        refuse_unadapted(agent, judged, "evaluation.episodes")


def _check_lengths(source: Paced, episodes: int, agent: Agent) -> None:
    """Raise `UserError` for a length of trials that cannot be; an agent refuses what it cannot plan."""
    for length in source.lengths:
        if (length.episodes or 0) > episodes:
            raise UserError(
                f"the source asks for trials of {length.episodes} episodes, but training.episodes = {episodes} is the "
                "most that the agent is prepared for: raise it"
            )
        setting = "episodes of a stage of the source" if length.episodes else "training.episodes"
        refuse_unplanned(agent, length.episodes or episodes, setting)


def _updates(training: Training, source: TaskSource) -> int:
    """Calls of `learn` to be expected; 0 where no number of iterations is planned."""
    if training.iterations is None:
        return 0
    if isinstance(source, Sparing):
        return max(1, source.updates(training.iterations, training.tasks))
    return training.iterations


def build_runner(experiment: Experiment, family: TaskFamily[Any], device: torch.device, held_out: HeldOut) -> Runner:
    """The runner of the experiment. Raises `PluginError` where it is none, `UserError` for another budget."""
    part, training = experiment.runner, experiment.training
    assert part is not None
    if training.iterations is None:
        raise UserError(f"runner {part.name} plans its iterations: give training.iterations, not steps or minutes")
    assignment = Assignment(
        family=family,
        source=experiment.source,
        agent=experiment.agent,
        iterations=training.iterations,
        tasks=training.tasks,
        episodes=training.episodes,
        seed=seed_sequence(experiment.seed, "runner"),
        device=device,
        announce=held_out.refuse,
        ask=lambda source, n: quarantine.ask(source, n, None, family, held_out)[0],
    )
    item = registry.catalogue().get("runners", part.name)
    runner = item.build(part.settings, assignment=assignment)
    methods = ("agent", "iterate", "records", "state_dict", "load_state_dict", "close")
    refuse_incomplete(runner, methods, contract="taskgen.runner.Runner", name=item.full_name)
    remember(runner, item)
    return cast(Runner, runner)


def held_out_source(experiment: Experiment, family: TaskFamily[Any]) -> TaskSource:
    """The source of held-out tasks, the same for all seeds, on a stream of its own; see `held_out`."""
    return held_out(experiment, family)[1]


def held_out(experiment: Experiment, family: TaskFamily[Any]) -> tuple[Part, TaskSource]:
    """What held-out tasks come from: its name and settings, and the source built of them.

    Where none is named it is the training source, without what decides by results: a curriculum is judged on the tasks
    of the source that it wraps. One that keeps to the training side of the family's split gives test tasks here, unless
    the run is to be judged on training tasks (`evaluation.same_tasks`).
    """
    evaluation, seed = experiment.evaluation, seed_sequence(experiment.evaluation.seed, "held-out")
    apart = evaluation.source is None and not evaluation.same_tasks
    return source_apart(evaluation.source or experiment.source, family, seed, apart=apart)


def judged_sources(experiment: Experiment, family: TaskFamily[Any]) -> dict[str, tuple[Part, TaskSource]]:
    """What the tasks of every set come from that it is judged on; "held-out" is the first."""
    evaluation = experiment.evaluation
    others = {
        name: (part, build_source(part, family, seed_sequence(evaluation.seed, "out-of-distribution", name)))
        for name, part in evaluation.out_of_distribution.items()
    }
    return {"held-out": held_out(experiment, family), **others}


def refuse_untold_sets(experiment: Experiment, parts: Parts) -> None:
    """Raise `UserError` where the agent is to be judged on tasks of other descriptors than it is told in training."""
    if parts.agent is None or not judged(parts.agent).needs_descriptor:
        return
    for name, (_, source) in judged_sources(experiment, parts.family).items():
        specs = asked(source, 1, parts.family)
        setting = "evaluation.source" if name == "held-out" else f"evaluation.out_of_distribution.{name}"
        remedy = "Give a source of tasks that pay as those of training do, or an agent that is told nothing."
        refuse_untold(parts.agent, parts.problem, parts.family, specs, setting, remedy)


def refuse_same_tasks(experiment: Experiment, parts: Parts) -> None:
    """Raise `UserError` where the first tasks of training are among those that the agent is judged on.

    Later ones, and those that a runner makes, are looked at when they are about to be trained on.
    """
    if parts.agent is None or parts.runner is not None:
        return
    source = build_source(experiment.source, parts.family, seed_sequence(experiment.seed, "source"))
    parts.held_out.refuse(asked(source, min(experiment.training.tasks, _LOOKED_AT), parts.family))


def _judged_on(experiment: Experiment, family: TaskFamily[Any]) -> list[TaskSpec]:
    """Held-out tasks of all evaluations: the last one's begin with those of the others."""
    evaluation = experiment.evaluation
    return asked(held_out_source(experiment, family), max(evaluation.tasks, evaluation.final_tasks), family)


def _example(experiment: Experiment, family: TaskFamily[Any]) -> TaskSpec:
    """The first task of training, from a source of its own: what tasks are rewarded for is part of their descriptor."""
    return asked(build_source(experiment.source, family, seed_sequence(experiment.seed, "source")), 1, family)[0]


def choose_device(name: str) -> torch.device:
    """ "auto" is CUDA when there, else the CPU. Raises `UserError` for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        reason = "there is none of that name" if "at start of device string" in reason else reason
        raise UserError(f"device = {name!r}: not available here ({reason}). Use auto, cpu or cuda.") from None
    return device
