"""A plugin with two families for tests of the faces and of `collect`: ends at random times, every kind of space."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from registry import Entry, hookimpl
from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec


class CoinsConfig(Config):
    """Settings of `Coins`."""

    horizon: int = Field(6, ge=1, le=100, description="Steps per episode.")
    sides: int = Field(3, ge=1, le=9, description="Number of actions.")


class Coins(TaskFamily[CoinsConfig]):
    """Observation: a random number [2]; reward: action + worth + chance; ends by chance or at the horizon."""

    def __init__(self, config: CoinsConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(config.sides)
        self.horizon = config.horizon

    @cached_property
    def context_space(self) -> ContextSpace:
        return ContextSpace(
            {
                "stop": Knob(0.0, 1.0, 0.3, "Probability that a step ends the episode."),
                "worth": Knob(-1.0, 1.0, 0.0, "Added to every reward."),
            }
        )

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        return TensorBatch(self, _Coins(), slots, device)


class _Coins:
    uniforms = 3

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {name: torch.tensor([float(spec.context[name]) for spec in specs]) for name in ("stop", "worth")}  # type: ignore[arg-type]

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return uniform[:, :2].clone()

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reward = action + tables["worth"] + uniform[:, 0]
        return uniform[:, :2].clone(), reward, uniform[:, 2] < tables["stop"]

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.stack([tables["stop"], tables["worth"]], dim=1)


class DriftConfig(Config):
    """Settings of `Drift`."""

    cells: int = Field(5, ge=2, le=50, description="Number of cells.")


class Drift(TaskFamily[DriftConfig]):
    """Observation: one of `cells`; action: two numbers whose sum pushes; drawn as an RGB frame."""

    horizon = 4

    def __init__(self, config: DriftConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Discrete(config.cells)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    @cached_property
    def context_space(self) -> ContextSpace:
        return ContextSpace({"wind": Knob(-1.0, 1.0, 0.0, "Push at every step.")})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        return TensorBatch(self, _Drift(self.config.cells), slots, device)

    def render(self, spec: TaskSpec) -> Any:
        return np.full((4, 4, 3), 255, dtype=np.uint8)


class _Drift:
    uniforms = 1

    def __init__(self, cells: int) -> None:
        self.cells = cells

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {"wind": torch.tensor([float(spec.context["wind"]) for spec in specs])}  # type: ignore[arg-type]

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return (uniform[:, 0] * self.cells).to(torch.int64)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        push = action.sum(-1) + tables["wind"] + uniform[:, 0] - 0.5
        following = (state + push.round().to(torch.int64)).clamp(0, self.cells - 1)
        return following, push, (following == 0) & (push < -1.0)

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["wind"][:, None]


@hookimpl
def register_task_families() -> list[Entry]:
    """Both families."""
    return [
        Entry("coins", "scripted_families:Coins", "Ends by chance.", config="scripted_families:CoinsConfig"),
        Entry("drift", "scripted_families:Drift", "Is pushed about.", config="scripted_families:DriftConfig"),
    ]
