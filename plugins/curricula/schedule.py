"""Schedule: tasks of several sources in shares that change with time, by plan and not by results.

    [source]
    name = "schedule"
    sources.easy = { name = "domain-randomization", vary = { force = 10.0 } }
    sources.hard = "domain-randomization"
    points = [
        { iteration = 0, weights = { easy = 1.0 } },
        { iteration = 500, weights = { easy = 0.2, hard = 0.8 } },
    ]

Time is the number of iterations that results came of. Between two points shares stay, or change linearly.
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from plugins.curricula.shares import Shares, weight_problems
from registry.config import Config, Part
from registry.errors import CheckpointError, ConfigError
from taskgen.build import SOURCES
from taskgen.curriculum import Wrapper
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec


class Point(Config):
    """Shares at one time."""

    iteration: int = Field(0, ge=0, description="Iterations that are over.")
    weights: dict[str, float] = Field(default={}, description="Share of each source; they sum to 1.")


class ScheduleConfig(Config):
    """Settings of `Schedule`."""

    sources: dict[str, Part] = Field(
        default={}, description="The sources, by names of your choice.", json_schema_extra={"kind": SOURCES}
    )
    points: tuple[Point, ...] = Field((), description="Shares at some times, the first of them 0.")
    between: Literal["linear", "constant"] = Field(
        "linear", description="How shares go from one point to the next; after the last they stay."
    )


class Schedule(Wrapper):
    """A `Curriculum`. Raises `ConfigError` for points out of order and weights that do not sum to 1."""

    def __init__(self, config: ScheduleConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        _check(config)
        super().__init__(config.sources, family=family, seed=seed)
        self._config = config
        self._shares = Shares(tuple(config.sources))
        self._time = 0

    def ask(self, n: int) -> list[TaskSpec]:
        """The next `n` tasks, in the shares of now."""
        weights = self._weights()
        return self._give_by_turns([self._shares.turn(weights) for _ in range(n)])

    def tell(self, results: Sequence[TaskResult]) -> None:
        """An iteration is over."""
        super().tell(results)
        self._time += 1

    def metrics(self) -> dict[str, float]:
        """The shares of now."""
        shares = {f"tasks/share_{name}": weight for name, weight in self._weights().items()}
        return {**super().metrics(), **shares}

    def state_dict(self) -> dict[str, Any]:
        """The time and what each source is owed, beside the sources."""
        return {**super().state_dict(), "time": self._time, "shares": self._shares.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for another schedule."""
        if not isinstance(state.get("time"), int) or state["time"] < 0:
            raise CheckpointError(f"state of schedule: time = {state.get('time')!r}, expected an integer >= 0")
        super().load_state_dict(state)
        self._shares.load_state_dict(state.get("shares"))
        self._time = state["time"]

    def _weights(self) -> dict[str, float]:
        """Share of every source now."""
        points = self._config.points
        after = bisect_right(points, self._time, key=lambda point: point.iteration)
        left, right = points[after - 1], points[min(after, len(points) - 1)]
        if self._config.between == "constant" or left is right:
            return {name: left.weights.get(name, 0.0) for name in self.sources}
        part = (self._time - left.iteration) / (right.iteration - left.iteration)
        return {
            name: (1 - part) * left.weights.get(name, 0.0) + part * right.weights.get(name, 0.0)
            for name in self.sources
        }


def _check(config: ScheduleConfig) -> None:
    times = [point.iteration for point in config.points]
    problems = [] if times[:1] == [0] else ["points: the first is that of iteration 0, and there is none"]
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        problems.append(f"points: iterations {times} are to rise from point to point")
    for number, point in enumerate(config.points):
        problems += weight_problems(point.weights, config.sources, f"points[{number}].weights")
    used = {name for point in config.points for name, weight in point.weights.items() if weight > 0}
    problems += [f"sources.{name} never has a share" for name in config.sources if name not in used]
    if problems:
        raise ConfigError(problems, "schedule")
