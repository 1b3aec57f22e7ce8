"""The two-step task: a choice leads, most of the time, to one of two states, one of which pays more often.

A decision: at the start action a leads to state a with the probability `common`, else to the other one; there, whatever
the next action, 1 is paid with the probability `good` in the better state and `bad` in the other. What an unlikely
passage led to says which choice to make next only to somebody who knows the passages: the reward and the kind of
passage interact in the probability of staying with a choice.

*Episodic*: an episode is a decision in one of the trial's situations, shown by a cue; which state is better belongs to
the situation and is found again when it comes back. *Incremental*: an episode is a row of decisions without a cue; the
better state is drawn anew for each episode and changes with the probability `reversal` after each decision.

References: Daw et al. 2011, "Model-based influences on humans' choices and striatal prediction errors"; Wang et al.
2018, "Prefrontal cortex as a meta-reinforcement learning system", simulation 4; Ritter et al. 2018, "Been there, done
that: meta-learning with episodic recall", section 4.3.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plugins.families.grids import one_hot
from plugins.families.recurring import Recurring, RecurringConfig
from registry.errors import TaskError
from taskgen.engines.tensor import Tables, TensorBatch
from taskgen.family import TaskFamily
from taskgen.space import ContextSpace, Knob
from taskgen.spec import TaskSpec
from taskgen.variation import IntegerRange


class TwoStepConfig(RecurringConfig):
    """Structural settings of `TwoStep`; situations, visits and bits are those of the episodic form."""

    form: Literal["episodic", "incremental"] = Field(
        "episodic", description="Decisions in situations that recur, or in a row while the better state changes."
    )
    situations: int = Field(20, ge=1, le=1000, description="Situations of a trial, each with a cue of its own.")
    visits: int = Field(2, ge=1, le=100, description="Times that each comes back in a trial of situations x visits.")
    decisions: int = Field(100, ge=1, le=10_000, description="Decisions of an episode in the incremental form.")


class TwoStep(TaskFamily[TwoStepConfig]):
    """Observation: start, first or second state, one-hot [3], then the cue [bits] in the episodic form."""

    def __init__(self, config: TwoStepConfig, *, name: str) -> None:
        super().__init__(config, name=name)
        self._episodic = config.form == "episodic"
        bits = config.bits if self._episodic else 0
        self.observation_space = gym.spaces.Box(0.0, 1.0, (3 + bits,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.horizon = 2 * (1 if self._episodic else config.decisions)
        self.cue = tuple(range(3, 3 + bits))

    @cached_property
    def context_space(self) -> ContextSpace:
        """Probabilities, which do not vary by default, and in the episodic form the better state of each situation."""
        knobs = {
            "common": Knob(0.5, 1.0, 0.9, "Probability that a choice leads to its own state."),
            "good": Knob(0.0, 1.0, 0.9, "Probability that the better state pays."),
            "bad": Knob(0.0, 1.0, 0.1, "Probability that the other one does."),
        }
        either = IntegerRange(low=0, high=1)
        if self._episodic:
            shape = (self.config.situations,)
            knobs["better"] = Knob(0, 1, 0, "Better state of each situation.", shape=shape, integer=True, vary=either)
        else:
            help = "Probability that the better state changes after a decision."  # noqa: A001
            knobs["reversal"] = Knob(0.0, 1.0, 0.025, help)
        return ContextSpace(knobs)

    def validate(self, context: Mapping[str, Any]) -> None:
        """Refuse a better state that pays less."""
        if context["good"] < context["bad"]:
            raise TaskError(f"good = {context['good']}: less than bad = {context['bad']}; the better state pays more")

    @classmethod
    def drawn_from_seed(cls, context: Mapping[str, Any]) -> bool:
        """Cues and the order of visits are."""
        return context["form"] == "episodic"

    def batch(self, slots: int, device: torch.device | str = "cpu") -> TensorBatch:
        """A tensor-engine batch; the descriptor is common, good, bad, then the better states, or the reversal."""
        dynamics = _Decisions(self.config) if self._episodic else _Row()
        return TensorBatch(self, dynamics, slots, device)

    def optimal_return(self, spec: TaskSpec) -> float:
        """Of an episode of one who always knows the better state."""
        common, good, bad = (float(spec.context[name]) for name in ("common", "good", "bad"))  # type: ignore[arg-type]
        return (common * good + (1 - common) * bad) * self.horizon / 2


class _Step:
    """Passage and payment; a state is [B, 3] int64: situation, stage (0 start, 1 and 2 the states), better state."""

    def paid(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Stage [B] after `action` [B], reward [B] float32, and which slots [B] have made their decision."""
        stage, better = state[:, 1], state[:, 2]
        passage = torch.where(uniform[:, 0] < tables["common"], action, 1 - action) + 1
        probability = torch.where(stage - 1 == better, tables["good"], tables["bad"])
        second = stage > 0
        reward = (second & (uniform[:, 1] < probability)).to(torch.float32)
        return torch.where(second, 0, passage), reward, second


def _probabilities(specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
    names = ("common", "good", "bad")
    return {name: torch.tensor([spec.context[name] for spec in specs], dtype=torch.float32) for name in names}


class _Decisions(Recurring, _Step):
    uniforms = 2
    fixed_start = True

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        better = torch.tensor([spec.context["better"] for spec in specs])
        return {**super().tables(specs), **_probabilities(specs), "better": better}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        situation = self.situation(tables, uniform)
        better = tables["better"].gather(1, situation[:, None])[:, 0]
        return torch.stack([situation, torch.zeros_like(situation), better], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return torch.cat([one_hot(state[:, 1], 3), self.cue(tables, state[:, 0])], dim=1)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stage, reward, decided = self.paid(tables, state, action, uniform)
        return torch.stack([state[:, 0], stage, state[:, 2]], dim=1), reward, decided

    def descriptor(self, tables: Tables) -> Tensor:
        told = [tables[name][:, None] for name in ("common", "good", "bad")]
        return torch.cat([*told, tables["better"].to(torch.float32)], dim=1)


class _Row(_Step):
    uniforms = 3

    def tables(self, specs: Sequence[TaskSpec]) -> dict[str, Tensor]:
        reversal = torch.tensor([spec.context["reversal"] for spec in specs], dtype=torch.float32)
        return {**_probabilities(specs), "reversal": reversal}

    def initial(self, tables: Tables, uniform: Tensor) -> Tensor:
        better = (uniform[:, 0] < 0.5).to(torch.int64)
        nothing = torch.zeros_like(better)
        return torch.stack([nothing, nothing, better], dim=1)

    def observe(self, tables: Tables, state: Tensor) -> Tensor:
        return one_hot(state[:, 1], 3)

    def step(self, tables: Tables, state: Tensor, action: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stage, reward, decided = self.paid(tables, state, action, uniform)
        changes = decided & (uniform[:, 2] < tables["reversal"])
        better = torch.where(changes, 1 - state[:, 2], state[:, 2])
        return torch.stack([state[:, 0], stage, better], dim=1), reward, torch.zeros_like(decided)

    def descriptor(self, tables: Tables) -> Tensor:
        return torch.stack([tables[name] for name in ("common", "good", "bad", "reversal")], dim=1)
