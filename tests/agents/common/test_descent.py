"""Descent by hand: one weight w, whose loss on a row x is (w - x)^2, by steps of 0.1 of the gradient."""

import pytest
import torch

from agents.common import descent
from agents.common.descent import descend

ROWS = torch.tensor([1.0, 3.0, 8.0])
WEIGHT = torch.tensor([1.0, 3.0, 2.0])


def _descended(minibatches, longest=1e9):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)

    def losses(rows):
        loss = (WEIGHT[rows] * (model.weight[0, 0] - ROWS[rows]).square()).sum() / WEIGHT[rows].sum()
        return loss, {"loss": loss, "rows": torch.tensor(float(len(rows)))}

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = [torch.tensor(numbers) for numbers in minibatches]
    return descend(model, optimizer, rows, losses, weight=WEIGHT, longest=longest), model.weight


def test_steps_and_figures_by_hand():
    # rows 1, 3: loss (1 + 3 * 9) / 4 = 7, slope -2 (1 + 3 * 3) / 4 = -5, w = 0.5; row 8: 7.5^2, slope -15, w = 2
    figures, found = _descended([[0, 1], [2]])
    assert found.item() == pytest.approx(2.0)
    assert figures == pytest.approx({"loss": (7 + 56.25) / 2, "rows": 1.5, "losses/gradient_norm": (5 + 15) / 2})


def test_gradients_are_scaled_down_to_the_longest_and_reported_as_they_were():
    figures, found = _descended([[0, 1]], longest=2.0)
    assert found.item() == pytest.approx(0.2, rel=1e-5)
    assert figures["losses/gradient_norm"] == pytest.approx(5.0)


def test_a_process_s_part_counts_by_its_share_of_the_weight(monkeypatch):
    monkeypatch.setattr(descent, "own", lambda rows: rows[:1])
    # of rows 1, 3 the first, whose weight is 1 of 4: loss 1 / 4, slope -2 / 4, w = 0.05
    figures, found = _descended([[0, 1]])
    assert found.item() == pytest.approx(0.05)
    assert figures["loss"] == pytest.approx(0.25)


def test_a_process_without_a_part_counts_for_nothing(monkeypatch):
    monkeypatch.setattr(descent, "own", lambda rows: rows[:0])
    figures, found = _descended([[0, 1]])
    assert found.item() == 0.0
    assert figures == {"loss": 0.0, "rows": 0.0, "losses/gradient_norm": 0.0}
