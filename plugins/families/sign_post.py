"""The goal is far away and a sign near the start tells where: reading it is worth more the farther the goal is.

Paths of one length lead from the start to the places where the goal may be, which no other sight tells apart. Who acts
as if a guess were true (posterior sampling) walks the whole way to learn of one place whether it is the goal, and back
for the next: what that costs grows with the distance without bound. Who reads the sign first loses two steps.

`SignPost` is a star of `arms` paths of `distance` cells, at the end of one of which the goal is. The sign is one cell
from the start, on a path of its own. `SignPlane` is a plane in which the goal lies at `distance`, in a direction that
is the task; a move is at most 1 along each axis, the goal is reached within 1 of it and the sign is read within 1 of
(0, -2).

A step that arrives pays 1 and ends the episode, any other pays -0.1; after 3 distance + 4 steps the episode ends too
(in the plane 3 distance + 8), or after `horizon` steps where that is set and less. So with d the distance an episode on
the star earns at most 1 - 0.1 (d - 1), and 0.2 less when the sign is read first; one that never arrives earns
-0.1 (3 d + 4).

The argument: Duff 2002, "Optimal learning", section 1; Zintgraf et al. 2020, "VariBAD", section 2.2 and figure 1.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families import continuous
from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange, Uniform

COST, ARRIVAL = 0.1, 1.0
"""Of every step that does not arrive, and what the one that does is paid."""
TURNS = 3
"""So many times the distance, and a little more, an episode lasts."""
SPARE, PLANE_SPARE = 4, 8
SIGN = (0.0, -2.0)
"""Where the sign of the plane stands."""
NEAR = 1.0
"""Up to this distance the plane's sign is read and its goal reached."""
_ROUNDING = 1e-4


class SignPostConfig(Config):
    """Structural settings of `SignPost`."""

    arms: int = Field(4, ge=2, le=64, description="Paths, at the end of one of which the goal is.")
    farthest: int = Field(20, ge=2, le=10_000, description="Largest distance that a task may have.")
    horizon: int = Field(0, ge=0, le=100_000, description="Most steps per episode; 0: 3 * farthest + 4.")


class SignPlaneConfig(Config):
    """Structural settings of `SignPlane`."""

    farthest: float = Field(20.0, ge=4.0, le=10_000.0, description="Largest distance that a task may have.")
    horizon: int = Field(0, ge=0, le=100_000, description="Most steps per episode; 0: 3 * farthest + 8.")


