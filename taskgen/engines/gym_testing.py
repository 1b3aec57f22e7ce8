"""Conformance kit for environments of Gymnasium, stricter than the checkers that there are: `check_environment`.

Those of PettingZoo (`ParallelEnv`) are played as each of their agents in turn, the others at random.

It looks at every step of whole episodes, where `gymnasium.utils.env_checker` and Stable-Baselines3's look at the first:
observations inside their space, finite rewards, flags that are bools; equal episodes from equal seeds, in a new
environment, after other episodes and in another process; ends; what is handed out and changed later; choices that there
are not; the size of infos and the growth of memory. Who hangs or dies is told by `checked`, which has it all done in
processes of their own.
"""

import copy
import hashlib
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np

from registry.errors import UserError, brief
from registry.nameable import makes_company
from taskgen.engines.gym_env import Beat, describe, silent
from taskgen.engines.gym_reading import BrokenAnswer, Reader, answered_reset, answered_step, told
from taskgen.engines.gym_recipe import Recipe, make, recipe
from taskgen.engines.gym_workers import LostError, Worker
from taskgen.engines.imported import import_module_of, named
from taskgen.engines.parallel_env import Seat, agents_of, environment_of
from taskgen.spaces import space_problem

_EPISODES = 2
_UNENDED = 10_000
"""Steps in which an episode must end where nobody says when it does."""
_INFO = 1_000_000
"""Bytes that the infos of a step may have."""
_STEPS, _GROWTH = 100, 16_000_000
"""So many steps, and more episodes, may not make the process grow by so many bytes."""


def check_environment(id_: str, deadline: float = 30.0, **kwargs: Any) -> None:
    """Check the environment `id_`, registered or "module:Class", made with `kwargs`, in processes of their own.

    A call of it may take `deadline` seconds. Raises `AssertionError` naming all that is wrong.
    """
    found = checked(id_, kwargs, deadline)
    if found:
        raise AssertionError("\n".join([f"{id_}:", *(f"  - {problem}" for problem in found)]))


def checked(id_: str, kwargs: Mapping[str, Any], deadline: float) -> list[str]:
    """See `check_environment`: what is wrong, in sentences. Two processes play it, which must see the same."""
    seen: list[str] = []
    for _ in range(2):
        worker = Worker(deadline)
        try:
            found, digest = worker.ask(f"{__name__}:findings", id_, dict(kwargs))
        except LostError as lost:
            return [str(lost)]
        finally:
            worker.end()
        if found:
            return cast("list[str]", found)
        seen.append(digest)
    return [] if seen[0] == seen[1] else ["another process gives other episodes from the same seed"]


def findings(id_: str, kwargs: Mapping[str, Any], beat: Beat = silent) -> tuple[list[str], str]:
    """What is wrong, in sentences, and a digest of what was played: of several agents as each, the others at random."""
    played = ""
    try:
        import_module_of(id_)
        for seat in _seats(id_, kwargs, beat):
            found, digest = _findings(recipe(id_, kwargs, seat=seat), beat)
            if found:
                return [f"as {seat.agent}: {problem}" if seat else problem for problem in found], ""
            played += digest
    except UserError as error:
        return [str(error)], ""
    return [], played


def _seats(id_: str, kwargs: Mapping[str, Any], beat: Beat) -> Sequence[Seat | None]:
    """The agents of an environment of PettingZoo; one None where it is of Gymnasium."""
    if ":" not in id_ or not makes_company(named(id_)[1], id_.partition(":")[2]):
        return [None]
    beat(-1)
    try:
        return [Seat(agent) for agent in agents_of(environment_of(id_)(**kwargs), id_)]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{id_} cannot be made: {told(error)}") from error


def _findings(what: Recipe, beat: Beat) -> tuple[list[str], str]:
    seen = describe(what, beat)
    spaces = (("observation", seen.observation_space), ("action", seen.action_space))
    found = [
        f"{kind} space {space}: {problem}"
        for kind, space in spaces
        if (problem := space_problem(space, acted=kind == "action")) is not None
    ]
    if found:
        return found, ""
    play = _Play(what, seen.limit or _UNENDED, beat)
    first = play.episodes(0)
    if play.problem:
        return [play.problem], ""
    if play.episodes(0) != first:
        return [
            play.problem
            or "a new environment gives other episodes from the same seed; draw from self.np_random alone, which "
            "super().reset(seed=seed) seeds"
        ], ""
    later = play.episodes(1)
    if not play.problem and later[-1] != first[0]:
        return ["it remembers earlier episodes: reset with the same seed gives another one after some"], ""
    found = [problem for problem in (play.problem, *play.aliased, *play.choices(), play.growth()) if problem]
    return found, "".join(first)


