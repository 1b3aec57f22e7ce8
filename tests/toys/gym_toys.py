"""Gymnasium environments with a fault each, all harmless, and a good one; what they are called is what they do."""

import os
import time
from typing import Any

import gymnasium as gym
import numpy as np


class Corridor(gym.Env[Any, Any]):
    """Walk `length` steps to the right; an episode has 20 steps at most, the start is drawn."""

    def __init__(self, length: float = 5.0, speed: int = 1, unused: float = 0.0) -> None:
        self.observation_space = gym.spaces.Box(-50.0, 50.0, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.length, self.speed = length, speed
        self.max_steps = 20
        self.slope = Slope()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        self.place = float(self.np_random.uniform(-0.1, 0.1)) + (options or {}).get("start", 0.0)
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, bool, dict[str, Any]]:
        self.time += 1
        self.place += (2 * int(action) - 1) * self.speed + self.slope.pull
        there = self.place >= self.length
        return self.seen(), float(there), bool(there), self.time >= self.max_steps, {}

    def seen(self) -> Any:
        return np.array([self.place, self.time], dtype=np.float32)


class Slope:
    def __init__(self) -> None:
        self.pull = 0.0


class NondeterministicStep(Corridor):
    def step(self, action: Any) -> Any:
        self.place += float(np.random.default_rng().normal(0.0, 0.1))
        return super().step(action)


class IgnoresSeed(Corridor):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=None if seed is None else int(np.random.default_rng().integers(1000)))
        return self.seen(), {}


class AliasedBuffer(Corridor):
    def seen(self) -> Any:
        self.buffer = getattr(self, "buffer", np.zeros(2, dtype=np.float32))
        self.buffer[:] = self.place, self.time
        return self.buffer


class Later(Corridor):
    """Faults from step `since` on."""

    since = 3

    def step(self, action: Any) -> Any:
        outcome = super().step(action)
        return outcome if self.time < self.since else self.fault(list(outcome))

    def fault(self, outcome: list[Any]) -> Any:
        raise NotImplementedError


class NanReward(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return outcome[0], float("nan"), *outcome[2:]


class InfiniteReward(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return outcome[0], float("inf"), *outcome[2:]


class NanObservation(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return np.full(2, np.nan, dtype=np.float32), *outcome[1:]


class WrongType(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return np.array(["a", "b"]), *outcome[1:]


class DoubleObservation(Later):
    """What Gymnasium's checker counts as a wrong type; its numbers are right."""

    def fault(self, outcome: list[Any]) -> Any:
        return outcome[0].astype(np.float64), *outcome[1:]


class WholeOutOfBounds(Later):
    """Whole numbers, which are read by their place in the space."""

    def __init__(self, length: float = 5.0) -> None:
        super().__init__(length)
        self.observation_space = gym.spaces.Box(0, 40, (2,), np.int64)

    def seen(self) -> Any:
        return np.array([min(self.time, 40), self.time])

    def fault(self, outcome: list[Any]) -> Any:
        return np.array([41, 0]), *outcome[1:]


class WrongShape(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return np.zeros(3, dtype=np.float32), *outcome[1:]


class IntegerTerminated(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return *outcome[:2], int(outcome[2]), *outcome[3:]


class FourValues(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return tuple(outcome[:4])


class NoSeed(Corridor):
    def reset(self, options: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().reset(options=options)


class OutOfBounds(Later):
    since = 1

    def fault(self, outcome: list[Any]) -> Any:
        return np.full(2, 51.0, dtype=np.float32), *outcome[1:]


class OutOfBoundsLater(OutOfBounds):
    since = 6


class NeverEnds(Corridor):
    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        return np.clip(observation, -50.0, 50.0), reward, False, False, info


class Endless(NeverEnds):
    """Nor does it say after how many steps it might."""

    def __init__(self) -> None:
        super().__init__()
        self.max_steps = 0


class Hangs(Later):
    def fault(self, outcome: list[Any]) -> Any:
        time.sleep(20.0)
        return tuple(outcome)


class Dies(Later):
    def fault(self, outcome: list[Any]) -> Any:
        os._exit(7)


class Raises(Later):
    def fault(self, outcome: list[Any]) -> Any:
        raise ValueError("the floor gave way")


class HeavyInfo(Later):
    def fault(self, outcome: list[Any]) -> Any:
        return *outcome[:4], {"film": np.zeros(10_000_000, dtype=np.uint8)}


class TakesAnything(Corridor):
    """Takes actions that its space does not have."""


class Careful(Corridor):
    """Refuses what is no action; nothing is wrong with it."""

    def step(self, action: Any) -> Any:
        if not self.action_space.contains(action):
            raise ValueError(f"{action} is no action")
        return super().step(action)


class GrowingMemory(Corridor):
    def step(self, action: Any) -> Any:
        self.kept = [*getattr(self, "kept", []), bytearray(b"x") * 250_000]
        return super().step(action)


class OtherEverywhere(Careful):
    """Its start depends on the process."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place += os.getpid() % 1000 / 1000.0
        return self.seen(), {}


class OtherSpaces(Corridor):
    """Its observations are of another size where it is long."""

    def __init__(self, length: float = 5.0) -> None:
        super().__init__(length)
        if length > 7.0:
            self.observation_space = gym.spaces.Box(-50.0, 50.0, (3,), np.float32)


class RefusesLong(Corridor):
    def __init__(self, length: float = 5.0) -> None:
        super().__init__(length)
        if length > 7.0:
            raise ValueError("too long")


class HangsWhenLong(Corridor):
    def step(self, action: Any) -> Any:
        if self.length > 7.0:
            time.sleep(20.0)
        return super().step(action)


class DiesWhenLong(Corridor):
    def step(self, action: Any) -> Any:
        if self.length > 7.0:
            os._exit(7)
        return super().step(action)


class Forgets(Corridor):
    """Does not begin anew where it is reset."""

    worn = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.place += self.worn
        self.worn += 0.01
        return self.seen(), {}


class Parts(Corridor):
    """A Dict observation and a Tuple action, whose choices begin at 1."""

    def __init__(self, length: float = 5.0) -> None:
        super().__init__(length)
        self.observation_space = gym.spaces.Dict(
            {"place": gym.spaces.Box(-50.0, 50.0, (1,), np.float32), "late": gym.spaces.Discrete(2, start=1)}
        )
        self.action_space = gym.spaces.Tuple((gym.spaces.Discrete(2, start=1), gym.spaces.Box(0.0, 1.0, (1,))))

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        return super().step(int(action[0]) - 1)

    def seen(self) -> Any:
        return {"place": np.array([self.place], dtype=np.float32), "late": np.int64(1 + (self.time > 5))}


class Tells(Corridor):
    """Its info says whether the place is beyond 2, by a number; walking on, it may be left again."""

    def step(self, action: Any) -> Any:
        *answer, _ = super().step(action)
        return *answer, {"there": np.float64(self.place > 2.0)}


class TellsNumbers(Corridor):
    def step(self, action: Any) -> Any:
        *answer, _ = super().step(action)
        return *answer, {"there": 0.5}