class SignPost(TaskFamily[SignPostConfig]):
    """Actions: towards the end of each path, then towards the sign; on another path that is a step back.

    Observation: the path one-hot [arms] (zeros at the start and at the sign), cells from the start over `farthest` [1],
    whether the sign is here [1], and there the goal's path one-hot [arms], elsewhere zeros.
    """

    def __init__(self, config: SignPostConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon or TURNS * config.farthest + SPARE
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2 * config.arms + 2,), np.float32)
        self.action_space = gym.spaces.Discrete(config.arms + 1)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The path that leads to the goal, which varies, and its length."""
        last = self.config.arms - 1
        goal = Knob(
            0, last, 0, "Number of the path that leads to the goal.", integer=True, vary=IntegerRange(low=0, high=last)
        )
        length = min(5, self.config.farthest)
        far = Knob(2, self.config.farthest, length, "Cells from the start to the goal.", "cells", integer=True)
        return ContextSpace({"goal": goal, "distance": far})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the goal's path one-hot, then the distance over `farthest`."""
        return TensorBatch(self, _Star(self.config), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The goal on another path."""
        arms = self.config.arms
        return {**context, "goal": int((context["goal"] + rng.integers(1, arms)) % arms)}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[arms + 1]: the goal's path one-hot, then the distance over `farthest`."""
        return np.array([*np.eye(self.config.arms)[context["goal"]], context["distance"] / self.config.farthest])

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of walking straight to the goal."""
        return ARRIVAL - COST * (cast(int, spec.context["distance"]) - 1)

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The task at an episode's start; see `frame`."""
        return self.frame(spec, torch.zeros(3))

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """Paths in grey, the goal in red, the sign in brown, the agent in blue."""
        distance: Any = spec.context["distance"]
        arm, depth, _ = state.tolist()
        canvas = continuous.Canvas(1.15 * distance)
        ends = [_end(number, self.config.arms) for number in range(self.config.arms)]
        sign = _end(0.5, self.config.arms)
        for x, y in ends:
            canvas.line((0.0, 0.0), (x * distance, y * distance), 0.0, continuous.GREY)
        canvas.disc(*sign, 0.25, continuous.BROWN)
        x, y = ends[cast(int, spec.context["goal"])]
        canvas.disc(x * distance, y * distance, 0.3, continuous.RED)
        x, y = sign if arm == self.config.arms else ends[int(arm)]
        canvas.disc(x * depth, y * depth, 0.2, continuous.BLUE)
        return canvas.frame


def _end(number: float, arms: int) -> tuple[float, float]:
    """Direction of a path; between two there is room for the sign."""
    angle = 2 * math.pi * number / arms
    return math.cos(angle), math.sin(angle)


class _Star:
    """State [B, 3] int64: path (the sign's has the number `arms`), cells from the start, steps made."""

    uniforms = 0

    def __init__(self, config: SignPostConfig) -> None:
        self.arms, self.farthest = config.arms, config.farthest

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {name: torch.tensor([spec.context[name] for spec in specs]) for name in ("goal", "distance")}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        zero = torch.zeros_like(tables["goal"])
        return torch.stack([zero, zero, zero], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        arm, depth, _ = state.unbind(1)
        sign = (arm == self.arms) & (depth > 0)
        paths = torch.arange(self.arms, device=state.device)
        path = ((arm[:, None] == paths) & (depth > 0)[:, None]).to(torch.float32)
        told = ((tables["goal"][:, None] == paths) & sign[:, None]).to(torch.float32)
        far = torch.where(sign, 0, depth).to(torch.float32) / self.farthest
        return torch.cat([path, far[:, None], sign[:, None].to(torch.float32), told], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        arm, depth, time = state.unbind(1)
        time = time + 1
        arm = torch.where(depth == 0, action, arm)
        length = torch.where(arm == self.arms, 1, tables["distance"])
        depth = torch.minimum(torch.where(action == arm, depth + 1, depth - 1), length)
        arrived = (arm == tables["goal"]) & (depth == tables["distance"])
        over = time >= TURNS * tables["distance"] + SPARE
        return torch.stack([arm, depth, time], dim=1), torch.where(arrived, ARRIVAL, -COST), arrived | over

    def descriptor(self, tables: Tables) -> Tensor:
        goal = (tables["goal"][:, None] == torch.arange(self.arms, device=tables["goal"].device)).to(torch.float32)
        return torch.cat([goal, (tables["distance"] / self.farthest)[:, None].to(torch.float32)], dim=1)


class SignPlane(TaskFamily[SignPlaneConfig]):
    """Observation: position [2], and at the sign the goal's over `farthest`, else zeros [2]; action: move [2]."""

    def __init__(self, config: SignPlaneConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.horizon = config.horizon or math.ceil(TURNS * config.farthest) + PLANE_SPARE
        reach = self.horizon + 1.0
        high = np.array([reach, reach, 1.0, 1.0], np.float32)
        self.observation_space = gym.spaces.Box(-high, high, (4,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        """The direction of the goal, which varies, and its distance."""
        whole = 2.0 * math.pi
        far = self.config.farthest
        return ContextSpace(
            {
                "angle": Knob(
                    0.0, whole, math.pi / 2, "Direction of the goal.", "rad", vary=Uniform(low=0.0, high=whole)
                ),
                "distance": Knob(4.0, far, min(5.0, far), "Distance of the goal from the start.", "length"),
            }
        )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the goal's position [2] over `farthest`."""
        return TensorBatch(self, _Plane(self.config), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The goal in another direction near by, across the seam too."""
        child = continuous.mutated(self.context_space, context, rng)
        child["angle"] = float((context["angle"] + rng.normal(0.0, 0.2 * math.pi)) % (2.0 * math.pi))
        return child

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[2] the goal's position over `farthest`."""
        return np.array(_place(context)) / self.config.farthest

    def render(self, spec: TaskSpec) -> NDArray[np.uint8]:
        """The task at an episode's start; see `frame`."""
        return self.frame(spec, torch.zeros(3))

    def frame(self, spec: TaskSpec, state: Tensor) -> NDArray[np.uint8]:
        """Where goals may be in grey, the goal in red, the sign in brown, the point in blue."""
        distance: Any = spec.context["distance"]
        canvas = continuous.Canvas(1.3 * distance)
        canvas.ring(0.0, 0.0, distance, continuous.GREY)
        canvas.disc(*SIGN, NEAR, continuous.BROWN)
        canvas.disc(*_place(spec.context), NEAR, continuous.RED)
        canvas.disc(float(state[0]), float(state[1]), 0.2, continuous.BLUE)
        return canvas.frame


def _place(context: Mapping[str, Any]) -> tuple[float, float]:
    """The goal's position."""
    return context["distance"] * math.cos(context["angle"]), context["distance"] * math.sin(context["angle"])


class _Plane:
    """State [B, 3]: position and steps made; nothing is random."""

    uniforms = 0

    def __init__(self, config: SignPlaneConfig) -> None:
        self.farthest = config.farthest

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        goal = torch.tensor([_place(spec.context) for spec in specs], dtype=torch.float32)
        distance = torch.tensor([spec.context["distance"] for spec in specs], dtype=torch.float32)
        return {"goal": goal, "distance": distance}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return tables["goal"].new_zeros(len(tables["goal"]), 3)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        position = state[:, :2]
        seen = torch.hypot(position[:, 0] - SIGN[0], position[:, 1] - SIGN[1]) <= NEAR + _ROUNDING
        return torch.cat([position, tables["goal"] / self.farthest * seen[:, None]], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position, time = state[:, :2] + action.clamp(-1.0, 1.0), state[:, 2] + 1
        offset = position - tables["goal"]
        arrived = torch.hypot(offset[:, 0], offset[:, 1]) <= NEAR + _ROUNDING
        over = time >= TURNS * tables["distance"] + PLANE_SPARE
        state = torch.cat([position, time[:, None]], dim=1)
        return state, torch.where(arrived, ARRIVAL, -COST), arrived | over

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["goal"] / self.farthest
