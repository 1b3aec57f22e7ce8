"""Environments from tasks and from sources of tasks, and what Gymnasium calls for the ids of families."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, overload

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import HumanRendering, RenderCollection
from gymnasium.wrappers.vector import HumanRendering as HumanRenderingVec

import registry
from registry.config import Part
from registry.errors import TaskError, UserError, brief, suggest
from taskgen.build import build_family, build_source, family_of
from taskgen.faces.drawing import WRAPPED, check_render_mode
from taskgen.faces.env import TaskEnv
from taskgen.faces.parallel import Always, ParallelTasks
from taskgen.faces.trials import History, TrialEnv, TrialVectorEnv
from taskgen.faces.vector import TaskVectorEnv
from taskgen.source import TaskSource
from taskgen.spec import TaskSpec
from taskgen.taskset import read_tasks

Given = TaskSource | Part | str | Mapping[str, Any]
"""A source, or what names one."""


def load_tasks(path: str | Path) -> list[TaskSpec]:
    """The tasks of a file of JSON lines. Raises `TaskError` with the number and reason of every broken line."""
    return read_tasks(path)


@overload
def make(
    spec: TaskSpec, device: str = "cpu", *, render_mode: Literal["ansi", "rgb_array"] | None = None
) -> TaskEnv: ...


@overload
def make(spec: TaskSpec, device: str = "cpu", *, render_mode: str | None) -> gym.Env[Any, Any]: ...


def make(spec: TaskSpec, device: str = "cpu", *, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """The task as a `gymnasium.Env`: a `TaskEnv`, in "human" and "rgb_array_list" within the wrapper of Gymnasium.

    Raises `TaskError` for an invalid task, `gymnasium.error.UnsupportedMode` for what its family cannot draw.
    """
    if render_mode is not None:
        check_render_mode(family_of(spec), render_mode, WRAPPED)
    if render_mode not in WRAPPED:
        return TaskEnv(spec, device=device, render_mode=render_mode)
    env = TaskEnv(spec, device=device, render_mode="rgb_array")
    return HumanRendering(env) if render_mode == "human" else RenderCollection(env)


@overload
def make_vec(
    specs: Sequence[TaskSpec],
    *,
    autoreset_mode: AutoresetMode | str = ...,
    device: str = ...,
    render_mode: Literal["ansi", "rgb_array"] | None = None,
    max_episode_steps: int | None = None,
) -> TaskVectorEnv: ...


@overload
def make_vec(
    specs: Sequence[TaskSpec],
    *,
    autoreset_mode: AutoresetMode | str = ...,
    device: str = ...,
    render_mode: str | None,
    max_episode_steps: int | None = None,
) -> VectorEnv[Any, Any, Any]: ...


def make_vec(
    specs: Sequence[TaskSpec],
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    device: str = "cpu",
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
) -> VectorEnv[Any, Any, Any]:
    """The tasks, of one family and structure, as a `TaskVectorEnv` with one slot each; in "human" in a wrapper.

    Episodes end at the family's horizon, or after `max_episode_steps` where that is sooner. Raises `TaskError` for
    invalid tasks and for tasks of different structure, `gymnasium.error.UnsupportedMode` for what cannot be drawn.
    """
    human = render_mode == "human"
    if render_mode is not None and specs:
        check_render_mode(family_of(specs[0]), render_mode, ("human",))
    envs = TaskVectorEnv(
        specs,
        autoreset_mode=autoreset_mode,
        device=device,
        render_mode="rgb_array" if human else render_mode,
        max_episode_steps=max_episode_steps,
    )
    return HumanRenderingVec(envs) if human else envs


def make_trials(
    source: Given,
    *,
    episodes: int,
    family: str | Mapping[str, Any] | None = None,
    seed: int = 0,
    flat: bool = False,
    device: str = "cpu",
) -> TrialEnv:
    """A Gymnasium environment in which one episode is a trial of `episodes` episodes on a task of `source`.

    `source` is a `TaskSource`; or its name or mapping of "name" and settings, over `family` (its name, or a mapping
    likewise), drawing from `seed` the tasks that `taskgen generate --seed` gives, as does `reset(seed=...)`.
    Observations hold the previous action, its reward and whether it ended an episode, as a Dict or, `flat`, as one Box:
    see `TrialVectorEnv`. Raises `UserError` for a source that others cannot learn from: see
    `taskgen.faces.trials.refuse`.
    """
    history: History = "flat" if flat else "dict"
    return TrialEnv(**_source(source, family, seed), episodes=episodes, history=history, device=device)


def make_trials_vec(
    source: Given,
    *,
    episodes: int,
    num_envs: int,
    family: str | Mapping[str, Any] | None = None,
    seed: int = 0,
    flat: bool = False,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    device: str = "cpu",
) -> TrialVectorEnv:
    """`num_envs` trials side by side, on tasks of one source: see `make_trials`."""
    return TrialVectorEnv(
        **_source(source, family, seed),
        episodes=episodes,
        num_envs=num_envs,
        history="flat" if flat else "dict",
        autoreset_mode=autoreset_mode,
        device=device,
    )


def make_sampler(
    source: Given, *, family: str | Mapping[str, Any] | None = None, seed: int = 0, device: str = "cpu"
) -> TrialEnv:
    """A Gymnasium environment that plays one episode of a new task of `source` after every reset: see `make_trials`."""
    return TrialEnv(**_source(source, family, seed), episodes=1, history="none", device=device)


def make_sampler_vec(
    source: Given,
    *,
    num_envs: int,
    family: str | Mapping[str, Any] | None = None,
    seed: int = 0,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    device: str = "cpu",
) -> TrialVectorEnv:
    """`num_envs` samplers side by side, whose tasks come from one source: see `make_sampler`."""
    return TrialVectorEnv(
        **_source(source, family, seed),
        episodes=1,
        num_envs=num_envs,
        history="none",
        autoreset_mode=autoreset_mode,
        device=device,
    )


def make_parallel(
    source: Given | TaskSpec,
    *,
    family: str | Mapping[str, Any] | None = None,
    seed: int = 0,
    render_mode: str | None = None,
) -> ParallelTasks:
    """A `pettingzoo.ParallelEnv` that plays an episode of a new task of `source` after every reset: see `make_trials`.

    The family is one that several agents play, such as `parallel`. Instead of a source a single task may be given.
    Raises `UserError` for a family of one agent, besides what `make_trials` raises.
    """
    if isinstance(source, TaskSpec):
        if family is not None:
            raise UserError("a task names its family: leave family out")
        return ParallelTasks(Always(source), render_mode=render_mode)
    return ParallelTasks(**_source(source, family, seed), render_mode=render_mode)


def make_registered(
    family: str, task: object = None, device: str = "cpu", render_mode: str | None = None, **settings: Any
) -> gym.Env[Any, Any]:
    """What `gymnasium.make` calls. Raises `TypeError` for what is no setting of the family."""
    if "tasks" in settings:
        raise TaskError(
            "tasks: an environment plays one task, and Gymnasium gives all those of sync and async the same; leave "
            "vectorization_mode out, or make gymnasium.vector.AsyncVectorEnv([functools.partial(taskgen.make, task) "
            "for task in tasks])"
        )
    return make(_task(family, task, settings), device, render_mode=render_mode)


def make_registered_vec(
    family: str,
    num_envs: int,
    task: object = None,
    tasks: Sequence[object] | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    device: str = "cpu",
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **settings: Any,
) -> VectorEnv[Any, Any, Any]:
    """What `gymnasium.make_vec` calls: `tasks` one per slot, or `task` in all of them.

    Raises `TaskError` for both, or for another number of tasks than of slots, `TypeError` for what is no setting of
    the family.
    """
    if tasks is None:
        specs = [_task(family, task, settings)] * num_envs
    elif task is not None:
        raise TaskError("task and tasks were both given: task is one for all slots, tasks are one per slot")
    elif len(tasks) != num_envs:
        raise TaskError(f"{len(tasks)} tasks for num_envs={num_envs}: give one per slot")
    else:
        specs = [_task(family, given, settings) for given in tasks]
    return make_vec(
        specs,
        autoreset_mode=autoreset_mode,
        device=device,
        render_mode=render_mode,
        max_episode_steps=max_episode_steps,
    )


def _task(family: str, task: object, settings: Mapping[str, Any]) -> TaskSpec:
    known = registry.catalogue().get("families", family).config_class().model_fields
    for name in settings:
        if name not in known:  # in Python's words, by which libraries find out what an environment takes
            raise TypeError(
                f"got an unexpected keyword argument {name!r}: no setting of {family}. {suggest(name, known)}"
            )
    if task is None:
        return build_family(family, settings).spec()
    if settings:
        raise TaskError(f"{', '.join(sorted(settings))}: a task carries the settings of its family; give one or others")
    if isinstance(task, TaskSpec):
        spec = task
    elif isinstance(task, str):
        spec = TaskSpec.from_json(task)
    elif isinstance(task, Mapping):
        spec = TaskSpec.from_dict(cast(Mapping[str, Any], task))
    else:
        raise TaskError(f"task = {brief(task)}: expected a TaskSpec, its JSON text or its dict")
    if spec.family != family:
        raise TaskError(f"task {spec.id} belongs to family {spec.family}, not {family}")
    return spec


def _source(source: Given, family: str | Mapping[str, Any] | None, seed: int) -> dict[str, Any]:
    """The source to begin with, and what rebuilds one that goes by name."""
    if isinstance(source, TaskSource):
        if family is not None:
            raise UserError("a source is over its family already: leave family out, or name a generator")
        return {"source": source}
    if family is None:
        raise UserError(f"source = {source!r} needs a family: family='bandit', or {{'name': 'bandit', 'arms': 5}}")
    named: dict[str, Any] = {"name": family} if isinstance(family, str) else dict(family)
    if "name" not in named:
        raise UserError(f"family = {brief(named)}: which family is it? Give its settings beside a 'name'")
    built = build_family(named.pop("name"), named)
    return {"source": build_source(source, built, seed), "rebuild": functools.partial(build_source, source, built)}
