"""Automatic domain randomisation: the range of every knob widens as long as the agent copes at its ends.

Every knob has a range [low, high] that begins at its default value. With probability `boundary` a task has one knob at
one end of its range, the others uniform inside theirs; what the agent returns there goes into that end's queue. A full
queue is averaged and emptied: at or above one threshold the end moves outwards by a step, at or below another inwards.

Reference: OpenAI (Akkaya et al.) 2019, "Solving Rubik's Cube with a Robot Hand", section 5.2, algorithms 1 and 2.

Differences from the paper: ends move between the default and the knob's limit, by a share of the limits' distance.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from plugins.curricula.knobs import Floats, Placed, PlacedConfig, performance
from registry.errors import CheckpointError, ConfigError
from taskgen.family import TaskFamily
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec

_SHOWN = 8  # knobs whose ranges are reported
_REMEMBERED = 100_000  # tasks at an end that are waited for


class AdrConfig(PlacedConfig):
    """Settings of `Adr`."""

    boundary: float = Field(0.5, gt=0, le=1, description="Share of tasks with a knob at an end of its range.")
    step: float = Field(0.02, gt=0, le=1, description="How far an end moves, over the distance of the limits.")
    queue: int = Field(240, ge=1, description="Results at an end that are averaged.")
    widen_above: float | None = Field(
        None, description="Mean return of an episode, in what tasks pay, from which on an end moves outwards."
    )
    narrow_below: float | None = Field(
        None, description="Mean return of an episode, in what tasks pay, up to which an end moves inwards."
    )


class Adr(Placed):
    """A `Curriculum`. Raises `ConfigError` without the two thresholds, which no two families share."""

    def __init__(self, config: AdrConfig, *, family: TaskFamily[Any], seed: np.random.SeedSequence) -> None:
        above, below = config.widen_above, config.narrow_below
        if above is None or below is None or below >= above:
            raise ConfigError(
                [f"narrow_below = {below} and widen_above = {above}: give returns, the first below the second"], "adr"
            )
        super().__init__(config, family=family, seed=seed, extra=2)
        self._above, self._below = above, below
        self._config = config
        self._default = self.knobs.default()
        self._ends = np.stack([self._default, self._default])
        """[2, D] low and high end of every range."""
        self._queues: list[deque[float]] = [deque() for _ in range(self._ends.size)]
        self._waiting: dict[str, list[int]] = {}
        """Numbers of the ends that a task lies at, one for each time that it was given out, until it is told."""

    @property
    def ranges(self) -> Floats:
        """[2, D] low and high end of every range, as values of the knobs."""
        return self.knobs.low + self._ends * (self.knobs.high - self.knobs.low)

    def tell(self, results: Sequence[TaskResult]) -> None:
        """Results at the ends fill their queues; full queues move the ends."""
        super().tell(results)
        for result in results:
            ends = self._waiting.get(result.spec.id)
            if not ends:
                continue
            end = ends.pop(0)
            if not ends:
                del self._waiting[result.spec.id]
            self._queues[end].append(performance(result))
            if len(self._queues[end]) >= self._config.queue:
                self._move(end, float(np.mean(self._queues[end])))
                self._queues[end].clear()

    def metrics(self) -> dict[str, float]:
        """How wide the ranges are in the mean, over the distance of the limits, and each."""
        widths = {"tasks/adr_width": float((self._ends[1] - self._ends[0]).mean())}
        if len(self.knobs.labels) <= _SHOWN:
            for name, (low, high) in zip(self.knobs.labels, self.ranges.T.tolist(), strict=True):
                widths |= {f"tasks/low_{name}": low, f"tasks/high_{name}": high}
        return {**super().metrics(), **widths}

    def state_dict(self) -> dict[str, Any]:
        """Ends, queues and tasks that are waited for, beside the source."""
        queues = [list(queue) for queue in self._queues]
        own = {
            "ends": self._ends.tolist(),
            "queues": queues,
            "waiting": {task: list(ends) for task, ends in self._waiting.items()},
        }
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `CheckpointError` for ranges of other knobs."""
        ends = np.asarray(state.get("ends"), dtype=np.float64)
        if ends.shape != self._ends.shape:
            raise CheckpointError(f"state of adr: ranges of shape {ends.shape}, expected {self._ends.shape}")
        super().load_state_dict(state)
        self._ends = ends
        self._queues = [deque(queue) for queue in state["queues"]]
        self._waiting = {task: list(ends) for task, ends in state["waiting"].items()}

    def _choose(self, uniform: Floats) -> Floats:
        low, high = self._ends
        point = low + uniform[2:] * (high - low)
        end = self._end(uniform)
        if end is not None:
            side, number = divmod(end, len(point))
            point[number] = self._ends[side, number]
        return point

    def _given_out(self, spec: TaskSpec, uniform: Floats) -> None:
        end = self._end(uniform)
        if end is not None:
            self._waiting.setdefault(spec.id, []).append(end)
            if len(self._waiting) > _REMEMBERED:
                del self._waiting[next(iter(self._waiting))]

    def _end(self, uniform: Floats) -> int | None:
        """The end that a task lies at: knob d's low one is d, its high one D + d; None for a task inside."""
        return int(uniform[1] * self._ends.size) if uniform[0] < self._config.boundary else None

    def _move(self, end: int, mean: float) -> None:
        """Algorithm 1: outwards where the agent copes, inwards where it fails."""
        outwards = 1 if mean >= self._above else -1 if mean <= self._below else 0
        side, number = divmod(end, self._ends.shape[1])
        direction, limit, default = (1, 1.0, self._default[number]) if side else (-1, 0.0, self._default[number])
        moved = self._ends[side, number] + direction * outwards * self._config.step
        self._ends[side, number] = np.clip(moved, min(default, limit), max(default, limit))
