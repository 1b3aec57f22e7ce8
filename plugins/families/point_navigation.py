"""A point that walks to a goal in the plane: MAML's 2D navigation and PEARL's sparse point robot.

| | goals | reward, after the move | episode |
|---|---|---|---|
| MAML, "2D Navigation" | U[-0.5, 0.5]^2 | -distance | 100 steps; ends at abs(dx), abs(dy) < 0.01 |
| PEARL, "Sparse Point Robot" | unit half circle, y >= 0 | 1 - distance within the radius 0.2, else 0 | 20 steps |

The point starts at the origin and moves by the action, each coordinate at most 0.1. PEARL trains with the dense reward
on the half circle and is tested with the sparse one: `goals = "half-circle"` with `reward = "dense"` or "sparse".

Sources: Finn et al. 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", section 5.3, whose text
says squared distance while its figures need the distance, as its code has it; Rakelly et al. 2019, "Efficient
Off-Policy Meta-Reinforcement Learning via Probabilistic Context Variables", section 6.2.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import continuous
from registry.config import Config
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import Goal, TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Uniform

STEP = 0.1
"""Largest move per coordinate."""
ARRIVED = 0.01
"""Nearer than this in both coordinates, MAML's episode ends."""
_HORIZON = {"square": 100, "half-circle": 20}


class PointNavigationConfig(Config):
    """Structural settings of `PointNavigation`."""

    goals: Literal["square", "half-circle"] = Field(
        "square", description="Where goals lie: MAML's square, where an episode of dense reward ends at the goal, or "
        "PEARL's half circle, where it never ends early.",
    )  # fmt: skip
    reward: Literal["dense", "sparse"] = Field(
        "dense", description="Minus the distance to the goal; or 1 - distance inside a radius around it, else 0."
    )
    clip: bool = Field(
        default=True, description="Clip moves to 0.1 per coordinate. MAML's own code takes any move as it is."
    )
    horizon: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Steps per episode; 0 is the literature's: 100 on the square, 20 on the circle.",
    )


class PointNavigation(TaskFamily[PointNavigationConfig]):
    """Observation: position [2]; action: move [2] in [-0.1, 0.1]^2, or any move where none is clipped."""

    def __init__(self, config: PointNavigationConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon or _HORIZON[config.goals]
        reach = STEP * (self.horizon + 1) if config.clip else math.inf  # a step more than there are, for rounding
        self.observation_space = gym.spaces.Box(-reach, reach, (2,), np.float32)
        longest = STEP if config.clip else math.inf
        self.action_space = gym.spaces.Box(-longest, longest, (2,), np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The goal, and with the sparse reward the radius around it."""
        if self.config.goals == "square":
            knobs = {
                "goal": Knob(
                    -2.0, 2.0, 0.3, "Position of the goal.", shape=(2,), vary=Uniform(low=-0.5, high=0.5), unit="length"
                )
            }
        else:
            knobs = {
                "angle": Knob(
                    0.0, math.pi, math.pi / 2, "Direction of the goal from the start.", "rad",
                    vary=Uniform(low=0.0, high=math.pi),
                ),
                "distance": Knob(0.2, 2.0, 1.0, "Distance of the goal from the start.", "length"),
            }  # fmt: skip
        if self.config.reward == "sparse":
            knobs["radius"] = Knob(0.02, 0.5, 0.2, "Reward is given up to this distance from the goal.", "length")
        return ContextSpace(knobs)

    def validate(self, context: Mapping[str, Any]) -> None:
        """A sparse reward must be within reach."""
        if self.config.reward == "sparse" and self.config.clip:
            reach, farthest = STEP * self.horizon, float(np.abs(_goal(context)).max())
            if farthest - context["radius"] > reach:
                raise TaskError(
                    f"{self.name}: the goal is {farthest:g} away along an axis; {self.horizon} steps reach {reach:g}, "
                    f"and radius = {context['radius']:g} does not bridge the rest. Move the goal or raise horizon."
                )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the goal (x, y) and with the sparse reward the radius."""
        return TensorBatch(self, _Plane(self.config), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The goal moved a little."""
        return continuous.mutated(self.context_space, context, rng)

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[2] or [3]: goal x, y and with the sparse reward the radius."""
        radius = [context["radius"]] if self.config.reward == "sparse" else []
        return np.array([*_goal(context), *radius], dtype=np.float64)

    def goal(self, context: Mapping[str, Any]) -> Goal:
        """The position to be reached, which the observation tells as x and y."""
        return Goal(_goal(context), (0, 1))

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The task at an episode's start; see `frame`."""
        return self.frame(spec, torch.zeros(2))

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """Point (blue) and goal (red) with its radius, among the goals tasks are drawn from (grey)."""
        goal = _goal(spec.context)
        canvas = continuous.Canvas(max(1.2, 1.2 * float(np.abs(goal).max())))
        if self.config.goals == "square":
            canvas.box(0.0, 0.0, 1.0, 1.0, (235, 235, 235))
        else:
            canvas.ring(0.0, 0.0, 1.0, continuous.GREY)
        if self.config.reward == "sparse":
            radius: Any = spec.context["radius"]
            canvas.disc(*goal, radius, (240, 190, 180))
        canvas.disc(*goal, 0.04, continuous.RED)
        canvas.disc(float(state[0]), float(state[1]), 0.03, continuous.BLUE)
        return canvas.frame


def _goal(context: Mapping[str, Any]) -> tuple[float, float]:
    """Position of the goal."""
    if "goal" in context:
        x, y = context["goal"]
        return x, y
    return context["distance"] * math.cos(context["angle"]), context["distance"] * math.sin(context["angle"])


class _Plane:
    """The state is the position; nothing is random."""

    uniforms = 0

    def __init__(self, config: PointNavigationConfig) -> None:
        self.clip, self.sparse = config.clip, config.reward == "sparse"
        self.ends = config.goals == "square" and config.reward == "dense"

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        tables = {"goal": torch.tensor([_goal(spec.context) for spec in specs], dtype=torch.float32)}
        if self.sparse:
            tables["radius"] = torch.tensor([spec.context["radius"] for spec in specs], dtype=torch.float32)
        return tables

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return torch.zeros_like(tables["goal"])

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = state + (action.clamp(-STEP, STEP) if self.clip else action)
        offset = (state - tables["goal"]).abs()
        distance = torch.hypot(offset[:, 0], offset[:, 1])
        reward = torch.where(distance <= tables["radius"], 1.0 - distance, 0.0) if self.sparse else -distance
        ended = (offset < ARRIVED).all(-1) if self.ends else torch.zeros_like(distance, dtype=torch.bool)
        return state, reward, ended

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.cat([tables["goal"], tables["radius"][:, None]], dim=1) if self.sparse else tables["goal"]
