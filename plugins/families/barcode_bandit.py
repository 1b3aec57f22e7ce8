"""Barcoded bandits: bandits that come back within a trial, each under a barcode by which it can be known again.

An episode is a visit: the barcode is shown and so many pulls are made. In each bandit one arm pays with a high
probability, all others with a low one. Who remembers what the barcode's bandit was like need not search again.

Reference: Ritter et al. 2018, "Been there, done that: meta-learning with episodic recall", section 4.1.
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
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange


class BarcodeBanditConfig(RecurringConfig):
    """Structural settings of `BarcodeBandit`."""

    arms: int = Field(10, ge=2, le=1000, description="Arms of each bandit.")
    pulls: int = Field(10, ge=1, le=1000, description="Pulls of a visit.")


class BarcodeBandit(TaskFamily[BarcodeBanditConfig]):
    """Observation: the barcode, [bits] of 0 and 1; the action is one of the arms, the reward 0 or 1."""

    def __init__(self, config: BarcodeBanditConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (config.bits,), np.float32)
        self.action_space = gym.spaces.Discrete(config.arms)
        self.horizon = config.pulls
        self.cue = tuple(range(config.bits))

    @cached_property
    def context_space(self) -> ContextSpace:
        """Each bandit's good arm; what good and other arms pay, which does not vary by default."""
        last, bandits = self.config.arms - 1, self.config.situations
        anywhere = IntegerRange(low=0, high=last)
        return ContextSpace(
            {
                "good_arm": Knob(0, last, 0, "Each bandit's good arm.", shape=(bandits,), integer=True, vary=anywhere),
                "good": Knob(0.0, 1.0, 0.9, "Probability that a good arm pays."),
                "bad": Knob(0.0, 1.0, 0.1, "Probability that any other arm pays."),
            }
        )

    def validate(self, context: Mapping[str, Any]) -> None:
        """Refuse good arms that are worse than others."""
        if context["good"] < context["bad"]:
            raise TaskError(f"good = {context['good']}: less than bad = {context['bad']}; a good arm pays more often")

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:  # noqa: ARG003
        """Barcodes and the order of visits are."""
        return True

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is each bandit's probabilities [B, situations * arms]."""
        return TensorBatch(self, _Visits(self.config), slots, device)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of a visit by one who knows the bandit."""
        return self.config.pulls * float(spec.context["good"])  # type: ignore[arg-type]

    def render(self, spec: TaskSpec) -> str:
        """Barcode and good arm of each bandit, and the order of visits."""
        tables = _Visits(self.config).tables([spec])
        order = tables["order"][0].view(self.config.visits, -1).tolist()
        lines = (
            f"bandit {number}  {''.join(str(int(bit)) for bit in cue)}  good arm {spec.context['good_arm'][number]}"  # type: ignore[index]
            for number, cue in enumerate(tables["cues"][0])
        )
        return "\n".join([*lines, *(f"round {number}  {row}" for number, row in enumerate(order, 1))])


class _Visits(Recurring):
    """State [B] int64: the bandit that is visited."""

    uniforms = 1
    fixed_start = True

    def __init__(self, config: BarcodeBanditConfig) -> None:
        super().__init__(config)
        self.arms = config.arms

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        arm = torch.tensor([spec.context["good_arm"] for spec in specs])
        good, bad = (torch.tensor([spec.context[name] for spec in specs])[:, None, None] for name in ("good", "bad"))
        probabilities = torch.where(arm[..., None] == torch.arange(self.arms), good, bad)
        return {**super().tables(specs), "probabilities": probabilities.to(torch.float32)}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        return self.situation(tables, uniform)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return self.cue(tables, state)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        slot = torch.arange(len(state), device=state.device)
        reward = uniform[:, 0] < tables["probabilities"][slot, state, action]
        return state, reward.to(torch.float32), torch.zeros_like(reward)

    def descriptor(self, tables: Tables) -> Tensor:
        return tables["probabilities"].flatten(1)
