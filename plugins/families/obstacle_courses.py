"""What walkers on POET's obstacle courses share: roughness, pits, stumps and stairs are the task.

Courses are those of Wang et al. 2019, "Paired Open-Ended Trailblazer (POET)", and its released code, but for the number
of stairs and how high stumps float, which include the upper end of their ranges. A course is fixed by the ranges and
the task's seed: whoever the walker, tasks of equal ranges and seed have the same.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from plugins.families import terrain
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines import noise
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange, Uniform

_TABLES = -1  # the child of the task's seed that draws the course; episodes are children 0, 1, 2, ...

_FIRST = {
    "pit_gap": (0.0, 0.8),
    "stump_height": (0.0, 0.4),
    "stump_float": (0, 0),
    "stair_height": (0.0, 0.4),
    "stair_steps": (1, 2),
}
"""What mutation makes of obstacles that a course has none of."""
_MOVES = {"pit_gap": 0.4, "stump_height": 0.2, "stump_float": 1, "stair_height": 0.2, "stair_steps": 1}
_SWITCHES = {"stump_float": "stump_height", "stair_steps": "stair_height"}
"""The range that says whether there are such obstacles, where it is another."""


class ObstacleConfig(Config):
    """Structural settings of a family of obstacle courses."""

    horizon: int = Field(2000, ge=1, le=100_000, description="Steps per episode.")
    rough: bool = Field(default=True, description="Whether the ground can be rough.")
    pits: bool = Field(default=True, description="Whether there can be pits.")
    stumps: bool = Field(default=True, description="Whether there can be stumps.")
    stairs: bool = Field(default=False, description="Whether there can be stairs; in POET's own runs there are none.")

    @model_validator(mode="after")
    def _some(self) -> "ObstacleConfig":
        if not (self.rough or self.pits or self.stumps or self.stairs):
            raise ValueError("all of rough, pits, stumps and stairs are off; leave one on")
        return self


C = TypeVar("C", bound=ObstacleConfig)


class ObstacleCourses(TaskFamily[C]):
    """Flat ground with obstacles whose sizes are drawn from ranges. A subclass says who walks there."""

    floating = False
    """Whether stumps can float."""
    solved_return = 230.0
    """POET's threshold."""

    @cached_property
    def measures(self) -> dict[str, tuple[float, float]]:
        """See `taskgen.family.Measured`."""
        sizes = {name: knob for name, knob in self.context_space.knobs.items() if name not in _SWITCHES}
        return {name: (knob.low, knob.high) for name, knob in sizes.items()}

    @cached_property
    def context_space(self) -> ContextSpace:
        """Roughness and the ranges that sizes of obstacles are drawn from; [0, 0]: no such obstacles."""
        config = self.config
        knobs = {
            "roughness": (config.rough, Knob(0, 10, 0, "Factor of the unevenness.", vary=Uniform(low=0, high=10))),
            "pit_gap": (config.pits, _range(10, "Least and greatest width of pits.")),
            "stump_height": (config.stumps, _range(5, "Least and greatest height of stumps.")),
            "stump_float": (
                config.stumps and self.floating,
                _count(0, 5, "Least and greatest height of the foot of stumps above the ground.", "steps"),
            ),
            "stair_height": (config.stairs, _range(5, "Least and greatest height of a stair.")),
            "stair_steps": (config.stairs, _count(1, 9, "Fewest and most stairs in a row.")),
        }
        return ContextSpace({name: knob for name, (enabled, knob) in knobs.items() if enabled})

    def validate(self, context: Mapping[str, Any]) -> None:
        """Ranges are ordered."""
        for name in _FIRST:
            if name in context and context[name][0] > context[name][1]:
                low, high = context[name]
                raise TaskError(f"{self.name}: {name} = [{low:g}, {high:g}] has its ends the wrong way round")

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:
        """The course is, unless it is flat: without roughness and obstacles."""
        heights = (context.get(name, (0.0, 0.0))[1] for name in ("pit_gap", "stump_height", "stair_height"))
        return context.get("roughness", 0.0) > 0 or any(height > 0 for height in heights)

    def course(self, spec: TaskSpec) -> NDArray[np.float64]:
        """[P, 5] the pieces of ground of a task, see `plugins.families.terrain.course`."""
        return terrain.course(spec.context, self.luck(spec))

    @staticmethod
    def luck(spec: TaskSpec) -> NDArray[np.float64]:
        """[LENGTH, DRAWS] the uniforms in (0, 1) that the course of a task is drawn with."""
        key = noise.child(noise.keys([spec.seed]), _TABLES)
        return noise.uniforms64(key, terrain.LENGTH * terrain.DRAWS).numpy().reshape(terrain.LENGTH, terrain.DRAWS)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """POET's mutation of every kind of obstacle: one end of a range moves by a step, or both; or the kind appears.

        Roughness moves by up to 0.6. Values are rounded to a tenth; no end falls below that of the first range.
        """
        child = dict(context)
        if "roughness" in context:
            child["roughness"] = round(float(np.clip(context["roughness"] + rng.uniform(-0.6, 0.6), 0.0, 10.0)), 1)
        for name, first in _FIRST.items():
            if name not in context:
                continue
            if context[_SWITCHES.get(name, name)][1] == 0:
                child[name] = first
                continue
            choices = self._moves(name, context[name])
            if choices:
                child[name] = choices[int(rng.integers(len(choices)))]
        return child

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[5] roughness, pit gap, stump height, as POET's novelty has them; then what else there can be, two each.

        That is how high stumps float, height of stairs and their number. What is switched off is 0.
        """
        parts = [[context.get("roughness", 0.0)], *(context.get(name, (0, 0)) for name in ("pit_gap", "stump_height"))]
        if self.floating:
            parts += [context.get("stump_float", (0, 0))]
        if self.config.stairs:
            parts += [context["stair_height"], context["stair_steps"]]
        return np.concatenate(parts).astype(np.float64)

    def measure(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[M] roughness, and the upper end of every range of sizes: what a walker has to cope with."""
        return np.array([np.max(context[name]) for name in self.measures], dtype=np.float64)

    def _moves(self, name: str, now: Sequence[float]) -> list[tuple[float, float]]:
        """Every range that one mutation may make of `now`."""
        step, first, most = _MOVES[name], _FIRST[name], self.context_space.knobs[name].high
        ends = [
            [value for move in (step, 0, -step) if first[end] <= (value := round(now[end] + move, 1)) <= most]
            for end in (0, 1)
        ]
        return [(low, high) for low in ends[0] for high in ends[1] if low <= high and (low, high) != tuple(now)]


def _range(high: float, text: str) -> Knob:
    vary = Uniform(low=0.0, high=high)
    return Knob(0.0, high, 0.0, f"{text} [0, 0]: none.", unit="steps", shape=(2,), vary=vary, ordered=True)


def _count(low: int, high: int, text: str, unit: str = "") -> Knob:
    vary = IntegerRange(low=low, high=high)
    return Knob(low, high, low, text, unit=unit, shape=(2,), integer=True, vary=vary, ordered=True)
