import pytest
import torch

from agents.common.context import ContextEncoder
from agents.experiment import problem_of
from registry.errors import UserError
from taskgen.build import build_family

OBSERVATION = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
GOALS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])


def _encoder(context, numbers=3):
    problem = problem_of(build_family("point-navigation"), episodes=1, seed=0, device=torch.device("cpu"))
    return ContextEncoder(problem, context, numbers)


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
    encoder.enter(GOALS)
    assert _codes(encoder) == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    encoder.enter(torch.tensor([[3.0, 4.0], [9.0, 9.0]]))
    assert _codes(encoder, torch.tensor([[9.0, 9.0], [9.0, 9.0001]])) == [[0, 0, 1], [0, 0, 0]]
    encoder.enter(torch.tensor([[7.0, 7.0]]))  # all numbers are taken
    assert _codes(encoder, torch.tensor([[7.0, 7.0]])) == [[0, 0, 0]]


def test_numbers_are_kept_in_the_state():
    one, other = _encoder("one-hot"), _encoder("one-hot")
    one.enter(GOALS)
    other.enter(torch.tensor([[5.0, 5.0], [6.0, 6.0], [7.0, 7.0]]))
    other.load_state_dict(one.state_dict())
    assert _codes(other) == _codes(one)
    for encoder in (one, other):
        encoder.enter(torch.tensor([[8.0, 8.0]]))
    assert _codes(other, torch.tensor([[8.0, 8.0]])) == [[0, 0, 1]]
    with pytest.raises(RuntimeError, match="numbers tasks"):
        _encoder("one-hot", numbers=2).load_state_dict(one.state_dict())


def test_a_missing_descriptor_is_named():
    with pytest.raises(UserError, match="needs the task descriptor"):
        _encoder("descriptor")(OBSERVATION, None)
