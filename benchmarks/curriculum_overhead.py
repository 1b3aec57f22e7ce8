"""What replay curricula cost beside an iteration: 4,096 slots, a full buffer of 10,000 mazes, one thread.

    python -m benchmarks.curriculum_overhead        under two minutes; nothing else should run beside it

Of a round counts all that the loop asks of the curriculum: ask, learns_from, tell, metrics. What is made, not kept, is
told apart: new mazes by the generator, children by mutation. The iteration beside it is a cheap one, RL^2 with a small
LSTM and one epoch, so that shares are upper bounds.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Row, record, row
from registry.config import Part
from taskgen.build import build_family, build_source
from taskgen.family import TaskFamily
from taskgen.interaction.build import build_agent, problem_of
from taskgen.interaction.collect import collect
from taskgen.interaction.score import score
from taskgen.source import TaskResult
from taskgen.spec import TaskSpec
from taskgen.streams import seed_sequence, stream

SLOTS, CAPACITY, REPEATS = 4096, 10_000, 5
SCORE = "positive-value-loss"
SOURCE = {"name": "random-mazes"}
AGENT = {"name": "rl2", "network": {"name": "lstm", "hidden_size": 64}, "epochs": 1}


def full_curriculum(name: str, replay: float, family: TaskFamily[Any]) -> Any:
    """A curriculum whose buffer is full; after it every round is a replay, or new, as `replay` is 1 or 0."""
    settings = {"source": SOURCE, "score": SCORE, "capacity": CAPACITY, "minimum_fill": 1.0, "replay": replay}
    curriculum = build_source(Part.model_validate({"name": name, **settings}), family, seed_sequence(0, name))
    random = stream(0, "scores")
    while curriculum.metrics()["tasks/buffer_fill"] < 1:
        curriculum.tell(results(curriculum.ask(SLOTS), random))
    return curriculum


def results(specs: list[TaskSpec], random: np.random.Generator) -> list[TaskResult]:
    """Made-up results that agree with nothing, so that levels are evicted all the time."""
    scores, returns = random.random((2, len(specs))).tolist()
    return [TaskResult(spec, (r,), {SCORE: s}) for spec, r, s in zip(specs, returns, scores, strict=True)]


def round_seconds(curriculum: Any) -> tuple[bool, float, float]:
    """Whether a round is one of replays, seconds of asking, and seconds of all else."""
    random = stream(1, "scores")
    start = time.perf_counter()
    specs = curriculum.ask(SLOTS)
    asked = time.perf_counter()
    curriculum.learns_from(specs)
    judged = time.perf_counter() - asked
    told = results(specs, random)
    begin = time.perf_counter()
    curriculum.tell(told)
    shown = curriculum.metrics()
    kept = time.perf_counter() - begin + judged
    return bool(shown["tasks/replay_share"]), asked - start, kept


def iteration_seconds(family: TaskFamily[Any]) -> tuple[float, float]:
    """Seconds of collecting, and of scoring and learning, in the quicker of two iterations."""
    problem = problem_of(family, episodes=1, seed=0, device=torch.device("cpu"), updates=10)
    agent = build_agent(Part.model_validate(AGENT), problem)
    specs = build_source(Part.model_validate(SOURCE), family, seed_sequence(0, "played")).ask(SLOTS)
    batch, plan = family.batch(SLOTS), agent.plan(1)
    laps: list[tuple[float, float]] = []
    for _ in range(2):
        begin = time.perf_counter()
        trial = collect(agent, batch, specs, plan=plan)
        middle = time.perf_counter()
        score(trial, agent, family, (SCORE,))
        agent.learn(trial)
        laps.append((middle - begin, time.perf_counter() - middle))
    return min(laps, key=sum)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    family = build_family("maze")
    collected, learned = iteration_seconds(family)
    whole = collected + learned
    rows: list[Row] = [row("iteration of the agent: collect, seconds", collected)]
    rows.append(row("iteration of the agent: score and learn, seconds", learned))
    makers = {"new": "random mazes made", "edit": "children made by mutation"}
    for name, replay, what in (("plr", 1.0, "replay"), ("robust-plr", 0.0, "new"), ("accel", 1.0, "edit")):
        curriculum = full_curriculum(name, replay, family)
        laps = [round_seconds(curriculum) for _ in range(2 * REPEATS)]
        laps = [lap for lap in laps if lap[0] == (what == "replay")]
        asks = [ask for _, ask, _ in laps]
        kept = [own + ask * (what == "replay") for _, ask, own in laps]
        share = 100 * statistics.median(kept) / whole
        rows.append(row(f"{name}, round of {what} tasks: bookkeeping, milliseconds", 1e3 * statistics.median(kept)))
        text = f"{name}, round of {what} tasks: bookkeeping, % of an iteration"
        rows.append(row(text, share, min(kept) / whole * 100, max(kept) / whole * 100, target="<= 5", source="budget"))
        if what in makers:
            rows.append(row(f"{name}: {SLOTS:,} {makers[what]}, milliseconds", 1e3 * statistics.median(asks)))
        rows.append(row(f"{name}: state for a checkpoint, milliseconds", 1e3 * timed(curriculum.state_dict)))
    record("curriculum_overhead", rows, seeds=[0])


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
