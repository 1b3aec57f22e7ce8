"""Environment steps per second of the tensor engine beside Gymnasium's SyncVectorEnv, one torch thread (and CUDA).

    python -m benchmarks.engine_throughput        about two minutes; nothing else should run beside it

Contestants play the same dynamics with random actions, and episodes that end are reset. They take turns, so that a
machine that slows down slows all of them. The SyncVectorEnv, with its default settings, runs environments written by
hand in plain NumPy; a second one runs `taskgen.make(task)`. Its calls that only reset a slot do not count as steps.
Ratios are medians over turns of the ratio within a turn, with their range.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray

import taskgen
from benchmarks.harness import Row, record, row
from taskgen.family import TaskFamily
from taskgen.streams import stream

SEED = 0
TURNS = 7
SECONDS = 0.4
"""Of a turn, at least."""
SOURCE = "design of the tensor engine"


class PlainBandit(gym.Env[NDArray[np.float32], np.int64]):
    """The bandit as one would write it by hand."""

    def __init__(self, probabilities: NDArray[np.float64], pulls: int) -> None:
        self.observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(len(probabilities))
        self.probabilities, self.pulls, self.time = probabilities.tolist(), pulls, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: np.int64) -> Any:
        """Pull an arm."""
        self.time += 1
        reward = float(self.np_random.random() < self.probabilities[action])
        return np.zeros(1, dtype=np.float32), reward, False, self.time >= self.pulls, {}


class PlainTabular(gym.Env[NDArray[np.float32], np.int64]):
    """The tabular MDP as one would write it by hand: inverse CDF, one-hot observation."""

    def __init__(self, rewards: NDArray[np.float64], cumulative: NDArray[np.float64], horizon: int) -> None:
        states, actions = rewards.shape
        self.observation_space = gym.spaces.Box(0.0, 1.0, (states,), np.float32)
        self.action_space = gym.spaces.Discrete(actions)
        self.rewards, self.cumulative, self.horizon = rewards.tolist(), cumulative, horizon
        self.states, self.state, self.time = states, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode in state 0."""
        super().reset(seed=seed)
        self.state = self.time = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> Any:
        """Go to the next state."""
        self.time += 1
        reward = self.rewards[self.state][action] + self.np_random.standard_normal()
        self.state = int(self.cumulative[self.state, action].searchsorted(self.np_random.random(), side="right"))
        return self._observation(), reward, False, self.time >= self.horizon, {}

    def _observation(self) -> NDArray[np.float32]:
        observation = np.zeros(self.states, dtype=np.float32)
        observation[self.state] = 1.0
        return observation


def plain_bandit(family: TaskFamily[Any], number: int) -> PlainBandit:
    """A bandit with random arms."""
    return PlainBandit(stream(SEED, "bandit", number).random(family.structure["arms"]), family.horizon)


def plain_tabular(family: TaskFamily[Any], number: int) -> PlainTabular:
    """A tabular MDP with random tables."""
    rng, states, actions = stream(SEED, "tabular", number), family.structure["states"], family.structure["actions"]
    transitions = rng.dirichlet(np.ones(states), (states, actions))
    return PlainTabular(rng.normal(1.0, 1.0, (states, actions)), transitions.cumsum(-1)[..., :-1], family.horizon)


@dataclass(frozen=True)
class Case:
    """A family with its settings, its hand-written counterpart and what is promised."""

    family: str
    settings: Mapping[str, Any]
    plain: Callable[[TaskFamily[Any], int], gym.Env[Any, Any]]
    targets: Mapping[int, str | None]
    """Slots -> promised ratio; None where nothing is."""


CASES = (
    Case("bandit", {"pulls": 10}, plain_bandit, {64: ">= 4", 16384: ">= 40"}),
    Case("bandit", {"pulls": 1}, plain_bandit, {64: ">= 4", 16384: ">= 40"}),
    Case("tabular-mdp", {}, plain_tabular, {64: ">= 4", 16384: ">= 20"}),
)


