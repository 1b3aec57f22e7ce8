"""When a pair takes over the agent of another pair: the rules of POET and of Enhanced POET.

Sources: Wang et al. 2019, "Paired Open-Ended Trailblazer (POET)", algorithm 3; Wang et al. 2020, "Enhanced POET",
section 4.3.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Rule: TypeAlias = Literal["poet", "enhanced"]

REMEMBERED = 5
"""Self-evaluations that the enhanced threshold is the greatest of."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer that was accepted."""

    source: int
    """Number of the pair whose agent it is."""
    score: float
    proposal: bool
    """Whether that agent first took a step of learning on the new task."""


def threshold(rule: Rule, history: Sequence[float]) -> float:
    """What a transfer has to beat: the last of the pair's self-evaluations, or the best of the last five."""
    return history[-1] if rule == "poet" else max(history[-REMEMBERED:])


def proposers(rule: Rule, bar: float, direct: Mapping[int, float], most: int) -> list[int]:
    """Whose one-step proposals are to be tried, best first, at most `most` of them (0: all).

    POET tries everybody's; Enhanced POET only those whose direct transfer beats the bar.
    """
    known = [source for source, score in direct.items() if math.isfinite(score)]
    tried = known if rule == "poet" else [source for source in known if direct[source] > bar]
    ranked = sorted(tried, key=lambda source: (-direct[source], source))
    return ranked[:most] if most else ranked


def choose(rule: Rule, bar: float, direct: Mapping[int, float], proposed: Mapping[int, float]) -> Transfer | None:
    """The best transfer that beats the bar; None where there is none. Scores that are not numbers never win.

    Under the enhanced rule a proposal must beat it as well as the direct transfer that it came from.
    """
    found = [Transfer(source, score, proposal=True) for source, score in proposed.items()]
    if rule == "poet":
        found += [Transfer(source, score, proposal=False) for source, score in direct.items()]
    else:
        found = [transfer for transfer in found if direct[transfer.source] > bar]
    better = [transfer for transfer in found if transfer.score > bar]
    return max(better, key=lambda transfer: (transfer.score, not transfer.proposal, -transfer.source), default=None)
