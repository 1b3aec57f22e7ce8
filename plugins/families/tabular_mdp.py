"""Random tabular MDPs (Duan et al. 2016, "RL^2", section 3.2): Dirichlet transitions, Gaussian rewards.

10 states, 5 actions, horizon 10, start in state 0; P(. | s, a) ~ Dirichlet(1, ..., 1), mean reward of (s, a) ~ N(1, 1),
reward ~ N(mean, 1). The tables are drawn from the task's seed; the knobs are the parameters of that draw.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from scipy import special
from torch import Tensor

from registry.config import Config
from taskgen.engines import noise
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec

TABLES = -1
"""The child of the task's seed that draws the tables; episodes are children 0, 1, 2, ..."""

_MINUS_ONE = torch.tensor(-1.0)


class TabularMDPConfig(Config):
    """Structural settings of `TabularMDP`."""

    states: int = Field(10, ge=1, le=1000, description="Number of states.")
    actions: int = Field(5, ge=1, le=1000, description="Number of actions.")
    horizon: int = Field(10, ge=1, le=100_000, description="Steps per episode.")


class TabularMDP(TaskFamily[TabularMDPConfig]):
    """Observation: one-hot state [states]; action: one of `actions`; every episode starts in state 0."""

    def __init__(self, config: TabularMDPConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (config.states,), np.float32)
        self.action_space = gym.spaces.Discrete(config.actions)
        self.horizon = config.horizon

    @cached_property
    def context_space(self) -> ContextSpace:
        """Parameters of the distributions the tables are drawn from; nothing varies by default but the seed."""
        return ContextSpace(
            {
                "concentration": Knob(
                    0.01, 100.0, 1.0, "Dirichlet concentration of the transitions: small is near-deterministic."
                ),
                "reward_mean": Knob(-10.0, 10.0, 1.0, "Mean of the mean rewards.", unit="reward"),
                "reward_spread": Knob(
                    0.0, 10.0, 1.0, "Standard deviation of the mean rewards over (state, action).", unit="reward"
                ),
                "reward_noise": Knob(0.0, 10.0, 1.0, "Standard deviation of a reward around its mean.", unit="reward"),
            }
        )

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """The tables are."""
        return True

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is mean rewards (s, a) and transitions (s, a, s'), flattened."""
        return TensorBatch(self, _Chain(self.config), slots, device)

    def render(self, spec: TaskSpec) -> str:
        """Mean reward of every state and action, and the likeliest next state."""
        tables = _Chain(self.config).tables([spec])
        states, actions = self.config.states, self.config.actions
        rewards = tables["rewards"].view(states, actions)
        following = tables["transitions"].view(states, actions, states).argmax(-1)
        head = "state  " + "  ".join(f"{'action ' + str(a):>12}" for a in range(actions))
        rows = (
            f"{s:>5}  " + "  ".join(f"{float(rewards[s, a]):6.2f} -> {int(following[s, a]):<2}" for a in range(actions))
            for s in range(states)
        )
        return "\n".join([head, *rows])


class _Chain:
    """Transitions by inverse CDF, rewards by the normal quantile function."""

    uniforms = 2
    fixed_start = True

    def __init__(self, config: TabularMDPConfig) -> None:
        self.states, self.actions = config.states, config.actions

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        pairs, states = self.states * self.actions, self.states
        knobs = {
            name: torch.tensor([spec.context[name] for spec in specs], dtype=torch.float64)[:, None]
            for name in ("concentration", "reward_mean", "reward_spread", "reward_noise")
        }
        key = noise.child(noise.keys([spec.seed for spec in specs]), TABLES)
        uniform = noise.uniforms64(key, pairs * (1 + states))
        rewards = knobs["reward_mean"] + knobs["reward_spread"] * torch.special.ndtri(uniform[:, :pairs])
        luck = uniform[:, pairs:].view(-1, pairs, states)
        transitions = dirichlet(luck, knobs["concentration"][:, 0])
        return {
            "rewards": rewards.to(torch.float32),
            "noise": (math.sqrt(2.0) * knobs["reward_noise"][:, 0]).to(torch.float32),
            "transitions": transitions.to(torch.float32),
            "cumulative": transitions.cumsum(-1).to(torch.float32)[..., :-1].contiguous(),
        }

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return torch.zeros(len(uniform), dtype=torch.int64, device=uniform.device)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return _one_hot(self.states, state.device).index_select(0, state)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pairs = self.states * self.actions
        slot = torch.arange(len(state), device=state.device)
        pair = torch.add(action, state, alpha=self.actions)
        row = torch.add(pair, slot, alpha=pairs)  # of the tables of all slots, one below the other
        # Uniforms have 23 random bits: 2 u - 1 is exact. Normal quantile = sqrt(2) erfinv(2 u - 1).
        deviation = torch.add(_MINUS_ONE, uniform[:, 0], alpha=2.0).erfinv_().mul_(tables["noise"])
        reward = tables["rewards"].view(-1).index_select(0, row).add_(deviation)
        cumulative = tables["cumulative"].view(len(state) * pairs, self.states - 1).index_select(0, row)
        following = (uniform[:, 1:] >= cumulative).sum(-1)
        return following, reward, torch.zeros_like(reward, dtype=torch.bool)

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.cat([tables["rewards"], tables["transitions"].flatten(1)], dim=1)


@lru_cache(maxsize=8)
def _one_hot(states: int, device: torch.device) -> Tensor:
    """[states, states] one-hot rows."""
    return torch.eye(states, device=device)


def dirichlet(uniform: Tensor, concentration: Tensor) -> Tensor:
    """Rows [B, ..., k] of Dirichlet(concentration, ..., concentration) from `uniform` [B, ..., k], both float64.

    `concentration` [B]. Gamma variates by inverse CDF, floored at 1e-300 so that a row never sums to zero. Those of
    shape 1 are -log(uniform), whatever other tasks are beside them.
    """
    shape = concentration.view(-1, *(1,) * (uniform.ndim - 1)).expand(uniform.shape)
    gamma, others = -torch.log(uniform), shape != 1.0
    if bool(others.any()):
        values = special.gammaincinv(shape[others].numpy(), uniform[others].numpy())
        gamma[others] = torch.from_numpy(np.maximum(values, 1e-300))
    return gamma / gamma.sum(-1, keepdim=True)
