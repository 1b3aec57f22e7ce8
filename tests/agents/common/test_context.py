import pytest
import torch

from agents.common.context import ContextEncoder
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.interaction.agent import Rollout
from taskgen.interaction.build import problem_of

OBSERVATION = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
GOALS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])


def _encoder(context, numbers=3, **settings):
    problem = problem_of(build_family("point-navigation"), episodes=1, seed=0, device=torch.device("cpu"))
    return ContextEncoder(problem, context, numbers, **settings)


def _rollout(descriptor, observation=OBSERVATION, valid=True):
    """One step of every trial."""
    blank = dict.fromkeys(("action", "reward", "terminated", "truncated", "next_observation", "episode_start"))
    blank |= dict.fromkeys(("trial_start", "episode_index", "record"))
    flags = torch.full((1, len(descriptor)), valid) if isinstance(valid, bool) else valid
    return Rollout(observation=observation[None, : len(descriptor)], valid=flags, descriptor=descriptor, **blank)


def _codes(encoder, descriptor=GOALS):
    return encoder(torch.zeros(len(descriptor), 2), descriptor)[:, 2:].tolist()


def test_descriptor_stands_beside_the_observation():
    encoder = _encoder("descriptor")
    assert encoder.size == 4
    torch.testing.assert_close(encoder(OBSERVATION, GOALS), torch.cat([OBSERVATION, GOALS], 1))
    over_time = encoder(OBSERVATION.expand(5, 3, 2), GOALS)
    assert over_time.shape == (5, 3, 4)
    torch.testing.assert_close(over_time[3, :, 2:], GOALS)


def test_none_tells_nothing():
    encoder = _encoder("none")
    assert not encoder.needs_descriptor
    torch.testing.assert_close(encoder(OBSERVATION, None), OBSERVATION)


def test_numbers_are_given_in_the_order_of_first_sight():
    encoder = _encoder("one-hot")
    assert _codes(encoder) == [[0, 0, 0]] * 3  # never seen: no number
    encoder.update(_rollout(GOALS))
    assert _codes(encoder) == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    encoder.update(_rollout(torch.tensor([[3.0, 4.0], [9.0, 9.0]])))
    assert _codes(encoder, torch.tensor([[9.0, 9.0], [9.0, 9.0001]])) == [[0, 0, 1], [0, 0, 0]]
    encoder.update(_rollout(torch.tensor([[7.0, 7.0]])))  # all numbers are taken
    assert _codes(encoder, torch.tensor([[7.0, 7.0]])) == [[0, 0, 0]]


def test_numbers_are_kept_in_the_state():
    one, other = _encoder("one-hot"), _encoder("one-hot")
    one.update(_rollout(GOALS))
    other.update(_rollout(torch.tensor([[5.0, 5.0], [6.0, 6.0], [7.0, 7.0]])))
    other.load_state_dict(one.state_dict())
    assert _codes(other) == _codes(one)
    for encoder in (one, other):
        encoder.update(_rollout(torch.tensor([[8.0, 8.0]])))
    assert _codes(other, torch.tensor([[8.0, 8.0]])) == [[0, 0, 1]]
    with pytest.raises(RuntimeError, match="numbers tasks"):
        _encoder("one-hot", numbers=2).load_state_dict(one.state_dict())


def test_normalised_by_what_was_seen_and_valid():
    encoder = _encoder("descriptor", normalize=True)
    torch.testing.assert_close(encoder(OBSERVATION, GOALS)[:, :2], OBSERVATION)  # nothing seen yet
    encoder.update(_rollout(GOALS, valid=torch.tensor([[True, True, False]])))
    # goals (1, 2) and (3, 4): mean (2, 3), variance 1
    torch.testing.assert_close(
        encoder(OBSERVATION, GOALS)[:2, 2:], torch.tensor([[-1.0, -1], [1, 1]]), atol=1e-4, rtol=0
    )
    other = _encoder("descriptor", normalize=True)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(OBSERVATION, GOALS), encoder(OBSERVATION, GOALS))


def test_numbers_are_not_normalised():
    encoder = _encoder("one-hot", normalize=True)
    encoder.update(_rollout(GOALS))
    assert _codes(encoder) == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert encoder(OBSERVATION, GOALS)[:, :2].mean().abs() < 1e-5


def test_a_missing_descriptor_is_named():
    with pytest.raises(UserError, match="needs the task descriptor"):
        _encoder("descriptor")(OBSERVATION, None)


def test_more_new_tasks_than_numbers_are_left_without():
    encoder = _encoder("one-hot", numbers=2)
    encoder.update(_rollout(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])))
    assert _codes(encoder, torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])) == [[1, 0], [0, 1], [0, 0]]
    other = _encoder("one-hot", numbers=2)
    other.load_state_dict(encoder.state_dict())  # as many as there are numbers
    assert _codes(other, torch.tensor([[3.0, 4.0]])) == [[0, 1]]


def test_numbers_over_time():
    encoder = _encoder("one-hot")
    encoder.update(_rollout(GOALS))
    found = encoder(torch.zeros(5, 3, 2), GOALS)
    assert found.shape == (5, 3, 5)
    assert found[4, :, 2:].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
