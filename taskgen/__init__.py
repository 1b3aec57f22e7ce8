"""Tasks of taskgen-metarl: specs, families, sources, task sets, archives, and the environments they become.

Importing this package is cheap; a name is loaded when it is first used. How tasks get their Gymnasium ids, such as
`gymnasium.make("taskgen/bandit-v0", task=...)`, is told in `taskgen.faces.registration`.
"""

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskgen.archive import Archive
    from taskgen.build import build_family, build_source, family_of
    from taskgen.faces.design_game import DesignGame, design_game
    from taskgen.faces.making import (
        load_tasks,
        make,
        make_parallel,
        make_sampler,
        make_trials,
        make_trials_vec,
        make_vec,
    )
    from taskgen.faces.registration import register_envs
    from taskgen.family import TaskFamily
    from taskgen.source import Curriculum, TaskResult, TaskSource
    from taskgen.spec import RewardSpec, TaskSpec
    from taskgen.taskset import TaskSet

__all__ = [
    "Archive",
    "Curriculum",
    "DesignGame",
    "RewardSpec",
    "TaskFamily",
    "TaskResult",
    "TaskSet",
    "TaskSource",
    "TaskSpec",
    "build_family",
    "build_source",
    "design_game",
    "family_of",
    "load_tasks",
    "make",
    "make_parallel",
    "make_sampler",
    "make_trials",
    "make_trials_vec",
    "make_vec",
    "register_envs",
]

_HOMES = {
    "taskgen.archive": ("Archive",),
    "taskgen.build": ("build_family", "build_source", "family_of"),
    "taskgen.faces.design_game": ("DesignGame", "design_game"),
    "taskgen.faces.making": (
        *("load_tasks", "make", "make_parallel", "make_sampler", "make_trials", "make_trials_vec", "make_vec"),
    ),
    "taskgen.faces.registration": ("register_envs",),
    "taskgen.family": ("TaskFamily",),
    "taskgen.source": ("Curriculum", "TaskResult", "TaskSource"),
    "taskgen.spec": ("RewardSpec", "TaskSpec"),
    "taskgen.taskset": ("TaskSet",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(module), name)
            _register_if_gymnasium_is_there()
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_names() -> None:
    """Say which of our import names mean other people's files. Raises `ImportError` where nothing works without it.

    The check is run by its path, since `registry` is one of those names.
    """
    path = Path(__file__).resolve().parents[1] / "registry" / "names.py"
    spec = importlib.util.spec_from_file_location("_taskgen_names", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"{path} is missing: install taskgen-metarl again")
    names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(names)
    found: dict[str, str] = names.shadowed()
    if "registry" in found:
        raise ImportError(found["registry"])
    for sentence in found.values():
        warnings.warn(sentence, RuntimeWarning, stacklevel=3)


def _register_if_gymnasium_is_there() -> None:
    """Give families their Gymnasium ids, unless a plugin is asking while the catalogue is being built."""
    if "gymnasium" in sys.modules:
        from registry.catalogue import being_built

        if not being_built():
            from taskgen.faces.registration import register_envs

            register_envs()


_check_names()
_register_if_gymnasium_is_there()
