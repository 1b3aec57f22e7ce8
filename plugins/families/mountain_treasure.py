"""Mountain Treasure (HyperX): a treasure on a circle can be found by walking, or seen from a mountain worth climbing.

The point starts at (0, -1), moves by 0.1 times the action and stays in [-1.5, 1.5]^2. The treasure lies on the unit
circle. After a move at distance d from the mountain's top, the origin, the first that applies is paid:

    d <= 0.5, on the mountain          -(step cost) - (height) (0.5 - d)
    within 0.1 of the treasure         treasure
    else                               -(step cost) max(1, d)

Nearer than 0.1 to the top the treasure's position is part of the observation, elsewhere it is shown as zeros. Climbing
costs a little at once and saves the walk: an agent has to explore for the sake of information.

Source: Zintgraf et al. 2021, "Exploration in Approximate Hyper-State Space for Meta Reinforcement Learning", section
5.1 ("Treasure Mountain").
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import continuous
from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import Goal, TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Uniform

START = (0.0, -1.0)
WALL = 1.5
"""Positions are clipped to this in both coordinates."""
SUMMIT = 0.1
"""Nearer than this to the top the treasure is seen."""
NEAR = 0.1
"""Up to this distance the treasure is paid."""
_ROUNDING = 1e-5
"""Whole steps lead to the boundaries exactly: positions in single precision count as the exact ones would."""


class MountainTreasureConfig(Config):
    """Structural settings of `MountainTreasure`."""

    horizon: int = Field(100, ge=1, le=100_000, description="Steps per episode.")
    speed: float = Field(0.1, gt=0.0, le=1.0, description="Largest move per coordinate and step.")
    mountain_radius: float = Field(0.5, ge=0.1, le=0.8, description="Radius of the mountain.")


class MountainTreasure(TaskFamily[MountainTreasureConfig]):
    """Observation: position and, on the summit, the treasure's position, else zeros [4]; action: direction [2]."""

    def __init__(self, config: MountainTreasureConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        self.observation_space = gym.spaces.Box(-WALL, WALL, (4,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        """Where the treasure lies, and what things are worth."""
        return ContextSpace(
            {
                "angle": Knob(
                    0.0, 2.0 * math.pi, math.pi / 2, "Direction of the treasure from the top; the start is at 3 pi/2.",
                    "rad", vary=Uniform(low=0.0, high=2.0 * math.pi),
                ),
                "treasure": Knob(0.0, 100.0, 10.0, "Reward of a step that ends at the treasure.", "reward"),
                "step_cost": Knob(0.1, 100.0, 5.0, "Cost of a step that ends elsewhere.", "reward"),
                "height": Knob(0.0, 100.0, 1.0, "Height of the mountain: cost per length towards its top.", "reward"),
            }
        )  # fmt: skip

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the treasure's position, then treasure, step_cost, height."""
        return TensorBatch(self, _Land(self.config), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The treasure moved a little along the circle, across its seam too."""
        child = continuous.mutated(self.context_space, context, rng)
        child["angle"] = float((context["angle"] + rng.normal(0.0, 0.2 * math.pi)) % (2.0 * math.pi))
        return child

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[5]: cosine and sine of the treasure's direction, then treasure, step_cost and height over their defaults."""
        knobs = self.context_space.knobs
        worth = [context[name] / knobs[name].default for name in ("treasure", "step_cost", "height")]
        return np.array([math.cos(context["angle"]), math.sin(context["angle"]), *worth], dtype=np.float64)

    def goal(self, context: Mapping[str, Any]) -> Goal:
        """The treasure's position; the first two entries of the observation are the point's."""
        return Goal((math.cos(context["angle"]), math.sin(context["angle"])), (0, 1))

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The task at an episode's start; see `frame`."""
        return self.frame(spec, torch.tensor(START))

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """Mountain (brown), summit (white), circle, treasure (red) and point (blue)."""
        angle: Any = spec.context["angle"]
        canvas = continuous.Canvas(WALL)
        canvas.ring(0.0, 0.0, 1.0, continuous.GREY)
        canvas.disc(0.0, 0.0, self.config.mountain_radius, continuous.BROWN)
        canvas.disc(0.0, 0.0, SUMMIT, continuous.WHITE)
        canvas.disc(math.cos(angle), math.sin(angle), NEAR, continuous.RED)
        canvas.disc(float(state[0]), float(state[1]), 0.04, continuous.BLUE)
        return canvas.frame


class _Land:
    """The state is the position; nothing is random."""

    uniforms = 0

    def __init__(self, config: MountainTreasureConfig) -> None:
        self.speed, self.mountain = config.speed, config.mountain_radius

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        names = ("angle", "treasure", "step_cost", "height")
        columns = torch.tensor([[spec.context[name] for name in names] for spec in specs], dtype=torch.float64)
        angle, treasure, cost, height = columns.unbind(1)
        goal = torch.stack([angle.cos(), angle.sin()], dim=1)
        tables = {"goal": goal, "treasure": treasure, "step_cost": cost, "height": height}
        return {name: table.to(torch.float32) for name, table in tables.items()}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        goal = tables["goal"]
        return torch.stack([torch.full_like(goal[:, 0], coordinate) for coordinate in START], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        seen = torch.hypot(state[:, 0], state[:, 1]) < SUMMIT - _ROUNDING
        return torch.cat([state, tables["goal"] * seen[:, None]], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = (state + self.speed * action.clamp(-1.0, 1.0)).clamp(-WALL, WALL)
        top = torch.hypot(state[:, 0], state[:, 1])
        offset = state - tables["goal"]
        found = torch.hypot(offset[:, 0], offset[:, 1]) <= NEAR + _ROUNDING
        away = torch.where(found, tables["treasure"], -tables["step_cost"] * top.clamp(min=1.0))
        climb = torch.addcmul(-tables["step_cost"], tables["height"], top - self.mountain)
        return (
            state,
            torch.where(top <= self.mountain + _ROUNDING, climb, away),
            torch.zeros_like(top, dtype=torch.bool),
        )

    def descriptor(self, tables: Tables) -> Tensor:
        worth = torch.stack([tables["treasure"], tables["step_cost"], tables["height"]], dim=1)
        return torch.cat([tables["goal"], worth], dim=1)
