"""Niches by hand: what is known of a pair, and as which figures an archive has it."""

import math

import pytest

from plugins.runners.niches import Niche, Solved, identity, records
from plugins.runners.pairs import Pairs
from plugins.runners.transfer import REMEMBERED
from plugins.runners.work import Examined
from taskgen import lineage
from taskgen.build import build_family
from taskgen.maps import Failed
from taskgen.streams import seed_sequence

FAMILY = build_family("cartpole")


def niche(number: int, **settings) -> Niche:
    return Niche(number, FAMILY.spec({"force": 10.0 + number}, seed=number), {}, **settings)


def test_a_niche_remembers_its_last_scores_its_best_and_when_it_was_solved() -> None:
    one = niche(0)
    assert math.isnan(one.score)
    for iteration, score in enumerate((3.0, 9.0, 4.0, 10.0, 5.0, 11.0, 2.0)):
        one.judge(score, iteration, 10.0)
    assert REMEMBERED == 5
    assert one.history == [4.0, 10.0, 5.0, 11.0, 2.0]
    assert (one.score, one.best, one.solved) == (2.0, 11.0, 3)  # 10 is as much as is asked for


def test_a_niche_is_active_until_it_is_retired() -> None:
    one = niche(0)
    assert one.active
    one.retire(0, "it was the oldest and made room")
    assert not one.active
    assert (one.retired, one.failed) == (0, False)


def test_the_hall_of_fame_goes_by_the_time_it_took() -> None:
    quick, slow = Solved.of(niche(0, created=10, solved=12)), Solved.of(niche(1, created=1, solved=9))
    assert (quick.fitness.values, slow.fitness.values) == ((2.0,), (8.0,))
    assert slow.fitness > quick.fitness


def test_tasks_are_the_same_whatever_their_seeds() -> None:
    assert identity(FAMILY.spec({"force": 9.0}, seed=3)) == identity(FAMILY.spec({"force": 9.0}, seed=4))
    assert identity(FAMILY.spec({"force": 9.0})) != identity(FAMILY.spec({"force": 8.0}))


def test_niches_as_records_of_an_archive() -> None:
    first = niche(0, retired=7, failed=True, history=[4.0, 6.0], best=9.0)
    second = niche(1, parent=0, created=2, generation=1, novelty=0.5, solved=5, fresh=False, transfers={"0": 3})
    one, other = records([first, second], "builtin/poet", "1")
    assert one.parents == ()
    assert one.scores == {
        lineage.CREATED: 0.0,
        lineage.RETIRED: 7.0,
        lineage.FAILED: 1.0,
        lineage.SCORE: 6.0,
        lineage.BEST: 9.0,
        lineage.NOVELTY: 0.0,
        lineage.FRESH: 1.0,
    }
    assert (other.parents, other.generation) == ((first.spec.id,), 1)
    assert other.scores == {
        lineage.CREATED: 2.0,
        lineage.SOLVED: 5.0,
        lineage.NOVELTY: 0.5,
        lineage.FRESH: 0.0,
        f"{lineage.TRANSFERS}{first.spec.id}": 3.0,
    }


def test_a_failed_examination_is_no_score_and_no_steps_and_told(caplog: pytest.LogCaptureFixture) -> None:
    pairs = object.__new__(Pairs)
    pairs.trainee, pairs.seed, pairs.steps = None, seed_sequence(0, "test"), 5  # type: ignore[assignment]
    pairs.iteration = 3
    pairs.luck = lambda spec: spec.seed  # type: ignore[method-assign]
    pairs._map = lambda _, work: [Failed("boom"), Examined((1.0, 2.0), 30)]  # type: ignore[assignment]
    agents = [niche(0), niche(1)]
    tasks = [one.spec for one in agents]
    scores = pairs.examine(agents, {0: tasks, 1: tasks})
    assert scores[0] == [pytest.approx(math.nan, nan_ok=True)] * 2
    assert scores[1] == [1.0, 2.0]
    assert pairs.steps == 35
    (line,) = caplog.messages
    assert line == f"iteration 3: agent of task {tasks[0].id} on others: boom"
