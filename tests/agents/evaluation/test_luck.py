"""Few tasks given over and over: judged as the tasks they are, each on as many sets of luck."""

import math

import numpy as np
import pytest
import torch

from agents.evaluation.luck import counted, plays
from agents.evaluation.play import evaluate, play_counting, play_distinct
from registry.config import Part
from taskgen.build import build_family
from taskgen.interaction.build import build_agent, problem_of


@pytest.fixture(scope="module")
def family():
    return build_family("bandit")


def player(family, episodes=10):
    return build_agent(Part(name="thompson"), problem_of(family, episodes=episodes, seed=0, device=torch.device("cpu")))


def test_a_repeated_task_counts_once_and_has_other_luck_each_time(family) -> None:
    one, two, three = (family.spec({"probabilities": [0.1 * (seed + 1)] * 5}, seed=seed) for seed in range(3))
    found = plays([one, two, one, three, one, two])
    assert found.tasks == (one, two, three)
    assert found.place.tolist() == [0, 1, 0, 2, 0, 1]
    assert len(set(found.seeds)) == 6
    assert [found.seeds[n] for n in (0, 1, 3)] == [0, 1, 2]  # first plays: the tasks' own
    assert found.seeds == plays([one, two, one, three, one, two]).seeds
    returns = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 8.0, 0.0, 0.0, 3.0, 0.0]])
    assert found.averaged(returns).tolist() == [[3.0, 4.0, 4.0], [1.0, 4.0, 0.0]]


def test_halves_are_every_other_play_of_a_task(family) -> None:
    one, two, three = (family.spec({"probabilities": [0.1 * (seed + 1)] * 5}, seed=seed) for seed in range(3))
    found = plays([one, two, one, one, two])
    first, other = found.halves(np.array([[1.0, 2.0, 3.0, 4.0, 7.0]]))
    assert first.tolist() == [[2.5, 2.0]]  # plays 1 and 3 of the first task, play 1 of the second
    assert other.tolist() == [[3.0, 7.0]]
    assert plays([one, two, one, three, two]).halves(np.zeros((1, 5))) is None


def test_repeated_tasks_are_ranked_by_one_half_of_their_plays_and_measured_on_the_other(family) -> None:
    specs = [family.spec({"probabilities": [0.05 * (seed + 1)] * 5}, seed=seed) for seed in range(18)]
    summaries, did = evaluate({"thompson": player(family)}, family, specs * 100, 10, tail=0.17)
    worst = np.sort(did["thompson"].returns.sum(0))[:3]  # a tenth of a win in each of ten pulls apart: no luck hides it
    assert summaries["thompson"]["tail"]["mean"] == pytest.approx(worst.mean(), abs=0.25)


def test_other_luck_makes_no_other_task_unless_dynamics_are_drawn_from_the_seed(family) -> None:
    found = plays([family.spec(seed=seed) for seed in (4, 5, 6)])
    assert len(found.tasks) == 1
    assert found.seeds == (4, 5, 6)
    tables = build_family("tabular-mdp")
    assert len(plays([tables.spec(seed=seed) for seed in (4, 5, 6)]).tasks) == 3


def test_tasks_that_share_a_seed_have_luck_of_their_own(family) -> None:
    specs = [family.spec({"probabilities": [0.1 * n] * 5}, seed=7) for n in range(4)]
    assert len(set(plays(specs).seeds)) == 4


def test_how_many_there_are_is_said() -> None:
    assert counted(1, 1) == "1 task"
    assert counted(1000, 1000, "held-out") == "1,000 held-out tasks"
    assert counted(50, 2000) == "50 tasks, played 2,000 times in all with fresh luck"


def test_repetitions_do_not_narrow_the_interval(family) -> None:
    """50 tasks 40 times: the spread is that of 50 tasks, not of 2,000, and each is measured better."""
    arms = np.random.default_rng(0).random((50, 5)).tolist()
    specs = [family.spec({"probabilities": arms[seed]}, seed=seed) for seed in range(50)]
    summaries, did = evaluate({"thompson": player(family)}, family, specs * 40, 10)
    assert did["thompson"].returns.shape == (10, 50)
    trial = summaries["thompson"]["trial"]
    means = did["thompson"].returns.sum(0)
    half = 2.009575 * means.std(ddof=1) / math.sqrt(50)  # t with 49 degrees of freedom
    assert trial["high"] - trial["mean"] == pytest.approx(half, rel=1e-5)
    assert trial["mean"] == pytest.approx(means.mean())
    # as 2,000 tasks it would be 40 ** -0.5 = 0.16 of that of one play each
    once = evaluate({"thompson": player(family)}, family, specs, 10)[0]["thompson"]["trial"]
    assert half > 0.4 * (once["high"] - once["mean"])


def test_luck_is_fresh(family) -> None:
    spec = family.spec(seed=3)
    agent = build_agent(Part(name="bandit-oracle"), problem_of(family, episodes=10, seed=0, device=torch.device("cpu")))
    returns, _ = play_counting(agent, family, [spec] * 30, 10, seeds=plays([spec] * 30).seeds)
    assert len(np.unique(returns, axis=1).T) > 10
    assert play_distinct(agent, family, [spec] * 30, 10)[0].shape == (10, 1)
