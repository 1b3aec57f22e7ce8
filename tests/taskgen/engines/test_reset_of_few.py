"""In a large batch a reset of few slots looks at these alone: nobody may notice."""

import pytest
import torch
from torch import Tensor

import registry
from taskgen.build import build_family
from taskgen.engines import tensor
from taskgen.engines.tensor import TensorBatch
from taskgen.engines.testing import sample_actions
from taskgen.family import TaskFamily

SLOTS, STEPS = 8, 30


def _is_tensor(name: str) -> bool:
    return "tensor" in registry.catalogue().get("families", name).entry.tags


FAMILIES = [item.full_name for item in registry.catalogue().items("families") if _is_tensor(item.full_name)]


def _play(family: TaskFamily, actions: Tensor, resets: Tensor) -> list[Tensor]:
    batch = family.batch(SLOTS)
    assert isinstance(batch, TensorBatch)
    specs = [family.spec(seed=seed) for seed in range(SLOTS)]
    batch.set_tasks(specs)
    seen = [batch.reset()]
    for step, action in enumerate(actions):
        where = resets[step]
        outcome = batch.step(action)
        seen += [outcome.observation.clone(), outcome.reward, outcome.terminated, outcome.truncated]
        if step == STEPS // 2:
            batch.set_tasks([specs[-1]], [0])
            where = torch.zeros_like(where).index_fill(0, torch.tensor([0]), value=True)
        if where.any():
            seen.append(batch.reset(where, list(range(step, step + SLOTS)) if step % 3 == 0 else None).clone())
    return seen


@pytest.mark.parametrize("name", FAMILIES)
def test_the_short_way_equals_the_long_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = build_family(name)
    actions = sample_actions(family, STEPS, SLOTS)
    resets = torch.rand(STEPS, SLOTS, generator=torch.Generator().manual_seed(0)) < 0.15
    taken: list[int] = []
    drawn = TensorBatch._draw
    monkeypatch.setattr(
        TensorBatch,
        "_draw",
        lambda self, tables, keys, *given: taken.append(len(keys)) or drawn(self, tables, keys, *given),
    )
    long_way = _play(family, actions, resets)
    assert set(taken) == {SLOTS, 8 * SLOTS}  # all at once, and eight episodes of all
    taken.clear()
    monkeypatch.setattr(tensor, "_LARGE", 1)
    short_way = _play(family, actions, resets)
    assert sum(number < SLOTS for number in taken) > 5
    for one, other in zip(short_way, long_way, strict=True):
        assert torch.equal(one, other)
