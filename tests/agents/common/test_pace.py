"""Updates that are due."""

import torch

from agents.common.pace import Pace, make_updates


def test_warm_up_owes_nothing_and_parts_of_updates_are_carried_over():
    pace = Pace(warm_up=60, updates_per_step=0.3)
    assert pace.warming_up
    assert [pace.updates(40), pace.updates(40)] == [0, 6]  # 20 steps after the warm-up
    assert not pace.warming_up
    assert [pace.updates(5) for _ in range(4)] == [1, 2, 1, 2]


def test_goes_on_from_its_state():
    one, other = Pace(0, 0.3), Pace(0, 0.3)
    one.updates(5)
    other.load_state_dict(one.state_dict())
    assert one.updates(5) == other.updates(5) == 2


def test_updates_report_the_means_of_their_figures():
    losses = iter([1.0, 2.0, 6.0])
    figures = make_updates(3, lambda: {"loss": torch.tensor(next(losses), requires_grad=True), "one": torch.ones(())})
    assert figures == {"loss": 3.0, "one": 1.0}
    assert make_updates(0, dict) == {}


def test_the_warm_up_ends_with_its_last_step():
    pace = Pace(warm_up=60, updates_per_step=1.0)
    assert pace.updates(60) == 0
    assert not pace.warming_up
    assert pace.updates(1) == 1
