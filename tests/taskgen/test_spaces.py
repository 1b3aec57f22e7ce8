"""Spaces by hand, and the way of actions from an agent to a family."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector.utils import batch_space

from registry.errors import UserError
from taskgen.engines.toys import ACTED, OBSERVED, acted_toys, toy_families, unreadable_families
from taskgen.interaction.acting import Acting, UniformActions
from taskgen.spaces import (
    action_layout,
    image_shape,
    numbers_and_choices,
    pack,
    played_space,
    refuse_unreadable,
    row_shape,
    unpack,
)
from taskgen.testing import check_family

EVERY = {**{f"acted-{name}": space for name, space in ACTED.items()}, **OBSERVED}


def by_name(spaces):
    return [pytest.param(space, id=name) for name, space in spaces.items()]


@pytest.mark.parametrize("space", by_name(EVERY))
def test_a_packed_value_is_unpacked_to_itself(space):
    space.seed(1)
    value = space.sample()
    row = pack(space, value)
    assert row.shape == row_shape(space)
    again = unpack(space, row)
    assert space.contains(again)
    np.testing.assert_array_equal(pack(space, again), row)
    many = batch_space(space, 3)
    many.seed(1)
    rows = pack(space, many.sample())
    assert rows.shape == (3, *row_shape(space))
    assert many.contains(unpack(space, rows))


def test_parts_stand_side_by_side_in_gymnasium_s_order():
    space = Tuple((Discrete(3), Dict({"b": Box(-9, 9, (1, 2)), "a": MultiDiscrete([2, 7])})))
    row = pack(space, (2, {"b": np.array([[0.5, -1.5]]), "a": np.array([1, 6])}))
    assert row.tolist() == [2, 1, 6, 0.5, -1.5]  # a Dict sorts its keys
    assert row.dtype == np.float32
    assert pack(Tuple((Discrete(2), MultiBinary(2))), (1, np.array([0, 1]))).dtype == np.int64


@pytest.mark.parametrize(
    ("space", "played"),
    [
        (Discrete(3, start=-1), Discrete(3)),
        (MultiDiscrete([[2, 3]], start=[[5, 6]]), MultiDiscrete([2, 3])),
        (MultiDiscrete([4]), Discrete(4)),
        (MultiBinary(2), MultiDiscrete([2, 2])),
        (Box(-1, 2, (2, 1)), Box(-1, 2, (2,))),
        (Box(0, 1, ()), Box(0, 1, (1,))),
        (Tuple((Discrete(2), Dict({"x": Discrete(3)}))), MultiDiscrete([2, 3])),
        (Tuple((Discrete(2), Box(0, 1, (1,)))), Tuple((Box(0, 1, (1,)), MultiDiscrete([2])))),
    ],
)
def test_agents_answer_in_one_of_four_spaces(space, played):
    assert played_space(space) == played
    assert played_space(played) == played
    numbers_and_choices(played)


def test_what_an_agent_answers_is_put_in_the_family_s_order_and_counted_from_its_start():
    space = Tuple((Discrete(3, start=10), Box(np.float32([0, -1]), np.float32([5, 1])), MultiDiscrete([2], start=[-7])))
    acting = Acting(space)
    answer = torch.tensor([[4.0, 0.5, 2.0, 1.0], [-3.0, 9.0, 0.0, 0.0]])  # the numbers first
    assert acting(answer).tolist() == [[12, 4, 0.5, -6], [10, 0, 1, -7]]
    assert answer[1].tolist() == [-3, 9, 0, 0]  # stays the agent's own
    assert Acting(Discrete(3, start=-1))(torch.tensor([0, 2])).tolist() == [-1, 1]
    assert acting.zeros(2, torch.device("cpu")).shape == (2, 4)


def test_numbers_are_clipped_to_their_bounds_where_they_have_some():
    space = Box(np.float32([0, -np.inf, -np.inf, 3]), np.float32([5, 1, np.inf, 3]))
    found = Acting(space)(torch.tensor([[-2.0, -2e9, -2e9, 0.0], [7.0, 2e9, 2e9, 9.0]]))
    assert found.tolist() == [[0, -2e9, -2e9, 3], [5, 1, 2e9, 3]]


def test_bounds_of_double_precision_are_not_passed_by_rounding():
    space = Box(np.array([-0.1]), np.array([0.1]), dtype=np.float64)
    edge = Acting(space)(torch.tensor([[1.0], [-1.0]])).double()
    assert (edge[0] <= 0.1).all()
    assert (edge[1] >= -0.1).all()
    assert edge[0].item() == pytest.approx(0.1, rel=1e-6)
    single = action_layout(Box(-0.4, 0.4, (1,)))
    assert single.high.tolist() == [float(np.float32(0.4))]


@pytest.mark.parametrize("family", [pytest.param(toy, id=toy.config.acted) for toy in acted_toys()])
def test_uniform_actions_lie_in_the_space_and_reach_all_of_it(family):
    acting = Acting(family.action_space)
    drawn = acting(UniformActions(acting.played)(400, torch.Generator().manual_seed(0)))
    rows = drawn.view(400, -1).double().numpy()
    layout = action_layout(family.action_space)
    assert (rows >= layout.low.astype(np.float64) - 1e-7).all()
    assert (rows <= layout.high.astype(np.float64) + 1e-7).all()
    for column, low, high in zip(rows.T, layout.low.tolist(), layout.high.tolist(), strict=True):
        if layout.whole:
            assert sorted({int(value) for value in column}) == list(range(int(low), int(high) + 1))
        else:
            assert column.min() <= (low + 0.1 * (high - low) if np.isfinite(high - low) else max(low, -2) + 0.1)
            assert column.max() >= (high - 0.1 * (high - low) if np.isfinite(high - low) else min(high, 2) - 0.1)


@pytest.mark.parametrize("family", [pytest.param(toy, id=toy.name) for toy in unreadable_families()])
def test_every_other_space_is_refused_by_name(family):
    kind = "action" if family.name.startswith("toys/acted") else "observation"
    with pytest.raises(UserError, match=rf"{family.name} has the {kind} space .*: (its part|that is|it has)"):
        refuse_unreadable(family.observation_space, family.action_space, family.name)
    with pytest.raises(AssertionError, match=f"{kind} space"):
        check_family(family)


def test_something_that_is_no_space_is_named():
    with pytest.raises(UserError, match="mine/x has the action space 3: that is a int, no gymnasium.Space"):
        refuse_unreadable(Discrete(2), 3, "mine/x")


@pytest.mark.parametrize("family", [pytest.param(toy, id=toy.name) for toy in toy_families()])
def test_toys_keep_the_contract(family):
    check_family(family)


def test_images_are_bytes_with_two_or_three_axes():
    assert image_shape(Box(0, 255, (7, 9, 3), np.uint8)) == (7, 9, 3)
    assert image_shape(Box(0, 255, (7, 9), np.uint8)) == (7, 9, 1)
    assert image_shape(Box(0, 255, (7,), np.uint8)) is None
    assert image_shape(Box(0, 1, (7, 9, 3))) is None
    assert image_shape(gym.spaces.Dict({"image": Box(0, 255, (7, 9, 3), np.uint8)})) is None
