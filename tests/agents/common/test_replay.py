"""The ring: order, wrap-around, buffers side by side, what it goes on from."""

import copy

import pytest
import torch

from agents.common.replay import Replay, Shelf

CPU = torch.device("cpu")


def _rows(*values):
    number = torch.tensor(values, dtype=torch.float32)
    return {"number": number, "pair": torch.stack([number, -number], -1)}


def _held(memory, buffer=0):
    return memory.state_dict()["columns"]["number"][buffer].tolist()


def test_the_oldest_make_room():
    memory = Replay(4, CPU)
    memory.append(_rows(0, 1, 2))
    assert _held(memory) == [0, 1, 2]
    memory.append(_rows(3, 4, 5))
    assert _held(memory) == [4, 5, 2, 3]
    memory.append(_rows(6))
    assert _held(memory) == [4, 5, 6, 3]
    assert len(memory) == 4


@pytest.mark.parametrize("before", [0, 1, 3, 4, 6])
def test_of_more_rows_than_fit_the_newest_stay_in_the_places_they_would_have_had(before):
    at_once, one_by_one = Replay(4, CPU), Replay(4, CPU)
    for memory in (at_once, one_by_one):
        memory.append(_rows(*range(-before, 0)))
    at_once.append(_rows(*range(10)))
    for number in range(10):
        one_by_one.append(_rows(number))
    assert sorted(_held(at_once)) == [6, 7, 8, 9]
    assert _held(at_once) == _held(one_by_one)


def test_rows_are_drawn_whole_and_uniformly():
    memory = Replay(8, CPU)
    memory.append(_rows(0, 1, 2, 3, 4))
    batch = memory.draw(50_000, torch.Generator().manual_seed(0))
    assert batch["pair"].shape == (50_000, 2)
    torch.testing.assert_close(batch["pair"], torch.stack([batch["number"], -batch["number"]], -1))
    share = torch.bincount(batch["number"].long()) / 50_000
    assert len(share) == 5  # never a place that was not written
    assert (share - 0.2).abs().max() < 4 * (0.16 / 50_000) ** 0.5


def test_buffers_lie_side_by_side():
    memory = Replay(4, CPU, buffers=3)
    memory.append(_rows(0, 1), buffer=0)
    memory.append(_rows(10, 11, 12, 13, 14), buffer=1)
    memory.append(_rows(20), buffer=2)
    assert memory.sizes == [2, 4, 1]
    batch = memory.draw(200, torch.Generator().manual_seed(0), [1, 2, 1])
    assert batch["pair"].shape == (3, 200, 2)
    found = [set(row.tolist()) for row in batch["number"]]
    assert found == [{11, 12, 13, 14}, {20}, {11, 12, 13, 14}]
    assert not torch.equal(batch["number"][0], batch["number"][2])


def test_an_empty_buffer_cannot_be_drawn_from():
    memory = Replay(4, CPU, buffers=2)
    memory.append(_rows(1), buffer=0)
    assert memory.draw(3, torch.Generator())["number"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"buffer 1 is empty"):
        memory.draw(3, torch.Generator(), [0, 1])


@pytest.mark.parametrize("appended", [3, 9])
def test_goes_on_identically(appended):
    one, other = Replay(4, CPU), Replay(4, CPU)
    one.append(_rows(*range(appended)))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for memory in (one, other):
        memory.append(_rows(100, 101))
    assert _held(one) == _held(other)
    drawn = [memory.draw(20, torch.Generator().manual_seed(1))["pair"] for memory in (one, other)]
    assert torch.equal(*drawn)


def test_its_state_is_a_snapshot():
    memory = Replay(4, CPU)
    memory.append(_rows(0, 1, 2, 3))
    state = memory.state_dict()
    memory.append(_rows(9))
    assert state["columns"]["number"].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(("capacity", "buffers"), [(3, 1), (6, 1), (4, 2)])
def test_another_capacity_is_refused(capacity, buffers):
    memory = Replay(4, CPU)
    memory.append(_rows(0, 1, 2, 3, 4))
    with pytest.raises(RuntimeError, match="another capacity"):
        Replay(capacity, CPU, buffers=buffers).load_state_dict(memory.state_dict())


def test_cleared_buffers_are_empty_and_others_stay():
    memory = Replay(4, torch.device("cpu"), buffers=2)
    for buffer in (0, 1):
        memory.append({"reward": torch.full((3,), float(buffer))}, buffer)
    memory.clear(0)
    assert memory.sizes == [0, 3]
    memory.append({"reward": torch.full((2,), 7.0)}, 0)
    drawn = memory.draw(50, torch.Generator().manual_seed(0), [0, 1])["reward"]
    assert (drawn[0] == 7).all()
    assert (drawn[1] == 1).all()


def test_shelf_gives_every_task_a_buffer_and_takes_the_oldest_ones():
    shelf = Shelf(2)
    assert [shelf.place(task) for task in ("a", "b", "a")] == [(0, True), (1, True), (0, False)]
    assert [shelf.place(task) for task in ("c", "b", "a")] == [(0, True), (1, False), (1, True)]
    assert len(shelf) == 2
    other = Shelf(2)
    other.load_state_dict(shelf.state_dict())
    assert [other.place(task) for task in ("c", "a", "d")] == [(0, False), (1, False), (0, True)]
    with pytest.raises(RuntimeError, match="cannot hold the 2 tasks"):
        Shelf(1).load_state_dict(shelf.state_dict())


@pytest.mark.parametrize(("room", "on_host"), [(2 * 4 * (4 + 8), False), (2 * 4 * (4 + 8) - 1, True)])
def test_what_the_device_has_no_room_for_lies_in_the_host_and_is_drawn_alike(room, on_host):
    """A number and a pair, float32, in two buffers of four. The device is told from the host by its index alone."""
    device = torch.device("cpu", 0)
    memory, other = (Replay(4, device, buffers=2, room=room) for _ in range(2))
    reference = Replay(4, CPU, buffers=2)
    for ring in (memory, reference):
        ring.append(_rows(*range(6)), buffer=0)
        ring.append(_rows(10, 11), buffer=1)
    other.load_state_dict(memory.state_dict())
    assert memory.on_host == other.on_host == on_host
    for ring in (memory, other):
        assert torch.equal(ring.state_dict()["columns"]["pair"], reference.state_dict()["columns"]["pair"])
        for buffers in (None, [1, 0]):
            drawn, expected = (r.draw(9, torch.Generator().manual_seed(2), buffers) for r in (ring, reference))
            assert torch.equal(drawn["pair"], expected["pair"])


def test_where_it_lies_is_settled_once():
    memory = Replay(4, torch.device("cpu", 0), room=1000)
    memory.append(_rows(1, 2))
    memory._room = 0  # as if what it takes were no longer free
    memory.load_state_dict(memory.state_dict())
    assert not memory.on_host


def test_without_a_limit_it_takes_half_of_what_the_device_has_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    assert Replay(4, torch.device("cuda"))._free() == 50
    assert Replay(4, CPU)._free() == float("inf")
