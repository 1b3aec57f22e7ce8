"""Environments of several agents, `pettingzoo.ParallelEnv`, as one agent of them sees them: the others are played here.

Who is not ours is played by a policy (`taskgen.engines.parallel_players`). What policies draw follows from the seed of
the reset, so that an environment that follows its seed still does. Nothing here trusts an environment or a policy: what
they answer wrongly is told by agent, see `taskgen.engines.gym_reading`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv  # pyright: ignore[reportMissingTypeStubs]

from registry.errors import UserError, brief, suggest
from registry.nameable import makes_company
from taskgen.engines.gym_reading import BrokenAnswer, told
from taskgen.engines.imported import named
from taskgen.engines.parallel_players import RANDOM, SEEDS, Player, player_of, policy_of

# pyright: reportUnknownMemberType=false

ANYBODY = "*"
"""Stands for the agents that are not named."""
_PACKAGES = ("pettingzoo",)
_ANSWER = ("observations", "rewards", "terminations", "truncations", "infos")
Environment = ParallelEnv[str, Any, Any]


@dataclass(frozen=True)
class Seat:
    """Whose part is ours; pickles."""

    agent: str
    others: tuple[tuple[str, str], ...] = ()
    """(agent or "*", policy); who is not named plays at random."""

    @property
    def names(self) -> tuple[str, ...]:
        """The policies "module:name"."""
        return tuple(policy for _, policy in self.others if policy != RANDOM)

    def scripted(self, agent: str) -> bool:
        """Whether `others` say who plays `agent`."""
        said = {name for name, _ in self.others}
        return agent != self.agent and (agent in said or ANYBODY in said)

    def policies(self) -> dict[str, Any]:
        """What `others` name, by agent or "*"; None: random. Raises `UserError` for what is no policy."""
        return {agent: policy_of(policy, f"others.{agent}") for agent, policy in self.others}


def environment_of(id_: str) -> Callable[..., Any]:
    """What makes the environment `id_`: a class, or a function that its name or its annotation says to be one.

    Raises `UserError`. A task names nothing else, since whatever it names is called.
    """
    if ":" not in id_:
        raise UserError(
            f"id = {id_!r}: expected module:name of a pettingzoo.ParallelEnv or of a function that makes one"
        )
    module, found = named(id_, packages=_PACKAGES)
    if not makes_company(found, path := id_.partition(":")[2]):
        known = [name for name, value in vars(module).items() if makes_company(value, name)]
        raise UserError(
            f"id = {id_!r}: {path!r} of {module.__name__} is no pettingzoo.ParallelEnv, and no function called "
            f"parallel_env or annotated to return one. {suggest(path, known)}"
        )
    return cast("Callable[..., Any]", found)


class Table:
    """A `ParallelEnv` some of whose agents, `ours`, are played by whoever holds this, the others by policies.

    What it answers is looked at: who plays has entries, ours are not dropped without an end, spaces stay.
    """

    def __init__(self, env: object, id_: str, policies: Mapping[str, Any], ours: Callable[[str], bool]) -> None:
        """`ours` says of an agent whether it is. Raises `UserError` for agents that there are not."""
        self.possible = agents_of(env, id_)
        self.env: Environment = cast(Environment, env)
        for name in policies:
            if name not in self.possible and name != ANYBODY:
                raise UserError(f"others.{name}: {id_} has no such agent. {suggest(name, self.possible)}")
        self.ours = [agent for agent in self.possible if ours(agent)]
        """In the order of `possible_agents`."""
        self.spaces = {agent: _spaces(self.env, agent, id_) for agent in self.possible}
        """Observation and action space by agent."""
        self._players: dict[str, Player] = {
            agent: player_of(agent, policies.get(agent, policies.get(ANYBODY)), *self.spaces[agent])
            for agent in self.possible
            if agent not in self.ours
        }
        self._seen: Mapping[str, Any] = {}
        self._infos: Mapping[str, Any] = {}
        self._ended: set[str] = set()
        self._random = np.random.default_rng()

    @property
    def playing(self) -> list[str]:
        """Who is there and has not ended."""
        return [agent for agent in self.env.agents if agent not in self._ended]

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Begin an episode: observations and infos of all. `seed` decides what policies draw from then on, too.

        Raises `BrokenAnswer` where that is wrong.
        """
        if seed is not None:
            self._random = np.random.default_rng(seed)
        answer = cast(Any, self.env).reset(seed=seed, options=options)
        self._seen, self._infos = _dicts("reset", answer, ("observations", "infos"))
        self._ended = set()
        playing = self.playing
        for agent in self.ours:
            if agent not in playing:
                raise BrokenAnswer(f"after reset {agent} is not among its agents, {_list(playing)}")
        self._look("reset", playing, (("observation", self._seen),))
        for agent in playing:
            for kind, known, found in zip(
                ("observation", "action"), self.spaces[agent], _spaces(self.env, agent, "it"), strict=True
            ):
                if found != known:
                    raise BrokenAnswer(f"the {kind} space of {agent} is {found} after reset, expected {known}")
        for player in self._players.values():
            player.begin(int(self._random.integers(SEEDS)))
        return self._seen, self._infos

    def step(self, actions: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """One step with the `actions` of ours that play: observations, rewards, flags and infos of all.

        Raises `BrokenAnswer` for what the environment or a policy answers wrongly.
        """
        playing = self.playing
        theirs = [agent for agent in playing if agent in self._players]
        given = {**actions, **{agent: self._action(agent) for agent in theirs}}
        answer = cast(Any, self.env).step({agent: given[agent] for agent in playing})
        five = _dicts("step", answer, _ANSWER)
        self._seen, rewards, terminations, truncations, self._infos = five
        flags = (("termination", terminations), ("truncation", truncations))
        self._look("step", playing, (*flags, ("reward", rewards), ("observation", self._seen)))
        self._ended |= {agent for agent in playing if terminations[agent] or truncations[agent]}
        for agent in self.ours:
            if agent in playing and agent not in self._ended and agent not in self.env.agents:
                raise BrokenAnswer(f"step dropped {agent}: not among its agents any more, nor terminated or truncated")
        for agent in theirs:
            self._told(agent, lambda of: of.see, *(x[agent] for x in five[:4]))
        return five

    def _look(self, call: str, agents: Sequence[str], parts: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Raise `BrokenAnswer` where a part lacks one of `agents`."""
        for agent in agents:
            if agent not in self.spaces:
                raise BrokenAnswer(f"{call} brought {agent!r}, who is none of its possible_agents")
            for name, found in parts:
                if agent not in found:
                    raise BrokenAnswer(f"{call} gave no {name} of {agent}, only of {_list(list(found))}")

    def _action(self, agent: str) -> Any:
        infos = self._infos.get(agent, {})
        action = self._told(agent, lambda of: of.act, self._seen[agent], infos)
        space = self.spaces[agent][1]
        if isinstance(space, gym.spaces.Box):
            action = np.asarray(action).astype(cast(Any, space).dtype)
        if not space.contains(action):
            raise BrokenAnswer(f"the policy of {agent} gave {brief(action)}, not in {space}")
        return action

    def _told(self, agent: str, call: Callable[[Player], Callable[..., Any]], *arguments: Any) -> Any:
        try:
            return call(self._players[agent])(*arguments)
        except Exception as error:
            raise BrokenAnswer(f"the policy of {agent}: {told(error)}") from error


class SeatEnv(gym.Env[Any, Any]):
    """One agent's part of a `ParallelEnv`; an episode ends when it ends. `unwrapped` is the `ParallelEnv` itself."""

    def __init__(self, env: object, id_: str, seat: Seat) -> None:
        """Raises `UserError` for agents that there are not."""
        self._table = Table(env, id_, seat.policies(), lambda agent: agent == seat.agent)
        self._agent, self.env = seat.agent, self._table.env
        if not self._table.ours:
            raise UserError(
                f"agent = {seat.agent!r}: {id_} has no such agent. {suggest(seat.agent, self._table.possible)}"
            )
        if seat.agent in dict(seat.others):
            raise UserError(f"others.{seat.agent}: this agent is ours")
        self.observation_space, self.action_space = self._table.spaces[seat.agent]
        self.metadata = dict(getattr(env, "metadata", {}))

    @property
    def unwrapped(self) -> Any:
        """The `ParallelEnv`, whose attributes tasks may set."""
        return self.env.unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env.reset`. Raises `BrokenAnswer`."""
        observations, _ = self._table.reset(seed, options)
        return observations[self._agent], {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See `gymnasium.Env.step`. Raises `BrokenAnswer`."""
        observations, rewards, terminations, truncations, _ = self._table.step({self._agent: action})
        name = self._agent
        return observations[name], rewards[name], terminations[name], truncations[name], {}

    def render(self) -> Any:
        """What the `ParallelEnv` draws."""
        return self._table.env.render()

    def close(self) -> None:
        """Close the `ParallelEnv`."""
        self._table.env.close()


class Company(ParallelEnv[str, Any, Any]):
    """A `ParallelEnv` without the agents that a seat's `others` say who plays: the rest is whoever holds this.

    `options` are those of every reset; with a `level`, every reset has this seed. Raises `BrokenAnswer` for what the
    environment or a policy answers wrongly.
    """

    def __init__(
        self, env: object, id_: str, seat: Seat, *, options: Mapping[str, Any] | None = None, level: int | None = None
    ) -> None:
        """Raises `UserError` for agents that there are not."""
        self._table = Table(env, id_, seat.policies(), lambda agent: not seat.scripted(agent))
        self._options, self._level = dict(options or {}), level
        self.possible_agents = self._table.ours
        self.agents = []
        self.metadata = dict(getattr(env, "metadata", {}))

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """See `pettingzoo.ParallelEnv.observation_space`."""
        return self._table.spaces[agent][0]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """See `pettingzoo.ParallelEnv.action_space`."""
        return self._table.spaces[agent][1]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """See `pettingzoo.ParallelEnv.reset`."""
        merged = {**self._options, **(options or {})}
        found = self._table.reset(seed if self._level is None else self._level, merged or None)
        self._leave()
        return self._of(found[0], self.agents), self._of(found[1], self.agents)

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """See `pettingzoo.ParallelEnv.step`."""
        playing = self.agents
        answer = [self._of(part, playing) for part in self._table.step(actions)]
        self._leave()
        return answer[0], answer[1], answer[2], answer[3], answer[4]

    def state(self) -> Any:
        """The environment's."""
        return self._table.env.state()

    def render(self) -> Any:
        """What the environment draws."""
        return self._table.env.render()

    def close(self) -> None:
        """Close the environment."""
        self._table.env.close()

    def _leave(self) -> None:
        playing = self._table.playing
        self.agents = [agent for agent in self.possible_agents if agent in playing]

    @staticmethod
    def _of(found: Mapping[str, Any], agents: Sequence[str]) -> dict[str, Any]:
        return {agent: found.get(agent, {}) for agent in agents}


def agents_of(env: object, id_: str) -> list[str]:
    """All agents of an environment. Raises `UserError` for what is none, or does not name them."""
    if not isinstance(env, ParallelEnv):
        raise UserError(f"{id_} gives {brief(env)}, expected a pettingzoo.ParallelEnv{_of_turns(env)}")
    found: object = getattr(cast(Environment, env), "possible_agents", None)
    names: list[object] = list(cast("list[Any]", found)) if isinstance(found, list | tuple) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{id_} has possible_agents = {brief(cast(Any, found))}, expected the names of all its agents")
    return [str(name) for name in names]


def _spaces(env: Environment, agent: str, id_: str) -> tuple[gym.Space[Any], gym.Space[Any]]:
    try:
        return env.observation_space(agent), env.action_space(agent)
    except Exception as error:
        raise BrokenAnswer(f"{id_} does not say the spaces of {agent}: {told(error)}") from error


def _dicts(call: str, answer: object, names: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    values = cast("tuple[Any, ...]", answer) if isinstance(answer, tuple) else ()
    if len(values) != len(names) or not all(isinstance(value, Mapping) for value in values):
        found = ", ".join(type(value).__name__ for value in values or (cast(object, answer),))
        raise BrokenAnswer(f"{call} gave ({found}), expected ({', '.join(names)}), dicts by agent")
    return values


def _list(names: Sequence[object]) -> str:
    return ", ".join(map(str, names)) or "nobody"


def _of_turns(env: object) -> str:
    turns = hasattr(env, "agent_iter")
    return "; pettingzoo.utils.aec_to_parallel makes one of an environment of turns" if turns else ""
