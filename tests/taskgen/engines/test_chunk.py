"""Chunks: what happens is what happens step by step."""

import pytest
import torch

from registry.errors import UserError
from taskgen.build import build_family
from taskgen.engines.chunk import Chunk
from taskgen.engines.tensor import Position
from taskgen.spec import RewardSpec

SLOTS, STEPS = 5, 4


def batch_of(name, settings=None):
    family = build_family(name, settings)
    batch = family.batch(SLOTS)
    batch.set_tasks([family.spec(seed=seed) for seed in range(SLOTS)])
    batch.reset()
    return batch


def push_back(observation):
    """A cart-pole policy that falls now and then."""
    return (observation[:, 2] > 0).long()


def same_as_stepping(chunk, reference, chunks, actions=None):
    """Play `chunks` chunks beside a batch that is stepped and reset by hand."""
    observation = reference.dynamics.observe(reference.tables, reference.position.state)
    ends = 0
    for n in range(chunks):
        given = None if actions is None else actions[n * STEPS : (n + 1) * STEPS]
        seen = chunk.play(given)
        for t in range(STEPS):
            torch.testing.assert_close(seen.observation[t], observation, rtol=1e-3, atol=1e-4)
            outcome = reference.step(seen.action[t])
            torch.testing.assert_close(seen.next_observation[t], outcome.observation, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(seen.reward[t], outcome.reward, rtol=1e-3, atol=1e-4)
            assert torch.equal(seen.terminated[t], outcome.terminated)
            assert torch.equal(seen.truncated[t], outcome.truncated)
            ended = outcome.terminated | outcome.truncated
            ends += int(ended.sum())
            observation = reference.reset(ended) if bool(ended.any()) else outcome.observation
    assert ends > 0
    assert torch.equal(chunk.batch.position.episode, reference.position.episode)
    assert torch.equal(chunk.batch.position.key, reference.position.key)


def actions_of(name, steps):
    generator = torch.Generator().manual_seed(0)
    if name in ("bandit", "tabular-mdp", "cartpole", "two-step", "barcode-bandit"):
        return torch.randint(2, (steps, SLOTS), generator=generator)
    return torch.rand(steps, SLOTS, 1 if name == "pendulum" else 2, generator=generator) * 0.2 - 0.1


CASES = [
    ("cartpole", {}),
    ("pendulum", {"horizon": 10}),
    ("bandit", {"pulls": 3}),
    ("tabular-mdp", {}),
    ("point-navigation", {"horizon": 9}),
    ("two-step", {"situations": 3}),
    ("barcode-bandit", {"pulls": 3, "arms": 2}),
]


@pytest.mark.parametrize("spare", [0, 1, 24])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_steps_of_a_chunk_are_those_of_the_engine(name, settings, spare, monkeypatch):
    """What is compiled, run without compiling it, however far ahead the noise is drawn."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr("taskgen.engines.chunk._SPARE", spare)
    chunk = Chunk(batch_of(name, settings), STEPS)
    same_as_stepping(chunk, batch_of(name, settings), 12, actions_of(name, 12 * STEPS))


def test_a_chunk_with_its_own_policy(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    same_as_stepping(Chunk(batch_of("cartpole"), STEPS, push_back), batch_of("cartpole"), 20)


def test_chunks_and_steps_alternate(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    batch, reference = batch_of("tabular-mdp"), batch_of("tabular-mdp")
    actions = actions_of("tabular-mdp", 3 * STEPS)
    chunk = Chunk(batch, STEPS)
    chunk.play(actions[:STEPS])
    for t in range(STEPS):
        reference.step(actions[t])
    for t in range(STEPS, STEPS + 3):
        assert torch.equal(batch.step(actions[t]).reward, reference.step(actions[t]).reward)
    again = chunk.play(actions[STEPS + 3 :][:STEPS])
    assert torch.equal(again.reward[0], reference.step(actions[STEPS + 3]).reward)


def test_tasks_and_seeds_that_change_between_chunks(monkeypatch):
    """Noise drawn ahead belongs to the seeds and the episodes it was drawn for."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    batch, reference = batch_of("cartpole"), batch_of("cartpole")
    chunk = Chunk(batch, STEPS, push_back)
    same_as_stepping(chunk, reference, 20)
    for one in (batch, reference):
        one.reset(torch.tensor([True, False, True, False, False]), seeds=range(70, 70 + SLOTS))
    same_as_stepping(chunk, reference, 20)
    for one in (batch, reference):
        one.set_tasks([one.family.spec({"force": 5.0}, seed=90)], slots=[1])
    same_as_stepping(chunk, reference, 20)


def test_tasks_with_a_reward_of_their_own_are_refused_whenever_they_come(monkeypatch):
    """A chunk pays what the family pays, which would be wrong in silence."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    batch = batch_of("cartpole")
    chunk = Chunk(batch, STEPS, push_back)
    chunk.play()
    batch.set_tasks([batch.family.spec(seed=1, reward=RewardSpec("random-discriminator", {"seed": 1}))], slots=[2])
    batch.reset()
    with pytest.raises(UserError, match="reward of their own"):
        chunk.play()
    with pytest.raises(UserError, match="reward of their own"):
        Chunk(batch, STEPS)


def test_every_chunk_has_code_of_its_own(monkeypatch):
    """Compiled code is kept by code object and, without guards, taken for whatever has the same one."""
    codes = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: codes.append(function.__code__))
    for _ in range(2):
        Chunk(batch_of("cartpole"), STEPS)
    assert codes[0] is not codes[1]
    assert codes[0].co_name != codes[1].co_name


def test_mistakes_are_named(monkeypatch):
    batch = batch_of("cartpole")
    with pytest.raises(UserError, match="steps = 0"):
        Chunk(batch, 0)
    with pytest.raises(UserError, match="set_tasks and reset"):
        Chunk(build_family("cartpole").batch(2), 4)
    with pytest.raises(UserError, match="not of a str"):
        Chunk("cartpole", 4)
    with pytest.raises(UserError, match="no act of its own: give actions"):
        Chunk(batch, 4).play()
    with pytest.raises(UserError, match="leave out actions"):
        Chunk(batch, 4, push_back).play(torch.zeros(4, SLOTS, dtype=torch.int64))
    with pytest.raises(UserError, match=r"actions \(3, 5\): expected \[4, 5"):
        Chunk(batch, 4).play(torch.zeros(3, SLOTS, dtype=torch.int64))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    chunk = Chunk(batch, 4)
    chunk.play(torch.zeros(4, SLOTS, dtype=torch.int64))
    with pytest.raises(UserError, match="torch.int32: the chunk was made for"):
        chunk.play(torch.zeros(4, SLOTS, dtype=torch.int32))
    assert Chunk(batch, 1, push_back).play().reward.shape == (1, SLOTS)  # one step is a chunk


def test_a_machine_without_a_compiler_is_told_so(monkeypatch):
    def failing(*_):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: failing)
    batch = batch_of("cartpole")
    before = batch.position
    with pytest.raises(UserError, match="no C\\+\\+ compiler"):
        Chunk(batch, 4, push_back).play()
    assert isinstance(batch.position, Position)
    assert torch.equal(batch.position.state, before.state)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cartpole", "tabular-mdp"])
def test_compiled(name):
    same_as_stepping(Chunk(batch_of(name), STEPS), batch_of(name), 12, actions_of(name, 12 * STEPS))


@pytest.mark.slow
def test_compiled_chunks_do_not_share_their_code():
    for settings in ({"horizon": 500}, {"horizon": 6}):
        batches = [batch_of("cartpole", settings) for _ in range(2)]
        same_as_stepping(Chunk(batches[0], STEPS), batches[1], 12, actions_of("cartpole", 12 * STEPS))


@pytest.mark.cuda
def test_captured():
    family = build_family("cartpole")
    batches = [family.batch(SLOTS, "cuda") for _ in range(2)]
    for batch in batches:
        batch.set_tasks([family.spec(seed=seed) for seed in range(SLOTS)])
        batch.reset()
    actions = actions_of("cartpole", 12 * STEPS).cuda()
    same_as_stepping(Chunk(batches[0], STEPS), batches[1], 12, actions)


def test_a_chunk_does_not_play_episodes_side_by_side(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    batch = batch_of("barcode-bandit")
    chunk = Chunk(batch, STEPS)
    batch.number(range(SLOTS))
    with pytest.raises(UserError, match="one after another, not side by side"):
        chunk.play(actions_of("bandit", STEPS))
