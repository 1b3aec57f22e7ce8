"""What a contextual policy is told about its task, beside the observation."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from agents.common.encoding import StepEncoder
from agents.common.normalisation import RunningNormalizer
from registry.errors import UserError
from taskgen.interaction.agent import Problem, Rollout

Context: TypeAlias = Literal["descriptor", "none", "one-hot"]
"""The family's task descriptor; nothing; or the number of the task among those trained on, one-hot."""


class TaskNumbers:
    """Numbers tasks in the order in which their descriptors are first seen.

    A task is known by its descriptor, compared exactly: tasks that differ only in their seed share a number. A task
    that was never seen, or came when all `numbers` were taken, has none: its code is zero.
    """

    def __init__(self, numbers: int, size: int, device: torch.device) -> None:
        # NaN equals nothing, so rows that are still free match no descriptor.
        self._known = torch.full((numbers, size), torch.nan, device=device)
        self._entered = 0

    def __call__(self, descriptor: Tensor) -> Tensor:
        """[..., D] -> [..., numbers], 1 at the task's number."""
        return (descriptor[..., None, :] == self._known).all(-1).to(torch.float32)

    @property
    def full(self) -> bool:
        """Whether all numbers are taken."""
        return self._entered == len(self._known)

    def enter(self, descriptor: Tensor) -> None:
        """Number the tasks [N, D] that have no number yet, as long as there are free ones."""
        if self.full:
            return
        for row in descriptor[~self(descriptor).any(-1)]:
            if not self.full and not (self._known == row).all(-1).any():
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


class ContextEncoder:
    """Encodes observation and context as one vector, [..., size], and learns from `update` how.

    One-hot numbers are those of `TaskNumbers`. Of a task without a number the code is zero, so such a policy cannot
    generalise, which is what it is there to show. With `normalize`, observation and descriptor are shifted and scaled
    by their running statistics.
    """

    def __init__(self, problem: Problem, context: Context, numbers: int, *, normalize: bool = False) -> None:
        self.context: Context = context
        self._encoder = StepEncoder(problem.observation_space, problem.action_space)
        code = {"descriptor": problem.descriptor_size, "none": 0, "one-hot": numbers}[context]
        self.size = self._encoder.observation_size + code
        rows = numbers if context == "one-hot" else 0
        self._numbers = TaskNumbers(rows, problem.descriptor_size, problem.device)
        features = self.size - rows
        self._normalizer = RunningNormalizer(features).to(problem.device) if normalize else None

    @property
    def needs_descriptor(self) -> bool:
        """Whether the context is read from the task descriptor."""
        return self.context != "none"

    def __call__(self, observation: Tensor, descriptor: Tensor | None) -> Tensor:
        """[..., size] from observations [..., *shape] and descriptors [..., D] or, the same at all times, [B, D].

        Raises `UserError` without the descriptor it needs.
        """
        features = self._features(observation, descriptor)
        if self._normalizer is not None:
            features = self._normalizer(features)
        if self.context != "one-hot":
            return features
        number = self._numbers(_told(descriptor, self.context))
        return torch.cat([features, number.expand(*features.shape[:-1], -1)], dim=-1)

    def update(self, rollout: Rollout) -> None:
        """Number the tasks that have no number yet, as long as there are free ones; renew the running statistics."""
        if self._normalizer is not None:
            self._normalizer.update(self._features(rollout.observation, rollout.descriptor)[rollout.valid])
        if not self._numbers.full:
            self._numbers.enter(_told(rollout.descriptor, self.context))

    def state_dict(self) -> dict[str, Any]:
        """The descriptors in the order of their numbers, the running statistics."""
        statistics = {} if self._normalizer is None else self._normalizer.state_dict()
        return {**self._numbers.state_dict(), "statistics": statistics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`. Raises `RuntimeError` when there are fewer numbers or other descriptors."""
        self._numbers.load_state_dict(state)
        if self._normalizer is not None:
            self._normalizer.load_state_dict(state["statistics"])

    def _features(self, observation: Tensor, descriptor: Tensor | None) -> Tensor:
        """[..., F] observation, and the descriptor where it is told."""
        encoded = self._encoder.observation(observation)
        if self.context != "descriptor":
            return encoded
        return torch.cat([encoded, _told(descriptor, self.context).expand(*encoded.shape[:-1], -1)], dim=-1)


def _told(descriptor: Tensor | None, context: Context) -> Tensor:
    """The descriptor. Raises `UserError` without one."""
    if descriptor is None:
        raise UserError(f"context = {context!r} needs the task descriptor: collect with needs_descriptor")
    return descriptor
