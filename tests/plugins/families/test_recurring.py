"""Families whose situations recur: what comes when, under which cue, and what is paid, against values by hand."""

import numpy as np
import pytest
import torch

from plugins.families.barcode_bandit import BarcodeBandit, BarcodeBanditConfig
from plugins.families.re_seen_choice import ReSeenChoice, ReSeenChoiceConfig
from plugins.families.recurring import RecurringConfig, distinct
from plugins.families.two_step import TwoStep, TwoStepConfig
from registry.errors import TaskError
from taskgen.engines import noise
from taskgen.testing import check_family


def barcodes(**settings):
    return BarcodeBandit(BarcodeBanditConfig(**settings), name="builtin/barcode-bandit")


def re_seen(**settings):
    return ReSeenChoice(ReSeenChoiceConfig(**settings), name="builtin/re-seen-choice")


def two_step(**settings):
    return TwoStep(TwoStepConfig(**settings), name="builtin/two-step")


def visits(family, specs, episodes):
    """[episodes, B, ...] what is seen first in each episode of a trial."""
    batch = family.batch(len(specs))
    batch.set_tasks(specs)
    return torch.stack([batch.reset().clone() for _ in range(episodes)])


@pytest.mark.parametrize(
    "family",
    [
        barcodes(situations=2, visits=1, bits=4, arms=2),
        two_step(form="incremental", decisions=3),
        re_seen(situations=4, bits=2),
    ],
    ids=["few arms", "incremental", "as many as there are cues"],
)
def test_settings_conform_too(family):
    check_family(family)


@pytest.mark.parametrize(("count", "bits"), [(2, 1), (5, 3), (8, 3), (100, 7), (128, 7)])
def test_cues_are_different_and_any_of_them(count, bits):
    uniform = noise.uniforms64(noise.keys(range(400)), 4)
    numbers = distinct(uniform, count, bits)
    assert all(len(set(row)) == count for row in numbers.tolist())
    assert numbers.min() == 0
    assert numbers.max() == 2**bits - 1
    first = torch.bincount(numbers[:, 0], minlength=2**bits).double() / 400
    assert first.max() < 2.0**-bits + 4 * (2.0**-bits / 400) ** 0.5 + 1e-9


def test_more_situations_than_cues_are_refused():
    with pytest.raises(ValueError, match="situations = 5: 2 bits tell 4 apart"):
        RecurringConfig(situations=5, bits=2)


@pytest.mark.parametrize("family", [barcodes(), re_seen(visits=3), two_step(situations=4, visits=3)])
def test_every_situation_comes_once_a_round_in_an_order_drawn_anew(family):
    count, rounds = family.config.situations, family.config.visits
    specs = [family.spec(seed=seed) for seed in range(40)]
    seen = visits(family, specs, count * (rounds + 1))[..., list(family.cue)]
    rows = seen.view(rounds + 1, count, 40, -1)
    assert torch.equal(rows[0], rows[rounds])  # then all over again
    orders = set()
    for task in range(40):
        known = [tuple(cue) for cue in rows[0, :, task].tolist()]
        assert len(set(known)) == count
        for later in rows[1:rounds, :, task].tolist():
            assert sorted(map(tuple, later)) == sorted(known)
            orders.add(tuple(known.index(tuple(cue)) for cue in later))
    assert len(orders) > 15
    firsts = {tuple(cue) for cue in rows[0, 0].tolist()}
    assert len(firsts) > 15  # cues differ from task to task


def test_one_slot_and_rows_reset_apart_see_the_same_visits():
    """Slots that are ahead of others are at other episodes of their trials."""
    family = barcodes(situations=3, visits=2)
    specs = [family.spec(seed=seed) for seed in range(2)]
    expected = visits(family, specs, 6)
    batch = family.batch(2)
    batch.set_tasks(specs)
    batch.reset()
    for episode in range(1, 6):
        seen = batch.reset(torch.tensor([True, False]))
        assert torch.equal(seen[0], expected[episode, 0])
        assert torch.equal(seen[1], expected[0, 1])
    assert torch.equal(batch.reset(seeds=[7, 8]), expected[0])  # another noise: another trial from its first episode


