"""Environments from tasks: `make` and `make_vec`, and what Gymnasium calls for the ids of families."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from gymnasium.vector import AutoresetMode

from registry.errors import TaskError, brief
from taskgen.build import build_family
from taskgen.faces.env import TaskEnv
from taskgen.faces.vector import TaskVectorEnv
from taskgen.spec import TaskSpec
from taskgen.taskset import read_tasks


def load_tasks(path: str | Path) -> list[TaskSpec]:
    """The tasks of a file of JSON lines. Raises `TaskError` with the number and reason of every broken line."""
    return read_tasks(path)


def make(spec: TaskSpec, device: str = "cpu", *, render_mode: str | None = None) -> TaskEnv:
    """The task as a `gymnasium.Env`. Raises `TaskError` for an invalid task."""
    return TaskEnv(spec, device=device, render_mode=render_mode)


def make_vec(
    specs: Sequence[TaskSpec],
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    device: str = "cpu",
    render_mode: str | None = None,
) -> TaskVectorEnv:
    """The tasks, of one family and structure, as a `gymnasium.vector.VectorEnv` with one slot each.

    Raises `TaskError` for invalid tasks and for tasks of different structure.
    """
    return TaskVectorEnv(specs, autoreset_mode=autoreset_mode, device=device, render_mode=render_mode)


def make_registered(
    family: str, task: object = None, device: str = "cpu", render_mode: str | None = None, **settings: Any
) -> TaskEnv:
    """What `gymnasium.make` calls."""
    return make(_task(family, task, settings), device, render_mode=render_mode)


def make_registered_vec(
    family: str,
    num_envs: int,
    task: object = None,
    tasks: Sequence[object] | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    device: str = "cpu",
    render_mode: str | None = None,
    **settings: Any,
) -> TaskVectorEnv:
    """What `gymnasium.make_vec` calls: `tasks` one per slot, or `task` in all of them.

    Raises `TaskError` for both, or for another number of tasks than of slots.
    """
    if tasks is None:
        specs = [_task(family, task, settings)] * num_envs
    elif task is not None:
        raise TaskError("task and tasks were both given: task is one for all slots, tasks are one per slot")
    elif len(tasks) != num_envs:
        raise TaskError(f"{len(tasks)} tasks for num_envs={num_envs}: give one per slot")
    else:
        specs = [_task(family, given, settings) for given in tasks]
    return make_vec(specs, autoreset_mode=autoreset_mode, device=device, render_mode=render_mode)


def _task(family: str, task: object, settings: Mapping[str, Any]) -> TaskSpec:
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
