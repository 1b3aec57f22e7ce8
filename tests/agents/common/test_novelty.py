"""Novelty: by hand, and that it falls where one has been, and there alone."""

import copy
import itertools

import pytest
import torch

from agents.common.novelty import Novelty


def made(inputs=1, rate=1e-2, hidden=(1,)):
    torch.manual_seed(0)
    return Novelty(inputs, hidden, 1, learning_rate=rate, device=torch.device("cpu"))


def by_hand():
    """Target 3 relu(x) + 1, predictor relu(x)."""
    novelty = made()
    with torch.no_grad():
        for network, last, bias in ((novelty._target, 3.0, 1.0), (novelty._predictor, 1.0, 0.0)):
            first, head = network[0][0], network[1]
            first.weight.fill_(1.0)
            first.bias.zero_()
            head.weight.fill_(last)
            head.bias.fill_(bias)
    return novelty


def test_by_hand():
    novelty = by_hand()
    x = torch.tensor([[0.0], [1.0], [2.0]])
    assert novelty(x).tolist() == [1.0, 1.0, 1.0]  # nothing was visited: all is as new
    # Scaled to mean 1 and variance 2/3 of what is visited first: 0, 1, 2 become -1.2247, 0, 1.2247.
    novelty.visit(x, torch.Generator(), updates=0, batch=1)
    errors = torch.tensor([1.0, 1.0, (2 * 1.5**0.5 + 1) ** 2])
    torch.testing.assert_close(novelty(x), errors / errors.mean())


def test_it_falls_with_visits_and_only_where_one_has_been():
    novelty = made(2, hidden=(16,))
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(64, 2, generator=generator)
    novelty.visit(first, generator, updates=0, batch=1)
    often, never = torch.tensor([[2.0, 2.0]]), torch.tensor([[-2.0, 2.0]])
    course = [(novelty(often).item(), novelty(never).item())]
    for _ in range(4):
        novelty.visit(often.expand(8, -1), generator, updates=10, batch=4)
        course.append((novelty(often).item(), novelty(never).item()))
    assert all(later < earlier for (earlier, _), (later, _) in itertools.pairwise(course[:3]))
    assert course[-1][0] < 0.05 * course[0][0]
    assert course[-1][1] > course[-1][0]


def test_the_random_network_stays_and_the_unit_too():
    novelty = made()
    generator = torch.Generator().manual_seed(0)
    novelty.visit(torch.randn(8, 1, generator=generator), generator, updates=1, batch=4)
    unit, target = novelty._unit.clone(), [p.clone() for p in novelty._target.parameters()]
    novelty.visit(torch.full((8, 1), 5.0), generator, updates=1, batch=4)
    assert torch.equal(novelty._unit, unit)
    assert all(torch.equal(*pair) for pair in zip(novelty._target.parameters(), target, strict=True))


def test_rows_do_not_depend_on_one_another_and_it_goes_on_identically():
    novelty, other = made(), made()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 1, generator=generator)
    novelty.visit(x, generator, updates=3, batch=4)
    torch.testing.assert_close(novelty(x)[3:4], novelty(x[3:4]))
    other.load_state_dict(copy.deepcopy(novelty.state_dict()))
    assert torch.equal(other(x), novelty(x))
    one, two = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    novelty.visit(x, one, updates=2, batch=4)
    other.visit(x, two, updates=2, batch=4)
    assert torch.equal(other(x), novelty(x))


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(RuntimeError):
        made().load_state_dict(made(2).state_dict())
