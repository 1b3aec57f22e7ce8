"""What a contextual policy is told about its task, beside the observation."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from agents.common.encoding import StepEncoder
from registry.errors import UserError
from taskgen.interaction.agent import Problem

Context: TypeAlias = Literal["descriptor", "none", "one-hot"]
"""The family's task descriptor; nothing; or the number of the task among those trained on, one-hot."""


class ContextEncoder:
    """Encodes observation and context as one vector, [..., size].

    One-hot numbers are given by `enter` in the order in which descriptors are first seen. A task is known by its
    descriptor, compared exactly: tasks that differ only in their seed share a number. A task that was never entered,
    or came when all `numbers` were taken, has no number: its code is zero. So such a policy cannot generalise, which
    is what it is there to show.
    """

    def __init__(self, problem: Problem, context: Context, numbers: int) -> None:
        self.context = context
        self._encoder = StepEncoder(problem.observation_space, problem.action_space)
        code = {"descriptor": problem.descriptor_size, "none": 0, "one-hot": numbers}[context]
        self.size = self._encoder.observation_size + code
        rows = numbers if context == "one-hot" else 0
        # NaN equals nothing, so rows that are still free match no descriptor.
        self._known = torch.full((rows, problem.descriptor_size), torch.nan, device=problem.device)
        self._entered = 0

    @property
    def needs_descriptor(self) -> bool:
        """Whether the context is read from the task descriptor."""
        return self.context != "none"

    def __call__(self, observation: Tensor, descriptor: Tensor | None) -> Tensor:
        """[..., size] from observations [..., *shape] and descriptors [..., D] or, the same at all times, [B, D].

        Raises `UserError` without the descriptor it needs.
        """
        encoded = self._encoder.observation(observation)
        if self.context == "none":
            return encoded
        if descriptor is None:
            raise UserError(f"context = {self.context!r} needs the task descriptor: collect with needs_descriptor")
        code = self._number(descriptor) if self.context == "one-hot" else descriptor
        return torch.cat([encoded, code.expand(*encoded.shape[:-1], -1)], dim=-1)

    def enter(self, descriptor: Tensor | None) -> None:
        """Number the tasks with `descriptor` [B, D] that have none yet, as long as there are free numbers."""
        if self.context != "one-hot" or descriptor is None or self._entered == len(self._known):
            return
        for row in descriptor[~self._number(descriptor).any(-1)]:
            if self._entered < len(self._known) and not (self._known == row).all(-1).any():
                self._known[self._entered] = row
                self._entered += 1

    def state_dict(self) -> dict[str, Any]:
        """The descriptors in the order of their numbers."""
        return {"known": self._known[: self._entered].clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `RuntimeError` when there are fewer numbers or other descriptors."""
        known: Tensor = state["known"]
        if len(known) > len(self._known) or known.shape[1:] != self._known.shape[1:]:
            raise RuntimeError(f"the state numbers tasks {list(known.shape)}, here are {list(self._known.shape)}")
        self._entered = len(known)
        self._known.fill_(torch.nan)
        self._known[: self._entered] = known.to(self._known)

    def _number(self, descriptor: Tensor) -> Tensor:
        """[..., D] -> [..., numbers], 1 at the task's number."""
        return (descriptor[..., None, :] == self._known).all(-1).to(torch.float32)
