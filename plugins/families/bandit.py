"""k Bernoulli arms (Duan et al. 2016, "RL^2", section 3.1): p_i ~ U[0, 1], reward 1 with probability p_i."""

from collections.abc import Sequence
from functools import cached_property

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import Uniform


class BanditConfig(Config):
    """Structural settings of `Bandit`."""

    arms: int = Field(5, ge=1, le=1000, description="Number of arms k.")
    pulls: int = Field(
        1, ge=1, le=100_000, description="Pulls per episode; with 1, as in RL^2, a trial of n pulls has n episodes."
    )


class Bandit(TaskFamily[BanditConfig]):
    """Stateless: the observation is a constant zero [1], the action one of k arms, the reward 0 or 1."""

    def __init__(self, config: BanditConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(config.arms)
        self.horizon = config.pulls

    @cached_property
    def context_space(self) -> ContextSpace:
        """One array knob: the arm probabilities."""
        probabilities = Knob(
            0.0, 1.0, 0.5, "Reward probability of each arm.", shape=(self.config.arms,), vary=Uniform(low=0.0, high=1.0)
        )
        return ContextSpace({"probabilities": probabilities})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the arm probabilities [B, k]."""
        return TensorBatch(self, _Pulls(), slots, device)

    def render(self, spec: TaskSpec) -> str:
        """A bar of up to 20 marks per arm."""
        values: Sequence[float] = spec.context["probabilities"]  # type: ignore[assignment]
        return "\n".join(f"arm {arm}  {value:.3f}  {'#' * round(20 * value)}" for arm, value in enumerate(values))


class _Pulls:
    """Reward 1 where the uniform falls below the chosen arm's probability."""

    uniforms = 1
    fixed_start = True

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {"probabilities": torch.tensor([spec.context["probabilities"] for spec in specs], dtype=torch.float32)}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return torch.zeros(len(uniform), 1, device=uniform.device)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return state

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reward = (uniform < tables["probabilities"].gather(1, action[:, None]))[:, 0]
        return state, reward.to(torch.float32), torch.zeros_like(reward)

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["probabilities"]
