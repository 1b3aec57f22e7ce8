"""A captured chunk is what stepping by hand is, whatever became of its batch since it was captured."""

import pytest
import torch

from taskgen.build import build_family
from taskgen.engines.chunk import Chunk
from tests.emulated import device, graph

device.install()

SLOTS, STEPS = 3, 4
CASES = [
    *(("cartpole", {"horizon": 9}, steps) for steps in (0, 1, 3)),
    ("tabular-mdp", {}, 2),
    ("point-navigation", {"horizon": 5}, 2),
    ("maze", {"horizon": 7}, 2),
]
"""Families, and how many steps by hand come before the change."""


@pytest.fixture(autouse=True)
def _graphs(monkeypatch):
    graph.emulate(monkeypatch)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


def batch_of(family):
    batch = family.batch(SLOTS, device.NAME)
    batch.set_tasks([family.spec(seed=seed) for seed in range(SLOTS)])
    batch.reset()
    return batch


def captured(batch):
    """A chunk that captures a graph, as on a card."""
    chunk = Chunk(batch, STEPS)
    chunk._compiled = None
    return chunk


def actions_of(family, seed):
    space = family.action_space
    generator = torch.Generator().manual_seed(seed)
    if hasattr(space, "n"):
        return torch.randint(int(space.n), (STEPS, SLOTS), generator=generator).to(device.NAME)
    return (torch.rand(STEPS, SLOTS, *space.shape, generator=generator) - 0.5).to(device.NAME)


def same_as_stepping(chunk, reference, seed):
    """One chunk beside a batch that is stepped and reset by hand."""
    actions = actions_of(reference.family, seed)
    seen = chunk.play(actions)
    for t in range(STEPS):
        outcome = reference.step(actions[t])
        torch.testing.assert_close(seen.next_observation[t].cpu(), outcome.observation.cpu(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(seen.reward[t].cpu(), outcome.reward.cpu(), rtol=1e-3, atol=1e-4)
        ended = outcome.terminated | outcome.truncated
        assert torch.equal(seen.terminated[t] | seen.truncated[t], ended)
        reference.reset(ended)
    assert torch.equal(chunk.batch.position.episode, reference.position.episode)
    assert torch.equal(chunk.batch.position.key, reference.position.key)


def reseeded(batch):
    batch.reset(seeds=[70, 71, 72])


def reseeded_in_part(batch):
    batch.reset(torch.tensor([True, False, True], device=device.NAME), seeds=[80, 81, 82])


def reset_in_part(batch):
    batch.reset(torch.tensor([False, True, True], device=device.NAME))


def other_tasks(batch):
    batch.set_tasks([some_task(batch.family, seed) for seed in (90, 91, 92)])
    batch.reset()


def another_task(batch):
    batch.set_tasks([some_task(batch.family, 95)], slots=[1])
    batch.reset(torch.tensor([False, True, False], device=device.NAME))


def some_task(family, seed):
    """One unlike the default."""
    context = {
        "builtin/cartpole": {"force": 3.0},
        "builtin/point-navigation": {"goal": (-0.3, 0.4)},
        "builtin/maze": {"direction": 2},
    }
    return family.spec(context.get(family.name, {}), seed=seed)


@pytest.mark.parametrize(("name", "settings", "steps"), CASES, ids=lambda value: str(value).strip("{}"))
@pytest.mark.parametrize("change", [reseeded, reseeded_in_part, reset_in_part, other_tasks, another_task])
def test_a_captured_chunk_follows_its_batch(name, settings, steps, change):
    """Changes come between chunks, or after steps by hand; episodes begin inside of the chunks that follow."""
    family = build_family(name, settings)
    chunk, reference = captured(batch_of(family)), batch_of(family)
    for seed in range(2):
        same_as_stepping(chunk, reference, seed)
    for action in actions_of(family, 7)[:steps]:
        for batch in (chunk.batch, reference):
            batch.step(action)
    for batch in (chunk.batch, reference):
        change(batch)
    for seed in range(10, 13):
        same_as_stepping(chunk, reference, seed)
