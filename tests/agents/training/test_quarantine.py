"""What a source gives without the tasks in quarantine."""

import numpy as np
import pytest

from agents.training import quarantine
from agents.training.held_out import HeldOut
from registry.errors import UserError
from taskgen.build import build_family
from taskgen.engines.faults import Fault, FaultLog
from taskgen.spec import TaskSpec

TASKS = [build_family("bandit").spec(seed=seed) for seed in range(5)]


class Round:
    """A source that gives `tasks` in turn."""

    feedback = False

    def __init__(self, tasks: list[TaskSpec]) -> None:
        self.tasks = tasks
        self.given = 0

    def ask(self, n: int) -> list[TaskSpec]:
        self.given += n
        return [self.tasks[(self.given - n + i) % len(self.tasks)] for i in range(n)]


class Batch:
    """As much of a batch as counts."""

    def __init__(self, *diverging: TaskSpec, strikes: int = 3) -> None:
        self.faults = FaultLog()
        for task in diverging:
            for step in range(strikes):
                self.faults.record(Fault(0, task, step, "position diverged", True, np.zeros(2)))


def ask(source: Round, n: int, batch: object) -> list[TaskSpec]:
    specs, passed = quarantine.ask(source, n, batch)  # type: ignore[arg-type]
    assert not passed
    return specs


def seeds(specs: list[TaskSpec]) -> list[int]:
    return [spec.seed for spec in specs]


def test_quarantined_tasks_are_replaced_by_those_that_come_next():
    batch = Batch(TASKS[1], TASKS[2])
    assert seeds(ask(Round(TASKS), 4, batch)) == [0, 3, 4, 0]
    source = Round(TASKS)
    assert seeds([ask(source, 1, batch)[0] for _ in range(4)]) == [0, 3, 4, 0]


def test_two_faults_are_no_quarantine():
    assert seeds(ask(Round(TASKS), 4, Batch(TASKS[1], strikes=2))) == [0, 1, 2, 3]


def test_batches_that_cannot_fault_are_left_alone():
    source = Round(TASKS)
    assert seeds(ask(source, 5, object())) == [0, 1, 2, 3, 4]
    assert source.given == 5


def test_a_source_with_one_good_task_gives_it():
    assert seeds(ask(Round(TASKS), 3, Batch(*TASKS[:4]))) == [4, 4, 4]


def test_a_source_of_quarantined_tasks_only_stops_the_run():
    with pytest.raises(UserError, match=r"all in quarantine.*3 times: position diverged \(15\).*quarantine/"):
        ask(Round(TASKS), 4, Batch(*TASKS))


def held_out(*specs: TaskSpec, same_tasks: bool = False) -> HeldOut:
    return HeldOut(lambda: list(specs), same_tasks=same_tasks)


def test_a_held_out_task_met_by_chance_is_replaced_by_the_one_that_comes_next():
    family = build_family("bandit", {"arms": 2})
    tasks = [family.spec({"probabilities": [0.1 * i, 0.5]}, seed=i) for i in range(5)]
    luck = family.spec({"probabilities": [0.2, 0.5]}, seed=9)
    specs, passed = quarantine.ask(Round(tasks), 4, Batch(tasks[3]), family, held_out(luck))
    assert (seeds(specs), passed) == ([0, 1, 4, 0], 1)
    specs, passed = quarantine.ask(Round(tasks), 4, Batch(), family, held_out(luck, same_tasks=True))
    assert (seeds(specs), passed) == ([0, 1, 2, 3], 0)


def test_more_than_chance_would_have_it_is_refused():
    """One of a round of fifty or fewer, two of a hundred."""
    family = build_family("bandit", {"arms": 2})
    tasks = [family.spec({"probabilities": [i / 110, 0.5]}, seed=i) for i in range(110)]
    for n, most in ((50, 1), (100, 2)):
        specs, passed = quarantine.ask(Round(tasks), n, Batch(), family, held_out(*tasks[:most]))
        assert (seeds(specs), passed) == ([*range(most, n + most)], most)
        with pytest.raises(UserError, match="source and held-out set both hold task"):
            quarantine.ask(Round(tasks), n, Batch(), family, held_out(*tasks[: most + 1]))
