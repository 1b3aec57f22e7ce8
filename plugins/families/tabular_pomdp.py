"""Random tabular POMDPs: `tabular-mdp` whose state is hidden behind what it looks like.

    s' ~ P(. | s, a),   o ~ Z(. | s),   reward 1 with probability R(s, a), else 0

P(. | s, a) ~ Dirichlet(concentration), R(s, a) ~ U[0, 1]. State s has the look s mod `observations`:
Z(. | s) = (1 - blur) [o is its look] + blur D(. | s) with D(. | s) ~ Dirichlet(1, ..., 1). With fewer looks than states
some states look alike however little is blurred. The first state is any, equally likely. The tables are drawn from the
task's seed; the knobs are the parameters of that draw.

What is told of the state in a step, the reward included, is one of 2 `observations` symbols, so that the best play can
be worked out exactly. The rewards of `tabular-mdp`, another number for every state, would give the state away.

Source: Kaelbling, Littman and Cassandra 1998, "Planning and acting in partially observable stochastic domains".
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plugins.families.grids import one_hot
from plugins.families.tabular_mdp import TABLES, dirichlet
from registry.config import Config
from taskgen.engines import noise
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec


class TabularPOMDPConfig(Config):
    """Structural settings of `TabularPOMDP`."""

    states: int = Field(4, ge=1, le=1000, description="Number of states.")
    actions: int = Field(3, ge=1, le=1000, description="Number of actions.")
    observations: int = Field(2, ge=1, le=1000, description="Number of looks that states may have.")
    horizon: int = Field(20, ge=1, le=100_000, description="Steps per episode.")


class TabularPOMDP(TaskFamily[TabularPOMDPConfig]):
    """Observation: what the state looks like, one-hot [observations]; action: one of `actions`; reward: 0 or 1."""

    def __init__(self, config: TabularPOMDPConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (config.observations,), np.float32)
        self.action_space = gym.spaces.Discrete(config.actions)
        self.horizon = config.horizon

    @cached_property
    def context_space(self) -> ContextSpace:
        """Parameters of the distributions the tables are drawn from; nothing varies by default but the seed."""
        return ContextSpace(
            {
                "concentration": Knob(
                    0.01, 100.0, 0.1, "Dirichlet concentration of the transitions: small is near-deterministic."
                ),
                "blur": Knob(0.0, 1.0, 0.3, "Share of the looks that is noise: 0 shows each state's own look."),
            }
        )

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """The tables are."""
        return True

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is R (s, a), P (s, a, s') and Z (s, o), flattened."""
        return TensorBatch(self, _HiddenChain(self.config), slots, device)

    def render(self, spec: TaskSpec) -> str:
        """How often each state and action pays and what is likeliest to follow; how often the state has each look."""
        states, actions = self.config.states, self.config.actions
        tables = {name: table[0] for name, table in _HiddenChain(self.config).tables([spec]).items()}
        following = tables["transitions"].view(states, actions, states).argmax(-1)
        head = "state  " + "  ".join(f"{'action ' + str(a):>12}" for a in range(actions)) + "  looks"
        rows = (
            f"{s:>5}  "
            + "  ".join(
                f"{float(tables['paid'][s * actions + a]):6.2f} -> {int(following[s, a]):<2}" for a in range(actions)
            )
            + "  "
            + " ".join(f"{float(share):.2f}" for share in tables["looks"][s])
            for s in range(states)
        )
        return "\n".join([head, *rows])


class _HiddenChain:
    """State [B, 2] int64: the hidden state, and what it looks like now. All draws by inverse CDF."""

    uniforms = 3

    def __init__(self, config: TabularPOMDPConfig) -> None:
        self.states, self.actions, self.looks = config.states, config.actions, config.observations

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        pairs, states, looks = self.states * self.actions, self.states, self.looks
        concentration, blur = (
            torch.tensor([spec.context[name] for spec in specs], dtype=torch.float64)
            for name in ("concentration", "blur")
        )
        key = noise.child(noise.keys([spec.seed for spec in specs]), TABLES)
        uniform = noise.uniforms64(key, pairs * (1 + states) + states * looks)
        paid, moves, faces = uniform.split([pairs, pairs * states, states * looks], dim=1)
        transitions = dirichlet(moves.reshape(-1, pairs, states), concentration)
        noisy = dirichlet(faces.reshape(-1, states, looks), torch.ones_like(blur))
        own = one_hot(torch.arange(states) % looks, looks).to(torch.float64)
        seen = torch.lerp(own.expand_as(noisy), noisy, blur[:, None, None])
        tables = {
            "paid": paid,
            "transitions": transitions,
            "looks": seen,
            "moves_up_to": transitions.cumsum(-1)[..., :-1],
            "looks_up_to": seen.cumsum(-1)[..., :-1],
        }
        return {name: table.to(torch.float32).contiguous() for name, table in tables.items()}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        first = (uniform[:, 0] * self.states).to(torch.int64).clamp(max=self.states - 1)
        return self._shown(tables, first, uniform)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return one_hot(state[:, 1], self.looks)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pair = torch.add(action, state[:, 0], alpha=self.actions)[:, None]
        reward = (uniform[:, 2:] < tables["paid"].gather(1, pair))[:, 0].to(torch.float32)
        following = _drawn(tables["moves_up_to"], pair[:, 0], uniform[:, :1])
        return self._shown(tables, following, uniform), reward, torch.zeros_like(reward, dtype=torch.bool)

    def _shown(self, tables: Tables, hidden: Tensor, uniform: Tensor) -> Tensor:
        return torch.stack([hidden, _drawn(tables["looks_up_to"], hidden, uniform[:, 1:2])], dim=1)

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.cat([tables[name].flatten(1) for name in ("paid", "transitions", "looks")], dim=1)


def _drawn(cumulative: Tensor, row: Tensor, uniform: Tensor) -> Tensor:
    """[B] int64 drawn from row `row` [B] of the distributions `cumulative` [B, R, k - 1] by `uniform` [B, 1]."""
    slot = torch.arange(len(row), device=row.device)
    return (uniform >= cumulative[slot, row]).sum(-1)
