"""Pendulum swing-up with physical parameters: Gymnasium's Pendulum-v1 at the default context.

A rod driven by a weak torque must be swung up and held: reward -(angle^2 + 0.1 speed^2 + 0.001 torque^2) before the
step, semi-implicit Euler, no early end. The parameters are those of CARL (Benjamins et al. 2023, "Contextualize Me -
The Case for Context in Reinforcement Learning"); mass and length vary by default as in Packer et al. 2018, "Assessing
Generalization in Deep Reinforcement Learning", table 1, column R.
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

TORQUE = 2.0
"""Actions are clipped to this, in N m."""
_FASTEST = 20.0
_TURN = 2.0 * math.pi


class PendulumConfig(Config):
    """Structural settings of `Pendulum`."""

    horizon: int = Field(200, ge=1, le=100_000, description="Steps per episode.")


class Pendulum(TaskFamily[PendulumConfig]):
    """Observation: cosine and sine of the angle from upright, angular velocity [3]; action: torque [1] in [-2, 2]."""

    def __init__(self, config: PendulumConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        high = np.array([1.0, 1.0, _FASTEST], dtype=np.float32)
        self.observation_space = gym.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = gym.spaces.Box(-TORQUE, TORQUE, (1,), np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        """Physical parameters, the time step and the spread of the start."""
        return ContextSpace(
            {
                "gravity": Knob(0.0, 50.0, 10.0, "Gravity.", "m/s^2"),
                "mass": Knob(0.1, 10.0, 1.0, "Mass of the rod.", "kg", vary=Uniform(low=0.75, high=1.25)),
                "length": Knob(0.1, 5.0, 1.0, "Length of the rod.", "m", vary=Uniform(low=0.75, high=1.25)),
                "timestep": Knob(0.005, 0.1, 0.05, "Time between two actions.", "s"),
                "max_speed": Knob(1.0, _FASTEST, 8.0, "Angular velocity is clipped to this.", "rad/s"),
                "initial_angle": Knob(
                    0.0, math.pi, math.pi, "The initial angle is uniform up to this far from upright.", "rad"
                ),
                "initial_speed": Knob(
                    0.0, 8.0, 1.0, "The initial angular velocity is uniform up to this far from 0.", "rad/s"
                ),
            }
        )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the knobs in their order."""
        return TensorBatch(self, _Rod(tuple(self.context_space.knobs)), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Mass and length changed a little."""
        return continuous.mutated(self.context_space, context, rng)

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[7] the knobs, each from 0 to 1 over its bounds."""
        return self.context_space.scaled(context)

    def goal(self, context: Mapping[str, Any]) -> Goal:
        """Upright and at rest, in every task."""
        return Goal((1.0, 0.0, 0.0), (0, 1, 2))

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The task with the rod at the widest initial angle; see `frame`."""
        return self.frame(spec, torch.tensor([spec.context["initial_angle"], 0.0]))

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The rod (red), its width by mass, and where it is to be (green)."""
        context: Mapping[str, Any] = spec.context
        length, angle = context["length"], float(state[0])
        canvas = continuous.Canvas(max(1.3, 1.1 * length))
        canvas.line((0.0, 0.0), (0.0, length), 0.0, continuous.GREEN)
        end = (length * math.sin(angle), length * math.cos(angle))
        canvas.line((0.0, 0.0), end, 0.2 * context["mass"] ** (1 / 2), continuous.RED)
        canvas.disc(0.0, 0.0, 0.05, continuous.BLACK)
        return canvas.frame


class _Rod:
    """State: angle in [-pi, pi) and angular velocity [B, 2]; only the start is random."""

    uniforms = 2
    deterministic = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        knobs = torch.tensor([[spec.context[name] for name in self.names] for spec in specs], dtype=torch.float64)
        gravity, mass, length, timestep, fastest, angle, speed = knobs.unbind(1)
        tables = {
            "knobs": knobs,
            "pull": 1.5 * gravity / length * timestep,
            "drive": 3.0 / (mass * length**2) * timestep,
            "timestep": timestep,
            "fastest": fastest,
            "slowest": -fastest,
            "spread": torch.stack([angle, speed], dim=1),
        }
        return {name: table.to(torch.float32) for name, table in tables.items()}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return (2.0 * uniform - 1.0) * tables["spread"]

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        angle, speed = state.unbind(1)
        return torch.stack([angle.cos(), angle.sin(), speed], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        angle, speed = state.unbind(1)
        torque = action[:, 0].clamp(-TORQUE, TORQUE)
        cost = torch.addcmul(torch.addcmul(angle * angle, speed, speed, value=0.1), torque, torque, value=0.001)
        speed = torch.addcmul(torch.addcmul(speed, tables["pull"], angle.sin()), tables["drive"], torque)
        speed = speed.clamp(tables["slowest"], tables["fastest"])
        angle = torch.addcmul(angle, speed, tables["timestep"])
        angle = torch.remainder(angle + math.pi, _TURN) - math.pi
        return torch.stack([angle, speed], dim=1), -cost, torch.zeros_like(cost, dtype=torch.bool)

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["knobs"]
