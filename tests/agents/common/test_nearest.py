import pytest
import torch

from agents.common import nearest as module
from agents.common.nearest import nearest, smallest


def _brute_force(query, keys, held, count):
    squared = (query[..., :, None, :] - keys[..., None, :, :]).square().sum(-1)
    return squared.masked_fill(~held[..., None, :], torch.inf).sort(dim=-1, stable=True).values[..., :count]


def test_neighbours_of_a_point_on_a_line():
    keys = torch.tensor([[0.0], [10.0], [3.0], [4.0], [5.0]])
    held = torch.tensor([True, True, True, True, False])
    found = nearest(torch.tensor([[4.5], [0.0]]), keys, held, 2)
    assert found.place.tolist() == [[3, 2], [0, 2]]
    assert found.squared.tolist() == [[0.25, 2.25], [0.0, 9.0]]


def test_a_buffer_with_too_few_keys_has_neighbours_infinitely_far():
    held = torch.tensor([False, True, False])
    found = nearest(torch.tensor([[1.0]]), torch.tensor([[1.0], [3.0], [1.0]]), held, 2)
    assert found.squared.tolist() == [[4.0, torch.inf]]
    assert found.place[0, 0] == 1


@pytest.mark.parametrize("capacity", [5, 64, 1000, 1003])
@pytest.mark.parametrize("count", [1, 5])
def test_slots_and_actions_at_once_as_by_brute_force(capacity, count):
    generator = torch.Generator().manual_seed(capacity + count)
    keys = torch.randn(3, 2, capacity, 8, generator=generator)
    held = torch.rand(3, 2, capacity, generator=generator) < 0.7
    query = torch.randn(3, 1, 4, 8, generator=generator)
    found = nearest(query, keys, held, count)
    expected = _brute_force(query.expand(3, 2, 4, 8), keys, held, count)
    torch.testing.assert_close(found.squared, expected)
    chosen = keys[torch.arange(3)[:, None, None, None], torch.arange(2)[:, None, None], found.place]
    squared = (chosen - query[..., None, :]).square().sum(-1)
    near = found.squared.isfinite()
    torch.testing.assert_close(squared[near], found.squared[near])


def test_many_queries_come_in_turns(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    keys, query = torch.randn(300, 4, generator=generator), torch.randn(50, 4, generator=generator)
    held = torch.ones(300, dtype=torch.bool)
    whole = nearest(query, keys, held, 7)
    monkeypatch.setattr(module, "_ENTRIES", 1000)
    parts = nearest(query, keys, held, 7)
    assert torch.equal(whole.place, parts.place)


def test_the_smallest_may_all_lie_in_one_block():
    values = torch.arange(1000.0)
    value, index = smallest(values, 4)
    assert index.tolist() == [0, 1, 2, 3]
    assert value.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_gradients_reach_query_and_keys():
    query = torch.tensor([[1.0]], requires_grad=True)
    keys = torch.tensor([[3.0], [9.0]], requires_grad=True)
    nearest(query, keys, torch.tensor([True, True]), 1).squared.sum().backward()
    assert query.grad.tolist() == [[-4.0]]
    assert keys.grad.tolist() == [[4.0], [0.0]]


@pytest.mark.parametrize("count", [0, 4])
def test_more_neighbours_than_keys_are_refused(count):
    with pytest.raises(ValueError, match="ask for 1 to 3"):
        nearest(torch.zeros(1, 2), torch.zeros(3, 2), torch.ones(3, dtype=torch.bool), count)
