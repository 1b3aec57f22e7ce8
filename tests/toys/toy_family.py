"""A small task family with every kind of knob, for tests: walk right until the goal is reached."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from registry.config import Config
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange, TruncatedNormal, Uniform


class WalkConfig(Config):
    """Structural settings of `Walk`."""

    horizon: int = Field(default=6, ge=1, le=100, description="Steps per episode.")


class Walk(TaskFamily[WalkConfig]):
    """Observation: position [1]; action 1 goes right by `speed`; wind blows; the episode ends at `goal`."""

    def __init__(self, config: WalkConfig | None = None, *, name: str = "toy/walk") -> None:
        super().__init__(config or WalkConfig(), name=name)
        self.observation_space = gym.spaces.Box(-1000.0, 1000.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.horizon = self.config.horizon

    @cached_property
    def context_space(self) -> ContextSpace:
        return ContextSpace(
            {
                "speed": Knob(0.0, 2.0, 1.0, "Distance of a step.", unit="m", vary=Uniform(low=0.5, high=1.5)),
                "goal": Knob(1, 5, 3, "Where the episode ends.", integer=True, vary=IntegerRange(low=1, high=5)),
                "wind": Knob(
                    -1.0,
                    1.0,
                    0.0,
                    "Push by step parity and action.",
                    shape=(2, 2),
                    vary=TruncatedNormal(mean=0.0, std=0.1, low=-0.2, high=0.2),
                ),
                "prize": Knob(0.0, 10.0, 1.0, "Reward at the goal."),
            }
        )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        return TensorBatch(self, Steps(), slots, device)


class Picky(Walk):
    """A walk whose goal must be even: half of the contexts are invalid."""

    def validate(self, context: Mapping[str, Any]) -> None:
        if context["goal"] == 3 or context["goal"] % 2 == 0:  # 3 is the default
            return
        raise TaskError(f"goal = {context['goal']}: must be even or 3")


class Steps:
    """Dynamics of `Walk`; the state is position and step parity [B, 2]."""

    uniforms = 1

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        names = ("speed", "goal", "wind", "prize")
        return {name: torch.tensor([spec.context[name] for spec in specs], dtype=torch.float32) for name in names}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return torch.cat([0.1 * uniform, torch.zeros_like(uniform)], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state[:, :1]

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wind = tables["wind"][torch.arange(len(state)), state[:, 1].long(), action]
        position = state[:, 0] + action * tables["speed"] + wind + 0.01 * uniform[:, 0]
        there = position >= tables["goal"]
        reward = torch.where(there, tables["prize"], torch.zeros_like(position))
        return torch.stack([position, 1.0 - state[:, 1]], dim=1), reward, there

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.stack([tables["speed"], tables["goal"], tables["prize"]], dim=1)
