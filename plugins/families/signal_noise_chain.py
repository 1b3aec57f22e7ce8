"""A chain of signal and noise (Xu, van Hasselt and Silver 2018, "Meta-Gradient Reinforcement Learning", section 2).

A Markov reward process: states 0, 1, 2, ... follow one another, whatever the agent does. Leaving an even state pays the
signal, 0.1; leaving an odd one pays noise, N(0, 1), which has mean zero. The best return to learn values from counts
the signal and leaves out the noise: it discounts little on entering an even state, and much on entering an odd one.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

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
from taskgen.variation import Uniform

_STRIDE = 0.1
"""Standard deviation of a mutation, as a share of a knob's range."""


class SignalNoiseChainConfig(Config):
    """Structural settings of `SignalNoiseChain`."""

    horizon: int = Field(10, ge=1, le=100_000, description="States of the chain, each left once in an episode.")


class SignalNoiseChain(TaskFamily[SignalNoiseChainConfig]):
    """Observation: the state, one-hot [horizon], zeros when the chain is over; two actions, and neither does anything.

    Episodes terminate with the last state.
    """

    def __init__(self, config: SignalNoiseChainConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (config.horizon,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.horizon = config.horizon

    @cached_property
    def context_space(self) -> ContextSpace:
        """Sizes of signal and noise."""
        signal = Knob(
            -1.0, 1.0, 0.1, "Reward for leaving an even state.", unit="reward", vary=Uniform(low=0.05, high=0.15)
        )
        noise = Knob(0.0, 10.0, 1.0, "Standard deviation of the reward for leaving an odd state.", unit="reward")
        return ContextSpace({"signal": signal, "noise": noise})

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is signal and noise [2]."""
        return TensorBatch(self, _Walk(self.config.horizon), slots, device)

    def mutate(self, context: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Both sizes moved by a tenth of their range, as a rule, and kept within it."""
        moved = dict(context)
        for name, knob in self.context_space.knobs.items():
            step = _STRIDE * (knob.high - knob.low) * rng.standard_normal()
            moved[name] = float(np.clip(context[name] + step, knob.low, knob.high))
        return moved

    def descriptor(self, context: Mapping[str, Any]) -> NDArray[np.float64]:
        """[2] signal and noise, each as a share of the largest."""
        knobs = self.context_space.knobs
        return np.array([context[name] / knobs[name].high for name in ("signal", "noise")], dtype=np.float64)

    def values(self, context: Mapping[str, Any], discount: float = 1.0) -> NDArray[np.float64]:
        """[horizon] exact expected return from every state on, discounted by `discount` a step."""
        values = np.zeros(self.horizon + 1)
        for state in reversed(range(self.horizon)):
            values[state] = (context["signal"] if state % 2 == 0 else 0.0) + discount * values[state + 1]
        return values[:-1]

    def optimal_return(self, spec: TaskSpec) -> float:
        """The expected return of any player."""
        return float(self.values(spec.context)[0])

    def render(self, spec: TaskSpec) -> str:
        """What leaving each state pays."""
        pays = (f"{spec.context['signal']:+.3f}", f"N(0, {spec.context['noise']:.3f}^2)")
        return "\n".join(f"{state:>5}  {pays[state % 2]}" for state in range(self.horizon))


class _Walk:
    """State [B] int64: how many states were left. Noise by the normal quantile function."""

    uniforms = 1
    fixed_start = True

    def __init__(self, states: int) -> None:
        self.states = states

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        sizes = {name: [spec.context[name] for spec in specs] for name in ("signal", "noise")}
        return {name: torch.tensor(values, dtype=torch.float32) for name, values in sizes.items()}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return torch.zeros(len(uniform), dtype=torch.int64, device=uniform.device)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return one_hot(state, self.states)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        noise = torch.special.ndtri(uniform[:, 0]) * tables["noise"]
        reward = torch.where(state % 2 == 0, tables["signal"], noise)
        return state + 1, reward, state + 1 >= self.states

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.stack([tables["signal"], tables["noise"]], dim=1)
