"""Environments that others wrote for Gymnasium, found by name and made for a task.

A task is data: it names what is registered, or a class of a module that a plugin or program has imported, and numbers
and plain texts to make it with. Nothing is imported or read for it.
"""

import copy
import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import FilterObservation

from registry.errors import UserError, brief, suggest
from taskgen.engines.imported import import_module_of, named
from taskgen.engines.parallel_env import Seat, SeatEnv, environment_of

# pyright: reportUnknownMemberType=false

_PACKAGES = {
    r"MiniGrid-|BabyAI-": ("minigrid", "minigrid"),
    r"PointMaze_|AntMaze_|Fetch|HandReach|HandManipulate|AdroitHand|FrankaKitchen": ("gymnasium_robotics", "robotics"),
}
"""Ids that begin so -> the package that registers them, our extra that installs it."""
_EXTRAS = {"box2d": "box2d"}
"""Module that an environment of Gymnasium's needs -> our extra that installs it."""
_TEXT = re.compile(r"[\w +-]*")
KWARGS, ATTRIBUTE, OPTIONS = "kwargs", "attribute", "options"
Numbers: TypeAlias = Mapping[str, Any]
"""By knob; a family of ours hands its environments ranges and draws besides."""


@dataclass(frozen=True)
class Recipe:
    """How environments are made; pickles."""

    id: str
    kwargs: Mapping[str, Any]
    """Of the constructor, the same for all tasks."""
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each knob goes: "kwargs.NAME", "attribute.NAME.NAME", "options.NAME"."""
    spec: EnvSpec | None = None
    """What the id stands for, for processes in which nobody has registered it."""
    leave_out: Sequence[str] = ()
    """Parts of a Dict observation that are not shown, such as texts."""
    seat: Seat | None = None
    """Which agent of an environment of PettingZoo is ours, and who plays the others; None: it is Gymnasium's."""
    success: str = ""
    """The entry of a step's info that says whether the task is done; empty: none does."""

    def __hash__(self) -> int:
        """Of what there is of plain values; in a process an id stands for one specification."""
        return hash((self.id, json.dumps([dict(self.kwargs), dict(self.places), list(self.leave_out)]), self.seat))

    @property
    def maker(self) -> Callable[..., Any]:
        """The class or function of an environment that is not registered."""
        return class_of(self.id) if self.seat is None else environment_of(self.id)

    def import_all(self) -> None:
        """Import the modules of what is named, see `taskgen.engines.imported.import_module_of`."""
        for name in (self.id, *(() if self.seat is None else self.seat.names)):
            import_module_of(name)


def recipe(
    id_: str,
    kwargs: Mapping[str, Any],
    places: Mapping[str, str] | None = None,
    leave_out: Sequence[str] = (),
    seat: Seat | None = None,
) -> Recipe:
    """The recipe of `id_`. Raises `UserError` for what cannot be found, and for arguments that are no plain values."""
    for name, value in kwargs.items():
        _refuse_files(f"kwargs.{name}", value)
    spec = None if ":" in id_ or seat is not None else _registered(id_)
    made = Recipe(id_, dict(kwargs), dict(places or {}), spec, tuple(leave_out), seat)
    if spec is None:
        try:
            _ = made.maker
        except gym.error.DependencyNotInstalled as error:
            raise _absent(id_, error) from error
    if seat is not None:
        seat.policies()
    return made


