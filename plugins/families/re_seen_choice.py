"""Re-seen choice: each of a trial's situations asks for one of a few choices, is seen, and is seen once more.

An episode shows the situation's cue for so many steps; a step pays 1 for the right choice and 0 for any other. Nothing
but the memory of the first sight says what is right at the first step of the second one.

Reference: the contextual choice by which Ritter et al. 2018, "Been there, done that: meta-learning with episodic
recall", is checked in public code: a situation seen twice, judged at the first step of the second sight.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plugins.families.recurring import Recurring, RecurringConfig
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange


class ReSeenChoiceConfig(RecurringConfig):
    """Structural settings of `ReSeenChoice`."""

    visits: int = Field(2, ge=1, le=100, description="Times that each situation is seen.")
    choices: int = Field(2, ge=2, le=1000, description="Choices, one of which is right.")
    steps: int = Field(2, ge=1, le=1000, description="Choices that are made at a sight.")


class ReSeenChoice(TaskFamily[ReSeenChoiceConfig]):
    """Observation: the cue, [bits] of 0 and 1; the action is one of the choices, the reward 0 or 1."""

    def __init__(self, config: ReSeenChoiceConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (config.bits,), np.float32)
        self.action_space = gym.spaces.Discrete(config.choices)
        self.horizon = config.steps
        self.cue = tuple(range(config.bits))

    @cached_property
    def context_space(self) -> ContextSpace:
        """What is right in each situation."""
        last, shape = self.config.choices - 1, (self.config.situations,)
        anything = IntegerRange(low=0, high=last)
        right = Knob(0, last, 0, "The right choice in each situation.", shape=shape, integer=True, vary=anything)
        return ContextSpace({"right": right})

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """Cues and the order of sights are."""
        return True

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is what is right, one-hot [B, situations * choices]."""
        return TensorBatch(self, _Sights(self.config), slots, device)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of a sight by one who knows what is right."""
        return float(self.config.steps)

    def render(self, spec: TaskSpec) -> str:
        """Cue and right choice of each situation."""
        cues = _Sights(self.config).tables([spec])["cues"][0]
        return "\n".join(
            f"situation {number}  {''.join(str(int(bit)) for bit in cue)}  right: {spec.context['right'][number]}"  # type: ignore[index]
            for number, cue in enumerate(cues)
        )


class _Sights(Recurring):
    """State [B] int64: the situation that is seen."""

    uniforms = 0

    def __init__(self, config: ReSeenChoiceConfig) -> None:
        super().__init__(config)
        self.choices = config.choices

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        return {**super().tables(specs), "right": torch.tensor([spec.context["right"] for spec in specs])}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return self.situation(tables, uniform)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return self.cue(tables, state)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        right = tables["right"].gather(1, state[:, None])[:, 0] == action
        return state, right.to(torch.float32), torch.zeros_like(right)

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.nn.functional.one_hot(tables["right"], self.choices).flatten(1).to(torch.float32)
