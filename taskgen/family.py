"""`TaskFamily`: a controlled Markov process parameterised by a context; it owns the context space."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, SupportsIndex, TypeVar, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from registry.config import Config, incidental
from registry.errors import TaskError, brief, suggest
from taskgen.batch import TaskBatch
from taskgen.design import Design
from taskgen.reward import complete_reward, moved_reward
from taskgen.space import ContextSpace, readable
from taskgen.spec import MAX_SEED, RewardSpec, TaskSpec, freeze, identical
from taskgen.split import Side, Split

if TYPE_CHECKING:
    import torch
    from pettingzoo import ParallelEnv  # pyright: ignore[reportMissingTypeStubs]

C = TypeVar("C", bound=Config)

_TRIES = 32
"""Mutants of so many mutations that are tried for one on the right side of a split, before one mutation more."""
_FARTHEST = 8
"""Mutations at most between a task and its mutant on the same side."""


class TaskFamily(ABC, Generic[C]):
    """Base of every family. A subclass says what its tasks look like and gives a batched environment.

    `config` holds the structural settings (number of arms, of states): those that fix array shapes. They are part of
    every spec's context, so a spec alone rebuilds its family. `context_space` holds the knobs tasks may vary.
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    horizon: int
    """Steps after which an episode is truncated."""
    reward: RewardSpec | None = None
    """Of all tasks that are made without one, in complete form (`taskgen.build.build_family`); None: the own."""
    split: Split | None = None
    """Which tasks are for training and which for testing, of a family with few tasks; None: no task is set apart."""
    tells_success: bool = False
    """Whether its batches say of every step whether the task counts as done (`Transition.success`)."""

    def __init__(self, config: C, *, name: str) -> None:
        self.config = config
        self.name = name

    @cached_property
    @abstractmethod
    def context_space(self) -> ContextSpace:
        """The knobs, with bounds, defaults, units and help."""

    @abstractmethod
    def batch(self, slots: int, device: "torch.device | str" = "cpu") -> TaskBatch:
        """A batched environment of `slots` slots, each to be given a task with `set_tasks`."""

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """Whether the dynamics of a task with the complete `context` are drawn from its seed.

        If not, the seed is luck alone: tasks that differ in nothing else are the same (`taskgen.build.task_key`), and
        under equal noise seeds and actions their rollouts are equal to the bit.
        """
        return False

    def render(self, spec: TaskSpec) -> "np.ndarray | str":
        """The task as an RGB frame [height, width, 3] uint8, or as text. By default the knobs as text."""
        return "\n".join(f"{name} = {readable(spec.context[name])}" for name in spec.context)

    def validate(self, context: Mapping[str, Any]) -> None:
        """Raise `TaskError` for a context that is within bounds but impossible. `context` is complete."""

    @cached_property
    def structure(self) -> dict[str, Any]:
        """The structural settings as they stand in every context: all that a result depends on."""
        settings = self.config.model_dump(mode="json", exclude=incidental(type(self.config)))
        return {name: freeze(value, name) for name, value in settings.items()}

    def spec(
        self, context: Mapping[str, Any] | None = None, *, seed: int = 0, reward: RewardSpec | None = None
    ) -> TaskSpec:
        """A task: defaults filled in, checked. Raises `TaskError` naming the knob, its value and the allowed range.

        With a `reward` this is another MDP over the same CMP; the reward's settings are completed and checked too.
        """
        complete = self._complete(context or {})
        reward = self.reward if reward is None else complete_reward(reward, self)
        return TaskSpec(self.name, freeze(complete, "context"), reward, _integer(seed))

    def _complete(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """`context` with defaults filled in, checked."""
        given = dict(context)
        for name, value in self.structure.items():
            if (stated := given.pop(name, value)) is not value and freeze(stated, name) != value:
                raise TaskError(f"{name} = {context[name]!r}: this family is set to {value!r}")
        for name in given:
            if name not in self.context_space.knobs:
                known = [*self.context_space.knobs, *self.structure]
                raise TaskError(f"unknown context knob {name!r} of family {self.name}. {suggest(name, known)}")
        complete = {**self.structure, **self.context_space.complete(given)}
        self.validate(complete)
        return complete

    def moved(self, spec: TaskSpec, context: Mapping[str, Any], *, seed: int | None = None) -> TaskSpec:
        """The complete task `spec` in another `context`, which is filled in and checked; its reward goes with it.

        Whoever changes the context of a task that is there does it with this: a reward that was made for the old
        context (`taskgen.reward.FollowsContext`) is made anew for the new one. `seed` replaces the task's own. Raises
        `TaskError` as `spec` does.
        """
        moved = self.spec(context, seed=spec.seed if seed is None else seed)
        paid = None if spec.reward is None else moved_reward(spec.reward, self, spec.context, moved.context)
        return replace(moved, reward=paid)

    def explained(self) -> list[tuple[str, ...]]:
        """Each knob as `taskgen describe` shows it: name, values, range, default, unit, whether it varies, meaning."""
        rows: list[tuple[str, ...]] = []
        for name, knob in self.context_space.knobs.items():
            kind = "integer" if knob.integer else "number"
            values = f"{' x '.join(map(str, knob.shape))} {kind}s" if knob.shape else kind
            bounds = f"{knob.low:g} to {knob.high:g}"
            varies = "no" if knob.vary is None else "yes"
            rows.append((name, values, bounds, f"{knob.default:g}", knob.unit, varies, knob.help))
        return rows

    def check(self, spec: TaskSpec) -> None:
        """Raise `TaskError` unless `spec` is a complete, valid task of this family."""
        if spec.family != self.name:
            raise TaskError(f"task {spec.id} belongs to family {spec.family}, not {self.name}")
        if self.reward is not None and spec.reward is None:
            raise TaskError(f"task {spec.id} is paid by its family, while the reward asked for is {self.reward.name}")
        plain = self.reward is spec.reward is None and type(spec.seed) is int and 0 <= spec.seed <= MAX_SEED
        if plain and identical(self._complete(spec.context), spec.context):
            return  # without making and hashing another task: there may be a million
        expected = self.spec(spec.context, seed=spec.seed, reward=spec.reward)
        if expected.id != spec.id:
            missing = sorted(set(expected.context) - set(spec.context))
            what = f"the context lacks {missing[0]!r}" if missing else "numbers are not in the knob's type"
            if expected.reward != spec.reward and expected.reward is not None:
                what = f"its reward in full is {expected.reward.name} {dict(expected.reward.settings)}"
            raise TaskError(f"task {spec.id} is not in complete form: {what}")


@runtime_checkable
class Mutable(Protocol):
    """A family whose tasks can be edited, as evolution and ACCEL need."""

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """A valid context near the complete `context`, which stays as it is."""
        ...


@runtime_checkable
class Describable(Protocol):
    """A family whose tasks can be compared, as novelty search needs."""

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[D] features of the complete `context`; near contexts have near features."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A family that says by which figures its tasks are told apart, as quality-diversity needs."""

    measures: Mapping[str, tuple[float, float]]
    """By name, from where to where a figure goes that is of interest; tasks may lie beyond."""

    def measure(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[M] the figures of the complete `context`, in the order of `measures`."""
        ...


@dataclass(frozen=True, slots=True)
class Goal:
    """The place among the observations that a task wants its agent to reach."""

    place: tuple[float, ...]
    """[G] in the units of the observation, not those of the context or the descriptor."""
    features: tuple[int, ...]
    """[G] the entries of the flattened observation that are to be there."""


@runtime_checkable
class GoalDirected(Protocol):
    """A family whose tasks have a goal that the observation can be compared with, as dense rewards need."""

    def goal(self, context: Mapping[str, Any]) -> Goal:
        """The goal in the complete `context`.

        Raises `TaskError` where tasks of the family's settings have none, or have one that no observation shows.
        """
        ...


@runtime_checkable
class Contextual(Protocol):
    """A family whose observation says which of several situations this is, as what remembers by situation needs."""

    cue: tuple[int, ...]
    """The entries of the flattened observation that say so; (): with these settings none do."""


@runtime_checkable
class Designable(Protocol):
    """A family with its own way to make tasks placement by placement, as a teacher does (`taskgen.design_game`).

    Of any other family a teacher sets one number of the context after another.
    """

    def design(self, placements: int) -> Design:
        """How a task is made in so many placements; 0: in as many as are usual. Raises `ConfigError` for too few."""
        ...

    def figures(self, context: Mapping[str, Any]) -> Mapping[str, float]:
        """Figures of a made task by name, such as its number of walls, for trackers; the task need not be valid."""
        ...


@runtime_checkable
class Shared(Protocol):
    """A family whose tasks several agents can play, each a learner of its own (`taskgen.make_parallel`)."""

    @property
    def judged(self) -> tuple[str, ...]:
        """The agents whose mean return is the return of a task."""
        ...

    def parallel(self, spec: TaskSpec, render_mode: str | None = None) -> "ParallelEnv[str, Any, Any]":
        """The task with all its agents; what happens in an episode follows from the seed of its reset and actions."""
        ...


@runtime_checkable
class Animated(Protocol):
    """A family whose episodes can be filmed (`taskgen play`)."""

    def frame(self, spec: TaskSpec, state: Any) -> NDArray[np.uint8]:
        """RGB [height, width, 3] of the task in `state`, which is what `state(slot)` of the family's batch returns.

        All frames of a task have one size.
        """
        ...


@runtime_checkable
class Readable(Protocol):
    """A family whose tasks other programs write in forms of their own (`taskgen import --form`)."""

    forms: tuple[str, ...]
    """By name."""

    def read(self, form: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Of the tasks that `text` holds in one of the `forms`: where each stands ("line 3"), and its context.

        Raises `TaskError` that says where, for what is none, or none of these settings.
        """
        ...


def _integer(seed: Any) -> int:
    """`seed` as a Python integer, whatever kind of integer it is, such as NumPy's."""
    if isinstance(seed, bool) or not isinstance(seed, SupportsIndex):
        raise TaskError(f"seed = {seed!r}: expected an integer")
    number = operator.index(seed)
    if not 0 <= number <= MAX_SEED:
        raise TaskError(f"seed = {brief(number)}: expected an integer from 0 to 2**53 - 1")
    return number


def goal_of(family: TaskFamily[Any], context: Mapping[str, Any]) -> Goal:
    """The goal of `family` in the complete `context`. Raises `TaskError` for a family, or settings of it, without."""
    if not isinstance(family, GoalDirected):
        raise TaskError(
            f"{family.name} has no `goal`: it does not say where among its observations a task wants the agent to be; "
            "take a family that offers goal-position"
        )
    return family.goal(context)


def mutated(
    family: TaskFamily[Any], context: Mapping[str, Any], rng: np.random.Generator, side: Side | None
) -> dict[str, Any]:
    """A valid context near the complete `context`, by the family's `mutate`, on `side` of the family's split.

    None, or a family without a split: wherever mutation leads. A mutant on the other side is made anew, and with more
    mutations where none of few is on this one. Raises `TaskError` where there is no other task on the side.
    """
    assert isinstance(family, Mutable)
    if family.split is None or side is None:
        return family.mutate(context, rng)
    for mutations in range(1, _FARTHEST + 1):
        for _ in range(_TRIES):
            child = dict(context)
            for _ in range(mutations):
                child = family.mutate(child, rng)
            if family.split.side(child) == side and child != context:
                return child
    knob = family.split.knob
    raise TaskError(
        f"{family.name}: mutation finds no other {side} task near {knob} = {context[knob]} ({family.split})"
    )


def hardness(family: TaskFamily[Any], context: Mapping[str, Any]) -> dict[str, float]:
    """Figures that say how hard a task is: the family's own, or else the mean of every knob that varies by default."""
    if isinstance(family, Designable):
        return dict(family.figures(context))
    varied = [name for name, knob in family.context_space.knobs.items() if knob.vary is not None]
    return {name: float(np.array(context[name], dtype=np.float64).mean()) for name in varied}


def same_structure(specs: Sequence[TaskSpec], family: "TaskFamily[Any]", source: str = "") -> None:
    """Raise `TaskError` unless all `specs`, which came of `source`, belong to `family` with its structural settings."""
    name, structure = family.name, family.structure
    contexts = [spec.context for spec in specs if spec.family == name]
    if len(contexts) == len(specs) and all(
        [context.get(setting) for context in contexts].count(value) == len(specs)
        for setting, value in structure.items()
    ):
        return  # found faster than what differs, and asked of every batch of tasks

    def differs(number: int, what: str) -> TaskError:
        place = f"{source}, task {number}" if source else f"task {specs[number].id[:8]}"
        return TaskError(f"{place}: expected tasks of {name}{what}")

    for number, spec in enumerate(specs):
        if spec.family != name:
            raise differs(number, f", found one of {spec.family}")
        for setting, value in structure.items():
            if (found := spec.context.get(setting)) != value:
                raise differs(number, f" with {setting} = {brief(value)}, found {brief(found)}")
