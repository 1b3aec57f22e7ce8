"""Gymnasium's BipedalWalker on POET's obstacle courses: roughness, pits, stumps and stairs are the task.

As `terrain-walker`, which is the same walker in MuJoCo: settings, knobs, observations and actions are alike, and tasks
of equal knobs and seed have the same course, so that what evolves or learns on the one can go on with the other. Here
physics and walker are Gymnasium's own (Brockman et al. 2016, "OpenAI Gym"), which POET's code extended, and stumps can
float (`floating`), for which that code has a parameter that POET's runs leave at 0.

A course is fixed by the task's seed; where `redrawn`, every episode draws one of the same ranges, and the ranges are
all that there is to a task. Episodes differ besides by a small push at the start. As with any environment of
Gymnasium's, `workers` may host the walkers.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from plugins.families import terrain
from plugins.families.biped_body import closeup, overview
from plugins.families.obstacle_courses import ObstacleConfig, ObstacleCourses
from plugins.families.terrain import STEP
from taskgen.engines import gym_recipe
from taskgen.engines.gym_batch import GymBatch, HostedConfig, Lender
from taskgen.engines.gym_recipe import KWARGS, Numbers, Recipe
from taskgen.spec import TaskSpec

_PLACES = {"ranges": f"{KWARGS}.ranges", "uniform": f"{KWARGS}.uniform"}


class BipedalWalkerConfig(ObstacleConfig, HostedConfig):
    """Structural settings of `BipedalWalker`."""

    floating: bool = Field(default=False, description="Whether stumps can float; in POET's own runs none do.")
    redrawn: bool = Field(default=False, description="Whether every episode draws a course; else the task's seed does.")

    @model_validator(mode="after")
    def _something_floats(self) -> "BipedalWalkerConfig":
        if self.floating and not self.stumps:
            raise ValueError("floating: stumps are off, so none can float")
        return self


class BipedalWalker(ObstacleCourses[BipedalWalkerConfig], Lender[BipedalWalkerConfig]):
    """Actions, observations and reward are Gymnasium's; see `plugins.families.biped.CourseWalker`, which are the same.

    Making a batch raises `UserError` without Box2D; tasks can be generated, shown and read without.
    """

    def __init__(self, config: BipedalWalkerConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        self.floating = config.floating
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (24,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:
        """As of all courses, where episodes do not draw their own."""
        return not context["redrawn"] and super().drawn_from_seed(context)

    @cached_property
    def recipe(self) -> Recipe:
        """See `Lender.recipe`. Raises `UserError` without Box2D."""
        return gym_recipe.recipe("plugins.families.bipedal_course:BipedalCourse", {}, _PLACES)

    def numbers(self, spec: TaskSpec) -> Numbers:
        """The ranges, and what the course is drawn with."""
        ranges = {name: spec.context[name] for name in self.context_space.knobs}
        uniform = None if self.config.redrawn else tuple(self.luck(spec).ravel().tolist())
        return {"ranges": ranges, "uniform": uniform}

    def features(self, spec: TaskSpec) -> list[float]:
        """What `descriptor` gives, then the heights of the course, one a step, unless each episode draws its own."""
        middle = (np.arange(terrain.LENGTH) + 0.5) * STEP
        levels = [] if self.config.redrawn else terrain.heights(self.course(spec), middle).tolist()
        return [*self.descriptor(spec.context).tolist(), *levels]

    def batch(self, slots: int, device: torch.device | str = "cpu") -> GymBatch:
        """A world of Box2D a slot."""
        return GymBatch(self, slots, device, first=np.zeros(24, dtype=np.float32), levels=False)

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The whole course from the side, the walker at the start; where `redrawn`, one that the task's seed draws."""
        return overview(self.course(spec))

    def frame(self, spec: TaskSpec, state: Any) -> NDArray[np.uint8]:
        """16 m around the walker in `state`."""
        return closeup(*state)
