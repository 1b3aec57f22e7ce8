import pytest
import torch

from agents.common.episodic_memory import FREE, Memory, StateCode, Steps
from agents.common.exploration import epsilon_greedy, within_trial
from agents.common.returns import n_step_returns

CPU = torch.device("cpu")


def _steps(rows, valid=None):
    """One slot: (code, action, value) of each step; the key is the code."""
    code, action, value = (torch.tensor(column)[:, None] for column in zip(*rows, strict=True))
    valid = torch.ones_like(code, dtype=torch.bool) if valid is None else torch.tensor(valid)[:, None]
    return Steps(code, code[..., None].float(), action, value, valid)


def _contents(memory, action=0, slot=0):
    held = memory.held[slot, action]
    codes = memory.code[slot, action][held].tolist()
    assert memory.key[slot, action][held][:, 0].tolist() == codes
    return dict(zip(codes, memory.value[slot, action][held].tolist(), strict=True))


def _empty(capacity=3, actions=2, batch=1):
    return Memory.empty(batch, actions, capacity, 1, CPU)


def test_the_highest_return_of_a_state_and_action_is_kept():
    memory = _empty().write(_steps([(7, 0, 1.0), (7, 0, 3.0), (7, 0, 2.0), (8, 1, -5.0)]))
    assert _contents(memory, 0) == {7: 3.0}
    assert _contents(memory, 1) == {8: -5.0}
    memory = memory.write(_steps([(7, 0, -1.0), (8, 1, -4.0), (9, 1, 0.5)]))
    assert _contents(memory, 0) == {7: 3.0}
    assert _contents(memory, 1) == {8: -4.0, 9: 0.5}


def test_with_a_rate_the_value_moves_towards_each_return_in_turn():
    memory = _empty().write(_steps([(7, 0, 8.0), (7, 0, 0.0), (7, 0, 2.0)]), rate=0.25)
    assert _contents(memory) == {7: pytest.approx((8 * 0.75) * 0.75 + 0.25 * 2)}
    memory = memory.write(_steps([(7, 0, 1.0)]), rate=0.25)
    assert _contents(memory) == {7: pytest.approx(5.0 * 0.75 + 0.25)}


def test_a_state_keeps_its_key():
    memory = _empty().write(_steps([(7, 0, 1.0)]))
    again = _steps([(7, 0, 2.0)])
    memory = memory.write(again._replace(key=again.key + 100))
    assert memory.key[0, 0][memory.held[0, 0]].tolist() == [[7.0]]


def test_steps_that_were_not_played_leave_nothing():
    memory = _empty().write(_steps([(7, 0, 1.0), (8, 0, 1.0)], valid=[True, False]))
    assert _contents(memory) == {7: 1.0}
    assert memory.evicted.tolist() == [0]


def test_what_was_longest_not_written_makes_room():
    memory = _empty(capacity=2).write(_steps([(1, 0, 1.0), (2, 0, 2.0), (3, 0, 3.0)]))
    assert _contents(memory) == {2: 2.0, 3: 3.0}
    assert memory.evicted.tolist() == [1]


def test_what_was_found_stays_and_evictions_add_up():
    memory = _empty(capacity=2).write(_steps([(1, 0, 1.0), (2, 0, 2.0)]))
    hit, place = memory.find(torch.tensor([1]))
    assert hit.tolist() == [[True, False]]
    memory = memory.found(place[..., None], hit[..., None], memory.episodes).write(_steps([(3, 0, 3.0)]))
    assert _contents(memory) == {1: 1.0, 3: 3.0}
    memory = memory.write(_steps([(4, 0, 4.0), (5, 0, 5.0), (6, 1, 6.0)]))
    assert _contents(memory) == {4: 4.0, 5: 5.0}
    assert memory.evicted.tolist() == [3]


def test_what_a_slot_finds_while_it_waits_is_not_used():
    memory = _empty(capacity=2).write(_steps([(1, 0, 1.0), (2, 0, 2.0)]))
    hit, place = memory.find(torch.tensor([1]))
    waiting = memory.found(place[..., None], hit[..., None], memory.episodes + 1)
    assert _contents(waiting.write(_steps([(3, 0, 3.0)]))) == {2: 2.0, 3: 3.0}
    assert memory.episodes.tolist() == [1]


def test_slots_do_not_mix():
    one = _steps([(1, 0, 1.0), (2, 0, 2.0)])
    both = Steps(*(torch.cat([part, part.flip(0)], dim=1) for part in one))
    memory = _empty(capacity=1, batch=2).write(both)
    assert [_contents(memory, slot=slot) for slot in (0, 1)] == [{2: 2.0}, {1: 1.0}]


def test_codes_tell_states_apart_and_know_equal_ones():
    generator = torch.Generator().manual_seed(0)
    code = StateCode(2, None, generator)
    cells = torch.cartesian_prod(torch.arange(300.0), torch.arange(300.0))
    codes = code(cells)
    assert len(codes.unique()) == 90_000
    assert int(codes.min()) >= 0
    assert int(codes.max()) < FREE
    assert code(torch.tensor([0.0, 1.0])) == code(torch.tensor([-0.0, 1.0]))
    coarse = StateCode(1, 1, generator)
    assert coarse(torch.tensor([1.24])) == coarse(torch.tensor([1.16]))
    assert coarse(torch.tensor([1.24])) != coarse(torch.tensor([1.26]))


def test_n_step_returns_by_hand():
    reward = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    goes_on = torch.tensor([[True], [True], [False], [True], [True]])
    total, last = n_step_returns(reward, goes_on, 0.5, 2)
    assert total[:, 0].tolist() == [2.0, 4.0, 4.0, 16.0, 16.0]
    assert last[:, 0].tolist() == [1, 2, 2, 4, 4]
    total, last = n_step_returns(reward, goes_on, 0.5, 100)
    assert total[:, 0].tolist() == [3.0, 4.0, 4.0, 16.0, 16.0]
    assert last[:, 0].tolist() == [2, 2, 2, 4, 4]
    assert torch.equal(n_step_returns(reward, goes_on, 0.5, 1)[0], reward)


def test_ties_are_broken_evenly_and_epsilon_is_the_rows_own():
    values = torch.tensor([[1.0, 1.0, 0.0]]).expand(30_000, 3)
    shares = torch.bincount(epsilon_greedy(values, 0.2, torch.Generator().manual_seed(0)), minlength=3) / 30_000
    assert shares.tolist() == pytest.approx([0.8 / 2 + 0.2 / 3, 0.8 / 2 + 0.2 / 3, 0.2 / 3], abs=0.01)
    values, epsilon = torch.tensor([[1.0, 0.0]]).expand(100, 2), torch.arange(100) % 2 * 1.0
    chosen = epsilon_greedy(values, epsilon, torch.Generator().manual_seed(0))
    assert not chosen[::2].any()
    assert chosen[1::2].any()


def test_epsilon_falls_from_episode_to_episode_of_the_trial():
    episode = torch.tensor([0, 1, 2, 4, 9])
    assert within_trial(1.0, 0.2, 4, episode).tolist() == pytest.approx([1.0, 0.8, 0.6, 0.2, 0.2])
    assert within_trial(1.0, 0.2, 0, episode).tolist() == pytest.approx([0.2] * 5)
