"""Evaluation, one protocol for every agent: frozen meta-parameters, adaptation allowed, return per adaptation episode.

All players meet the same tasks with the same environment noise, so differences between them are paired. A task that is
given several times is played as often, with other noise each time, and counts once. Players that adapt between rounds
of episodes are judged by round too: after 0, 1, 2, ... steps of adaptation. Axes: K episodes, N tasks.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.luck import Plays, plays
from agents.evaluation.statistics import Interval, after_exploration, intervals
from agents.evaluation.tail import Ranked, ranked, tail_interval, tail_tasks, tail_values
from agents.evaluation.watch import Watch
from taskgen.borders import state_of
from taskgen.engines.faults import Faulting
from taskgen.family import TaskFamily
from taskgen.interaction.agent import Agent, judged
from taskgen.interaction.collect import collect
from taskgen.interaction.guard import exploration_of, planned
from taskgen.spec import TaskSpec

SLOTS = 4096
"""Played at once."""
STEPS = 2**22
"""Played at once, in all slots together: what is recorded of a step takes 50 to 100 bytes."""


def play(
    agent: Agent, family: TaskFamily[Any], specs: Sequence[TaskSpec], episodes: int, device: Any = "cpu"
) -> NDArray[np.float64]:
    """Return of every episode of one trial on each of `specs`, [K, len(specs)], with their own seeds' noise.

    The agent's state afterwards is as before.
    """
    return play_counting(agent, family, specs, episodes, device)[0]


def play_counting(
    agent: Agent,
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    episodes: int,
    device: Any = "cpu",
    *,
    watch: Watch | None = None,
    seeds: Sequence[int] | None = None,
) -> tuple[NDArray[np.float64], int]:
    """As `play`; also how many episodes were cut short because their simulation diverged. They count as they are.

    `seeds`, one for each of `specs`, decide the noise in place of their own. Raises `Stopped` where `watch` says so;
    the agent is as before then too.
    """
    with at_play(agent) as player:
        return _played(player, family, specs, episodes, device, watch, seeds)


def play_distinct(
    agent: Agent,
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    episodes: int,
    device: Any = "cpu",
    *,
    watch: Watch | None = None,
) -> tuple[NDArray[np.float64], int]:
    """Mean return of every episode on each of the distinct tasks of `specs`, [K, N], and the number of faults.

    A task is played as often as it is given, with fresh luck each time: see `luck.plays`. Raises as `play_counting`.
    """
    played = plays(specs)
    returns, faults = play_counting(agent, family, specs, episodes, device, watch=watch, seeds=played.seeds)
    return played.averaged(returns), faults


def play_ranking(
    agent: Agent,
    family: TaskFamily[Any],
    plays: Plays,
    ranked: Ranked,
    episodes: int,
    device: Any = "cpu",
    *,
    watch: Watch | None = None,
) -> tuple[NDArray[np.float64], int, NDArray[np.float64]]:
    """As `play_distinct`; also the `tail_values` of the trial's return, [M] of the tasks ranked, which may be none.

    Tasks that repeat are ranked by every other play and measured on the rest; others are played once more, after the
    trial that is measured, so that the agent's own luck is other luck too.
    """
    number = len(ranked.tasks)
    with at_play(agent) as player:
        returns, faults = _played(player, family, plays.specs, episodes, device, watch, plays.seeds)
        halves, returns = plays.halves(returns), plays.averaged(returns)
        if not number:
            return returns, faults, np.zeros(0)
        if halves is not None:
            ranking, measured = (half[:, :number].sum(0) for half in halves)
            return returns, faults, tail_values(ranking, measured, ranked.share)
        again, _ = _played(player, family, ranked.tasks, episodes, device, watch, ranked.seeds)
    return returns, faults, tail_values(again.sum(0), returns[:, :number].sum(0), ranked.share)


@contextmanager
def at_play(agent: Agent) -> Iterator[Agent]:
    """`agent` as it is judged; afterwards its state is as before."""
    state = copy.deepcopy(state_of(agent))
    try:
        yield judged(agent)
    finally:
        agent.load_state_dict(state)


def _played(
    player: Agent,
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    episodes: int,
    device: Any,
    watch: Watch | None,
    seeds: Sequence[int] | None = None,
) -> tuple[NDArray[np.float64], int]:
    plan = planned(player, episodes)
    at_once = max(1, min(SLOTS // plan.slots, STEPS // (episodes * family.horizon)))
    longest = episodes // plan.slots * family.horizon
    parts: list[NDArray[np.float64]] = []
    faults = 0
    for start in range(0, len(specs), at_once):
        chunk = specs[start : start + at_once]
        batch = family.batch(len(chunk) * plan.slots, device)
        watched = player if watch is None else watch.over(player, len(chunk), longest)
        luck = None if seeds is None else seeds[start : start + at_once]
        trial = collect(watched, batch, chunk, plan=plan, seeds=luck)
        parts.append(trial.episode_returns().double().cpu().numpy())
        faults += batch.faults.count if isinstance(batch, Faulting) else 0
    return np.concatenate(parts, axis=1), faults


def summarise(returns: NDArray[np.float64], rounds: int = 1) -> dict[str, Any]:
    """Of one run, mean and interquartile mean per episode and mean per trial, with 95% intervals, as JSON values.

    `returns` are of distinct tasks, [K, N], and the intervals over these; of a single task they are None. Where the K
    episodes were played in several `rounds` of more than one, also the same for the mean episode of each round, under
    "rounds".
    """
    summary = {"returns": _rows(returns), "trial": _ends(intervals(returns.sum(axis=0)[None])[0])}
    if 1 < rounds < len(returns):
        summary["rounds"] = _rows(returns.reshape(rounds, -1, returns.shape[1]).mean(axis=1))
    return summary


def _rows(returns: NDArray[np.float64]) -> dict[str, list[float | None]]:
    means, middles = zip(*(intervals(row[None]) for row in returns), strict=True)
    return _columns(means, ("mean", "low", "high")) | _columns(middles, ("iqm", "iqm_low", "iqm_high"))


def _columns(rows: Sequence[Interval], names: tuple[str, str, str]) -> dict[str, list[float | None]]:
    return {name: [json_end(row[place]) for row in rows] for place, name in enumerate(names)}


def json_end(value: float) -> float | None:
    """An end of an interval as JSON, which has no NaN."""
    return None if math.isnan(value) else value


def evaluate(
    players: Mapping[str, Agent],
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    episodes: int,
    device: Any = "cpu",
    *,
    tail: float = 0.0,
    watch: Watch | None = None,
) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """All `players` on the distinct tasks of `specs`, by name: their summaries, and what is behind these.

    That is the returns [K, N] and, of the tasks that were ranked, the `tail_values` [M]. A summary holds `faults`,
    their number, where simulations diverged; `tail`, the mean return of a trial on the share `tail` of tasks where it
    is lowest, where that is asked for and there are tasks enough; `judged`, which action was played, of an agent for
    which that is a setting (its attribute `judged_action`); and `told` of one that is told the task's descriptor.
    Raises `Stopped` where `watch` says so. Where a player explores first, in so many episodes as its `exploration`
    says, everybody's summary holds `exploitation` too: the mean return of a trial without the episodes in which any of
    them explores.
    """
    exploration = max([exploration_of(agent) for agent in players.values()], default=0)
    played = plays(specs)
    to_rank = ranked(played.tasks, tail)
    summaries: dict[str, Any] = {}
    returns: dict[str, NDArray[np.float64]] = {}
    tails: dict[str, NDArray[np.float64]] = {}
    for name, agent in players.items():
        if watch is not None:
            watch.what = name
        returns[name], faults, values = play_ranking(agent, family, played, to_rank, episodes, device, watch=watch)
        summary = summarise(returns[name], planned(judged(agent), episodes).rounds)
        if len(values):
            summary["tail"], tails[name] = _tail(values, tail), values
        summary |= {"told": True} if judged(agent).needs_descriptor else {}
        summary |= {"exploration": first} if (first := exploration_of(agent)) else {}
        rest = after_exploration(returns[name][None], exploration)
        summary |= {} if rest is None else {"exploitation": _ends(rest)}
        action = getattr(agent, "judged_action", None)
        summaries[name] = summary | ({"faults": faults} if faults else {}) | ({"judged": action} if action else {})
    return summaries, returns, tails


def _tail(values: NDArray[np.float64], share: float) -> dict[str, Any]:
    sizes = {"share": share, "tasks": tail_tasks(len(values), share), "ranked": len(values)}
    return {**_ends(tail_interval(values[None], share)), **sizes}


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"mean": interval.value, "low": json_end(interval.low), "high": json_end(interval.high)}
