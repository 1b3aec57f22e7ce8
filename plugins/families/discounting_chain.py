"""The discounting chain of bsuite (Osband et al. 2020, "Behaviour Suite for Reinforcement Learning").

The first action of an episode chooses one of five chains, later actions do nothing. The chains pay once, after 1, 3,
10, 30 and 100 steps: 1.0 each, but for one that pays 1.1, which is the task. An agent that discounts too much
prefers chains that pay early.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plugins.families.grids import one_hot
from registry.config import Config
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange

DELAYS = (1, 3, 10, 30, 100)
"""Steps after which the chains pay, in the order of the actions that choose them."""
USUAL, BEST = 1.0, 1.1
"""What a chain pays, and what the best one pays."""


class DiscountingChainConfig(Config):
    """Structural settings of `DiscountingChain`."""

    horizon: int = Field(100, ge=1, le=100_000, description="Steps per episode; a chain that is longer pays nothing.")
    observation: Literal["index", "one-hot"] = Field(
        "index",
        description="The chosen chain's index, -1 before the choice, and the time, as in bsuite; or all of the state, "
        "one-hot.",
    )


class DiscountingChain(TaskFamily[DiscountingChainConfig]):
    """Observation: the chosen chain, -1 before the choice, and the share of the episode that is over, [2].

    One-hot, [1 + 5 * horizon]: before the choice, or `chain * horizon + steps made`.
    """

    def __init__(self, config: DiscountingChainConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        low, high = np.array([[-1.0, 0.0], [len(DELAYS) - 1.0, 1.0]], dtype=np.float32)
        self.observation_space = gym.spaces.Box(low, high)
        if config.observation == "one-hot":
            self.observation_space = gym.spaces.Box(0.0, 1.0, (1 + len(DELAYS) * config.horizon,), np.float32)
        self.action_space = gym.spaces.Discrete(len(DELAYS))
        self.horizon = config.horizon
        self.solved_return = (USUAL + BEST) / 2
        """Only the best chain pays that."""

    @cached_property
    def context_space(self) -> ContextSpace:
        """Which chain is the best."""
        last = len(DELAYS) - 1
        anywhere = IntegerRange(low=0, high=last)
        return ContextSpace({"mapping": Knob(0, last, 0, "Chain that pays 1.1.", integer=True, vary=anywhere)})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is the best chain, one-hot [5]."""
        return TensorBatch(self, _Chains(self.config, device), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Another chain is the best."""
        return {**context, "mapping": (context["mapping"] + int(rng.integers(1, len(DELAYS)))) % len(DELAYS)}

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[1] logarithm of the best chain's delay, 0 to 1."""
        return np.log([DELAYS[context["mapping"]]]) / np.log(DELAYS[-1])

    def returns(self, context: Mapping[str, Any], discount: float = 1.0) -> NDArray[np.float64]:
        """[5] exact return of an episode by the chain chosen, discounted by `discount` a step after the first."""
        paid = np.where(np.arange(len(DELAYS)) == context["mapping"], BEST, USUAL)
        delays = np.array(DELAYS)
        return np.where(delays <= self.horizon, paid * discount ** (delays - 1), 0.0)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of the best chain that pays within the episode."""
        return float(self.returns(spec.context).max())

    def render(self, spec: TaskSpec) -> str:
        """What each action leads to."""
        lines = (
            f"action {action}  pays {paid:.1f} after {delay:>3} steps"
            for action, (delay, paid) in enumerate(zip(DELAYS, self.returns(spec.context), strict=True))
        )
        return "\n".join(lines)


class _Chains:
    """State [B, 2] int64: the chosen chain, -1 before the choice, and the steps made."""

    uniforms = 0

    def __init__(self, config: DiscountingChainConfig, device: torch.device | str) -> None:
        self.horizon, self.one_hot = config.horizon, config.observation == "one-hot"
        self._delays = torch.tensor(DELAYS, device=device)
        self._start = torch.tensor([-1, 0], device=device)

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {"mapping": torch.tensor([spec.context["mapping"] for spec in specs])}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return self._start.expand(len(uniform), 2)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        chain, time = state.unbind(1)
        if self.one_hot:
            number = torch.where(time == 0, 0, chain * self.horizon + time)
            return one_hot(number, 1 + len(DELAYS) * self.horizon)
        return torch.stack([chain.to(torch.float32), time / self.horizon], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chain, time = state.unbind(1)
        chain, time = torch.where(time == 0, action, chain), time + 1
        paid = torch.where(chain == tables["mapping"], BEST, USUAL)
        reward = torch.where(time == self._delays.index_select(0, chain), paid, 0.0)
        return torch.stack([chain, time], dim=1), reward, time >= self.horizon

    def descriptor(self, tables: Tables) -> Tensor:
        return one_hot(tables["mapping"], len(DELAYS))
