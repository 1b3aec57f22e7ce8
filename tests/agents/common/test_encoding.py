"""Encoded steps by hand."""

from dataclasses import fields

import gymnasium as gym
import pytest
import torch

from agents.common.encoding import StepEncoder, observation_size
from registry.errors import UserError
from taskgen.interaction.agent import Step

NUMBERS, BOX = gym.spaces.Discrete(3), gym.spaces.Box(-1, 1, (2,))


def _step(observation, action):
    """Two rows; the trial of the first begins, an episode of both."""
    return Step(
        observation=observation,
        previous_action=action,
        previous_reward=torch.tensor([5.0, -0.5]),
        episode_start=torch.tensor([True, True]),
        trial_start=torch.tensor([True, False]),
        episode_index=torch.tensor([0, 1]),
    )


def test_numbers_are_one_hot_and_nothing_precedes_the_trial():
    encoder = StepEncoder(NUMBERS, gym.spaces.Discrete(2))
    assert encoder.size == 3 + 2 + 1 + 2
    found = encoder(_step(torch.tensor([2, 0]), torch.tensor([1, 1])))
    assert found.tolist() == [[0, 0, 1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, -0.5, 1, 0]]


def test_boxes_are_flat():
    encoder = StepEncoder(gym.spaces.Box(-1, 1, (2, 2)), BOX)
    assert encoder.size == 4 + 2 + 1 + 2
    picture = torch.arange(8.0).view(2, 2, 2)
    found = encoder(_step(picture, torch.tensor([[0.1, 0.2], [0.25, 0.5]])))
    assert found.tolist() == [[0, 1, 2, 3, 0, 0, 0, 0, 1], [4, 5, 6, 7, 0.25, 0.5, -0.5, 1, 0]]
    assert encoder.observation(torch.zeros(7, 5, 2, 2, dtype=torch.float64)).shape == (7, 5, 4)
    assert encoder.observation(torch.zeros(7, 5, 2, 2, dtype=torch.float64)).dtype == torch.float32


def test_axes_before_the_row_s_are_kept():
    encoder = StepEncoder(BOX, NUMBERS)
    step = _step(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 2]))
    flat = encoder(step)
    columns = {field.name: getattr(step, field.name) for field in fields(step)}
    deep = encoder(
        Step(**{name: part if part is None else part.expand(6, *part.shape) for name, part in columns.items()})
    )
    assert torch.equal(deep, flat.expand(6, 2, encoder.size))


def test_other_spaces_are_named():
    assert (observation_size(NUMBERS), observation_size(gym.spaces.Box(-1, 1, (2, 5)))) == (3, 10)
    with pytest.raises(UserError, match=r"MultiBinary.*use Box or Discrete"):
        observation_size(gym.spaces.MultiBinary(2))
