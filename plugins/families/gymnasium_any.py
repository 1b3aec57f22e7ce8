"""Anybody's Gymnasium environment: numbers that its constructor takes, attributes or reset options are the context.

`id` is a registered id or "module:Class", a class of a plugin's (`--plugin FILE.py`) or of a module that is imported.
Every entry of `knobs` is a number of the task, with the place it goes to:

    gravity = {low = -11.9, high = -4.0}                                   constructor argument "gravity"
    length = {low = 0.25, high = 1.0, to = "attribute.length"}             attribute of the made environment, dotted
    start = {low = 0.0, high = 1.0, default = 0.5, to = "options.start"}   entry of reset's options

Defaults are the environment's own. `taskgen describe gymnasium family.id=ID` lists the numbers that there are. A knob
that changes nothing in a short trial is warned of, and so is an environment that does not follow its seed: what such
a one does is no function of task, seed and actions, so that players do not meet the same luck and runs do not repeat.

An environment is made anew for every task and kept through its resets. Episodes are reset with seeds of their own;
with `levels` all episodes of a task with the task's seed, for environments that draw a level from it, as Minigrid does.

In `workers` processes environments have `deadline` seconds for every call. Whatever fails, by an exception, an answer
out of its spaces, or there by hanging or dying, costs an episode and is a fault of its task (`taskgen.engines.faults`).
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, JsonValue, model_validator

from registry.config import INCIDENTAL, Config
from registry.errors import ConfigError
from taskgen.engines import gym_env, gym_recipe
from taskgen.engines.gym_batch import GymBatch, HostedConfig, Lender
from taskgen.engines.gym_env import Description
from taskgen.engines.gym_reading import told
from taskgen.engines.gym_recipe import ATTRIBUTE, KWARGS, Recipe
from taskgen.engines.gym_workers import described
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange, Uniform

_SHOWN = 40
"""Attributes that are listed, at most."""
_EXAMPLE = "CartPole-v1"


class KnobConfig(Config):
    """A number of the task."""

    low: float = Field(0.0, description="Lowest value.")
    high: float = Field(1.0, description="Highest value.")
    default: float | None = Field(None, description="Value where none is said; left out: the environment's own.")
    to: str = Field(
        "", description="Where it goes: kwargs.NAME, attribute.NAME or options.NAME; left out: kwargs.NAME of its name."
    )
    integer: bool | None = Field(None, description="Whether it is whole; left out: if default and limits are.")
    help: str = Field("", description="What it is.")

    @model_validator(mode="after")
    def _in_order(self) -> "KnobConfig":
        stated = [self.low, self.high] if self.default is None else [self.low, self.high, self.default]
        if self.low > self.high:
            raise ValueError(f"low = {self.low:g} is above high = {self.high:g}")
        if self.default is not None and not self.low <= self.default <= self.high:
            raise ValueError(f"default = {self.default:g} lies outside of {self.low:g} to {self.high:g}")
        if self.integer and not all(number.is_integer() for number in stated):
            raise ValueError(f"integer = true, while {', '.join(f'{one:g}' for one in stated)} are not all whole")
        return self


class GymnasiumAnyConfig(HostedConfig):
    """Structural settings of `GymnasiumAny`."""

    example: ClassVar[dict[str, dict[str, Any]]] = {"length": {"low": 0.25, "high": 2.0, "to": f"{ATTRIBUTE}.length"}}
    """The knobs of the environment that is the default, where neither it nor knobs are named."""

    id: str = Field(_EXAMPLE, description="A registered id, or module:Class of a class of your own.")
    kwargs: dict[str, JsonValue] = Field(
        {}, description="Arguments of its constructor that are the same in all tasks; texts without / . and :"
    )
    knobs: dict[str, KnobConfig] = Field(
        {}, description=f"Numbers that vary from task to task, by name; of {_EXAMPLE} left out: the pole's length."
    )
    horizon: int = Field(
        0, ge=0, le=100_000, description="Steps per episode; 0: the limit that the environment is registered with."
    )
    leave_out: tuple[str, ...] = Field(
        (), description="Parts of a Dict observation that are not shown, such as Minigrid's mission, a text."
    )
    levels: bool = Field(
        default=False, description="Reset every episode with the seed of the task, of which the level is drawn."
    )
    success: str = Field(
        "",
        description="Entry of the infos that says whether the task is done, such as success or is_success; or none.",
        json_schema_extra=INCIDENTAL,
    )

    def recipe(self, places: Mapping[str, str] | None = None) -> Recipe:
        """How environments are made whose knobs go to `places`. Raises `UserError` for what cannot be found."""
        return gym_recipe.recipe(self.id, self.kwargs, places, self.leave_out)

    @model_validator(mode="after")
    def _complete(self) -> "GymnasiumAnyConfig":
        """Write out what the environment says, so that tasks and config.toml hold it."""
        if self.id == type(self).model_fields["id"].default and "knobs" not in self.model_fields_set:
            knobs = {name: KnobConfig.model_validate(settings) for name, settings in self.example.items()}
            object.__setattr__(self, "knobs", knobs)  # frozen, but not yet handed out
        complete = self.horizon and all(None not in (knob.default, knob.integer) for knob in self.knobs.values())
        if complete and all(knob.to for knob in self.knobs.values()):
            return self
        seen = _described(self)
        horizon = self.horizon or seen.limit
        if not horizon:
            raise ValueError(f"horizon: {self.id} has no limit of steps of its own; say family.horizon=200")
        knobs = {name: _completed(name, knob, seen, self.id) for name, knob in self.knobs.items()}
        object.__setattr__(self, "horizon", horizon)
        object.__setattr__(self, "knobs", knobs)
        return self


class GymnasiumAny(Lender[GymnasiumAnyConfig]):
    """Spaces and rewards are the environment's own."""

    def __init__(self, config: GymnasiumAnyConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        seen = _described(config)
        for knob, settings in config.knobs.items():
            if knob in self.structure:
                raise ConfigError([f"knobs.{knob}: a setting is called so; name it otherwise and say `to`"], name)
            if problem := gym_env.place_problem(settings.to, seen):
                raise ConfigError([f"knobs.{knob}.to = {settings.to!r}: {problem}"], name)
        self.observation_space, self.action_space = seen.observation_space, seen.action_space
        self.horizon = config.horizon
        self.tells_success = bool(config.success)
        self._seen = seen
        for problem in _problems(self.recipe, *_tried(config), _waited(config)):
            warnings.warn(f"{name}: {problem}", stacklevel=2)

    @cached_property
    def recipe(self) -> Recipe:
        """See `Lender.recipe`; each knob goes to its place."""
        made = self.config.recipe({name: knob.to for name, knob in self.config.knobs.items()})
        return replace(made, success=self.config.success)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The entries of `knobs`, each varied over all of its range."""
        return ContextSpace({name: _knob(settings) for name, settings in self.config.knobs.items()})

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:
        """Where levels are drawn from it."""
        return bool(context["levels"])

    def explained(self) -> list[tuple[str, ...]]:
        """The knobs, and the numbers that `knobs` may name besides."""
        taken = {settings.to for settings in self.config.knobs.values()}
        found = [(f"{KWARGS}.{one}", value, "argument") for one, value in self._seen.arguments.items()]
        attributes = [
            (f"{ATTRIBUTE}.{one}", value, "attribute")
            for one, value in self._seen.attributes.items()
            if one not in self._seen.arguments
        ]
        return super().explained() + [
            (place, "number", "", f"{value:g}", "", "if named", f"{kind}; what was computed from it stays")
            if kind == "attribute"
            else (place, "number", "", f"{value:g}", "", "if named", f"{kind} of the constructor")
            for place, value, kind in (*found, *attributes[:_SHOWN])
            if place not in taken
        ]

    def batch(self, slots: int, device: torch.device | str = "cpu") -> GymBatch:
        """An environment a slot; the descriptor is the knobs, each by its range."""
        return GymBatch(self, slots, device, first=self._seen.first, levels=self.config.levels)

    def render(self, spec: TaskSpec) -> "NDArray[np.uint8] | str":
        """The first frame of the task's own seed, where the environment draws; else the knobs as text."""
        if not self._seen.pictures:
            return self._written(spec)
        try:
            env = gym_recipe.make(
                self.recipe, {name: cast(float, spec.context[name]) for name in self.config.knobs}, "rgb_array"
            )
            try:
                env.reset(seed=spec.seed % 2**31)
                frame: Any = env.render()
            finally:
                env.close()
        except Exception as error:  # noqa: BLE001 - it is the environment's, and a picture is no task
            return f"{self._written(spec)}\nit cannot be drawn: {told(error)}"
        return np.array(frame, dtype=np.uint8)

    def _written(self, spec: TaskSpec) -> str:
        return cast(str, super().render(spec)) or self.config.id


def _described(config: GymnasiumAnyConfig) -> Description:
    return _description(config.recipe(), _waited(config))


def _waited(config: GymnasiumAnyConfig) -> float:
    """Seconds that are waited for an environment that is tried; 0: it is tried in this process."""
    return config.deadline if config.workers else 0.0


@lru_cache(maxsize=64)
def _description(recipe: Recipe, deadline: float) -> Description:
    return described(recipe, None, {}, deadline)[0] if deadline else gym_env.describe(recipe)


Numbers = tuple[tuple[str, float], ...]
Ends = tuple[tuple[str, tuple[float, float]], ...]


def _tried(config: GymnasiumAnyConfig) -> tuple[Numbers, Ends]:
    """Default and limits of every knob."""
    own = tuple((name, cast(float, _knob(knob).default)) for name, knob in config.knobs.items())
    return own, tuple((name, (knob.low, knob.high)) for name, knob in config.knobs.items())


@lru_cache(maxsize=64)
def _problems(recipe: Recipe, own: Numbers, ends: Ends, deadline: float) -> tuple[str, ...]:
    if deadline:
        return tuple(described(recipe, dict(own), dict(ends), deadline)[1])
    return tuple(gym_env.problems(recipe, dict(ends), dict(own)))


def _knob(settings: KnobConfig) -> Knob:
    """Of complete settings."""
    low, high, default = settings.low, settings.high, settings.default
    assert default is not None
    vary = IntegerRange(low=int(low), high=int(high)) if settings.integer else Uniform(low=low, high=high)
    return Knob(low, high, default, settings.help, integer=bool(settings.integer), vary=vary)


def _completed(name: str, settings: KnobConfig, seen: Description, id_: str) -> KnobConfig:
    """`settings` with what was left out. Raises `ValueError` for what the environment does not say, and bad limits."""
    to = settings.to or f"{KWARGS}.{name}"
    if problem := gym_env.place_problem(to, seen):
        raise ValueError(f"knobs.{name}: {id_}: {problem}")
    kind, _, rest = to.partition(".")
    own = {KWARGS: seen.arguments, ATTRIBUTE: seen.attributes}.get(kind, {}).get(rest)
    default = own if settings.default is None else settings.default
    if default is None:
        raise ValueError(f"knobs.{name}: {id_} does not say what {to} is by default; say `default`")
    if not settings.low <= default <= settings.high:
        raise ValueError(
            f"knobs.{name}: the environment's own {default:g} lies outside of {settings.low:g} to {settings.high:g}; "
            "say another `default` or other limits"
        )
    whole = isinstance(own, int) and all(float(one).is_integer() for one in (settings.low, settings.high, default))
    return KnobConfig(
        low=settings.low,
        high=settings.high,
        default=default,
        to=to,
        integer=whole if settings.integer is None else settings.integer,
        help=settings.help or f"{rest} of {id_}.",
    )
