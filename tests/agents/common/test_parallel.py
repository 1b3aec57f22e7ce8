"""What processes say to each other, and that one alone says nothing."""

import os
import re
import time

import pytest
import torch

from agents.common import exchange, parallel
from agents.networks import kernels
from registry.errors import TaskError, UserError
from tests.agents.processes import together


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def way(request, monkeypatch):
    """By memory that processes share, which a kernel looks after, and without."""
    if request.param == "compiled" and isinstance(why := kernels._found(), str):
        pytest.skip(why)
    monkeypatch.setenv(kernels.VARIABLE, request.param)
    return request.param


def joined(work, count=2):
    def run(rank):
        with parallel.joined() as first:
            assert first == (rank == 0)
            assert (parallel._exchange.get() is None) == (os.environ[kernels.VARIABLE] == "torch")
            return work(rank)

    return together(run, count=count)


def test_parts_are_consecutive_and_everything():
    def work(rank):
        rows = torch.arange(5)
        assert parallel.assembled(parallel.own(rows) + 1, 5).tolist() == [1, 2, 3, 4, 5]
        return parallel.part(6), parallel.own(rows).tolist(), parallel.own(rows[:1]).tolist()

    assert joined(work) == [(slice(0, 3), [0, 1], []), (slice(3, 6), [2, 3, 4], [0])]


def test_sums_means_and_gradients():
    def work(rank):
        one, other = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1, 3))
        one.grad = torch.tensor([1.0, 10.0]) * (rank + 1)
        if rank:
            other.grad = torch.ones(1, 3)
        parallel.add_gradients([one, other])
        value = torch.tensor([1.0, 2.0], requires_grad=True)
        part = parallel.mean_part(value * (rank + 1), torch.tensor([3.0, rank]))
        (slope,) = torch.autograd.grad(part, value)
        mean = parallel.total(part)
        assert not mean.requires_grad
        assert value.requires_grad
        return one.grad.tolist(), other.grad.tolist(), mean.item(), slope.tolist(), parallel.largest(3 - rank)

    mean = (3 * 1 + (3 * 2 + 4)) / 7
    for rank, (one, other, found, slope, most) in enumerate(joined(work)):
        assert one == [3, 30]
        assert other == [[1, 1, 1]]
        assert found == pytest.approx(mean)
        assert slope == pytest.approx([3 * (rank + 1) / 7, rank * (rank + 1) / 7])
        assert most == 3


@pytest.mark.parametrize("value", [torch.tensor(3), torch.ones(2, 3, dtype=torch.float64), torch.ones(4, 2).t()])
def test_sums_are_of_one_shape_and_kind(value):
    def work(rank):
        found = parallel.total(value * (rank + 1))
        return found.tolist(), found.dtype == value.dtype

    assert joined(work) == [((value * 3).tolist(), True)] * 2


def test_whoever_is_ahead_writes_over_nothing_that_others_read(monkeypatch):
    """Three of unequal speed, messages that fit beside such that do not."""
    monkeypatch.setattr(exchange, "ROOM", 64)

    def work(rank):
        right = True
        for turn in range(300):
            if turn % 97 == 30 * rank:
                time.sleep(0.01)
            mine = torch.full((8 + 8 * (turn % 3),), float(turn * (rank + 1)))
            right &= parallel.total(mine).tolist() == [6.0 * turn] * len(mine)
            right &= parallel.gathered(mine[:2], 0).tolist() == [x * turn for x in (1, 1, 2, 2, 3, 3)]
        return right

    assert joined(work, count=3) == [True] * 3


def test_who_waits_for_one_that_has_ended_is_told():
    def work(rank):
        if rank == 0:
            with pytest.raises(RuntimeError) as caught:
                parallel.total(torch.ones(2))
            return str(caught.value)
        return ""

    said, _ = joined(work)
    assert re.search("process 1 of 2 has ended|[Cc]onnection (closed|reset)", said)


def test_a_task_counts_the_same_however_many_steps_it_had():
    values = torch.tensor([[1.0, 2.0, 9.0], [4.0, 0.0, 0.0], [2.0, 4.0, 6.0]])
    weight = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    mean = (1.5 + 4 + 4) / 3  # over all steps it would be 19 / 6
    assert parallel.mean_of_tasks(values, weight).item() == pytest.approx(mean)

    def work(rank):
        mine = parallel.part(3)
        return parallel.total(parallel.mean_of_tasks(values[mine], weight[mine])).item()

    assert joined(work) == pytest.approx([mean, mean])


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_gathered_rows_keep_their_order_and_kind(dtype):
    def work(rank):
        mine = torch.tensor([[rank, 1], [2, 0]]).to(dtype)
        return parallel.gathered(mine, 0).numpy(), parallel.gathered(mine.t(), 1).numpy(), parallel.everybodys(rank)

    whole = torch.tensor([[0, 1], [2, 0], [1, 1], [2, 0]]).to(dtype).numpy()
    for rows, columns, ranks in joined(work):
        assert rows.dtype == whole.dtype
        assert rows.tolist() == whole.tolist()
        assert columns.tolist() == whole.T.tolist()
        assert ranks == [0, 1]


def test_random_numbers_are_those_that_one_process_would_draw():
    def draw():
        generator = torch.Generator().manual_seed(3)
        like = torch.empty(4 // parallel.processes(), 20)
        with parallel.playing():
            shared = parallel.drawn(like, lambda empty: empty.normal_(generator=generator))
        again = parallel.drawn(torch.empty(3), lambda empty: empty.normal_(generator=generator))
        return shared.tolist(), again.tolist()

    whole, after = draw()
    (first, after_first), (second, after_second) = joined(lambda rank: draw())
    assert first + second == whole
    assert after_first == after_second == after


def test_what_the_first_does_alone():
    def work(rank):
        return parallel.by_first(lambda: f"by {rank}")

    assert joined(work) == ["by 0", "by 0"]


@pytest.mark.parametrize("by_first", [True, False])
def test_a_refusal_is_said_once(by_first):
    """Each time in processes of its own: joining twice by one port, the second may meet the store of the first."""

    def refuse(rank):
        def work():
            raise TaskError("no")

        with pytest.raises(TaskError if rank == 0 else SystemExit) as caught, parallel.joined():
            parallel.by_first(work) if by_first else work()
        return str(caught.value)

    assert together(refuse) == ["no", "4"]


def test_one_process_is_left_alone():
    rows = torch.arange(3.0)
    with parallel.joined() as first:
        assert first
        assert (parallel.processes(), parallel.rank()) == (1, 0)
        assert parallel.own(rows) is not None
        assert parallel.total(rows) is rows
        assert parallel.gathered(rows, 0) is rows
        assert parallel.everybodys("a") == ["a"]
        assert parallel.by_first(lambda: 3) == 3
    with pytest.raises(UserError, match="as it is"), parallel.joined():
        raise UserError("as it is")