class Tensor:
    """The engine, eager. Actions are drawn on its device."""

    def __init__(self, family: TaskFamily[Any], slots: int, device: str) -> None:
        self._batch = family.batch(slots, device)
        self._batch.set_tasks([family.spec(seed=seed) for seed in range(slots)])
        self._batch.reset()
        self._actions: int = family.action_space.n  # type: ignore[attr-defined]
        self._generator = torch.Generator(device).manual_seed(SEED)
        self.slots, self.device = slots, torch.device(device)

    @torch.no_grad()
    def play(self, steps: int) -> float:
        """Take `steps` steps in all slots. Returns how many environment steps these were."""
        for _ in range(steps):
            action = torch.randint(self._actions, (self.slots,), generator=self._generator, device=self.device)
            outcome = self._batch.step(action)
            ended = outcome.terminated | outcome.truncated
            # On a CPU a look is free; on a GPU it would be a host sync, so there the mask alone decides.
            if self.device.type == "cuda" or bool(ended.any()):
                self._batch.reset(ended)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return steps * self.slots


class Sync:
    """SyncVectorEnv over any environments of fixed horizon, with actions drawn as one array."""

    def __init__(self, environments: list[gym.Env[Any, Any]], horizon: int) -> None:
        self._vector = SyncVectorEnv([lambda environment=environment: environment for environment in environments])
        self._vector.reset(seed=SEED)
        self._actions = environments[0].action_space.n  # type: ignore[attr-defined]
        self._rng = stream(SEED, "actions")
        self._slots, self._horizon = len(environments), horizon

    def play(self, steps: int) -> float:
        """Call `step` `steps` times. Returns how many environment steps these were."""
        for _ in range(steps):
            self._vector.step(self._rng.integers(self._actions, size=self._slots))
        return steps * self._slots * self._horizon / (self._horizon + 1)  # one call in between resets


def speeds(contestants: Mapping[str, Tensor | Sync]) -> dict[str, NDArray[np.float64]]:
    """Environment steps per second of every contestant in every turn. Before the first turn each warms up once."""
    steps = {name: _enough(contestant) for name, contestant in contestants.items()}
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(TURNS):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            done = contestant.play(steps[name])
            measured[name].append(done / (time.perf_counter() - started))
    return {name: np.array(values) for name, values in measured.items()}


def _enough(contestant: Tensor | Sync) -> int:
    """How many steps fill a turn."""
    contestant.play(1)
    started = time.perf_counter()
    contestant.play(2)
    return max(2, round(2 * SECONDS / (time.perf_counter() - started)))


def rows(case: Case, slots: int) -> Iterator[Row]:
    """Speeds and ratios of one family at one number of slots."""
    family = taskgen.build_family(case.family, case.settings)
    what = f"{case.family}{''.join(f', {name}={value}' for name, value in case.settings.items())}, {slots:,} slots"
    plain, faces = "SyncVectorEnv, plain NumPy", "SyncVectorEnv, taskgen.make"
    contestants: dict[str, Tensor | Sync] = {"tensor engine, cpu": Tensor(family, slots, "cpu")}
    contestants[plain] = Sync([case.plain(family, number) for number in range(slots)], family.horizon)
    if slots <= 64:
        contestants[faces] = Sync([taskgen.make(family.spec(seed=seed)) for seed in range(slots)], family.horizon)
    if torch.cuda.is_available():
        contestants["tensor engine, cuda"] = Tensor(family, slots, "cuda")
    measured = speeds(contestants)
    for name, values in measured.items():
        yield _row(f"{what}: {name}, steps per second", values)
    for name in measured:
        if name.startswith("tensor"):
            target = case.targets[slots]
            yield _row(f"{what}: {name}, times {plain}", measured[name] / measured[plain], target)


def _row(what: str, values: NDArray[np.float64], target: str | None = None) -> Row:
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    print(f"{what:80} {middle:14,.1f}   ({low:,.1f} to {high:,.1f})", flush=True)
    return row(what, middle, low, high, target, SOURCE if target else f"median and range of {TURNS} turns")


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    record(
        "engine_throughput", [found for case in CASES for slots in case.targets for found in rows(case, slots)], [SEED]
    )


if __name__ == "__main__":
    main()
