"""The tail: what the worst share of tasks earns, and not what bad luck makes of any."""

import numpy as np
import pytest

import registry
from agents.evaluation.luck import plays
from agents.evaluation.play import evaluate, play, play_ranking
from agents.evaluation.statistics import seeds_interval, spread_of
from agents.evaluation.tail import ranked, ranked_tasks, tail_interval, tail_tasks, tail_values
from taskgen.build import build_family
from taskgen.interaction.build import problem_of


def bandit(probabilities, count):
    """So many bandits that are as good as equal, and yet different tasks."""
    family = build_family("bandit", {"arms": len(probabilities)})
    worths = [[p * (1 - 1e-9 * number) for p in probabilities] for number in range(count)]
    return family, [family.spec({"probabilities": worth}, seed=seed) for seed, worth in enumerate(worths)]


def random_player(family, episodes):
    problem = problem_of(family, episodes=episodes, seed=3, device="cpu")
    return registry.catalogue().get("agents", "random").build({}, problem=problem)


def test_values_by_hand() -> None:
    ranking = np.array([5.0, 1, 2, 9, 0, 7, 8, 3, 6, 4])
    measured = np.array([50.0, 11, 22, 90, 3, 70, 80, 30, 60, 40])
    # worst fifth: places 4 and 1, which earn 3 and 11; tasks at the border: the second to third in rank, 11 and 22
    values = tail_values(ranking, measured, 0.2)
    border = (11 + 22) / 2
    expected = np.full(10, border)
    expected[4] += (3 - border) * 5
    expected[1] += (11 - border) * 5
    assert values.tolist() == pytest.approx(expected.tolist())
    assert values.mean() == pytest.approx((3 + 11) / 2)


def test_how_many_tasks_are_ranked() -> None:
    assert [ranked_tasks(count, 0.1) for count in (9, 10, 200, 400, 799, 800, 2000)] == [0, 10, 200, 200, 200, 200, 500]
    assert ranked_tasks(1000, 0.0) == 0
    assert ranked_tasks(1000, 0.5) == 250
    assert [tail_tasks(count, 0.1) for count in (9, 10, 19, 20, 30, 70)] == [0, 1, 1, 2, 3, 7]


def test_an_interval_needs_twenty_tasks_in_the_tail() -> None:
    values = np.random.default_rng(0).normal(size=200)
    found = tail_interval(values[None], 0.1)
    assert found.low < found.value == values.mean() < found.high
    assert np.isnan(tail_interval(values[None, :199], 0.1).low)


def test_the_interval_covers_the_tail() -> None:
    """Tasks worth a normal variate, luck a normal variate: the worst tenth by another trial earns -1.2410."""
    truth = -(1 / np.sqrt(2)) * np.exp(-(1.2815516**2) / 2) / np.sqrt(2 * np.pi) / 0.1
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(600):
        worth, luck = rng.normal(size=400), rng.normal(size=(2, 400))
        found = tail_interval(tail_values(worth + luck[0], worth + luck[1], 0.1)[None], 0.1)
        hits.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.975


def test_over_seeds_it_covers_other_seeds_and_other_tasks() -> None:
    """By hand as a mean is, with the tasks in the tail as degrees of freedom; t over the seeds alone would hold 80%."""
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(300):
        seed, worth, luck = rng.normal(0, 0.1, (3, 1)), rng.normal(size=400), rng.normal(size=(2, 3, 400))
        ranking, measured = seed + worth + luck
        values = np.stack([tail_values(a, b, 0.1) for a, b in zip(ranking, measured, strict=True)])
        found = tail_interval(values, 0.1)
        hits.append(found.low <= -1.2410 <= found.high)
    assert found == seeds_interval(values.mean(1), spread_of(values, 39))
    assert 0.92 <= np.mean(hits) <= 0.98
    assert np.isnan(tail_interval(values[:2], 0.1).low)  # two seeds


@pytest.mark.parametrize("probabilities", [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0)], ids=["its luck", "the player's own"])
def test_equal_tasks_have_no_tail(probabilities) -> None:
    """All luck is the environment's, or all the player's: neither makes one of equal tasks a bad one."""
    family, specs = bandit(probabilities, 4000)
    player, episodes = random_player(family, 8), 8
    returns, _, _, values = play_ranking(player, family, plays(specs), ranked(plays(specs).tasks, 0.1), episodes)
    total = returns.sum(0)
    error = total.std() / np.sqrt(100)
    assert len(values) == 1000
    assert abs(values.mean() - total.mean()) < 3 * error
    naive = np.sort(total)[:400].mean()
    assert naive < total.mean() - 5 * error


def test_tasks_that_are_worse_are_the_tail() -> None:
    family = build_family("bandit", {"arms": 2})
    worths = [((0.05 if number % 10 == 0 else 0.6) * (1 - 1e-9 * number),) * 2 for number in range(1000)]
    specs = [family.spec({"probabilities": worth}, seed=number) for number, worth in enumerate(worths)]
    player = random_player(family, 20)
    summary = evaluate({"random": player}, family, specs, 20, tail=0.1)[0]["random"]
    assert summary["tail"] | {"mean": 0, "low": 0, "high": 0} == {
        "mean": 0, "low": 0, "high": 0, "share": 0.1, "tasks": 25, "ranked": 250,
    }  # fmt: skip
    assert summary["tail"]["mean"] == pytest.approx(20 * 0.05, abs=0.6)
    assert summary["tail"]["low"] < summary["tail"]["mean"] < summary["tail"]["high"]
    assert summary["trial"]["mean"] == pytest.approx(20 * 0.545, abs=0.5)


def test_what_is_measured_is_the_evaluation_and_nothing_else_changes() -> None:
    family, specs = bandit((0.2, 0.7), 60)
    player = random_player(family, 4)
    before = player.state_dict()["generator"].clone()
    plain = play(player, family, specs, 4)
    returns, _, _, values = play_ranking(player, family, plays(specs), ranked(plays(specs).tasks, 0.1), 4)
    assert (plain == returns).all()
    assert len(values) == 60
    assert (player.state_dict()["generator"] == before).all()
    summaries, did = evaluate({"random": player}, family, specs, 4)
    assert "tail" not in summaries["random"]
    assert len(did["random"].tail) == 0
    few, *_ = evaluate({"random": player}, family, specs[:9], 4, tail=0.1)
    assert "tail" not in few["random"]
    some, kept = evaluate({"random": player}, family, specs, 4, tail=0.1)
    assert some["random"]["tail"]["low"] is some["random"]["tail"]["high"] is None
    assert kept["random"].tail.tolist() == values.tolist()


def test_ranking_has_luck_of_its_own_that_is_the_tasks() -> None:
    _, specs = bandit((0.2, 0.7), 50)
    luck = ranked(specs, 0.4).seeds
    assert len({*luck, *(spec.seed for spec in specs)}) == 100
    assert ranked(specs[::-1], 0.4).seeds == luck[::-1]
