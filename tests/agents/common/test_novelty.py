"""Novelty: by hand, and that it falls where one has been, and there alone."""

import copy
import itertools

import pytest
import torch

from agents.common.novelty import Novelty


def made(inputs=1, rate=1e-2, hidden=(1,), outputs=1, observed=None):
    torch.manual_seed(0)
    observed = inputs if observed is None else observed
    return Novelty(inputs, hidden, outputs, observed=observed, learning_rate=rate, device=torch.device("cpu"))


def by_hand():
    """Of observation s and belief b: target 3 relu(s + b) + 1, predictor relu(s + b)."""
    novelty = made(2, observed=1)
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
    x = torch.tensor([[0.0, 0.0], [1.0, 20.0], [2.0, 1.0]])
    assert novelty(x).tolist() == [1.0, 1.0, 1.0]  # nothing was visited: all is as new
    # Observations have mean 1 and variance 2/3: 0, 1, 2 become -1.2247, 0, 1.2247. Beliefs stay what they are.
    novelty.visit(x, torch.Generator(), updates=0, batch=1)
    errors = torch.tensor([1.0, (2 * 20.0 + 1) ** 2, (2 * (1.5**0.5 + 1) + 1) ** 2])
    torch.testing.assert_close(novelty(x), errors / errors.mean())
    # 0, 1, 2, 4, 4, 4 have mean 2.5 and variance (6.25 + 2.25 + .25 + 3 * 2.25) / 6
    novelty.visit(torch.tensor([[4.0, 0.0]] * 3), torch.Generator(), updates=0, batch=1)
    x = torch.tensor([[2.5, 2.0], [2.5 + (15.5 / 6) ** 0.5, 1.0], [2.5, -1.0]])
    torch.testing.assert_close(novelty(x), torch.tensor([25.0, 25.0, 1.0]) / errors.mean())


def test_it_falls_also_where_beliefs_come_to_spread_forty_times_as_far():
    """As those of an encoder that learns do: by a deviation of .016 at first, of .64 from the tenth visit on."""
    novelty = made(6, rate=1e-3, hidden=(32,), outputs=8, observed=2)
    generator = torch.Generator().manual_seed(0)
    course = []
    for visit in range(40):
        spread = torch.tensor([1.0, 1.0, *[0.016 + 0.624 * min(visit / 10, 1.0)] * 4])
        x = spread * torch.randn(128, 6, generator=generator)
        course.append(novelty(x).mean().item())
        novelty.visit(x, generator, updates=16, batch=64)
    assert course[0] == 1.0
    assert max(course[5:]) < 0.5
    assert max(course[20:]) < 0.1


def test_it_falls_with_visits_and_only_where_one_has_been():
    novelty = made(2, hidden=(16,))
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(640, 2, generator=generator)  # how they are scaled hardly moves then
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
