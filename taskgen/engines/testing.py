"""Conformance kit for batched environments: `check_batch` over any family. See `taskgen.testing`."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from registry.errors import TaskError, brief
from taskgen.batch import TaskBatch
from taskgen.family import TaskFamily
from taskgen.spaces import pack, row_shape, unpack
from taskgen.spec import TaskSpec

_SLOTS = 3
_COPIES = 4


def check_batch(family: TaskFamily[Any], specs: Sequence[TaskSpec], *, device: torch.device | str = "cpu") -> None:
    """Check `family.batch` on three or more tasks. Raises `AssertionError` saying what the batch did wrong.

    Shapes and types; observations inside the space for a whole episode; finite rewards; truncation exactly at the
    horizon; tasks of other families refused; equal rollouts when repeated. On CPU, bit for bit: slots do not depend on
    one another, and resetting some slots or giving some a new task leaves the others alone.
    """
    specs = list(specs[:_SLOTS])
    assert len(specs) == _SLOTS, f"check_batch needs {_SLOTS} tasks"
    actions = sample_actions(family, family.horizon, _SLOTS)
    crowd = specs * _COPIES  # many slots, so that some episode may last until the horizon
    _check_episode(family, _batch(family, crowd, device), sample_actions(family, family.horizon, len(crowd)))
    _check_foreign(family, specs, device)
    expected = rollout(family, specs, actions, device=device)
    _equal(rollout(family, specs, actions, device=device), expected, "the same tasks and actions gave another rollout")
    if torch.device(device).type == "cpu":
        _check_independent(family, specs, actions, expected)
        _check_masked(family, specs, actions, expected)
        _check_replaced(family, specs, actions, expected)
    _check_seeds(family, specs, actions, device)


def sample_actions(family: TaskFamily[Any], steps: int, slots: int, seed: int = 0) -> Tensor:
    """Actions [steps, slots, ...] drawn by the family's action space."""
    space = copy.deepcopy(family.action_space)
    space.seed(seed)
    drawn = [[pack(space, space.sample()) for _ in range(slots)] for _ in range(steps)]
    return torch.as_tensor(np.asarray(drawn))


