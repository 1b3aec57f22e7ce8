"""PettingZoo environments with a fault each, all harmless, and a good one; policies likewise."""

from typing import Any

import gymnasium as gym
import numpy as np
from pettingzoo import AECEnv, ParallelEnv

WALKER, PUSHERS = "walker_0", ("pusher_0", "pusher_1")


class Walk(ParallelEnv[str, Any, Any]):
    """Walk `length` to the right, 20 steps at most; two push by 0.1 each, the second of whom leaves after 3 steps.

    Actions: left, stay, right. The walker sees its place, drawn within 0.01 of `start`, and the time; pushers the time.
    """

    def __init__(self, length: float = 5.0, max_cycles: int = 20, render_mode: str | None = None) -> None:
        self.metadata = {"name": "walk_v0", "render_modes": ["rgb_array"]}
        self.possible_agents = [WALKER, *PUSHERS]
        self.agents: list[str] = []
        self.length, self.max_cycles, self.pull, self.render_mode = length, max_cycles, 0.0, render_mode
        self.seen_spaces = {
            WALKER: gym.spaces.Box(-50.0, 50.0, (2,), np.float32),
            **{pusher: gym.spaces.Box(0.0, 50.0, (1,), np.float32) for pusher in PUSHERS},
        }
        self.acted_spaces = {agent: gym.spaces.Discrete(3) for agent in self.possible_agents}

    def observation_space(self, agent: str) -> Any:
        return self.seen_spaces[agent]

    def action_space(self, agent: str) -> Any:
        return self.acted_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.agents, self.time = list(self.possible_agents), 0
        self.place = float(self.random.uniform(-0.01, 0.01)) + (options or {}).get("start", 0.0)
        return self.seen(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        assert set(actions) == set(self.agents)
        self.time += 1
        pushed = sum(int(action) - 1 for agent, action in actions.items() if agent != WALKER)
        self.place += int(actions[WALKER]) - 1 + 0.1 * pushed + self.pull
        there, late, playing = self.place >= self.length, self.time >= self.max_cycles, self.agents
        ended = {agent: there or (agent == PUSHERS[1] and self.time == 3) for agent in playing}
        self.agents = [agent for agent in playing if not (ended[agent] or late)]
        return (
            self.seen(playing),
            {agent: float(there) * (1 if agent == WALKER else -0.5) for agent in playing},
            ended,
            dict.fromkeys(playing, late),
            {agent: {} for agent in playing},
        )

    def seen(self, agents: Any) -> dict[str, Any]:
        late = np.array([self.time], dtype=np.float32)
        walker = np.array([self.place, self.time], dtype=np.float32)
        return {agent: walker if agent == WALKER else late for agent in agents}

    def render(self) -> Any:
        return np.full((4, 6, 3), self.time, dtype=np.uint8)


def parallel_env(**settings: Any) -> Any:
    return Walk(**settings)


def annotated(length: float = 5.0) -> ParallelEnv[str, Any, Any]:
    return Walk(length)


def unsaid(length: float = 5.0) -> Any:
    return Walk(length)


def of_turns() -> "ParallelEnv[str, Any, Any]":
    return AECEnv()  # type: ignore[return-value]


class Later(Walk):
    """Faults from step 3 on."""

    def step(self, actions: dict[str, Any]) -> Any:
        answer = super().step(actions)
        return answer if self.time < 3 else self.fault([dict(part) for part in answer])

    def fault(self, parts: list[dict[str, Any]]) -> Any:
        raise NotImplementedError


class Raises(Later):
    def fault(self, parts: Any) -> Any:
        raise ValueError("the floor gave way")


class Drops(Later):
    def fault(self, parts: Any) -> Any:
        self.agents = [agent for agent in self.agents if agent != WALKER]
        return tuple(parts)


class Vanishes(Later):
    def fault(self, parts: Any) -> Any:
        self.agents = [agent for agent in self.agents if agent != WALKER]
        return tuple({agent: value for agent, value in part.items() if agent != WALKER} for part in parts)


class LacksRewards(Later):
    def fault(self, parts: Any) -> Any:
        return parts[0], {}, *parts[2:]


class BlindPusher(Later):
    def fault(self, parts: Any) -> Any:
        del parts[0][PUSHERS[0]]
        return tuple(parts)


class NanReward(Later):
    def fault(self, parts: Any) -> Any:
        parts[1][WALKER] = float("nan")
        return tuple(parts)


class FourValues(Later):
    def fault(self, parts: Any) -> Any:
        return tuple(parts[:4])


class Lists(Later):
    def fault(self, parts: Any) -> Any:
        return [list(part.values()) for part in parts]


class WrongShape(Later):
    def fault(self, parts: Any) -> Any:
        parts[0][WALKER] = np.zeros(3, dtype=np.float32)
        return tuple(parts)


class Stranger(Walk):
    """Somebody comes in with the second episode."""

    episode = 0

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        answer = super().reset(seed, options)
        self.episode += 1
        if self.episode > 1:
            self.agents.append("ghost_0")
        return answer


class LeavesOut(Walk):
    """The walker does not come to the second episode."""

    episode = 0

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        answer = super().reset(seed, options)
        self.episode += 1
        if self.episode > 1:
            self.agents.remove(WALKER)
        return answer


class ChangesSpaces(Walk):
    """The walker has another choice in the second episode."""

    episode = 0

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        answer = super().reset(seed, options)
        self.episode += 1
        if self.episode > 1:
            self.acted_spaces[WALKER] = gym.spaces.Discrete(4)
        return answer


class OtherSpaces(Walk):
    """The walker sees more where it is long."""

    def __init__(self, length: float = 5.0) -> None:
        super().__init__(length)
        if length > 7.0:
            self.seen_spaces[WALKER] = gym.spaces.Box(-50.0, 50.0, (3,), np.float32)


class NeverEnds(Walk):
    def step(self, actions: dict[str, Any]) -> Any:
        self.length, self.max_cycles = 1e9, 10**9
        return super().step(actions)


class Endless(NeverEnds):
    """Nor does it say after how many steps it might."""

    def __init__(self) -> None:
        super().__init__()
        del self.max_cycles

    def step(self, actions: dict[str, Any]) -> Any:
        self.length, self.max_cycles = 1e9, 10**9
        return super().step(actions)


class Nameless(Walk):
    def __init__(self) -> None:
        super().__init__()
        del self.possible_agents


class Masked(Walk):
    """Pushers are told by a mask that only the right is allowed."""

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.masked(super().reset(seed, options))

    def step(self, actions: dict[str, Any]) -> Any:
        return self.masked(super().step(actions))

    def masked(self, answer: Any) -> Any:
        for pusher in PUSHERS:
            if pusher in answer[-1]:
                answer[-1][pusher] = {"action_mask": np.array([0, 0, 1])}
        return answer


# ------------------------------------------------------------------------------------------------ policies
def right(observation: Any, agent: str, rng: np.random.Generator) -> int:
    return 2


def drawn(observation: Any, agent: str, rng: np.random.Generator) -> int:
    return int(rng.integers(3))


def late_right(observation: Any, agent: str, rng: np.random.Generator) -> int:
    """By what it sees and who it is: right for the first from time 2 on."""
    return 2 if agent == PUSHERS[0] and observation[0] >= 2.0 else 1


def out_of_space(observation: Any, agent: str, rng: np.random.Generator) -> int:
    return 7


def breaks(observation: Any, agent: str, rng: np.random.Generator) -> int:
    raise KeyError("no such move")


def of_two(observation: Any, agent: str) -> int:
    return 1
