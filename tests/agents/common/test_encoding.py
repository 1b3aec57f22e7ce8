"""Encoded steps by hand."""

from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.common.encoding import StepEncoder, observation_size
from registry.errors import UserError
from taskgen.engines.toys import OBSERVED
from taskgen.interaction.agent import Step
from taskgen.spaces import pack

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
    with pytest.raises(UserError, match=r"Text.*is a Text; read are Box, Discrete"):
        observation_size(gym.spaces.Text(2))


@pytest.mark.parametrize("space", [pytest.param(space, id=name) for name, space in OBSERVED.items()])
def test_observations_are_what_gymnasium_s_flatten_makes_of_them_but_for_bytes(space):
    """Bytes are shares of 255."""
    space.seed(0)
    values = [space.sample() for _ in range(6)]
    rows = torch.from_numpy(np.stack([pack(space, value) for value in values]))
    encoder = StepEncoder(space, NUMBERS)
    found = encoder.observation(rows)
    flat = np.stack([gym.spaces.flatten(space, value) for value in values]).astype(np.float32)
    expected = torch.from_numpy(flat)
    assert found.dtype == torch.float32
    assert encoder.observation_size == expected.shape[1]
    scaled = torch.ones(expected.shape[1])
    if isinstance(space, gym.spaces.Box) and space.dtype == np.uint8:
        scaled[:] = 255
    elif isinstance(space, gym.spaces.Dict):  # 4 for the direction, then the image
        scaled[4:] = 255
    torch.testing.assert_close(found * scaled, expected)


def test_bytes_are_scaled_by_their_bounds():
    board = StepEncoder(gym.spaces.Box(0, 1, (2, 1), np.uint8), NUMBERS)
    assert board.observation(torch.tensor([[[0], [1]]], dtype=torch.uint8)).tolist() == [[0.0, 1.0]]


def test_actions_of_several_parts_are_one_hot_after_the_numbers():
    several = gym.spaces.MultiDiscrete([2, 3])
    assert StepEncoder(BOX, several).action(torch.tensor([[1, 2]])).tolist() == [[0, 1, 0, 0, 1]]
    mixed = StepEncoder(BOX, gym.spaces.Tuple((gym.spaces.Box(-1, 1, (1,)), several)))
    assert mixed.action_size == 6
    assert mixed.action(torch.tensor([[0.5, 0.0, 1.0]])).tolist() == [[0.5, 1, 0, 0, 1, 0]]
