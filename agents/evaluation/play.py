"""Evaluation, one protocol for every agent: frozen meta-parameters, adaptation allowed, return per adaptation episode.

All players meet the same tasks with the same environment noise, so differences between them are paired. A task that is
given several times is played as often, with other noise each time, and counts once. Players that adapt between rounds
of episodes are judged by round too: after 0, 1, 2, ... steps of adaptation. Axes: K episodes, N tasks.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.aggregates import share
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


SUCCESS = ("any_step", "last_step")
"""Of an episode: whether the task was done after any of its steps, and after its last one."""


class Play(NamedTuple):
    """What a player did on N distinct tasks."""

    returns: NDArray[np.float64]
    """[K, N] mean return of every episode."""
    faults: int
    """Episodes that were cut short because their simulation diverged. They count as they are."""
    success: NDArray[np.float64] | None
    """[2, K, N] share of plays in which it succeeded, by `SUCCESS`; None of a family that does not tell."""
    tail: NDArray[np.float64]
    """[M] the `tail_values` of the trial's return, of the tasks ranked, which may be none."""


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
        return _played(player, family, specs, episodes, device, watch, seeds)[:2]


def play_distinct(
    agent: Agent,
    family: TaskFamily[Any],
    specs: Sequence[TaskSpec],
    episodes: int,
    device: Any = "cpu",
    *,
    watch: Watch | None = None,
) -> Play:
    """On each of the distinct tasks of `specs`.

    A task is played as often as it is given, with fresh luck each time: see `luck.plays`. Raises as `play_counting`.
    """
    return play_ranking(agent, family, plays(specs), ranked((), 0.0), episodes, device, watch=watch)


def play_ranking(
    agent: Agent,
    family: TaskFamily[Any],
    plays: Plays,
    ranked: Ranked,
    episodes: int,
    device: Any = "cpu",
    *,
    watch: Watch | None = None,
) -> Play:
    """As `play_distinct`; also the tail.

    Tasks that repeat are ranked by every other play and measured on the rest; others are played once more, after the
    trial that is measured, so that the agent's own luck is other luck too.
    """
    number = len(ranked.tasks)
    with at_play(agent) as player:
        returns, faults, success = _played(player, family, plays.specs, episodes, device, watch, plays.seeds)
        halves, returns = plays.halves(returns), plays.averaged(returns)
        success = None if success is None else np.stack([plays.averaged(kind) for kind in success])
        if not number:
            return Play(returns, faults, success, np.zeros(0))
        if halves is not None:
            ranking, measured = (half[:, :number].sum(0) for half in halves)
            return Play(returns, faults, success, tail_values(ranking, measured, ranked.share))
        again, *_ = _played(player, family, ranked.tasks, episodes, device, watch, ranked.seeds)
    return Play(returns, faults, success, tail_values(again.sum(0), returns[:, :number].sum(0), ranked.share))


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
) -> tuple[NDArray[np.float64], int, NDArray[np.float64] | None]:
    plan = planned(player, episodes)
    at_once = max(1, min(SLOTS // plan.slots, STEPS // (episodes * family.horizon)))
    longest = episodes // plan.slots * family.horizon
    parts: list[NDArray[np.float64]] = []
    successes: list[NDArray[np.float64]] = []
    faults = 0
    for start in range(0, len(specs), at_once):
        chunk = specs[start : start + at_once]
        batch = family.batch(len(chunk) * plan.slots, device)
        watched = player if watch is None else watch.over(player, len(chunk), longest)
        luck = None if seeds is None else seeds[start : start + at_once]
        trial = collect(watched, batch, chunk, plan=plan, seeds=luck)
        parts.append(trial.episode_returns().double().cpu().numpy())
        told = trial.successes()
        successes += [] if told is None else [told.double().cpu().numpy()]
        faults += batch.faults.count if isinstance(batch, Faulting) else 0
    return np.concatenate(parts, axis=1), faults, np.concatenate(successes, axis=2) if successes else None


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


def succeeded(success: NDArray[np.float64]) -> dict[str, dict[str, list[float | None]]]:
    """Of one run, shares of distinct tasks, [2, K, N], with their intervals over these, as JSON values by `SUCCESS`."""
    names = ("mean", "low", "high")
    return {
        kind: _columns([share(row[None]) for row in rows], names) for kind, rows in zip(SUCCESS, success, strict=True)
    }


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
) -> tuple[dict[str, Any], dict[str, Play]]:
    """All `players` on the distinct tasks of `specs`, by name: their summaries, and what is behind these.

    A summary holds `faults`, their number, where simulations diverged; `success`, where the family tells; `tail`, the
    mean return of a trial on the share `tail` of tasks where it is lowest, where that is asked for and there are tasks
    enough; `judged`, which action was played, of an agent for which that is a setting (its attribute `judged_action`);
    and `told` of one that is told the task's descriptor. Raises `Stopped` where `watch` says so. Where a player
    explores first, in so many episodes as its `exploration` says, everybody's summary holds `exploitation` too: the
    mean return of a trial without the episodes in which any of them explores.
    """
    exploration = max([exploration_of(agent) for agent in players.values()], default=0)
    played = plays(specs)
    to_rank = ranked(played.tasks, tail)
    summaries: dict[str, Any] = {}
    found: dict[str, Play] = {}
    for name, agent in players.items():
        if watch is not None:
            watch.what = name
        found[name] = did = play_ranking(agent, family, played, to_rank, episodes, device, watch=watch)
        summary = summarise(did.returns, planned(judged(agent), episodes).rounds)
        summary |= {"tail": _tail(did.tail, tail)} if len(did.tail) else {}
        summary |= {} if did.success is None else {"success": succeeded(did.success)}
        summary |= {"told": True} if judged(agent).needs_descriptor else {}
        summary |= {"exploration": first} if (first := exploration_of(agent)) else {}
        rest = after_exploration(did.returns[None], exploration)
        summary |= {} if rest is None else {"exploitation": _ends(rest)}
        action = getattr(agent, "judged_action", None)
        faults = {"faults": did.faults} if did.faults else {}
        summaries[name] = summary | faults | ({"judged": action} if action else {})
    return summaries, found


def _tail(values: NDArray[np.float64], share: float) -> dict[str, Any]:
    sizes = {"share": share, "tasks": tail_tasks(len(values), share), "ranked": len(values)}
    return {**_ends(tail_interval(values[None], share)), **sizes}


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"mean": interval.value, "low": json_end(interval.low), "high": json_end(interval.high)}
