"""Who plays the agents of a `pettingzoo.ParallelEnv` that are not ours.

A policy is "random", or what "module:name" stands for, which is one of

    a function of (observation, agent, rng) that gives an action; it draws from the `numpy.random.Generator` alone
    an agent that was trained, as `agents.api.load` gives it, or a function annotated "-> LoadedAgent" that loads it
    when it is needed; every episode is a trial of its own

What they draw follows from the seed of the episode.
"""

import copy
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np

from registry.errors import UserError, brief, suggest
from registry.nameable import POLICY, is_policy, loads_agent
from taskgen.engines.imported import named

# pyright: reportUnknownMemberType=false

RANDOM = "random"
SEEDS = 2**53
"""Streams that there are."""


class Player(Protocol):
    """Who plays one agent."""

    def begin(self, seed: int) -> None:
        """An episode begins; what is drawn in it follows from `seed`."""
        ...

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        """The action for what the agent sees."""
        ...

    def see(self, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """What came of the action."""
        ...


def policy_of(name: str, setting: str) -> Any:
    """What the policy `name` stands for; None: random. Raises `UserError`, which begins with `setting`."""
    if name == RANDOM:
        return None
    if ":" not in name:
        raise UserError(f"{setting} = {name!r}: expected 'random' or module:name of a policy")
    module, found = named(name, setting)
    if loads_agent(found):
        return _loaded(found)
    if _trained(found) or is_policy(found):
        return found
    known = [one for one, value in vars(module).items() if _trained(value) or is_policy(value) or loads_agent(value)]
    raise UserError(
        f"{setting} = {name!r}: expected a function of ({', '.join(POLICY)}), what agents.api.load gives, or "
        f"a function annotated -> LoadedAgent, found "
        f"{brief(found)}. {suggest(name.partition(':')[2], known)}"
    )


@lru_cache(maxsize=64)
def _loaded(load: Callable[[], Any]) -> Any:
    """What `load` gives, once for all environments."""
    return load()


def _trained(found: object) -> bool:
    return all(hasattr(found, name) for name in ("agent", "problem", "family", "trial")) and not isinstance(found, type)


def player_of(agent: str, policy: Any, observed: gym.Space[Any], acted: gym.Space[Any]) -> Player:
    """Who plays `agent`, of these observation and action spaces, by `policy`, see `policy_of`.

    Raises `UserError` for a trained agent of other spaces.
    """
    if policy is None:
        return _Random(acted)
    return _Trained(policy, agent, observed, acted) if _trained(policy) else _Scripted(policy, agent)


class _Random:
    """Draws uniformly from the action space, from what a mask allows where the agent is shown one."""

    def __init__(self, space: gym.Space[Any]) -> None:
        self._space = copy.deepcopy(space)

    def begin(self, seed: int) -> None:
        self._space.seed(seed % 2**31)

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        shown = cast("Mapping[str, Any]", observation) if isinstance(observation, Mapping) else info
        mask = shown.get("action_mask", info.get("action_mask"))
        return self._space.sample() if mask is None else self._space.sample(np.asarray(mask, dtype=np.int8))

    def see(self, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """Nothing is learned."""


class _Scripted:
    """Asks a function."""

    def __init__(self, function: Callable[..., Any], agent: str) -> None:
        self._function, self._agent = function, agent
        self._random = np.random.default_rng()

    def begin(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        return self._function(observation, self._agent, self._random)

    def see(self, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """It is told by the next observation."""


class _Trained:
    """Plays a trained agent, a trial an episode.

    Several environments may share the agent, whose random stream is begun anew before each of its actions for that.
    """

    def __init__(self, loaded: Any, agent: str, observed: gym.Space[Any], acted: gym.Space[Any]) -> None:
        self._loaded = loaded
        found = (("sees", loaded.family.observation_space, observed), ("acts in", loaded.family.action_space, acted))
        for verb, theirs, space in found:
            if theirs != space:
                raise UserError(f"others.{agent}: the agent that was loaded {verb} {theirs}, while {agent} has {space}")
        self._random = np.random.default_rng()
        self._trial: Any = loaded.trial(episodes=1)

    def begin(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._reseed()
        self._trial = self._loaded.trial(episodes=1)

    def act(self, observation: Any, info: Mapping[str, Any]) -> Any:
        self._reseed()
        return self._trial.act(observation)

    def see(self, observation: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        self._trial.observe(observation, float(reward), bool(terminated), bool(truncated))

    def _reseed(self) -> None:
        if hasattr(self._loaded.agent, "reseed"):
            self._loaded.agent.reseed(int(self._random.integers(SEEDS)))