class _Play:
    """Episodes of an environment; the first thing that was wrong is its `problem`."""

    def __init__(self, what: Recipe, limit: int, beat: Beat) -> None:
        self._what, self._limit, self._beat = what, limit, beat
        self.problem = ""
        self.aliased: set[str] = set()

    def episodes(self, before: int) -> list[str]:
        """Digests of `_EPISODES` episodes of seeds from 0 on, or of one of seed 0 after so many others."""
        return self._with(lambda env: self._played(env, before)) or []

    def choices(self) -> list[str]:
        """What it does with a choice that there is not."""
        return self._with(self._chosen) or []

    def growth(self) -> str:
        """Whether memory grows from step to step."""
        return self._with(self._grown) or ""

    def _with(self, use: Callable[[gym.Env[Any, Any]], Any]) -> Any:
        """What `use` makes of a new environment; what that raises is the problem."""
        if self.problem:
            return None
        self._beat(-1)
        try:
            env = make(self._what, {})
            try:
                return use(env)
            finally:
                env.close()
        except Exception as error:  # noqa: BLE001 - it is the environment's
            self.problem = told(error)
            return None

    def _played(self, env: gym.Env[Any, Any], before: int) -> list[str]:
        seeds = [*range(1, before + 1), 0] if before else range(_EPISODES)
        return [self._episode(env, seed) for seed in seeds]

    def _episode(self, env: gym.Env[Any, Any], seed: int) -> str:
        """Play to the end; a digest of it."""
        digest, actions = hashlib.sha256(), copy.deepcopy(env.action_space)
        actions.seed(seed)
        answer, read = self._reset(env, seed), Reader(env.observation_space)
        digest.update(answered_reset(read, answer).tobytes())
        self._inside(env, answer[0], "reset", 0)
        for step in range(1, self._limit + 1):
            shown, kept = answer[0], copy.deepcopy(answer[0])
            self._beat(-1)
            answer = env.step(actions.sample())
            observation, reward, terminated, truncated, _ = answered_step(read, answer)
            digest.update(observation.tobytes() + np.array([reward, terminated, truncated]).tobytes())
            self._inside(env, answer[0], "step", step)
            if not _equal(shown, kept):
                self.aliased.add("an observation changes with the next step: return a copy of it")
            if (size := len(pickle.dumps(answer[4]))) > _INFO:
                raise BrokenAnswer(f"the info of step {step} has {size:,} bytes, more than {_INFO:,}")
            if terminated or truncated:
                return digest.hexdigest()
        advice = "say truncated, or register it with max_episode_steps; a family of it needs family.horizon"
        raise BrokenAnswer(f"an episode has not ended after {self._limit:,} steps: {advice}")

    def _reset(self, env: gym.Env[Any, Any], seed: int) -> Any:
        self._beat(-1)
        return env.reset(seed=seed)

    def _inside(self, env: gym.Env[Any, Any], observation: Any, call: str, step: int) -> None:
        """Raise `BrokenAnswer` where an observation is not in its space, bounds and types included."""
        space = env.observation_space
        if not space.contains(observation):
            raise BrokenAnswer(f"{call} gave an observation outside of {space} in step {step}: {_shown(observation)}")

    def _chosen(self, env: gym.Env[Any, Any]) -> list[str]:
        space = cast(Any, env.action_space)
        if type(space) is not gym.spaces.Discrete or self._what.seat is not None:
            return []  # many clip numbers, as Gymnasium's own robots do; PettingZoo leaves it to wrappers
        self._reset(env, 0)
        wrong = int(space.start + space.n)
        self._beat(-1)
        try:
            env.step(cast(Any, wrong))
        except Exception:  # noqa: BLE001 - as it should
            return []
        return [f"it takes the action {wrong}, which {space} does not have: raise an error"]

    def _grown(self, env: gym.Env[Any, Any]) -> str:
        actions = copy.deepcopy(env.action_space)
        actions.seed(0)
        before, ended = 0, True
        for step in range(2 * _STEPS):
            if step == _STEPS:
                before = _memory()
            if ended:
                self._reset(env, step)
            self._beat(-1)
            _, _, terminated, truncated, _ = env.step(actions.sample())
            ended = terminated or truncated
        grown = _memory() - before
        return f"its memory grew by {grown:,} bytes in {_STEPS} steps" if grown > _GROWTH else ""


def _shown(observation: object) -> str:
    return f"{brief(observation)}, {getattr(observation, 'dtype', 'no array')}"


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_equal(value, other[key]) for key, value in cast("dict[Any, Any]", one).items())
    if isinstance(one, tuple):
        return all(map(_equal, cast("tuple[Any, ...]", one), other))
    return bool(np.array_equal(one, other))


def _memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