def rollout(
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    actions: Tensor,
    *,
    episodes: int = 1,
    seeds: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """Everything that happens in `episodes` episodes under `actions` [steps, slots, ...]: tensors [B, ...] in order.

    Noise begins from `seeds`, one for each slot, in place of those of the tasks.
    """
    batch = _batch(family, specs, device)
    seen: list[Tensor] = []
    for episode in range(episodes):
        seen.append(batch.reset(seeds=seeds if episode == 0 else None).clone())
        seen += _play(batch, actions)
    return seen


def _batch(family: TaskFamily[Any], specs: Sequence[TaskSpec], device: torch.device | str = "cpu") -> TaskBatch:
    batch = family.batch(len(specs), device)
    batch.set_tasks(specs)
    return batch


def _play(batch: TaskBatch, actions: Tensor) -> list[Tensor]:
    """What happens under `actions`; slots that ended before are zeroed, since their steps are meaningless."""
    seen: list[Tensor] = []
    ended = torch.zeros(batch.slots, dtype=torch.bool, device=batch.device)
    for action in actions.to(batch.device):
        outcome = batch.step(action)
        values = (outcome.observation, outcome.reward, outcome.terminated, outcome.truncated)
        seen += [value.masked_fill(ended.view(-1, *(1,) * (value.ndim - 1)), 0) for value in values]
        ended = ended | outcome.terminated | outcome.truncated
    return seen


def _check_episode(family: TaskFamily[Any], batch: TaskBatch, actions: Tensor) -> None:
    """Shapes, types, ranges and the end of one episode."""
    space = family.observation_space
    _check_observation(space, batch.reset(), batch.slots, "reset")
    ended = np.zeros(batch.slots, dtype=bool)
    for step, action in enumerate(actions.to(batch.device), 1):
        outcome = batch.step(action)
        where = f"step {step}"
        _check_observation(space, outcome.observation, batch.slots, where, ~ended)
        told = outcome.success
        claims = f"while tells_success is {family.tells_success}"
        assert (told is not None) == family.tells_success, f"{where}: success is {brief(told)}, {claims}"
        for name, value, kind in (
            ("reward", outcome.reward, torch.float32),
            ("terminated", outcome.terminated, torch.bool),
            ("truncated", outcome.truncated, torch.bool),
            *([] if told is None else [("success", told, torch.bool)]),
        ):
            stated = f"{where}: {name} is {tuple(value.shape)} {value.dtype}"
            assert value.shape == (batch.slots,), f"{stated}, expected shape ({batch.slots},)"
            assert value.dtype == kind, f"{stated}, expected {kind}"
        reward, truncated = outcome.reward.cpu().numpy()[~ended], outcome.truncated.cpu().numpy()[~ended]
        assert np.isfinite(reward).all(), f"{where}: reward {reward} is not finite"
        last = step == family.horizon
        assert (truncated == last).all(), f"{where}: truncated is {truncated}, but the horizon is {family.horizon}"
        ended |= (outcome.terminated | outcome.truncated).cpu().numpy()
    descriptor = batch.descriptor()
    assert (descriptor.ndim, len(descriptor)) == (2, batch.slots), f"descriptor {tuple(descriptor.shape)} is not [B, D]"
    assert descriptor.dtype == torch.float32, f"descriptor is {descriptor.dtype}, expected float32"
    assert bool(torch.isfinite(descriptor).all()), "descriptor is not finite"


def _check_observation(
    space: gym.Space[Any], observation: Tensor, slots: int, where: str, rows: np.ndarray | None = None
) -> None:
    shape = (slots, *row_shape(space))
    assert observation.shape == shape, f"{where}: observation {tuple(observation.shape)}, expected {shape}"
    values = observation.cpu().numpy()
    for slot in np.flatnonzero(np.ones(slots, dtype=bool) if rows is None else rows):
        value = unpack(space, values[slot])
        assert space.contains(value), f"{where}: observation {value} is outside {space}"


def _check_foreign(family: TaskFamily[Any], specs: Sequence[TaskSpec], device: torch.device | str) -> None:
    batch = _batch(family, specs, device)
    foreign = [replace(specs[0], family="nobody/nothing"), *specs[1:]]
    _refused(lambda: batch.set_tasks(foreign), f"{family.name}: a batch took a task of another family")


def _refused(action: Callable[[], object], otherwise: str) -> None:
    try:
        action()
    except TaskError:
        return
    raise AssertionError(otherwise)


def _check_independent(
    family: TaskFamily[Any], specs: Sequence[TaskSpec], actions: Tensor, expected: Sequence[Tensor]
) -> None:
    for slot, spec in enumerate(specs):
        alone = rollout(family, [spec], actions[:, slot : slot + 1])
        rows = [value[slot : slot + 1] for value in expected]
        _equal(alone, rows, f"slot {slot} behaves otherwise when it is alone in a batch")


def _check_masked(
    family: TaskFamily[Any], specs: Sequence[TaskSpec], actions: Tensor, expected: Sequence[Tensor]
) -> None:
    """A reset of slot 1 half-way leaves slots 0 and 2 as they are."""
    others = torch.tensor([0, 2])
    half = len(actions) // 2
    batch = _batch(family, specs)
    seen = [batch.reset().clone(), *_play(batch, actions[:half])]
    before = seen[-4] if half else seen[0]
    after = batch.reset(torch.tensor([False, True, False]))
    assert after.shape == before.shape, f"a masked reset returned {tuple(after.shape)}, expected all slots"
    if not _ended(seen[1:]).any():
        _equal([after[others]], [before[others]], "a masked reset changed the observation of another slot")
        seen += _play(batch, actions[half:])
        rows = [value[others] for value in expected]
        _equal([value[others] for value in seen], rows, "a masked reset changed what happens in another slot")


def _check_replaced(
    family: TaskFamily[Any], specs: Sequence[TaskSpec], actions: Tensor, expected: Sequence[Tensor]
) -> None:
    """Giving slot 1 the task of slot 2 makes it behave as slot 2 alone, and leaves slot 0 as it is."""
    batch = _batch(family, specs)
    batch.set_tasks([specs[2]], [1])
    seen = [batch.reset().clone(), *_play(batch, actions)]
    alone = rollout(family, [specs[2]], actions[:, 1:2])
    _equal([value[1:2] for value in seen], alone, "a slot given a new task does not behave as that task")
    _equal([value[:1] for value in seen], [value[:1] for value in expected], "set_tasks of one slot changed another")


def _check_seeds(
    family: TaskFamily[Any], specs: Sequence[TaskSpec], actions: Tensor, device: torch.device | str
) -> None:
    """`reset(seeds=...)` restarts the noise: equal seeds, equal episodes."""
    batch = _batch(family, specs, device)
    first = [batch.reset(seeds=[5, 6, 7]).clone(), *_play(batch, actions)]
    second = [batch.reset(seeds=[5, 6, 7]).clone(), *_play(batch, actions)]
    _equal(second, first, "reset with the same seeds gave another episode")


def _ended(seen: Sequence[Tensor]) -> Tensor:
    """[B] whether a slot ended in the steps of `seen` (four tensors a step)."""
    flags = [terminated | truncated for terminated, truncated in zip(seen[2::4], seen[3::4], strict=True)]
    return torch.stack(flags).any(0) if flags else torch.zeros(_SLOTS, dtype=torch.bool)


def _equal(seen: Sequence[Tensor], expected: Sequence[Tensor], otherwise: str) -> None:
    for left, right in zip(seen, expected, strict=True):
        assert torch.equal(left.cpu(), right.cpu()), otherwise
