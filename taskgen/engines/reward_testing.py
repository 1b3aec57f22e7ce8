"""Conformance kit for rewards: `check_reward` over any family. See `taskgen.testing`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from taskgen.engines.testing import check_batch, sample_actions
from taskgen.family import TaskFamily
from taskgen.reward import build_rewards
from taskgen.spec import RewardSpec, TaskSpec

_STEPS = 12


def check_reward(family: TaskFamily[Any], rewards: Sequence[RewardSpec], *, device: torch.device | str = "cpu") -> None:
    """Check three or more `rewards` of one entry on `family`. Raises `AssertionError` saying what is wrong.

    Complete form; [B] finite float32; a pure function, row by row, bit for bit on a CPU; unequal rewards pay
    unequally; a task rebuilt from its JSON pays the same; the family's own reward stays beside it; and all that
    `check_batch` asks of the tasks.
    """
    specs = [family.spec(seed=seed, reward=reward) for seed, reward in enumerate(rewards)]
    assert len(specs) >= 3, "check_reward needs three rewards"
    steps = _play(family, specs, device)
    complete = [spec.reward for spec in specs if spec.reward is not None]
    function = build_rewards(complete, family, device)
    for before, action, after, paid in steps:
        reward = function(before, action, after)
        shown = f"a reward is {tuple(reward.shape)} {reward.dtype}"
        assert reward.shape == (len(specs),), f"{shown}, expected [{len(specs)}]"
        assert reward.dtype == torch.float32, f"{shown}, expected float32"
        assert bool(torch.isfinite(reward).all()), f"a reward is not finite: {reward}"
        assert torch.equal(reward, function(before, action, after)), "the same step was paid otherwise the second time"
        assert torch.equal(reward, paid), "the batch pays otherwise than the reward function"
        if torch.device(device).type == "cpu":
            _check_rows(family, complete, (before, action, after), reward)
    seen = function.descriptor()
    assert seen.dtype == torch.float32 and len(seen) == len(specs), "descriptor is not [B, D] float32"  # noqa: PT018
    _check_tasks(family, specs, steps, device)


def _play(
    family: TaskFamily[Any], specs: Sequence[TaskSpec], device: torch.device | str
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Observation, action, next observation and reward of some steps of one episode."""
    batch = family.batch(len(specs), device)
    batch.set_tasks(specs)
    before = batch.reset().clone()
    steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for action in sample_actions(family, min(_STEPS, family.horizon), len(specs)).to(batch.device):
        outcome = batch.step(action)
        assert outcome.family_reward is not None, "the batch does not say what the family's own reward is"
        steps.append((before, action, outcome.observation.clone(), outcome.reward))
        before = outcome.observation.clone()
    return steps


def _check_rows(
    family: TaskFamily[Any], rewards: Sequence[RewardSpec], step: tuple[Tensor, Tensor, Tensor], expected: Tensor
) -> None:
    for row, reward in enumerate(rewards):
        alone = build_rewards([reward], family, "cpu")(*(values[row : row + 1] for values in step))
        assert torch.equal(alone, expected[row : row + 1]), f"reward {row} pays otherwise when it is alone in a batch"


def _check_tasks(
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    steps: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]],
    device: torch.device | str,
) -> None:
    again = [TaskSpec.from_json(spec.to_json()) for spec in specs]
    for spec, rebuilt in zip(specs, again, strict=True):
        family.check(rebuilt)
        assert rebuilt == spec, f"task {spec.id} is another one after a trip through JSON"
    for first, second in zip(steps, _play(family, again, device), strict=True):
        assert torch.equal(first[3], second[3]), "a task rebuilt from JSON pays otherwise"
    paid = torch.stack([step[3] for step in steps])
    if any(spec.reward != specs[0].reward for spec in specs):
        assert not bool((paid == paid[:, :1]).all()), "unequal rewards paid equally at every step"
    check_batch(family, specs, device=device)
