"""Environments that others wrote for Gymnasium: described, tried, and hosted by slot.

Nothing here trusts an environment: what it raises, and an answer that is not what its spaces declare, is told in a
sentence by `Host`, which goes on with its other environments. Nothing here needs torch, so that worker processes start
quickly (`taskgen.engines.gym_workers`).
"""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from registry.errors import UserError, brief, suggest
from taskgen.engines.gym_reading import BrokenAnswer, Failure, Outcome, Reader, answered_reset, answered_step, told
from taskgen.engines.gym_recipe import (
    ATTRIBUTE,
    KWARGS,
    OPTIONS,
    Numbers,
    Recipe,
    is_number,
    make,
    numbers_of,
    values_for,
)
from taskgen.spaces import Array, space_problem, unpack

# pyright: reportUnknownMemberType=false

_STEPS = 32
"""In which an environment shows whether it follows its seed, and a knob whether it does anything."""
_LIMITS = ("max_steps", "max_cycles")
"""What environments call the steps after which they end."""
Beat: TypeAlias = Callable[[int], object]
"""Told the slot of the environment that is called next; -1 where it is in none."""


@dataclass(frozen=True)
class Description:
    """What an environment says of itself."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    first: Array
    """What it shows first, packed."""
    limit: int
    """Steps after which an episode is cut; 0: nobody says."""
    arguments: Mapping[str, float]
    """Numbers that its constructor takes, with their defaults."""
    attributes: Mapping[str, float]
    """Numbers among its attributes."""
    takes_more: bool
    """Whether its constructor takes arguments that it does not name."""
    pictures: bool
    """Whether it can be drawn."""


def silent(slot: int) -> None:
    """Nobody waits."""


def describe(recipe: Recipe, beat: Beat = silent) -> Description:
    """Make the default environment of a recipe and look at it. Raises `UserError` naming what is wrong with it.

    `beat` as of a `Host`.
    """
    recipe.import_all()
    beat(-1)
    try:
        env = make(recipe, {})
    except UserError:
        raise
    except Exception as error:
        given = f" with kwargs = {brief(dict(recipe.kwargs))}" if recipe.kwargs else ""
        raise UserError(f"{recipe.id} cannot be made{given}: {told(error)}") from error
    try:
        problem = space_problem(env.observation_space, acted=False)
        if problem is not None:
            parts = isinstance(env.observation_space, gym.spaces.Dict)
            advice = "; a part of a Dict is not shown where `leave_out` names it" if parts else ""
            raise UserError(f"{recipe.id} has the observation space {env.observation_space}: {problem}{advice}")
        try:
            space = env.observation_space
            observation = answered_reset(Reader(space), env.reset(seed=0))
        except Exception as error:
            raise UserError(f"{recipe.id} cannot be reset: {told(error)}") from error
        built = inspect.signature(_creator(recipe)).parameters.values()
        arguments = {one.name: one.default for one in built if is_number(one.default)}
        given = {name: value for name, value in {**_own_kwargs(recipe), **recipe.kwargs}.items() if is_number(value)}
        return Description(
            observation_space=space,
            action_space=env.action_space,
            first=observation.astype(Reader(space).dtype),
            limit=_limit(recipe, env),
            arguments={**arguments, **given},
            attributes=numbers_of(env.unwrapped),
            takes_more=any(one.kind is inspect.Parameter.VAR_KEYWORD for one in built),
            pictures="rgb_array" in (env.metadata or {}).get("render_modes", ()),
        )
    finally:
        env.close()


def problems(recipe: Recipe, ends: Mapping[str, tuple[float, float]], own: Numbers, beat: Beat = silent) -> list[str]:
    """What whoever takes the environment should know, in sentences: seeds and knobs that change nothing they should.

    `ends` are the lowest and highest value of each knob, `own` its default; `beat` as of a `Host`.
    """

    def trial(numbers: Numbers, before: int = 0) -> tuple[list[Array], str]:
        return _trial(recipe, numbers, before, beat)

    found: list[str] = []
    expected, broke = trial(own)
    if broke:
        found.append(f"{recipe.id} broke when it was tried: {broke}")
    if any(not _same(expected, trial(own)[0]) for _ in range(2)):
        loose = "the same task gives other episodes each time, players meet other luck and runs do not repeat"
        return [*found, f"{recipe.id} does not follow the seed that it is reset with: {loose}"]
    if not broke and not _same(expected, trial(own, before=1)[0]):
        found.append(f"{recipe.id} remembers earlier episodes: reset with the same seed gives another one after some")
    for name, limits in ends.items():
        tried = [trial({**own, name: limit}) for limit in dict.fromkeys(limits)]
        for limit, (_, odd) in zip(limits, tried, strict=False):
            if odd and not broke:
                found.append(f"{recipe.id} with {name} = {limit:g} broke when it was tried: {odd}")
        if len(tried) > 1 and not broke and _same(tried[0][0], tried[1][0]):
            where = f"{recipe.places[name]}) changed nothing in {_STEPS} steps between {limits[0]:g} and {limits[1]:g}"
            found.append(f"{name} ({where}")
    return found


class Host:
    """Environments by slot, in this process.

    `beat(slot)` is called before every call of an environment, so that whoever waits knows which one hangs.
    """

    def __init__(
        self,
        recipe: Recipe,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        beat: Beat | None = None,
    ) -> None:
        self._recipe, self._actions, self._beat = recipe, action_space, beat
        self._read = Reader(observation_space)
        self._envs: dict[int, tuple[Numbers, gym.Env[Any, Any]]] = {}
        self._numbers: dict[int, Numbers] = {}
        self._plain = type(action_space) in (gym.spaces.Box, gym.spaces.Discrete)

    def give(self, slots: Sequence[int], numbers: Sequence[Numbers]) -> None:
        """From their next reset on the slots play the knobs `numbers`."""
        self._numbers.update(zip(slots, numbers, strict=True))

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> Outcome:
        """Begin an episode in each of `slots`."""
        outcome = Outcome.of(len(slots), self._read)
        for place, (slot, seed) in enumerate(zip(slots, seeds, strict=True)):
            with self._trying(slot, place, outcome):
                outcome.observation[place] = self._begin(slot, seed)
        return outcome

    def step(self, slots: Sequence[int], actions: Array) -> Outcome:
        """`actions` [n, ...] as batches have them, one step of each of `slots`."""
        outcome = Outcome.of(len(slots), self._read)
        elements = self._elements(actions)
        for place, slot in enumerate(slots):
            with self._trying(slot, place, outcome):
                answer = answered_step(self._read, self._envs[slot][1].step(elements[place]), self._recipe.success)
                (
                    outcome.observation[place],
                    outcome.reward[place],
                    outcome.terminated[place],
                    outcome.truncated[place],
                    outcome.success[place],
                ) = answer
        return outcome

    def posture(self, slot: int) -> Any:
        """What the environment of a slot says of itself, where it has a method `posture`."""
        return cast(Any, self._envs[slot][1].unwrapped).posture()

    def close(self) -> None:
        """Let go of all environments."""
        for slot in list(self._envs):
            self._drop(slot)

    def _begin(self, slot: int, seed: int) -> Array:
        numbers = self._numbers[slot]
        if slot in self._envs and self._envs[slot][0] != numbers:
            self._drop(slot)
        if slot not in self._envs:
            env = make(self._recipe, numbers)
            self._envs[slot] = numbers, env
            for kind, space, known in (
                ("observation", env.observation_space, self._read.space),
                ("action", env.action_space, self._actions),
            ):
                if space != known:
                    raise BrokenAnswer(f"the {kind} space is {space} with these knobs, expected {known}")
        env = self._envs[slot][1]
        options = dict(values_for(self._recipe, OPTIONS, numbers)) or None
        return answered_reset(self._read, env.reset(seed=seed, options=options))

    def _elements(self, actions: Array) -> Any:
        """Actions as elements of the space; each its own, since an environment may write into it."""
        if self._plain:
            return actions.astype(cast(Any, self._actions).dtype)
        return [unpack(self._actions, row.copy()) for row in actions]

    def _trying(self, slot: int, place: int, outcome: Outcome) -> "_Trying":
        if self._beat is not None:
            self._beat(slot)
        return _Trying(self, slot, place, outcome)

    def fail(self, slot: int) -> None:
        """The environment of `slot` is of no use any more."""
        self._drop(slot)

    def _drop(self, slot: int) -> None:
        found = self._envs.pop(slot, None)
        if found is not None:
            with suppress(Exception):  # whatever it was, nobody plays it any more
                found[1].close()


class _Trying:
    """`with` this, what an environment raises is a failure of its slot alone."""

    __slots__ = ("_host", "_outcome", "_place", "_slot")

    def __init__(self, host: Host, slot: int, place: int, outcome: Outcome) -> None:
        self._host, self._slot, self._place, self._outcome = host, slot, place, outcome

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        if not isinstance(error, Exception | SystemExit):
            return False
        self._outcome.failures[self._place] = Failure(told(error))
        self._host.fail(self._slot)
        return True


def place_problem(place: str, description: Description) -> str | None:
    """Why a knob cannot go to `place`; None where it can."""
    kind, _, name = place.partition(".")
    if kind not in (KWARGS, ATTRIBUTE, OPTIONS) or not name:
        return f"expected {KWARGS}.NAME, {ATTRIBUTE}.NAME or {OPTIONS}.NAME"
    if kind == ATTRIBUTE and any(part.startswith("_") for part in name.split(".")):
        return "attributes that begin with _ are nobody's to set"
    if kind == KWARGS and name not in description.arguments and not description.takes_more:
        attribute = f'Its attribute of that name is meant by to = "{ATTRIBUTE}.{name}".'
        advice = attribute if name in description.attributes else suggest(name, description.arguments)
        return f"its constructor takes no number {name!r}. {advice}"
    if kind == ATTRIBUTE and "." not in name and name not in description.attributes:
        return f"it has no attribute {name!r} that is a number. {suggest(name, description.attributes)}"
    return None


def _trial(recipe: Recipe, numbers: Numbers, before: int, beat: Beat) -> tuple[list[Array], str]:
    """What happens in an episode of a new environment, after so many of another seed; what it broke by, if it did."""
    seen: list[Array] = []
    beat(-1)
    try:
        env = make(recipe, numbers)
    except Exception as error:  # noqa: BLE001 - it is the environment's
        return seen, told(error)
    try:
        for episode in range(before + 1):
            seen.clear()
            _episode(env, recipe, numbers, before - episode, seen, beat)
    except Exception as error:  # noqa: BLE001
        return seen, told(error)
    finally:
        env.close()
    return seen, ""


def _episode(
    env: gym.Env[Any, Any], recipe: Recipe, numbers: Numbers, seed: int, seen: list[Array], beat: Beat
) -> None:
    """Play at most `_STEPS` of the episode of a `seed`, actions included, and append what happens to `seen`."""
    actions, options = copy.deepcopy(env.action_space), dict(values_for(recipe, OPTIONS, numbers)) or None
    actions.seed(seed)
    beat(-1)
    read = Reader(env.observation_space)
    seen.append(np.array(answered_reset(read, env.reset(seed=seed, options=options))))
    for _ in range(_STEPS):
        beat(-1)
        observation, reward, *ends, _ = answered_step(read, env.step(actions.sample()), recipe.success)
        seen += [np.array(observation), np.array([reward, *ends])]
        if any(ends):
            return


def _same(one: Sequence[Array], other: Sequence[Array]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _creator(recipe: Recipe) -> Callable[..., Any]:
    if recipe.spec is None:
        return recipe.maker
    entry: Any = recipe.spec.entry_point
    return cast("Callable[..., Any]", load_env_creator(entry) if isinstance(entry, str) else entry)


def _own_kwargs(recipe: Recipe) -> Mapping[str, Any]:
    return {} if recipe.spec is None else recipe.spec.kwargs


def _limit(recipe: Recipe, env: gym.Env[Any, Any]) -> int:
    """Steps of an episode by the registry, else by what environments call so themselves; 0: nobody says."""
    own = next((getattr(env.unwrapped, name) for name in _LIMITS if hasattr(env.unwrapped, name)), 0)
    said = recipe.spec.max_episode_steps if recipe.spec is not None else None
    return int(said or (own if is_number(own) and own >= 1 else 0))
