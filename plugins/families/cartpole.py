"""Cart-pole with physical parameters: Gymnasium's CartPole-v1 at the default context.

Euler's method on Barto, Sutton and Anderson's equations, a pole hinged on a cart that is pushed left or right, reward 1
per step, the end at 12 degrees or 2.4 from the middle. The parameters are those of CARL (Benjamins et al. 2023,
"Contextualize Me - The Case for Context in Reinforcement Learning"); force, pole mass and length vary by default as in
Packer et al. 2018, "Assessing Generalization in Deep Reinforcement Learning", table 1, column R.

Sources: Barto, Sutton and Anderson 1983, "Neuronlike adaptive elements that can solve difficult learning control
problems"; Florian 2007, "Correct equations for the dynamics of the cart-pole system".
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
from taskgen.engines.tensor import Columns, Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Uniform

TRACK = 2.4
"""The cart may go this far from the middle."""
TILT = math.radians(12.0)
"""The pole may lean this far."""
LARGEST = 1e4
"""The state is clipped here, which only slots stepped past their end can reach."""


class CartPoleConfig(Config):
    """Structural settings of `CartPole`."""

    horizon: int = Field(500, ge=1, le=100_000, description="Steps per episode.")


class CartPole(TaskFamily[CartPoleConfig]):
    """Observation: cart position, velocity, pole angle, angular velocity [4]; action: 0 pushes left, 1 right."""

    def __init__(self, config: CartPoleConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon
        self.solved_return = 0.95 * config.horizon
        """CartPole-v1's threshold of 475 in 500 steps, for this horizon."""
        self.observation_space = gym.spaces.Box(-LARGEST, LARGEST, (4,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    @cached_property
    def context_space(self) -> ContextSpace:
        """Physical parameters, the time step and the spread of the start."""
        return ContextSpace(
            {
                "gravity": Knob(0.1, 50.0, 9.8, "Gravity.", "m/s^2"),
                "cart_mass": Knob(0.1, 10.0, 1.0, "Mass of the cart.", "kg"),
                "pole_mass": Knob(0.01, 10.0, 0.1, "Mass of the pole.", "kg", vary=Uniform(low=0.05, high=0.5)),
                "half_length": Knob(
                    0.05, 5.0, 0.5, "Half the length of the pole.", "m", vary=Uniform(low=0.25, high=0.75)
                ),
                "force": Knob(1.0, 100.0, 10.0, "Force of a push.", "N", vary=Uniform(low=5.0, high=15.0)),
                "timestep": Knob(0.002, 0.05, 0.02, "Time between two pushes.", "s"),
                "initial_range": Knob(
                    0.0, 0.2, 0.05, "Each number of the initial state is uniform up to this far from 0."
                ),
            }
        )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the knobs in their order."""
        return TensorBatch(self, _Cart(tuple(self.context_space.knobs)), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Force, pole mass and length changed a little."""
        return continuous.mutated(self.context_space, context, rng)

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[7] the knobs, each from 0 to 1 over its bounds."""
        return self.context_space.scaled(context)

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The task with the pole leaning a little; see `frame`."""
        return self.frame(spec, torch.tensor([0.0, 0.0, 0.1, 0.0]))

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """The cart, its size by mass; the pole, its width by mass; a bar (red) as long as the force of a push."""
        context: Mapping[str, Any] = spec.context
        length = 2.0 * context["half_length"]
        canvas = continuous.Canvas(max(TRACK, 1.2 * length), centre=(0.0, 0.5 * length))
        canvas.line((-TRACK, 0.0), (TRACK, 0.0), 0.0, continuous.BLACK)
        width = 0.5 * context["cart_mass"] ** (1 / 3)
        cart, angle = float(state[0]), float(state[2])
        canvas.box(cart, 0.0, width, 0.6 * width, continuous.BLACK)
        top = (cart + length * math.sin(angle), length * math.cos(angle))
        canvas.line((cart, 0.0), top, 0.2 * context["pole_mass"] ** (1 / 3), continuous.BROWN)
        canvas.line((cart, 0.0), (cart + 0.05 * context["force"], 0.0), 0.05, continuous.RED)
        return canvas.frame


class _Cart:
    """State: position, velocity, angle, angular velocity [B, 4]; only the start is random."""

    uniforms = 4
    deterministic = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        knobs = torch.tensor([[spec.context[name] for name in self.names] for spec in specs], dtype=torch.float64)
        gravity, cart, pole, length, force, timestep, spread = knobs.unbind(1)
        total = cart + pole
        tables = {
            "knobs": knobs,
            "gravity": gravity,
            "left": -force / total,
            "right": force / total,
            "lever": pole * length / total,
            "inertia": length * 4.0 / 3.0,
            "coupling": -length * pole / total,
            "timestep": timestep[:, None],
            "spread": spread[:, None],
        }
        return {name: table.to(torch.float32) for name, table in tables.items()}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return (2.0 * uniform - 1.0) * tables["spread"]

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state

    def observe_columns(self, tables: Tables, columns: Columns) -> Columns:
        return columns

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, velocity, angle, spin = state.unbind(1)
        moving, spinning = _accelerations(tables, angle, spin, action)
        change = torch.stack([velocity, moving, spin, spinning]).T
        state = torch.addcmul(state, tables["timestep"], change).clamp(-LARGEST, LARGEST)
        size = state.abs()
        failed = (size[:, 0] > TRACK) | (size[:, 2] > TILT)
        return state, torch.ones_like(velocity), failed

    def step_columns(
        self, tables: Tables, columns: Columns, action: Tensor, uniform: Tensor
    ) -> tuple[Columns, Tensor, Tensor]:
        _, velocity, angle, spin = columns
        moving, spinning = _accelerations(tables, angle, spin, action)
        changes, timestep = (velocity, moving, spin, spinning), tables["timestep"][:, 0]
        state = tuple(
            torch.addcmul(value, timestep, change).clamp(-LARGEST, LARGEST)
            for value, change in zip(columns, changes, strict=True)
        )
        return state, torch.ones_like(velocity), (state[0].abs() > TRACK) | (state[2].abs() > TILT)

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["knobs"]


def _accelerations(tables: Tables, angle: Tensor, spin: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """[B] of the cart, [B] of the pole's angle."""
    sine, cosine = angle.sin(), angle.cos()
    push = torch.where(action.bool(), tables["right"], tables["left"])
    whole = torch.addcmul(push, tables["lever"] * sine, spin * spin)
    torque = torch.addcmul(tables["gravity"] * sine, cosine, whole, value=-1.0)
    spinning = torque / torch.addcmul(tables["inertia"], tables["coupling"], cosine * cosine)
    return torch.addcmul(whole, tables["lever"] * cosine, spinning, value=-1.0), spinning