def test_a_barcode_pays_by_its_own_good_arm():
    family = barcodes(situations=2, visits=2, arms=3, pulls=4)
    spec = family.spec({"good_arm": [2, 0], "good": 1.0, "bad": 0.0}, seed=5)
    batch = family.batch(1)
    batch.set_tasks([spec])
    cues = batch.tables["cues"][0]
    for _ in range(4):
        bandit = int((cues == batch.reset()[0]).all(1).nonzero()[0, 0])
        for arm in (0, 1, 2, int(spec.context["good_arm"][bandit])):
            step = batch.step(torch.tensor([arm]))
            assert step.reward.item() == float(arm == (2, 0)[bandit])
        assert step.truncated.item()
    assert batch.descriptor().tolist() == [[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]
    assert family.optimal_return(spec) == 4.0


def test_probabilities_of_arms():
    family = barcodes(situations=1, arms=2, pulls=1)
    specs = [family.spec({"good_arm": [1], "good": 0.8, "bad": 0.3}, seed=seed) for seed in range(4000)]
    for arm, probability in ((0, 0.3), (1, 0.8)):
        batch = family.batch(4000)
        batch.set_tasks(specs)
        batch.reset()
        paid = batch.step(torch.full((4000,), arm)).reward.mean().item()
        assert paid == pytest.approx(probability, abs=4 * (0.25 / 4000) ** 0.5)
    with pytest.raises(TaskError, match=r"good = 0.2: less than bad = 0.3"):
        family.spec({"good": 0.2, "bad": 0.3})


def test_a_choice_is_right_wherever_its_situation_is_seen():
    family = re_seen(situations=3, choices=4, steps=3, bits=4)
    spec = family.spec({"right": [3, 0, 2]}, seed=2)
    batch = family.batch(1)
    batch.set_tasks([spec])
    cues = batch.tables["cues"][0]
    for _ in range(6):
        situation = int((cues == batch.reset()[0]).all(1).nonzero()[0, 0])
        right = (3, 0, 2)[situation]
        paid = [batch.step(torch.tensor([choice])).reward.item() for choice in (right, (right + 1) % 4, right)]
        assert paid == [1.0, 0.0, 1.0]


def test_passages_and_payments_of_two_steps():
    family = two_step(situations=1, visits=1)
    context = {"better": [1], "common": 0.7, "good": 0.9, "bad": 0.2}
    slots = 8000
    batch = family.batch(slots)
    batch.set_tasks([family.spec(context, seed=seed) for seed in range(slots)])
    assert torch.equal(batch.reset()[:, :3], torch.tensor([[1.0, 0.0, 0.0]]).expand(slots, 3))
    action = torch.arange(slots) % 2
    first = batch.step(action)
    state = first.observation[:, 1:3].argmax(1)
    assert not first.reward.any()
    assert not (first.terminated | first.truncated).any()
    second = batch.step(torch.zeros_like(action))
    assert second.terminated.all()
    limit = 4 * (0.25 / (slots / 2)) ** 0.5
    for choice in (0, 1):
        assert (state[action == choice] == choice).float().mean().item() == pytest.approx(0.7, abs=limit)
    for place, probability in ((0, 0.2), (1, 0.9)):
        assert second.reward[state == place].mean().item() == pytest.approx(probability, abs=limit)
    assert family.optimal_return(family.spec(context)) == pytest.approx(0.7 * 0.9 + 0.3 * 0.2)


@pytest.mark.parametrize(("reversal", "agree"), [(0.0, 1.0), (1.0, 0.0), (0.25, 0.75)])
def test_the_better_state_changes_after_a_decision(reversal, agree):
    family = two_step(form="incremental", decisions=40)
    context = {"reversal": reversal, "common": 1.0, "good": 1.0, "bad": 0.0}
    batch = family.batch(100)
    batch.set_tasks([family.spec(context, seed=seed) for seed in range(100)])
    batch.reset()
    paid = []
    for _ in range(40):  # always the way to state 1, which pays where it is the better one
        assert batch.step(torch.ones(100, dtype=torch.int64)).observation.argmax(1).eq(2).all()
        paid.append(batch.step(torch.zeros(100, dtype=torch.int64)))
    better = torch.stack([step.reward for step in paid])
    assert 0.3 < better[0].mean() < 0.7
    same = (better[1:] == better[:-1]).float().mean().item()
    assert same == pytest.approx(agree, abs=4 * (0.25 / 3900) ** 0.5)
    assert [bool(step.truncated.all()) for step in paid] == [*[False] * 39, True]
    np.testing.assert_allclose(family.optimal_return(family.spec(context)), 40.0)
    assert family.cue == ()
