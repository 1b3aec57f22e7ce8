"""Who takes over whose agent, by both rules."""

import math

import pytest

from plugins.runners.transfer import Transfer, choose, proposers, threshold

HISTORY = [9.0, 50.0, 10.0, 20.0, 30.0, 25.0]


def test_the_bar_is_the_last_evaluation_or_the_best_of_the_last_five() -> None:
    assert threshold("poet", HISTORY) == 25.0
    assert threshold("enhanced", HISTORY) == 50.0
    assert threshold("enhanced", [99.0, *HISTORY[1:]]) == 50.0  # the sixth from the end no longer counts
    assert threshold("enhanced", [7.0]) == 7.0


def test_poet_tries_everybodys_proposal_enhanced_only_those_above_the_bar() -> None:
    direct = {1: 10.0, 2: 40.0, 3: 25.0, 4: math.nan, 5: 30.0}
    assert proposers("poet", 25.0, direct, 0) == [2, 5, 3, 1]
    assert proposers("poet", 25.0, direct, 2) == [2, 5]
    assert proposers("enhanced", 25.0, direct, 0) == [2, 5]  # 25 does not beat 25
    assert proposers("enhanced", 25.0, direct, 1) == [2]


def test_poet_takes_the_best_of_direct_and_proposed() -> None:
    assert choose("poet", 25.0, {1: 30.0, 2: 10.0}, {1: 28.0, 2: 29.0}) == Transfer(1, 30.0, proposal=False)
    assert choose("poet", 25.0, {1: 30.0, 2: 10.0}, {1: 28.0, 2: 31.0}) == Transfer(2, 31.0, proposal=True)
    assert choose("poet", 25.0, {1: 25.0}, {1: 25.0}) is None


def test_enhanced_needs_both_to_beat_the_bar() -> None:
    assert choose("enhanced", 25.0, {1: 30.0}, {}) is None  # its proposal was not tried
    assert choose("enhanced", 25.0, {1: 30.0}, {1: 25.0}) is None
    assert choose("enhanced", 25.0, {1: 20.0}, {1: 40.0}) is None
    assert choose("enhanced", 25.0, {1: 30.0, 2: 26.0}, {1: 27.0, 2: 28.0}) == Transfer(2, 28.0, proposal=True)


@pytest.mark.parametrize("rule", ["poet", "enhanced"])
def test_no_number_never_wins(rule) -> None:
    assert choose(rule, 25.0, {1: math.nan, 2: 30.0}, {1: math.nan, 2: math.nan}) == (
        Transfer(2, 30.0, proposal=False) if rule == "poet" else None
    )
    assert choose(rule, -math.inf, {1: math.nan}, {1: math.nan}) is None


def test_ties_go_to_the_agent_as_it_is_then_to_the_older_one() -> None:
    assert choose("poet", 0.0, {2: 9.0, 1: 9.0}, {1: 9.0}) == Transfer(1, 9.0, proposal=False)