def make(recipe: Recipe, numbers: Numbers, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """A new environment with the knobs `numbers`. Its own limit of steps is left to whoever plays it.

    Raises `UserError` where a package is missing, and whatever the environment raises.
    """
    kwargs = {**copy.deepcopy(dict(recipe.kwargs)), **values_for(recipe, KWARGS, numbers)}
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    if recipe.spec is None:
        env = recipe.maker(**kwargs)
        env = env if recipe.seat is None else SeatEnv(env, recipe.id, recipe.seat)
    else:
        gym.registry.setdefault(recipe.id, recipe.spec)
        try:
            env = gym.make(recipe.id, max_episode_steps=-1, disable_env_checker=True, **kwargs)
        except gym.error.DependencyNotInstalled as error:
            raise _absent(recipe.id, error) from error
    for path, value in values_for(recipe, ATTRIBUTE, numbers).items():
        *owners, name = path.split(".")
        owner: Any = env.unwrapped
        for each in owners:
            owner = getattr(owner, each, None)
        if name not in numbers_of(owner):
            raise UserError(f"{recipe.id} has no number {path!r}. {suggest(name, numbers_of(owner))}")
        setattr(owner, name, value)
    return _shown(env, recipe) if recipe.leave_out else env


def _shown(env: gym.Env[Any, Any], recipe: Recipe) -> gym.Env[Any, Any]:
    """`env` without the parts of its observations that are left out."""
    space = cast(Any, env.observation_space)
    parts: list[str] = list(space.spaces) if type(space) is gym.spaces.Dict else []
    for name in recipe.leave_out:
        if name not in parts:
            raise UserError(f"leave_out: observations of {recipe.id} have no part {name!r}. {suggest(name, parts)}")
    return FilterObservation(env, [name for name in parts if name not in recipe.leave_out])


def values_for(recipe: Recipe, kind: str, numbers: Numbers) -> dict[str, Any]:
    """The values of the knobs that go to places of a `kind`, by the rest of the place."""
    found: dict[str, Any] = {}
    for name, value in numbers.items():
        where, _, rest = recipe.places[name].partition(".")
        if where == kind:
            found[rest] = value
    return found


def _registered(id_: str) -> EnvSpec:
    """What is registered under `id_`, by a package that is known and installed if by nobody yet."""
    for pattern, (package, extra) in _PACKAGES.items():
        if id_ not in gym.registry and re.match(pattern, id_):
            try:
                module = importlib.import_module(package)
            except ImportError as error:
                advice = f"pip install 'taskgen-metarl[{extra}]'"
                raise UserError(
                    f"id = {id_!r} is of {package}, which cannot be imported ({error}): {advice}"
                ) from error
            gym.register_envs(module)
    spec = gym.registry.get(id_)
    if spec is None or id_.startswith("taskgen/"):
        registered = [known for known in gym.registry if not known.startswith("taskgen/")]
        raise UserError(
            f"id = {id_!r}: nobody has registered such an environment; a class of yours is named module:Class, and its "
            f"file given with --plugin. {suggest(id_, registered)}"
        )
    return spec


def class_of(id_: str) -> type[gym.Env[Any, Any]]:
    """The class "module:Class", see `taskgen.engines.imported.named`. Raises `UserError`."""
    module, found = named(id_)
    if not (isinstance(found, type) and issubclass(found, gym.Env)):
        known = [one for one, value in vars(module).items() if isinstance(value, type) and issubclass(value, gym.Env)]
        path = id_.partition(":")[2]
        raise UserError(f"id = {id_!r}: {path!r} is no gymnasium.Env of {module.__name__}. {suggest(path, known)}")
    return cast("type[gym.Env[Any, Any]]", found)


def numbers_of(owner: object) -> dict[str, float]:
    """The attributes of `owner`, and of its class, that are numbers and not its own business."""
    kinds = [vars(kind) for kind in reversed(type(owner).__mro__)]
    found = {name: value for each in (*kinds, getattr(owner, "__dict__", {})) for name, value in each.items()}
    return {name: value for name, value in found.items() if is_number(value) and not name.startswith("_")}


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _refuse_files(path: str, value: object) -> None:
    """Raise `UserError` for a text that could name a file or a module: settings are data, and read neither."""
    if isinstance(value, Mapping):
        for name, part in cast("Mapping[str, Any]", value).items():
            _refuse_files(f"{path}.{name}", part)
    elif isinstance(value, str):
        if not _TEXT.fullmatch(value):
            raise UserError(
                f"{path} = {brief(value)}: letters, digits, spaces, _, + and - only, since settings name neither files "
                "nor modules; a class of your own that knows its files can (id = module:Class)"
            )
    elif isinstance(value, Iterable):
        for number, part in enumerate(cast("Iterable[Any]", value)):
            _refuse_files(f"{path}[{number}]", part)


def _absent(id_: str, error: gym.error.DependencyNotInstalled) -> UserError:
    message = " ".join(str(error).split())
    advice = [f"; or pip install 'taskgen-metarl[{_EXTRAS[word]}]'" for word in _EXTRAS if word in message.lower()]
    return UserError(f"{id_}: {message}{''.join(advice[:1])}")
